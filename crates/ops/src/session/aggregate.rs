//! The stateful aggregation over sessions: merges an epoch's sessions with each other and with those in state.
//!
//! Its input is a partial aggregation by key, start and end of sessions, behind an exchange by key. Sessions that meet
//! become one, from the earliest start to the latest end, and their accumulators are merged: stored ones first, by
//! start, then those of the epoch in order of arrival. A session that the watermark has passed is given out and removed
//! (append mode); complete mode gives out everything and removes nothing.
//!
//! Like every stateful operator it does all its work before its first output row. An epoch costs the sessions of the
//! keys that it touches and those that expire; the states of sessions that it does not reach are not read. A session's
//! set of DISTINCT values, or list, is rewritten when it grows: it is as long as the session.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array},
        compute::{concat_batches, take_arrays},
        datatypes::{Field, Schema, SchemaRef},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, aggregates::AggregateExec,
        execution_plan::EmissionType,
    },
};
use futures::TryStreamExt;
use headwater_core::{OutputMode, Watermark};
use headwater_state::{Emit, Probe, RowStore, RowsSpec, StoreLayout};

use super::{
    intervals::{Intervals, Merged, merge},
    keys::{NumberedKeys, number_keys, time_numbers, times_of},
};
use crate::{
    accumulate::AggregateLayout,
    binding::{BindEpoch, Bound, EpochBinding},
    exchange::exchange_by_key,
    expiry::Expiry,
    node::{display_as, no_expressions, node_over, properties, rows_after},
    origin::{TagOriginExec, in_order_of_origin},
    report::Report,
    runtime::{EpochRuntime, external},
    state_provider::StateAddress,
    stores::with_shown_names,
    work_sharing::share_work,
};

/// Name of the store that holds the sessions.
const SESSIONS: &str = "sessions";

/// Width of a time bucket of the state where the gap differs by row, and the smallest otherwise.
const BUCKET_MILLIS: i64 = 10_000;

/// What the operator is, the same in every epoch.
#[derive(Debug)]
pub struct SessionDefinition {
    operator: String,
    mode: OutputMode,
    /// Grouping columns before the session's start and end.
    keys: usize,
    layout: AggregateLayout,
    spec: RowsSpec,
    /// Input columns without the tag of origin.
    partial: SchemaRef,
    output: SchemaRef,
}

