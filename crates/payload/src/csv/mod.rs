//! `from_csv` and `to_csv`: a message is one line, its values the fields of a struct.

mod decode;
mod encode;
mod line;
mod read;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// The functions of CSV.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![from_csv_udf(), to_csv_udf()]
}

pub(crate) fn from_csv_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(decode::FromCsv::default()))
}

pub(crate) fn to_csv_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(encode::ToCsv::default()))
}
