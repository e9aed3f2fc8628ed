//! `from_csv` and `to_csv`: a message is one line, its values the fields of a struct.

mod decode;
mod encode;
mod line;
mod read;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::function::function;

/// The functions of CSV.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![from_csv_udf(), to_csv_udf()]
}

pub(crate) fn from_csv_udf() -> Arc<ScalarUDF> {
    function::<decode::FromCsv>()
}

pub(crate) fn to_csv_udf() -> Arc<ScalarUDF> {
    function::<encode::ToCsv>()
}
