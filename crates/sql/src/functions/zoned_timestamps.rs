//! DataFusion's `to_timestamp` and its like, giving the type that they promise.
//!
//! In a session with a time zone they promise timestamps with that zone. For a column of texts they give the right
//! instants (the zone has been used to read them), but without the zone (DataFusion 55.2), and the query fails. Here
//! the zone is put back.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, make_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The functions, to be registered in the place of those of the same names.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    datafusion::functions::datetime::functions()
        .into_iter()
        .filter(|function| function.name().starts_with("to_timestamp"))
        .map(|function| Arc::new(zoned(function.as_ref().clone())))
        .collect()
}

fn zoned(inner: ScalarUDF) -> ScalarUDF {
    ScalarUDF::from(Zoned { inner })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Zoned {
    inner: ScalarUDF,
}

impl ScalarUDFImpl for Zoned {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let updated = self.inner.inner().with_updated_config(config);
        updated.map(zoned)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let promised = args.return_field.data_type().clone();
        // Not through `ScalarUDF`, which would refuse the type that is repaired here.
        match self.inner.inner().invoke_with_args(args)? {
            ColumnarValue::Array(array) => put_zone(&array, promised).map(ColumnarValue::Array),
            constant => Ok(constant),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The same instants under the promised type, if only the zone differs.
fn put_zone(array: &ArrayRef, promised: DataType) -> Result<ArrayRef> {
    match (array.data_type(), &promised) {
        (DataType::Timestamp(unit, None), DataType::Timestamp(wanted, Some(_)))
            if unit == wanted =>
        {
            let data = array.to_data().into_builder().data_type(promised);
            Ok(make_array(data.build()?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use crate::{BatchHooks, SqlFrontEnd};

    use super::*;

    async fn column(context: &SessionContext, expression: &str) -> ArrayRef {
        let query =
            format!("SELECT {expression} AS time FROM (VALUES ('2026-03-14 09:00:00')) AS t(text)");
        let frame = context.sql(&query).await.expect(expression);
        let promised = frame.schema().field(0).data_type().clone();
        let rows = frame.collect().await.expect(expression);
        assert_eq!(*rows[0].column(0).data_type(), promised, "{expression}");
        Arc::clone(rows[0].column(0))
    }

    #[tokio::test]
    async fn texts_of_a_column_are_read_as_a_constant_is() {
        for zone in ["UTC", "Europe/Paris"] {
            for spark in [false, true] {
                let mut config = SessionConfig::new();
                config.options_mut().execution.time_zone = Some(zone.to_owned());
                let builder = SessionStateBuilder::new().with_config(config);
                let front_end = SqlFrontEnd::new(Arc::new(BatchHooks)).spark(spark);
                let state = front_end.configure(builder.with_default_features()).build();
                let context = SessionContext::new_with_state(state);
                for name in ["to_timestamp", "to_timestamp_millis", "to_timestamp_micros"] {
                    if spark && name == "to_timestamp" {
                        continue; // Spark's own
                    }
                    let format = "'%Y-%m-%d %H:%M:%S'";
                    let constant =
                        column(&context, &format!("{name}('2026-03-14 09:00:00')")).await;
                    for call in [format!("{name}(text)"), format!("{name}(text, {format})")] {
                        assert_eq!(*column(&context, &call).await, *constant, "{zone} {call}");
                    }
                }
            }
        }
    }
}
