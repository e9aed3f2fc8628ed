//! The stateful aggregation: merges an epoch's partial aggregates into keyed state and lets out what the output mode
//! allows.
//!
//! Its input is a partial aggregation over the epoch's rows, behind an exchange by key. It does all its work, the
//! check-in of the new state included, before its first output row: whoever stops reading early cannot leave a state
//! half written. Cost is that of the keys touched and expired, never of the whole state, except that complete mode
//! gives out everything, and that a window kept as slices is put together of all of them when it ends.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, RecordBatch, UInt64Array},
        compute::{concat_batches, filter_record_batch, take_arrays},
        datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    },
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::TaskContext,
    functions_aggregate::count::count_udaf,
    physical_expr::{
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::lit,
    },
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        aggregates::{AggregateExec, group_values::new_group_values, order::GroupOrdering},
        execution_plan::EmissionType,
    },
};
use futures::TryStreamExt;
use headwater_core::{OutputMode, Watermark};
use headwater_state::{KeyedState, StateSpec, StoreLayout};

use crate::{
    accumulate::AggregateLayout,
    binding::{BindEpoch, Bound, EpochBinding},
    dedup::DedupExec,
    distinct::{distinct_spec, distinct_store, new_values},
    exchange::{TagOriginExec, exchange_by_columns, exchange_by_key, in_order_of_origin},
    expiry::Expiry,
    limit::StreamLimitExec,
    node::{display_as, no_expressions, node_over, properties, rows_after},
    report::Report,
    runtime::{EpochRuntime, external},
    session::SessionAggregateExec,
    state_provider::StateAddress,
    stores::{expiry_text, shown, with_shown_names},
    window::{AssignWindowsExec, ClosingWindows, SlicedAggregate, Span, aggregate_slices},
};

/// Name of the store that holds the groups.
const GROUPS: &str = "groups";

/// Name of that store where it holds slices of windows.
const SLICES: &str = "slices";

/// Name of the key that names slices.
const SLICE: &str = "__slice_0";

/// Minimum width of a time bucket of the state: narrower windows share a segment.
const BUCKET_MILLIS: i64 = 10_000;

/// What the operator is, the same in every epoch.
#[derive(Debug)]
struct Definition {
    operator: String,
    mode: OutputMode,
    /// Grouping columns that lead the input and the output.
    keys: usize,
    /// Which key expires, if any.
    expiry: Option<Expiry>,
    /// How windows end that state has slices of; their column is its last key.
    closing: Option<ClosingWindows>,
    layout: AggregateLayout,
    /// Whether the last input column counts the rows of each group.
    counted: bool,
    spec: StateSpec,
    /// Input columns without the tag of origin.
    partial: SchemaRef,
    output: SchemaRef,
}

/// Merges partial aggregates into state.
#[derive(Debug, Clone)]
pub struct StatefulAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    definition: Arc<Definition>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl StatefulAggregateExec {
    /// Replaces the final step of an aggregation whose partial step is `partial`. `output` is the schema of the final
    /// step: the grouping columns, then the results.
    pub fn try_new(
        partial: &AggregateExec,
        input: Arc<dyn ExecutionPlan>,
        operator: String,
        mode: OutputMode,
        expiry: Option<Expiry>,
        output: SchemaRef,
    ) -> Result<Self> {
        let counted = partial.group_expr().has_grouping_set();
        let aggregates = match partial.aggr_expr() {
            [aggregates @ .., _rows] if counted => aggregates,
            aggregates => aggregates,
        };
        let one_group = partial.group_expr().is_true_no_grouping();
        let layout = AggregateLayout::try_new(aggregates, &partial.input_schema(), one_group)?;
        let partial_schema = partial.schema();
        let keys = partial_schema.fields().len() - layout.incoming_columns() - usize::from(counted);
        let definition = Arc::new(Definition {
            operator,
            mode,
            keys,
            spec: StateSpec {
                keys: key_schema(&partial_schema, keys),
                values: Arc::clone(layout.values()),
                // As the exchange below deals rows out: without keys, not by the constant that stands for them.
                owner_columns: Some(keys),
                expires: expiry.is_some(),
                bucket_millis: BUCKET_MILLIS,
                chained: layout.chained(),
            },
            expiry,
            closing: None,
            layout,
            counted,
            partial: partial_schema,
            output,
        });
        Ok(Self::over(input, definition, Bound::NOT_YET))
    }

