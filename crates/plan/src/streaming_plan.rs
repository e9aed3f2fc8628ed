//! The plan of a streaming query: made once, bound to each epoch.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::tree_node::TreeNode,
    execution::{SessionState, TaskContext},
    logical_expr::{Expr, LogicalPlan},
    physical_plan::ExecutionPlan,
};
use headwater_core::{Delay, Error, OutputMode, Result, SourceProvider};
use headwater_ops::{
    binding::{EpochBinding, bind_plan},
    runtime::{EpochRuntime, from_datafusion},
    stores::stores_of,
    table::forget_builds,
};
use headwater_state::StoreLayout;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    check::{check, check_event_times, check_joins},
    explain::explain,
    fixed_lengths::intervals_as_durations,
    late_schema::late_schema,
    lower,
    nodes::processor::ProcessorNode,
    optimize::{optimize, push_down_filters},
    processing_time::bind_present,
    rewrite,
    summary::summary,
    tables::{
        self, Tables,
        follow::{self, Named},
        separate,
    },
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
    /// Refuse what Spark 4.3 refuses, even where it can be done right, and keep rows for ever where Spark does.
    pub strict_spark: bool,
    /// Record the rows that operators drop because they came after the watermark.
    pub late_rows: bool,
    /// Operators of which a checkpoint holds windows that overlap as windows: their state cannot have slices instead.
    pub keep_windows: BTreeSet<String>,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            mode: OutputMode::Append,
            partitions: 1,
            no_data_epochs: true,
            strict_spark: false,
            late_rows: false,
            keep_windows: BTreeSet::new(),
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
    /// The event time.
    pub column: String,
    /// The sources whose rows pass it, by number.
    pub sources: Vec<usize>,
}

/// What a stateful operator keeps back until the watermark has passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Nothing: what comes out comes out in the epoch that makes it.
    Nothing,
    /// Groups by windows of this length in milliseconds.
    Windows(i64),
    /// Groups by event times.
    Times,
    /// Groups by sessions.
    Sessions,
    /// Rows that no row of the other side matches.
    UnmatchedRows,
    /// What user code gives out when its timers are due.
    Timers,
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
    /// What it keeps, store by store.
    pub stores: Vec<StoreLayout>,
    /// Whether an epoch without data runs for it when the watermark rose.
    pub wants_no_data_epoch: bool,
    /// Whether it has timers that follow the clock, for which an epoch without data runs when they are due.
    pub follows_clock: bool,
    /// What it gives out only when the watermark has passed it.
    pub withholds: Withheld,
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
    tables: Tables,
    late: Option<SchemaRef>,
    physical: Arc<dyn ExecutionPlan>,
    session: SessionState,
    /// As it was written, and the names it was written with.
    written: LogicalPlan,
    names: Vec<Named>,
    settings: PlanSettings,
    may_have_effects: bool,
    /// How often, since it was made.
    refreshed: u64,
}