impl SessionDefinition {
    /// Replaces the final step of an aggregation whose partial step is `partial` and whose last two keys are the start
    /// and the end of sessions. `gap_micros` is the gap if it is the same for all rows; `output` is the schema of the
    /// final step: keys, start, end, results.
    pub fn try_new(
        partial: &AggregateExec,
        operator: String,
        mode: OutputMode,
        gap_micros: Option<i64>,
        output: SchemaRef,
    ) -> Result<Self> {
        let layout =
            AggregateLayout::of_merged_groups(partial.aggr_expr(), &partial.input_schema())?;
        let partial_schema = partial.schema();
        let groups = partial_schema.fields().len() - layout.incoming_columns();
        let Some(keys) = groups.checked_sub(2).filter(|keys| *keys > 0) else {
            return Err(DataFusionError::Internal(
                "an aggregation over sessions has no key".to_owned(),
            ));
        };
        let columns = |from: usize, to: usize| {
            partial_schema.fields()[from..to]
                .iter()
                .map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true)))
        };
        let values = columns(keys, groups).chain(layout.values().fields().iter().cloned());
        Ok(Self {
            operator,
            mode,
            keys,
            spec: RowsSpec {
                keys: Arc::new(Schema::new(columns(0, keys).collect::<Vec<_>>())),
                values: Arc::new(Schema::new(values.collect::<Vec<_>>())),
                owner_columns: None,
                expires: mode != OutputMode::Complete,
                bucket_millis: gap_micros.map_or(0, |gap| gap / 1_000).max(BUCKET_MILLIS),
                marks: false,
            },
            layout,
            partial: partial_schema,
            output,
        })
    }

    /// Whether some answer depends on the order of arrival.
    pub fn order_sensitive(&self) -> bool {
        self.layout.order_sensitive()
    }

    /// What the store of one partition holds.
    pub fn spec(&self) -> &RowsSpec {
        &self.spec
    }

    /// One epoch of one partition, without I/O.
    pub(super) fn run(
        &self,
        store: &mut RowStore,
        partial: &RecordBatch,
        watermark: Watermark,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if partial.num_rows() > 0 {
            self.fold(store, partial, &mut outcome)?;
        }
        let rows = if self.mode == OutputMode::Complete {
            store.scan().map_err(external)?
        } else {
            let expired = store.expire(watermark.millis(), Emit::All);
            let expired = expired.map_err(external)?;
            outcome.removed += expired.removed;
            expired.rows
        };
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            outcome.output.push(self.evaluated(batch)?);
        }
        Ok(outcome)
    }

    /// Merges the epoch's sessions into those of the keys that they touch.
    fn fold(
        &self,
        store: &mut RowStore,
        partial: &RecordBatch,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let columns = partial.columns();
        let (groups, states) = columns.split_at(self.keys + 2);
        let (keys, bounds) = groups.split_at(self.keys);
        let NumberedKeys {
            of_rows,
            keys,
            count,
        } = number_keys(keys, partial.num_rows())?;
        let found = store.probe(&Probe::new(&keys, count)).map_err(external)?;
        let stored_bounds = store
            .gather(&found.rows, &[self.keys, self.keys + 1])
            .map_err(external)?;
        let stored = Intervals {
            keys: found
                .probe_rows
                .values()
                .iter()
                .map(|key| *key as usize)
                .collect(),
            starts: time_numbers(&stored_bounds[0])?.to_vec(),
            ends: time_numbers(&stored_bounds[1])?.to_vec(),
        };
        let new = Intervals {
            keys: of_rows,
            starts: time_numbers(&bounds[0])?.to_vec(),
            ends: time_numbers(&bounds[1])?.to_vec(),
        };
        let merged = merge(&stored, &new, count);
        let sessions = merged.sessions.len();
        outcome.updated = stored.len() - merged.taken.len() + sessions;
        outcome.removed = merged.restarted;
        let taken = found
            .rows
            .take(&UInt32Array::from(merged.taken.clone()))
            .map_err(external)?;
        let value_columns: Vec<usize> =
            (self.keys + 2..self.keys + 2 + self.layout.values().fields().len()).collect();
        let old = store.gather(&taken, &value_columns).map_err(external)?;
        store.remove(&taken).map_err(external)?;
        let values = self.merged_states(&merged, &old, states)?;
        self.append(store, &keys, bounds, merged.sessions, values)
    }

    /// The state of each session, from the stored ones it takes up and the new ones it holds.
    fn merged_states(
        &self,
        merged: &Merged,
        old: &[ArrayRef],
        new: &[ArrayRef],
    ) -> Result<Vec<ArrayRef>> {
        let mut accumulators = self.layout.fresh()?;
        if merged.grown > 0 {
            let of_taken = &merged.of_taken;
            self.layout
                .merge_stored(&mut accumulators, old, of_taken, merged.grown)?;
        }
        let sessions = merged.sessions.len();
        self.layout
            .merge_incoming(&mut accumulators, new, &merged.of_new, sessions)?;
        self.layout.states(&mut accumulators)
    }

    fn append(
        &self,
        store: &mut RowStore,
        keys: &[ArrayRef],
        bounds: &[ArrayRef],
        sessions: Intervals,
        states: Vec<ArrayRef>,
    ) -> Result<()> {
        let of_sessions =
            UInt64Array::from_iter_values(sessions.keys.iter().map(|key| *key as u64));
        let keys = take_arrays(keys, &of_sessions, None)?;
        let start = times_of(sessions.starts, bounds[0].data_type())?;
        let end = times_of(sessions.ends, bounds[1].data_type())?;
        let expiry = Expiry {
            column: 0,
            extra_micros: 0,
        };
        let expiry = match self.spec.expires {
            true => Some(expiry.millis(std::slice::from_ref(&end))?),
            false => None,
        };
        let mut values = vec![start, end];
        values.extend(states);
        store
            .append(&keys, &values, expiry.as_ref(), None)
            .map_err(external)?;
        Ok(())
    }

    /// Stored sessions as they are given out: keys and bounds as they are, states evaluated.
    fn evaluated(&self, stored: &RecordBatch) -> Result<RecordBatch> {
        let (groups, states) = stored.columns().split_at(self.keys + 2);
        let rows = stored.num_rows();
        let numbers: Vec<usize> = (0..rows).collect();
        let mut accumulators = self.layout.fresh()?;
        self.layout
            .merge_stored(&mut accumulators, states, &numbers, rows)?;
        let mut columns = groups.to_vec();
        columns.extend(self.layout.results(&mut accumulators)?);
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }
}