    fn over(input: Arc<dyn ExecutionPlan>, definition: Arc<Definition>, bound: Bound) -> Self {
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

    /// The operator's id.
    pub fn operator(&self) -> &str {
        &self.definition.operator
    }

    /// The same operator with its input exchanged by key over `partitions`. Called once the rest of the physical plan
    /// is final, since DataFusion's own passes would remove a hand-made exchange.
    ///
    /// Where windows that overlap end with the watermark its state has slices of them, unless it `keeps_windows`: those
    /// that its checkpoint holds.
    pub fn with_exchange(&self, partitions: usize, keeps_windows: bool) -> Result<Self> {
        let mut input = Arc::clone(&self.input);
        if self.definition.layout.order_sensitive() {
            input = Arc::new(TagOriginExec::new(input));
        } else {
            if let Some(sliced) = aggregate_slices(&input)? {
                let definition = self
                    .definition
                    .in_slices(&sliced)
                    .filter(|_| !keeps_windows);
                if let Some(definition) = definition {
                    let input = windows_in_any_order(Arc::clone(sliced.plan()))?;
                    let owners = definition.owners();
                    let input = exchange_by_columns(input, &owners, partitions)?;
                    return Ok(Self::over(input, Arc::new(definition), self.bound));
                }
                input = sliced.in_windows();
            }
            input = windows_in_any_order(input)?;
        }
        let input = exchange_by_key(input, self.definition.keys, partitions)?;
        Ok(Self::over(input, Arc::clone(&self.definition), self.bound))
    }

    /// Whether these recorded stores of an aggregation hold whole windows, which cannot become slices.
    pub fn holds_windows(stores: &[StoreLayout]) -> bool {
        stores.iter().any(|store| store.name == GROUPS)
    }
}

/// Lets the windows below an aggregation come in the order that costs least, down to the next operator that counts on
/// the order of rows.
fn windows_in_any_order(input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let relaxed = input.transform_down(|node| {
        let counts_on_order = node.is::<StreamLimitExec>()
            || node.is::<StatefulAggregateExec>()
            || node.is::<SessionAggregateExec>()
            || node.is::<DedupExec>();
        if counts_on_order {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        Ok(match node.downcast_ref::<AssignWindowsExec>() {
            Some(windows) => Transformed::yes(Arc::new(windows.in_any_order()) as _),
            None => Transformed::no(node),
        })
    })?;
    Ok(relaxed.data)
}

/// The grouping columns; one constant column where there are none, because a key must have a column.
fn key_schema(partial: &Schema, keys: usize) -> SchemaRef {
    let fields: Vec<_> = if keys == 0 {
        vec![Arc::new(Field::new("all rows", DataType::Int8, false))]
    } else {
        partial.fields()[..keys]
            .iter()
            .map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true)))
            .collect()
    };
    Arc::new(Schema::new(fields))
}

impl BindEpoch for StatefulAggregateExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        Some((&self.definition.operator, self.definition.layouts()))
    }
}

/// The stores of one partition.
struct Stores {
    groups: KeyedState,
    distinct: Vec<KeyedState>,
}

/// What one epoch did to one partition.
#[derive(Default)]
struct Outcome {
    output: Vec<RecordBatch>,
    updated: usize,
    removed: usize,
}

impl Definition {
    /// The same with state that has slices; `None` where windows do not all end, or not together with what is kept of
    /// them.
    fn in_slices(&self, sliced: &SlicedAggregate) -> Option<Self> {
        let expiry = self.expiry.filter(|_| self.mode == OutputMode::Append)?;
        let closing = sliced.closing_windows(expiry)?;
        let order = closing.key_order();
        let slice = order.len() - 1;
        let keys = order.iter().enumerate().map(|(place, key)| {
            let field = self.spec.keys.field(*key).clone();
            Arc::new(if place == slice {
                field.with_name(SLICE)
            } else {
                field
            })
        });
        Some(Self {
            operator: self.operator.clone(),
            mode: self.mode,
            keys: self.keys,
            expiry: self.expiry,
            layout: self.layout.clone(),
            counted: self.counted,
            spec: StateSpec {
                keys: Arc::new(Schema::new(keys.collect::<Vec<_>>())),
                owner_columns: Some(slice),
                ..self.spec.clone()
            },
            closing: Some(closing),
            partial: Arc::clone(&self.partial),
            output: Arc::clone(&self.output),
        })
    }

