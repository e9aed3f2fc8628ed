//! Arbitrary state: user code that is called for each key with its rows, and keeps state and timers of its own.
//!
//! [`ProcessorExec`] runs a [`StatefulProcessor`] or a [`GroupFunction`], found by name in the session's
//! [`ProcessorRegistry`]. State variables and timers are stores of rows by key (`variable`, `timers`). An epoch costs
//! the rows it brings, the state that its keys ask for and the timers that are due, whatever else is in state. All work,
//! the check-in of the new state included, is done before the first output row.

mod api;
mod declare;
mod epoch;
mod group;
mod keys;
mod map;
mod output;
mod registry;
mod row;
mod state;
mod timers;
mod variable;

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions},
    },
};
use futures::TryStreamExt;
use headwater_core::{Error, Watermark};
use headwater_state::{RowStore, RowsSpec, StoreLayout};

pub use self::{
    api::{GroupFunction, StatefulProcessor},
    declare::{IntoColumns, ProcessorInput, ProcessorSpec, StateKind, StateVariable, TimeMode},
    group::GroupState,
    output::Output,
    registry::{Call, ProcessorRegistry},
    row::{FromRow, FromValue, IntoRow, IntoValue, Row},
    state::{ListState, MapState, State, ValueState},
};
use self::{
    declare::TIMERS,
    epoch::{Arrived, Outcome, ProcessorEpoch},
    state::Times,
};
use crate::{
    binding::{BindEpoch, Bound, EpochBinding},
    exchange::exchange_by_columns,
    node::{display_as, no_expressions, properties, rows_after},
    origin::TagOriginExec,
    report::Report,
    runtime::{EpochRuntime, external},
    state_provider::StateAddress,
};

/// What the operator is, the same in every epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The operator's id.
    pub operator: String,
    /// The name under which user code is registered.
    pub processor: String,
    /// What it is used as.
    pub call: Call,
    /// Key columns of the input.
    pub keys: Vec<usize>,
    /// Key columns of the initial state, if there is one.
    pub initial_keys: Vec<usize>,
    /// Columns of the key and of the rows that user code sees: so many leading columns of the input.
    pub input: ProcessorInput,
    /// Columns of the initial state that user code sees: so many leading ones.
    pub initial_visible: usize,
    /// State variables and output, as declared when the query was planned.
    pub spec: ProcessorSpec,
    /// Which time timers follow.
    pub time_mode: TimeMode,
    /// Whether there is a watermark below.
    pub has_watermark: bool,
    /// The output column that carries event time, if one does.
    pub event_time: Option<usize>,
}

/// Calls user code for each key.
#[derive(Debug, Clone)]
pub struct ProcessorExec {
    /// The rows, and the initial state if there is one.
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    /// Columns of the inputs without tags of origin.
    schemas: Vec<SchemaRef>,
    definition: Arc<Definition>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl ProcessorExec {
    /// The operator over `input`; `initial` is a bounded plan whose rows are given to the processor in the first epoch.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        initial: Option<Arc<dyn ExecutionPlan>>,
        definition: Definition,
    ) -> Self {
        let inputs: Vec<_> = [input].into_iter().chain(initial).collect();
        let schemas = inputs.iter().map(|input| input.schema()).collect();
        Self::over(inputs, schemas, Arc::new(definition), Bound::NOT_YET)
    }

    fn over(
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        schemas: Vec<SchemaRef>,
        definition: Arc<Definition>,
        bound: Bound,
    ) -> Self {
        let partitions = inputs.first().map_or(1, |input| {
            input.properties().output_partitioning().partition_count()
        });
        Self {
            properties: properties(
                Arc::clone(&definition.spec.output),
                partitions,
                EmissionType::Final,
            ),
            inputs,
            schemas,
            definition,
            bound,
        }
    }

