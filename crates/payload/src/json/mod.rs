//! `from_json` and `to_json`.

mod decode;
mod encode;
mod read;
mod render;
mod scan;
pub(crate) mod write;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// The functions of JSON.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![from_json_udf(), to_json_udf()]
}

pub(crate) fn from_json_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(decode::FromJson::default()))
}

pub(crate) fn to_json_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(encode::ToJson::default()))
}