    /// Input columns that decide which partition owns a key.
    fn owners(&self) -> Vec<usize> {
        match &self.closing {
            None => (0..self.keys).collect(),
            Some(closing) => {
                let mut others = closing.key_order();
                others.pop();
                others
            }
        }
    }

    /// Which key of state decides when it expires.
    fn expiring_key(&self, expiry: Expiry) -> usize {
        match &self.closing {
            None => expiry.column,
            Some(_) => self.spec.keys.fields().len() - 1,
        }
    }

    /// When each of these keys expires.
    fn expiry_of(&self, keys: &[ArrayRef]) -> Result<Option<Int64Array>> {
        match (&self.closing, self.expiry) {
            (Some(closing), _) => closing.expiry(keys).map(Some),
            (None, Some(expiry)) => expiry.millis(keys).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// One epoch of one partition, without I/O.
    fn run(&self, stores: &mut Stores, partial: &RecordBatch, span: Span) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if partial.num_rows() > 0 {
            self.fold(stores, partial, &mut outcome)?;
        }
        if let Some(closing) = &self.closing {
            self.close(closing, stores, span, &mut outcome)?;
        } else if self.expiry.is_some() && self.mode != OutputMode::Complete {
            let emits = self.mode == OutputMode::Append;
            let limit = span.until;
            let expired = stores.groups.expire(limit, emits).map_err(external)?;
            outcome.removed = expired.removed;
            for store in &mut stores.distinct {
                store.expire(limit, false).map_err(external)?;
            }
            self.emit_stored(expired.rows, &mut outcome.output)?;
        }
        if self.mode == OutputMode::Complete {
            let all = stores.groups.scan().map_err(external)?;
            self.emit_stored(all, &mut outcome.output)?;
        }
        Ok(outcome)
    }

    /// Gives out the windows that end, and forgets the slices that are in no other.
    fn close(
        &self,
        closing: &ClosingWindows,
        stores: &mut Stores,
        span: Span,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let Some(needed) = closing.needed(span) else {
            return Ok(());
        };
        let rows = stores.groups.scan_until(needed).map_err(external)?;
        for columns in closing.close(&rows, span)? {
            let rows = columns.first().map_or(0, |column| column.len());
            outcome.output.push(self.output_batch(columns, rows)?);
        }
        let expired = stores.groups.expire(span.until, false).map_err(external)?;
        outcome.removed = expired.removed;
        Ok(())
    }

    /// When the watermark next ends something that the partition holds, in milliseconds.
    fn next_expiry(&self, groups: &KeyedState, watermark: Watermark) -> Option<i64> {
        let first = groups.earliest_expiry()?;
        Some(match &self.closing {
            None => first,
            Some(closing) => closing.next_end(first, watermark),
        })
    }

    /// Merges partial rows into the state of the keys they touch; update mode gives those out.
    ///
    /// Groups are numbered with the known keys first: DataFusion's accumulators take it that whatever lies below the
    /// number of groups they are told has had a row, and forget nulls otherwise.
    fn fold(
        &self,
        stores: &mut Stores,
        partial: &RecordBatch,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let keys = self.keys_of(partial);
        let states = &partial.columns()[self.keys..];
        let expiry = self.expiry_of(&keys)?;
        let touched = stores
            .groups
            .touch(&keys, expiry.as_ref())
            .map_err(external)?;
        let groups = touched.len();
        let layout = &self.layout;
        let mut accumulators = layout.fresh()?;
        let order = if layout.chained() {
            (0..groups).collect()
        } else {
            let (mut known, values) = stores.groups.gather(&touched).map_err(external)?;
            if !known.is_empty() {
                let numbers: Vec<usize> = (0..known.len()).collect();
                layout.merge_stored(&mut accumulators, &values, &numbers, known.len())?;
            }
            known.extend(touched.new_ids());
            known
        };
        let row_groups = renumbered(touched.row_ids(), &order);
        layout.merge_incoming(&mut accumulators, states, &row_groups, groups)?;
        for (distinct, store) in layout.distinct().zip(&mut stores.distinct) {
            let lists = &states[distinct.column];
            let new = new_values(store, &keys, expiry.as_ref(), &row_groups, lists)?;
            let number = distinct.number;
            layout.update_distinct(&mut accumulators, number, &new.values, &new.ids, groups)?;
        }
        let merged = layout.states(&mut accumulators)?;
        stores
            .groups
            .put_ids(&touched, &order, merged.clone())
            .map_err(external)?;
        outcome.updated = groups;
        if self.mode == OutputMode::Update {
            let mut accumulators = layout.fresh()?;
            if layout.chained() {
                let (ids, values) = stores.groups.gather(&touched).map_err(external)?;
                layout.merge_stored(&mut accumulators, &values, &ids, groups)?;
            } else {
                let numbers: Vec<usize> = (0..groups).collect();
                layout.merge_stored(&mut accumulators, &merged, &numbers, groups)?;
            }
            let order = UInt64Array::from_iter_values(order.iter().map(|id| *id as u64));
            let mut columns = take_arrays(&touched.keys()[..self.keys], &order, None)?;
            columns.extend(layout.results(&mut accumulators)?);
            outcome.output.push(self.output_batch(columns, groups)?);
        }
        Ok(())
    }

    /// Gives out stored rows: keys as they are, states evaluated.
    fn emit_stored(&self, rows: Vec<RecordBatch>, output: &mut Vec<RecordBatch>) -> Result<()> {
        let key_columns = self.spec.keys.fields().len();
        let Some(first) = rows.first() else {
            return Ok(());
        };
        // A chain may lie across batches, so those are evaluated together.
        let rows = if self.layout.chained() {
            vec![concat_batches(&first.schema(), &rows)?]
        } else {
            rows
        };
        for batch in rows.into_iter().filter(|batch| batch.num_rows() > 0) {
            let (stored_keys, states) = batch.columns().split_at(key_columns);
            let (mut columns, ids, groups) = if self.layout.chained() {
                let mut index =
                    new_group_values(Arc::clone(&self.spec.keys), &GroupOrdering::None)?;
                let mut ids = Vec::new();
                index.intern(stored_keys, &mut ids)?;
                let groups = index.len();
                (
                    index.emit(datafusion::logical_expr::EmitTo::All)?,
                    ids,
                    groups,
                )
            } else {
                let rows = batch.num_rows();
                (stored_keys.to_vec(), (0..rows).collect(), rows)
            };
            let mut accumulators = self.layout.fresh()?;
            self.layout
                .merge_stored(&mut accumulators, states, &ids, groups)?;
            columns.truncate(self.keys);
            columns.extend(self.layout.results(&mut accumulators)?);
            output.push(self.output_batch(columns, groups)?);
        }
        Ok(())
    }

    fn keys_of(&self, partial: &RecordBatch) -> Vec<ArrayRef> {
        match &self.closing {
            _ if self.keys == 0 => vec![Arc::new(Int8Array::from_value(0, partial.num_rows()))],
            None => partial.columns()[..self.keys].to_vec(),
            Some(closing) => {
                let order = closing.key_order().into_iter();
                order.map(|key| Arc::clone(partial.column(key))).collect()
            }
        }
    }

    fn output_batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options =
            datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.output),
            columns,
            &options,
        )?)
    }

    fn stores(&self) -> Vec<(String, StateSpec)> {
        let groups = match self.closing {
            None => GROUPS,
            Some(_) => SLICES,
        };
        let mut stores = vec![(groups.to_owned(), self.spec.clone())];
        stores.extend(self.layout.distinct().map(|distinct| {
            (
                distinct_store(distinct.number),
                distinct_spec(&self.spec, distinct.argument),
            )
        }));
        stores
    }

    fn expiry_text(&self, expiry: Expiry) -> String {
        let key = self.spec.keys.field(self.expiring_key(expiry));
        match self.closing {
            None => expiry_text(key.name(), expiry),
            Some(_) => format!("the end of the last window over {}", shown(key.name())),
        }
    }

    /// The same stores as they are recorded.
    fn layouts(&self) -> Vec<StoreLayout> {
        let serve = self.layout.distinct().map(|distinct| Some(distinct.name));
        let stores = self.stores().into_iter();
        let layouts = stores.zip(std::iter::once(None).chain(serve));
        let layouts = layouts.map(|((name, spec), serves)| {
            let layout = with_shown_names(spec.layout(name));
            let layout = match self.expiry {
                Some(expiry) => layout.expiring(self.expiry_text(expiry)),
                None => layout,
            };
            match serves {
                Some(aggregate) => layout.serving(aggregate),
                None => layout,
            }
        });
        layouts.collect()
    }
}

