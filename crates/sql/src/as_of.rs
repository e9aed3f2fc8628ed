//! `as_of(comparison[, within])`: the part of a join's condition that picks the nearest row of a table.
//!
//! `o.symbol = p.symbol AND as_of(o.time >= p.time, '1 hour')` finds for each order the latest price of its symbol that
//! is not later than the order and at most an hour older. A function marks the place; the streaming planner gives it its
//! meaning. The idea is the AS OF join of kdb+, pandas (`merge_asof`) and DuckDB.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::session_gap::{constant_gap, is_gap};

/// The name of the function.
pub const AS_OF: &str = "as_of";

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(AsOf::new())));

/// `as_of(comparison[, within])` as a function for SQL.
pub fn as_of_udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

/// Of the right rows for which `comparison` (`>=`, `>`, `<=` or `<` of the two sides) is true, the nearest only; for the
/// condition of a join.
///
/// ```
/// use datafusion::prelude::col;
/// use headwater_sql::as_of;
///
/// let latest = as_of(col("o.time").gt_eq(col("p.time")));
/// assert_eq!(latest.to_string(), "as_of(o.time >= p.time)");
/// ```
pub fn as_of(comparison: Expr) -> Expr {
    as_of_udf().call(vec![comparison])
}

/// As [`as_of`]; a row further away than `within` is no match.
pub fn as_of_within(comparison: Expr, within: &str) -> Expr {
    as_of_udf().call(vec![comparison, lit(within)])
}

/// The interval of a second argument in microseconds.
///
/// # Errors
/// One that is no constant, no interval, has months or years, or is not above zero.
pub fn within_micros(within: &Expr) -> Result<i64> {
    let value = match within {
        Expr::Literal(value, _) => value,
        other => {
            return plan_err!(
                "as_of() takes a constant such as '1 hour' as its second argument, found {other}"
            );
        }
    };
    match constant_gap(value)? {
        Some(micros) => Ok(micros),
        None => plan_err!("as_of() takes an interval as its second argument, found NULL"),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsOf {
    signature: Signature,
}

impl AsOf {
    fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        AS_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Boolean] => Ok(arg_types.to_vec()),
            [DataType::Boolean, within] if is_gap(within) => Ok(arg_types.to_vec()),
            [DataType::Boolean, within] => plan_err!(
                "as_of() takes an interval such as '1 hour' as its second argument, found {within}"
            ),
            [other] | [other, _] => {
                plan_err!("as_of() takes a comparison such as l.time >= r.time, found {other}")
            }
            _ => plan_err!(
                "as_of(comparison[, within]) was called with {} arguments",
                arg_types.len()
            ),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!(
            "as_of() picks a row of a table, so it stands only in the condition of an inner or left join, joined to \
             the rest by AND"
        )
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;
    use datafusion::prelude::{SessionContext, col};

    use super::*;

    #[test]
    fn an_interval_is_a_constant_above_zero() {
        assert_eq!(within_micros(&lit("1 hour")).unwrap(), 3_600_000_000);
        for wrong in [
            lit("soon"),
            lit("-1 hour"),
            lit(ScalarValue::Utf8(None)),
            col("x"),
        ] {
            assert!(within_micros(&wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn out_of_its_place_it_is_refused() {
        let context = SessionContext::new();
        context.register_udf(as_of_udf().as_ref().clone());
        let rows = async |text: &str| match context.sql(text).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        let error = rows("SELECT as_of(a >= 1) FROM (VALUES (1)) AS t(a)").await;
        assert!(error.unwrap_err().to_string().contains("join"));
        let error = rows("SELECT as_of(a) FROM (VALUES (1)) AS t(a)").await;
        assert!(error.unwrap_err().to_string().contains("l.time >= r.time"));
    }
}
