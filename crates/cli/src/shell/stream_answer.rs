//! A query over streams whose rows come here instead of to a sink.

use std::{future::Future, sync::Arc};

use headwater::{
    DataFrame, OutputMode, Session, StreamingQuery, Trigger,
    connect::foreach::{EpochRows, ForeachBatchSinkProvider},
};

use crate::exit::Failure;

/// What such a query is called where nobody sees its name.
pub(crate) const NAME: &str = "select";

/// How the rows of the epochs make the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each epoch has the whole answer so far.
    Whole,
    /// Each epoch adds rows.
    Growing,
}

/// The shape of the answer to a query over streams, and the mode in which it runs: an aggregation is answered as a
/// whole each time, so that each group is there once with its newest values, in the order that the query asks for. What
/// cannot be answered so gives its rows as they become final.
///
/// # Errors
/// `Wrong` if it can run in no mode.
pub(crate) async fn shape(
    session: &Session,
    frame: &DataFrame,
) -> Result<(Shape, OutputMode), Failure> {
    let modes = Box::pin(session.output_modes(frame)).await;
    let modes = modes.map_err(|error| Failure::of_planning(&error))?;
    Ok(match modes {
        modes if modes.contains(&OutputMode::Complete) => (Shape::Whole, OutputMode::Complete),
        modes if modes.contains(&OutputMode::Append) => (Shape::Growing, OutputMode::Append),
        _ => (Shape::Growing, OutputMode::Update),
    })
}

/// Starts it, without a checkpoint. `receive` is called with the rows of each epoch, before it is committed.
///
/// # Errors
/// `Wrong` if it cannot run as it is, `Failed` if a source cannot be opened.
pub(crate) async fn start<F, Done>(
    name: &str,
    frame: DataFrame,
    mode: OutputMode,
    trigger: Trigger,
    receive: F,
) -> Result<StreamingQuery, Failure>
where
    F: Fn(EpochRows) -> Done + Send + Sync + 'static,
    Done: Future<Output = headwater::Result<()>> + Send + 'static,
{
    let writer = frame
        .write_stream()
        .query_name(name)
        .output_mode(mode)
        .trigger(trigger)
        .sink(Arc::new(ForeachBatchSinkProvider::new(receive)));
    Box::pin(writer.start(None))
        .await
        .map_err(|error| Failure::of_planning(&error))
}
