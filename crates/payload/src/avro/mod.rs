//! `from_avro` and `to_avro`: one value of Avro in each message, bare or behind the id of its schema in a registry.

mod decode;
mod encode;
mod http;
mod registry;
mod rows;
mod schema;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;

// One each for all sessions, since what an id in a registry means never changes.
static FROM_AVRO: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(decode::FromAvro::default())));
static TO_AVRO: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(encode::ToAvro::default())));

/// The functions of Avro.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![from_avro_udf(), to_avro_udf()]
}

pub(crate) fn from_avro_udf() -> Arc<ScalarUDF> {
    Arc::clone(&FROM_AVRO)
}

pub(crate) fn to_avro_udf() -> Arc<ScalarUDF> {
    Arc::clone(&TO_AVRO)
}