/// What one epoch did to one partition.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) output: Vec<RecordBatch>,
    /// Sessions of the keys touched, also those that stayed as they were, as the recorded engine counts.
    pub(super) updated: usize,
    /// Sessions that ended, and those that merged into one that starts earlier.
    pub(super) removed: usize,
}

/// Merges partial aggregates of sessions into state.
#[derive(Debug, Clone)]
pub struct SessionAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    definition: Arc<SessionDefinition>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl SessionAggregateExec {
    /// The operator over the partial step that it was defined by.
    pub fn new(input: Arc<dyn ExecutionPlan>, definition: Arc<SessionDefinition>) -> Self {
        Self::over(input, definition, Bound::NOT_YET)
    }

    fn over(
        input: Arc<dyn ExecutionPlan>,
        definition: Arc<SessionDefinition>,
        bound: Bound,
    ) -> Self {
        Self {
            properties: properties(
                Arc::clone(&definition.output),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Final,
            ),
            input,
            definition,
            bound,
        }
    }

    /// The same operator with its input exchanged by key over `partitions`. Called once the rest of the physical plan
    /// is final, since DataFusion's own passes would remove a hand-made exchange.
    pub fn with_exchange(&self, partitions: usize) -> Result<Self> {
        let mut input = Arc::clone(&self.input);
        if self.definition.order_sensitive() {
            input = Arc::new(TagOriginExec::new(input));
        } else {
            input = share_work(input)?;
        }
        let input = exchange_by_key(input, self.definition.keys, partitions)?;
        Ok(Self::over(input, Arc::clone(&self.definition), self.bound))
    }
}

impl BindEpoch for SessionAggregateExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        let layout = with_shown_names(self.definition.spec.layout(SESSIONS));
        let layout = layout.expiring("session_end");
        Some((&self.definition.operator, vec![layout]))
    }
}

/// One epoch of one partition: state in, work, state out.
async fn run_partition(
    definition: Arc<SessionDefinition>,
    bound: Bound,
    partition: usize,
    input: SendableRecordBatchStream,
    runtime: Arc<EpochRuntime>,
) -> Result<Vec<RecordBatch>> {
    let partition = u32::try_from(partition)
        .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
    let partitions = runtime.state.partitions();
    let operator = &definition.operator;
    let address = StateAddress {
        operator: operator.clone(),
        store: SESSIONS.to_owned(),
        partition,
    };
    let mut store = runtime
        .state
        .check_out_rows(&address, bound.reads, &definition.spec, partitions)
        .await
        .map_err(external)?;
    let tagged = input.schema();
    let batches: Vec<RecordBatch> = input.try_collect().await?;
    let mut partial = concat_batches(&tagged, &batches)?;
    if definition.order_sensitive() {
        partial = in_order_of_origin(&partial, &definition.partial)?;
    }
    let outcome = definition.run(&mut store, &partial, bound.watermark)?;
    runtime.outbox.post(Report::State {
        operator: operator.clone(),
        total: store.len() as u64,
        updated: outcome.updated as u64,
        removed: outcome.removed as u64,
        memory_bytes: store.memory_bytes() as u64,
    });
    let earliest = store.earliest_expiry();
    runtime
        .outbox
        .post_next_expiry(operator, earliest, bound.watermark);
    let stores = vec![(SESSIONS.to_owned(), store)];
    runtime
        .state
        .check_in(operator, partition, bound.writes, stores, partitions)
        .map_err(external)?;
    Ok(outcome.output)
}

display_as!(SessionAggregateExec, |this, f| {
    let definition = &this.definition;
    let keys = definition.spec.keys.fields().iter();
    let keys: Vec<&str> = keys.map(|key| key.name().as_str()).collect();
    write!(
        f,
        "SessionAggregateExec: operator={}, mode={}, keys=[{}]",
        definition.operator,
        definition.mode,
        keys.join(", ")
    )
});

impl ExecutionPlan for SessionAggregateExec {
    node_over!("SessionAggregateExec", [input], |this| {
        Ok(Arc::new(Self::over(
            input,
            Arc::clone(&this.definition),
            this.bound,
        )))
    });
    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let input = self.input.execute(partition, context)?;
        let work = run_partition(
            Arc::clone(&self.definition),
            self.bound,
            partition,
            input,
            runtime,
        );
        Ok(rows_after(self.schema(), work))
    }
}
