//! What the functions answer, against what others do: a recorded Spark, serde_json, and themselves.

mod avro;
mod calls;
mod csv;
mod place;
mod plain;
mod properties;
mod spark;