    /// The same operator with its inputs exchanged by key over `partitions`. Called once the rest of the physical plan
    /// is final, since DataFusion's own passes would remove a hand-made exchange.
    ///
    /// # Errors
    /// Whatever the exchange refuses.
    pub fn with_exchange(&self, partitions: usize) -> Result<Self> {
        let keys = [&self.definition.keys, &self.definition.initial_keys];
        let exchanged = self.inputs.iter().zip(keys).map(|(input, keys)| {
            let tagged = Arc::new(TagOriginExec::new(Arc::clone(input)));
            exchange_by_columns(tagged, keys, partitions)
        });
        Ok(Self::over(
            exchanged.collect::<Result<_>>()?,
            self.schemas.clone(),
            Arc::clone(&self.definition),
            self.bound,
        ))
    }

    /// Names of the stores and what they hold; the timers come last, and are checked in only if there is a time mode.
    fn store_specs(&self) -> Vec<(String, RowsSpec)> {
        let keys = &self.definition.input.keys;
        let variables = self.definition.spec.variables.iter();
        let variables = variables.map(|it| (it.name.clone(), variable::store_spec(it, keys)));
        let timers = (TIMERS.to_owned(), timers::store_spec(keys));
        variables.chain([timers]).collect()
    }

    fn times(&self) -> Times {
        Times {
            mode: self.definition.time_mode,
            processing: self.bound.time_millis,
            watermark: self
                .definition
                .has_watermark
                .then(|| self.bound.watermark.millis()),
        }
    }

    /// One epoch of one partition, without I/O.
    fn run(
        &self,
        registry: &ProcessorRegistry,
        stores: Vec<RowStore>,
        rows: Vec<RecordBatch>,
        initial: Vec<RecordBatch>,
    ) -> headwater_core::Result<Outcome> {
        let definition = self.definition.as_ref();
        let found = registry.spec(&definition.processor, definition.call, &definition.input)?;
        if found != definition.spec {
            return Err(Error::invalid(format!(
                "processor '{}' was replaced by one that declares other state or output while query was running: \
                 register it under another name",
                definition.processor
            )));
        }
        let logic = registry.find(&definition.processor, definition.call)?;
        let mut epoch = ProcessorEpoch::new(definition, logic, stores, self.times())?;
        if let Some(schema) = self.schemas.get(1) {
            epoch.take_initial_state(Arrived {
                batches: initial,
                schema,
                keys: &definition.initial_keys,
                visible: definition.initial_visible,
            })?;
        }
        epoch.take_rows(Arrived {
            batches: rows,
            schema: &self.schemas[0],
            keys: &definition.keys,
            visible: definition.input.rows.fields().len(),
        })?;
        epoch.fire_timers()?;
        epoch.finish()
    }
}

impl BindEpoch for ProcessorExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        let has_timers = self.definition.time_mode != TimeMode::None;
        let stores = self.store_specs().into_iter();
        let stores = stores.filter(|(store, _)| has_timers || store != TIMERS);
        let layouts = stores.map(|(store, spec)| spec.layout(store));
        Some((&self.definition.operator, layouts.collect()))
    }
}

/// One epoch of one partition: state in, work, state out.
async fn run_partition(
    exec: ProcessorExec,
    partition: usize,
    inputs: Vec<SendableRecordBatchStream>,
    runtime: Arc<EpochRuntime>,
    registry: Arc<ProcessorRegistry>,
) -> Result<Vec<RecordBatch>> {
    let (definition, bound) = (&exec.definition, exec.bound);
    let partition = u32::try_from(partition)
        .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
    let state = &runtime.state;
    let has_timers = definition.time_mode != TimeMode::None;
    let mut stores = Vec::new();
    for (store, spec) in exec.store_specs() {
        if store == TIMERS && !has_timers {
            stores.push(RowStore::new(spec).map_err(external)?);
            continue;
        }
        let address = StateAddress {
            operator: definition.operator.clone(),
            store,
            partition,
        };
        let store = state.check_out_rows(&address, bound.reads, &spec, state.partitions());
        stores.push(store.await.map_err(external)?);
    }
    let mut batches = Vec::with_capacity(inputs.len());
    for input in inputs {
        batches.push(input.try_collect::<Vec<RecordBatch>>().await?);
    }
    let mut batches = batches.into_iter();
    let (rows, initial) = (batches.next(), batches.next());
    let outcome = exec.run(
        &registry,
        stores,
        rows.unwrap_or_default(),
        initial.unwrap_or_default(),
    );
    let mut outcome = outcome.map_err(external)?;
    if !has_timers {
        outcome.stores.pop();
    }
    for report in reports(definition, &outcome, bound.watermark) {
        runtime.outbox.post(report);
    }
    state
        .check_in(
            &definition.operator,
            partition,
            bound.writes,
            outcome.stores,
            state.partitions(),
        )
        .map_err(external)?;
    Ok(outcome.output)
}

