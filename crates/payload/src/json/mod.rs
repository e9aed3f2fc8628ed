//! `from_json` and `to_json`.

mod decode;
mod encode;
mod nesting;
mod quoted;
mod read;
mod render;
mod scan;
pub(crate) mod write;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::function::function;

/// The functions of JSON.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![from_json_udf(), to_json_udf()]
}

pub(crate) fn from_json_udf() -> Arc<ScalarUDF> {
    function::<decode::FromJson>()
}

pub(crate) fn to_json_udf() -> Arc<ScalarUDF> {
    function::<encode::ToJson>()
}