/// Counts the rows of each group, as last aggregate of a partial step over grouping sets: the set `()` gives a group
/// even where there are no rows, and only the count tells.
pub fn count_of_rows(input: &SchemaRef) -> Result<AggregateFunctionExpr> {
    AggregateExprBuilder::new(count_udaf(), vec![lit(1_i64)])
        .schema(Arc::clone(input))
        .alias("rows")
        .build()
}

/// Leaves out groups without rows, and the column of [`count_of_rows`].
fn groups_with_rows(partial: &RecordBatch) -> Result<RecordBatch> {
    let last = partial.num_columns() - 1;
    let counts = partial.column(last).as_primitive::<Int64Type>();
    let with_rows: BooleanArray = counts.iter().map(|count| Some(count > Some(0))).collect();
    let columns: Vec<usize> = (0..last).collect();
    Ok(filter_record_batch(
        &partial.project(&columns)?,
        &with_rows,
    )?)
}

/// The number of each row's group, where `order[number]` is the group's id.
fn renumbered(row_ids: &[usize], order: &[usize]) -> Vec<usize> {
    if order.is_sorted() {
        return row_ids.to_vec();
    }
    let mut numbers = vec![0; order.len()];
    for (number, id) in order.iter().enumerate() {
        numbers[*id] = number;
    }
    row_ids.iter().map(|id| numbers[*id]).collect()
}

