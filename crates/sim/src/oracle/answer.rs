//! What DataFusion answers over a finished table.

use datafusion::prelude::SessionConfig;
use headwater::{DataFrame, Session};
use headwater_core::Result;

use crate::cell::{self, Row};

/// A session for batch answers: one partition, so that the order of the rows is the order of their arrival.
pub(super) fn batch_session() -> Result<Session> {
    Session::builder()
        .datafusion_config(SessionConfig::new().with_target_partitions(1))
        .build()
}

/// All rows of a frame over finished tables.
pub(super) async fn answer(frame: DataFrame) -> Result<Vec<Row>> {
    cell::rows_of(&frame.collect().await?)
}