/// What an epoch tells the driver.
fn reports(definition: &Definition, outcome: &Outcome, watermark: Watermark) -> Vec<Report> {
    let operator = || definition.operator.clone();
    let metric = |name: &str, value| Report::Metric {
        operator: operator(),
        name: name.to_owned(),
        value,
    };
    let stores = outcome.stores.iter();
    let mut reports = vec![
        Report::State {
            operator: operator(),
            total: outcome.total,
            updated: outcome.counts.updated,
            removed: outcome.counts.removed,
            memory_bytes: stores.map(|(_, store)| store.memory_bytes() as u64).sum(),
        },
        metric("numRegisteredTimers", outcome.timers.registered),
        metric("numDeletedTimers", outcome.timers.removed),
        metric("numExpiredTimers", outcome.timers.fired),
        metric("numValuesRemovedDueToTTLExpiry", outcome.counts.expired),
    ];
    match (outcome.next_timer, definition.time_mode) {
        (Some(at_millis), TimeMode::ProcessingTime) => reports.push(Report::NextTimer {
            operator: operator(),
            at_millis,
        }),
        (Some(at_millis), TimeMode::EventTime) => reports.push(Report::NextExpiry {
            operator: operator(),
            at_millis,
            watermark_millis: watermark.millis(),
        }),
        _ => {}
    }
    reports
}

display_as!(ProcessorExec, |this, f| {
    let definition = &this.definition;
    let schema = &this.schemas[0];
    let keys: Vec<&str> = definition
        .keys
        .iter()
        .map(|column| schema.field(*column).name().as_str())
        .collect();
    write!(
        f,
        "ProcessorExec: operator={}, {}={}, keys=[{}], time={}",
        definition.operator,
        definition.call.name(),
        definition.processor,
        keys.join(", "),
        definition.time_mode.name(),
    )?;
    let variables: Vec<String> = definition
        .spec
        .variables
        .iter()
        .map(ToString::to_string)
        .collect();
    write!(f, ", state=[{}]", variables.join(", "))
});

impl ExecutionPlan for ProcessorExec {
    fn name(&self) -> &str {
        "ProcessorExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.inputs.len() {
            return Err(DataFusionError::Internal(format!(
                "ProcessorExec takes {} inputs, {} were given",
                self.inputs.len(),
                children.len()
            )));
        }
        Ok(Arc::new(Self::over(
            children,
            self.schemas.clone(),
            Arc::clone(&self.definition),
            self.bound,
        )))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let registry = ProcessorRegistry::of_task(&context).map_err(external)?;
        // The initial state belongs to the first epoch; later ones do not read it.
        let wanted = if self.bound.reads.is_none() { 2 } else { 1 };
        let inputs = self.inputs.iter().take(wanted);
        let inputs = inputs
            .map(|input| input.execute(partition, Arc::clone(&context)))
            .collect::<Result<Vec<_>>>()?;
        let work = run_partition(self.clone(), partition, inputs, runtime, registry);
        Ok(rows_after(self.schema(), work))
    }
}

#[cfg(test)]
mod tests;
