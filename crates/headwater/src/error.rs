//! DataFusion's errors as headwater's.

use datafusion::error::DataFusionError;
use headwater_core::Error;

/// Takes an error of ours out of a DataFusion error, or says what the caller should do about one of DataFusion's own.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    headwater_ops::runtime::from_datafusion(error)
}
