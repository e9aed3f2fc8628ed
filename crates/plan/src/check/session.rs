//! Sessions over streams: which of them can end, and when they can be given out. The aggregation inside is checked like
//! any other.

use headwater_core::{Error, OutputMode, Result};

use super::internal;
use crate::{
    nodes::session_aggregate::SessionAggregateNode,
    streaming_plan::PlanSettings,
    time_column::{TimeForm, time_marks},
};

pub(super) fn check_sessions(node: &SessionAggregateNode, settings: &PlanSettings) -> Result<()> {
    if node.plain_keys() == 0 {
        return Err(Error::invalid(
            "session_window() over a stream cannot be the only key to group by, since all rows would make one chain of \
             sessions: group by a key beside it",
        ));
    }
    if let Some(gap) = node.gap_micros.filter(|gap| *gap <= 0)
        && !settings.strict_spark
    {
        return Err(Error::invalid(format!(
            "the session gap must be above zero, found {gap} microseconds: rows with such a gap open no session"
        )));
    }
    match settings.mode {
        OutputMode::Complete => Ok(()),
        OutputMode::Update => Err(Error::invalid(
            "session_window() over a stream is not possible in update mode, since a session that grows or merges with \
             another replaces rows that were given out under other bounds: use append mode, or complete mode",
        )),
        OutputMode::Append => {
            let marks = time_marks(&node.input).map_err(internal)?;
            let ends = marks.iter().flatten();
            if ends.clone().any(|mark| mark.form == TimeForm::SessionEnd) {
                return Ok(());
            }
            Err(Error::invalid(
                "append mode gives a session out once, when no more rows can come for it, but these sessions never \
                 end: use session_window() over a column with a watermark, or complete mode",
            ))
        }
    }
}
