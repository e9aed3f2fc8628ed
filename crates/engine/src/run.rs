//! Executes one bound plan and collects what its partitions report.

use std::sync::Arc;

use datafusion::{
    execution::TaskContext,
    physical_plan::{ExecutionPlan, execute_stream},
};
use futures::StreamExt;
use headwater_core::Result;
use headwater_ops::{report::decode, runtime::from_datafusion};

use crate::tally::Tally;

/// Runs the plan to its end. When it returns, every part is prepared: durable, if the sink is, and invisible.
pub(crate) async fn execute(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Tally> {
    let mut rows = execute_stream(plan, context).map_err(from_datafusion)?;
    let mut tally = Tally::default();
    while let Some(batch) = rows.next().await {
        for report in decode(&batch.map_err(from_datafusion)?)? {
            tally.add(report);
        }
    }
    tally.finish();
    Ok(tally)
}
