//! Stateful operators above one another.
//!
//! Append mode lets every operator give a row out once, when it is final, so any may stand above any other. In the other
//! modes an aggregation gives its groups out again and again: what stands above would count them again each time.

use datafusion::logical_expr::LogicalPlan;
use headwater_core::{Error, OutputMode, Result};

use super::{aggregates_stream, calls_processor};

/// Refuses the operator `what` if its input has an aggregation that gives its groups out more than once.
pub(super) fn check_above_aggregation(
    what: &str,
    input: &LogicalPlan,
    mode: OutputMode,
) -> Result<()> {
    if mode == OutputMode::Append {
        return Ok(());
    }
    if calls_processor(input) {
        return Err(Error::invalid(format!(
            "{what} above arbitrary state needs append mode, since in {mode} mode a row that arbitrary state gives out \
             may replace one that it gave out before: use append mode, or write the inner result to a table and read \
             that as a stream",
        )));
    }
    if !aggregates_stream(input) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} above an aggregation needs append mode, where each group is given out once, when it is final; {mode} \
         mode gives groups out again whenever they change: group by windows over a watermark in append mode, or write \
         the inner result to a table and read that as a stream",
    )))
}