/// One epoch of one partition: state in, work, state out.
async fn run_partition(
    definition: Arc<Definition>,
    bound: Bound,
    partition: usize,
    input: SendableRecordBatchStream,
    runtime: Arc<EpochRuntime>,
) -> Result<Vec<RecordBatch>> {
    let partition = u32::try_from(partition)
        .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
    let mut states = Vec::new();
    for (store, spec) in definition.stores() {
        let address = StateAddress {
            operator: definition.operator.clone(),
            store: store.clone(),
            partition,
        };
        let state = runtime
            .state
            .check_out(&address, bound.reads, &spec, runtime.state.partitions())
            .await
            .map_err(external)?;
        states.push((store, state));
    }
    let tagged = input.schema();
    let batches: Vec<RecordBatch> = input.try_collect().await?;
    let mut partial = concat_batches(&tagged, &batches)?;
    if definition.layout.order_sensitive() {
        partial = in_order_of_origin(&partial, &definition.partial)?;
    }
    if definition.counted {
        partial = groups_with_rows(&partial)?;
    }
    let mut states = states.into_iter();
    let (Some((_, groups)), distinct) = (states.next(), states.map(|(_, state)| state).collect())
    else {
        return Err(DataFusionError::Internal(
            "an aggregation has no store".to_owned(),
        ));
    };
    let mut stores = Stores { groups, distinct };
    let span = Span::between(bound.late_watermark, bound.watermark);
    let outcome = definition.run(&mut stores, &partial, span)?;
    let memory: usize = stores.groups.memory_bytes()
        + stores
            .distinct
            .iter()
            .map(KeyedState::memory_bytes)
            .sum::<usize>();
    runtime.outbox.post(Report::State {
        operator: definition.operator.clone(),
        total: stores.groups.len() as u64,
        updated: outcome.updated as u64,
        removed: outcome.removed as u64,
        memory_bytes: memory as u64,
    });
    runtime.outbox.post_next_expiry(
        &definition.operator,
        definition.next_expiry(&stores.groups, bound.watermark),
        bound.watermark,
    );
    let names = definition.stores().into_iter().map(|(name, _)| name);
    let states = std::iter::once(stores.groups).chain(stores.distinct);
    runtime
        .state
        .check_in(
            &definition.operator,
            partition,
            bound.writes,
            names.zip(states).collect(),
            runtime.state.partitions(),
        )
        .map_err(external)?;
    Ok(outcome.output)
}

display_as!(StatefulAggregateExec, |this, f| {
    write!(
        f,
        "StatefulAggregateExec: operator={}, mode={}, keys=[{}], expires={}",
        this.definition.operator,
        this.definition.mode,
        this.definition
            .spec
            .keys
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect::<Vec<_>>()
            .join(", "),
        this.definition.expiry.map_or("never".to_owned(), |expiry| {
            let keys = &this.definition.spec.keys;
            let key = keys.field(this.definition.expiring_key(expiry)).name();
            match this.definition.closing {
                None => format!("{key} + {}us", expiry.extra_micros),
                Some(_) => format!("last window over {key}"),
            }
        }),
    )
});

impl ExecutionPlan for StatefulAggregateExec {
    node_over!("StatefulAggregateExec", [input], |this| {
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

#[cfg(test)]
mod tests;
