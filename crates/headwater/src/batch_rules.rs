//! What a query over finished tables needs to mean the same as over streams: windows, and arithmetic that fails instead
//! of wrapping around. The streaming planner has its own place for both.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::config::ConfigOptions,
    error::Result,
    execution::context::QueryPlanner,
    logical_expr::LogicalPlan,
    optimizer::AnalyzerRule,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};
use headwater_plan::{StreamingNodePlanner, batch_windows, is_streaming};

/// Assigns rows to windows in plans over static tables. Runs behind type coercion.
#[derive(Debug)]
pub(crate) struct BatchWindows;

impl AnalyzerRule for BatchWindows {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if is_streaming(&plan) {
            return Ok(plan);
        }
        batch_windows(plan)
    }

    fn name(&self) -> &str {
        "headwater_batch_windows"
    }
}

/// Plans what [`BatchWindows`] leaves.
#[derive(Debug)]
pub(crate) struct BatchPlanner;

#[async_trait]
impl QueryPlanner for BatchPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ours = Arc::new(StreamingNodePlanner);
        DefaultPhysicalPlanner::with_extension_planners(vec![ours])
            .create_physical_plan(plan, session)
            .await
    }
}

/// Makes arithmetic on integers fail where it leaves their range.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl PhysicalOptimizerRule for CheckedArithmetic {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        headwater_sql::checked_arithmetic(plan)
    }

    fn name(&self) -> &str {
        "headwater_checked_arithmetic"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
