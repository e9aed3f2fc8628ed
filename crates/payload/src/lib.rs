//! Functions that turn the bytes of messages into columns and back: JSON, CSV and Avro.
//!
//! A message is a text or a binary value, such as the `value` of a Kafka record. What it becomes is declared, as Spark's
//! DDL (`id BIGINT, tags ARRAY<STRING>`), as the JSON of a Spark schema, or as a type of Arrow; so the columns are known
//! when the query is planned, and that is when a declaration or an option that cannot be understood is refused.
//! Messages are read straight into Arrow columns, and what nobody asked for is passed by. A message that is malformed is
//! null (mode PERMISSIVE, which can keep it in a column) or fails the query (FAILFAST).
//!
//! The words and rules are Spark's; `docs/payloads.md` lists them, and where they differ. All functions are
//! deterministic.
//!
//! Also here, because messages need them: the types that texts name ([`ddl`]), and times and numbers as Spark writes
//! them ([`time`], [`number`]).

mod avro;
mod base64;
mod buffers;
mod call;
mod column;
mod csv;
pub mod ddl;
mod expr;
mod function;
mod json;
mod json_schema;
mod names;
pub mod number;
mod options;
mod place;
mod record;
#[cfg(test)]
mod tests;
pub mod time;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub use call::IntoPayloadType;
pub use expr::{
    from_avro, from_avro_registry, from_avro_with, from_csv, from_csv_with, from_json,
    from_json_with, to_avro, to_avro_with, to_csv, to_csv_with, to_json, to_json_with,
};
pub use place::PlaceOfMessages;

/// All functions of this crate, for a session.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    [json::functions(), csv::functions(), avro::functions()].concat()
}