/// Epochs after which joins build over their tables anew although nothing has changed, see [`forget_builds`].
const EPOCHS_PER_BUILD: u64 = 256;

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
    let written = plan.clone();
    let names = follow::names(&written, &session).await;
    let analysed = session
        .analyzer()
        .execute_and_check(plan, session.config().options(), |_, _| {})
        .map_err(from_datafusion)?;
    let windowed = bind_present(analysed)
        .and_then(batch_windows)
        .map_err(from_datafusion)?;
    check(&windowed, settings)?;
    let (numbered, sources) = rewrite::number_sources(windowed).map_err(from_datafusion)?;
    let push_down = |plan| push_down_filters(&session, plan);
    let filtered = push_down(numbered.clone()).map_err(from_datafusion)?;
    check_joins(&filtered, settings)?;
    let (stateful, mut found) =
        rewrite::make_stateful(filtered, settings).map_err(from_datafusion)?;
    let late = settings.late_rows.then(|| late_schema(&found.late));
    let late = late.transpose()?;
    let mut pushed = rewrite::pushed_filters(numbered, push_down, settings, &found);
    for operator in &mut found.operators {
        if let Some(filters) = pushed.remove(&operator.id) {
            operator.fingerprint["where"] = json!(filters);
        }
    }
    let output: SchemaRef = Arc::clone(stateful.schema().inner());
    let optimized = optimize(&session, stateful).map_err(from_datafusion)?;
    check_event_times(&optimized, settings)?;
    rewrite::add_stored_columns(&optimized, &mut found.operators).map_err(from_datafusion)?;
    let optimized = intervals_as_durations(optimized).map_err(from_datafusion)?;
    let may_have_effects = runs_code_with_effects(&optimized).map_err(from_datafusion)?;
    let (separated, subplans) = separate(optimized).map_err(from_datafusion)?;
    let tables = Tables::of(subplans, &session)
        .await
        .map_err(from_datafusion)?;
    let physical = lower::lower(&session, &separated, settings, late.as_ref())
        .await
        .map_err(from_datafusion)?;
    let mut stores = stores_of(&physical);
    for operator in &mut found.operators {
        operator.stores = stores.remove(&operator.id).unwrap_or_default();
    }
    Ok(StreamingPlan {
        sources,
        watermarks: found.watermarks,
        operators: found.operators,
        output,
        tables,
        late,
        physical,
        session,
        written,
        names,
        settings: settings.clone(),
        may_have_effects,
        refreshed: 0,
    })
}

/// Whether a plan runs code of the user that more than its result may depend on: processors, and functions that do not
/// promise to give the same for the same.
fn runs_code_with_effects(plan: &LogicalPlan) -> datafusion::error::Result<bool> {
    plan.exists(|node| {
        let is_processor = match node {
            LogicalPlan::Extension(extension) => extension.node.as_any().is::<ProcessorNode>(),
            _ => false,
        };
        Ok(is_processor || node.expressions().iter().any(Expr::is_volatile))
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

    /// Columns of the records of late rows, if they are wanted: those of the operators' input rows as the user wrote
    /// them, then [`headwater_ops::late::late_fields`].
    pub fn late_schema(&self) -> Option<SchemaRef> {
        self.late.clone()
    }

    /// Which rows the sink receives.
    pub fn mode(&self) -> OutputMode {
        self.settings.mode
    }

    /// Whether it runs code of the user that may have effects, which must not happen before the epoch is recorded.
    pub fn may_have_effects(&self) -> bool {
        self.may_have_effects
    }

    /// Whether it reads static tables beside its streams.
    pub fn reads_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    pub(crate) fn physical(&self) -> &Arc<dyn ExecutionPlan> {
        &self.physical
    }

    /// Takes notice of static tables that have changed since the plan was made or last refreshed; the next bound plan
    /// reads them as they are now. To be called before each epoch.
    ///
    /// What counts as a change: rows inserted into a `MemTable`, files that have come, gone or changed in a table of files,
    /// and another table or view of the same columns registered under the name that the query was written with. Tables of
    /// other kinds are read in each epoch.
    ///
    /// # Errors
    /// `Invalid` if a name stands for a table with other columns now, and whatever looking at the tables gives.
    pub async fn refresh(&mut self) -> Result<()> {
        let followed = follow::followed(&self.written, &self.names, &self.session).await?;
        if let Some(written) = followed {
            let settings = self.settings.clone();
            let replanned = Box::pin(plan_stream(&self.session, written, &settings)).await?;
            *self = replanned;
            return Ok(());
        }
        let changed = self.tables.refresh(&self.session).await;
        let changed = changed.map_err(from_datafusion)?;
        if !changed.is_empty() {
            let physical = Arc::clone(&self.physical);
            self.physical = tables::replace(physical, &changed).map_err(from_datafusion)?;
        }
        self.refreshed += 1;
        if self.refreshed.is_multiple_of(EPOCHS_PER_BUILD) {
            let physical = Arc::clone(&self.physical);
            self.physical = forget_builds(physical).map_err(from_datafusion)?;
        }
        Ok(())
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

    /// Which operators keep what, for how long, and what happens to late rows, in words.
    pub fn summary(&self) -> String {
        summary(self)
    }

    /// Sources, watermarks, stateful operators and the physical plan, for people.
    pub fn explain(&self) -> String {
        explain(self)
    }
}
