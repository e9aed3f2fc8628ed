//! The functions as expressions.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF};

use crate::call::{IntoPayloadType, options_literal};
use crate::{avro, csv, json};

/// A call of `function`; options are an argument only if there are any.
fn call<K: Into<String>, V: Into<String>>(
    function: &Arc<ScalarUDF>,
    mut args: Vec<Expr>,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    let mut options = options.into_iter().peekable();
    if options.peek().is_some() {
        args.push(Expr::Literal(options_literal(options), None));
    }
    function.call(args)
}

const NONE: [(&str, &str); 0] = [];

/// The columns in messages of JSON: `from_json(col("value"), "id BIGINT, tags ARRAY<STRING>")`.
///
/// `value` is a text or binary. The result is a struct (an array, a map) of the type declared: text of Spark's DDL, the
/// JSON of a Spark schema, or a schema of Arrow. A message that is malformed has null fields. A type that cannot be
/// understood is an error when the query is planned.
///
/// ```
/// use datafusion::prelude::*;
/// use headwater_payload::from_json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> datafusion::error::Result<()> {
/// let context = SessionContext::new();
/// let messages = context.sql(r#"SELECT '{"id": 7, "tags": ["a"], "more": 1}' AS value"#).await?;
/// let rows = messages
///     .select([from_json(col("value"), "id BIGINT, tags ARRAY<STRING>").alias("m")])?
///     .select([col("m").field("id"), col("m").field("tags")])?;
/// # use datafusion::functions::core::expr_ext::FieldAccessor;
/// assert_eq!(rows.collect().await?[0].num_columns(), 2);
/// # Ok(())
/// # }
/// ```
pub fn from_json(value: Expr, data_type: impl IntoPayloadType) -> Expr {
    from_json_with(value, data_type, NONE)
}

/// [`from_json`] with options, `[("mode", "FAILFAST")]`; `docs/payloads.md` lists them. An unknown one is an error when
/// the query is planned.
pub fn from_json_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    data_type: impl IntoPayloadType,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    call(
        &json::from_json_udf(),
        vec![value, data_type.into_literal()],
        options,
    )
}

/// A struct, an array or a map as JSON. Fields of structs that are null are left out.
pub fn to_json(value: Expr) -> Expr {
    to_json_with(value, NONE)
}

/// [`to_json`] with options, `[("ignoreNullFields", "false")]`; `docs/payloads.md` lists them.
pub fn to_json_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    call(&json::to_json_udf(), vec![value], options)
}

/// The columns in messages that are lines of CSV: `from_csv(col("value"), "id BIGINT, name STRING")`.
///
/// The result is a struct of plain values; otherwise as [`from_json`].
pub fn from_csv(value: Expr, data_type: impl IntoPayloadType) -> Expr {
    from_csv_with(value, data_type, NONE)
}

/// [`from_csv`] with options, `[("sep", ";")]`; `docs/payloads.md` lists them.
pub fn from_csv_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    data_type: impl IntoPayloadType,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    call(
        &csv::from_csv_udf(),
        vec![value, data_type.into_literal()],
        options,
    )
}

/// A struct of plain values as a line of CSV.
pub fn to_csv(value: Expr) -> Expr {
    to_csv_with(value, NONE)
}

/// [`to_csv`] with options, `[("sep", ";")]`; `docs/payloads.md` lists them.
pub fn to_csv_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    call(&csv::to_csv_udf(), vec![value], options)
}

/// The value in messages of Avro, which were written with `schema`, the JSON of a schema. A message that is malformed
/// fails the query.
pub fn from_avro(value: Expr, schema: &str) -> Expr {
    from_avro_with(value, schema, NONE)
}

/// [`from_avro`] with options, `[("mode", "PERMISSIVE")]`; `docs/payloads.md` lists them.
pub fn from_avro_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    schema: &str,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    call(
        &avro::from_avro_udf(),
        vec![value, schema.into_literal()],
        options,
    )
}

/// The value in messages of Avro that begin with the id of their schema in a registry. The options name it,
/// `[("schemaRegistryUrl", "http://registry:8081"), ("schemaRegistrySubject", "orders-value")]`; `docs/payloads.md` lists them.
pub fn from_avro_registry<K: Into<String>, V: Into<String>>(
    value: Expr,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    let options = Expr::Literal(options_literal(options), None);
    avro::from_avro_udf().call(vec![value, options])
}

/// A value as a message in Avro, with the schema that its type is, or the JSON of another.
pub fn to_avro(value: Expr, schema: Option<&str>) -> Expr {
    to_avro_with(value, schema, NONE)
}

/// [`to_avro`] with options: those of a registry, behind whose id the message then is.
pub fn to_avro_with<K: Into<String>, V: Into<String>>(
    value: Expr,
    schema: Option<&str>,
    options: impl IntoIterator<Item = (K, V)>,
) -> Expr {
    let mut args = vec![value];
    args.extend(schema.map(IntoPayloadType::into_literal));
    call(&avro::to_avro_udf(), args, options)
}
