//! The plan of a streaming query: made once, bound to each epoch.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    execution::{SessionState, TaskContext},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
};
use headwater_core::{Delay, Error, OutputMode, Result, SourceProvider};
use headwater_ops::{
    binding::{EpochBinding, bind_plan},
    runtime::{EpochRuntime, from_datafusion},
};

use crate::{
    check::{check, check_joins},
    explain::explain,
    lower,
    optimize::{optimize, push_down_filters},
    processing_time::bind_present,
    rewrite,
    window_expr::batch_windows,
};

/// How a plan is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// Which rows the sink receives.
    pub mode: OutputMode,
    /// Partitions of the state, fixed in the checkpoint at the first start.
    pub partitions: usize,
    /// Whether an epoch without data runs when the watermark rose and an operator wants it.
    pub no_data_epochs: bool,
    /// Refuse what Spark 4.3 refuses, even where it can be done right.
    pub strict_spark: bool,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            mode: OutputMode::Append,
            partitions: 1,
            no_data_epochs: true,
            strict_spark: false,
        }
    }
}

/// A watermark of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkNodeInfo {
    /// Stable across restarts.
    pub id: String,
    /// How late rows may be.
    pub delay: Delay,
}

/// A stateful operator of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorInfo {
    /// Stable across restarts and upgrades.
    pub id: String,
    /// `aggregate`, `limit`, …
    pub kind: String,
    /// The name that progress reports of Spark use for it.
    pub progress_name: String,
    /// What must not change between two starts.
    pub fingerprint: serde_json::Value,
    /// Whether an epoch without data runs for it when the watermark rose.
    pub wants_no_data_epoch: bool,
    /// Why its state grows without bound, if it does, with what to write instead.
    pub grows: Vec<String>,
}

/// A streaming query, planned.
#[derive(Debug, Clone)]
pub struct StreamingPlan {
    sources: Vec<Arc<dyn SourceProvider>>,
    watermarks: Vec<WatermarkNodeInfo>,
    operators: Vec<OperatorInfo>,
    output: SchemaRef,
    physical: Arc<dyn ExecutionPlan>,
    session: SessionState,
}

/// Plans `plan`, whose leaves include streams, to run epoch by epoch.
///
/// # Errors
/// [`headwater_core::ErrorKind::Invalid`] for what cannot run over a stream in this output mode, with what to write
/// instead.
pub async fn plan_stream(
    state: &SessionState,
    plan: LogicalPlan,
    settings: &PlanSettings,
) -> Result<StreamingPlan> {
    let session = lower::streaming_session(state);
    let analysed = session
        .analyzer()
        .execute_and_check(plan, session.config().options(), |_, _| {})
        .map_err(from_datafusion)?;
    let windowed = bind_present(analysed)
        .and_then(batch_windows)
        .map_err(from_datafusion)?;
    check(&windowed, settings)?;
    let (numbered, sources) = rewrite::number_sources(windowed).map_err(from_datafusion)?;
    let filtered = push_down_filters(&session, numbered).map_err(from_datafusion)?;
    check_joins(&filtered)?;
    let (stateful, mut found) =
        rewrite::make_stateful(filtered, settings.mode).map_err(from_datafusion)?;
    let output: SchemaRef = Arc::clone(stateful.schema().inner());
    let optimized = optimize(&session, stateful).map_err(from_datafusion)?;
    rewrite::add_stored_columns(&optimized, &mut found.operators).map_err(from_datafusion)?;
    let physical = lower::lower(&session, &optimized, settings.partitions)
        .await
        .map_err(from_datafusion)?;
    Ok(StreamingPlan {
        sources,
        watermarks: found.watermarks,
        operators: found.operators,
        output,
        physical,
        session,
    })
}

impl StreamingPlan {
    /// The sources by number.
    pub fn sources(&self) -> &[Arc<dyn SourceProvider>] {
        &self.sources
    }

    /// The watermarks.
    pub fn watermark_nodes(&self) -> &[WatermarkNodeInfo] {
        &self.watermarks
    }

    /// The stateful operators, the one nearest the sink first.
    pub fn operators(&self) -> &[OperatorInfo] {
        &self.operators
    }

    /// Columns of the rows that the sink receives.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    pub(crate) fn physical(&self) -> &Arc<dyn ExecutionPlan> {
        &self.physical
    }

    /// The plan of one epoch; its rows are reports. It can be executed once.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Internal`] if the binding does not fit the plan.
    pub fn bind(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        bind_plan(&self.physical, binding)
            .map_err(|error| Error::internal("the plan cannot be bound").with_source(error))
    }

    /// The context to execute a bound plan in.
    pub fn task_context(&self, runtime: Arc<EpochRuntime>) -> Arc<TaskContext> {
        let config = self.session.config().clone().with_extension(runtime);
        Arc::new(TaskContext::from(&self.session).with_session_config(config))
    }

    /// Sources, watermarks, stateful operators and the physical plan, for people.
    pub fn explain(&self) -> String {
        explain(self)
    }
}
