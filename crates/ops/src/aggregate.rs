//! The stateful aggregation: merges an epoch's partial aggregates into keyed state and lets out what the output mode
//! allows.
//!
//! Its input is a partial aggregation over the epoch's rows, behind an exchange by key. It does all its work, the
//! check-in of the new state included, before its first output row: whoever stops reading early cannot leave a state
//! half written. Cost is that of the keys touched and expired, never of the whole state, except that complete mode
//! gives out everything, and that a window kept as slices is put together of all of them when it ends.

mod definition;
mod epoch;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{AsArray, BooleanArray, RecordBatch},
        compute::{concat_batches, filter_record_batch},
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
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, aggregates::AggregateExec,
        execution_plan::EmissionType,
    },
};
use futures::TryStreamExt;
use headwater_core::OutputMode;
use headwater_state::{KeyedState, StateSpec, StoreLayout};

use self::{
    definition::{Definition, GROUPS},
    epoch::Stores,
};
use crate::{
    accumulate::AggregateLayout,
    binding::{BindEpoch, Bound, EpochBinding},
    dedup::DedupExec,
    exchange::{exchange_by_columns, exchange_by_key},
    expiry::Expiry,
    limit::StreamLimitExec,
    node::{display_as, no_expressions, node_over, properties, rows_after},
    origin::{TagOriginExec, in_order_of_origin},
    report::Report,
    runtime::{EpochRuntime, external},
    session::SessionAggregateExec,
    state_provider::StateAddress,
    window::{AssignWindowsExec, Span, aggregate_slices},
    work_sharing::share_work,
};

/// Minimum width of a time bucket of the state: narrower windows share a segment.
const BUCKET_MILLIS: i64 = 10_000;

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
                    let input = share_work(windows_in_any_order(Arc::clone(sliced.plan()))?)?;
                    let owners = definition.owners();
                    let input = exchange_by_columns(input, &owners, partitions)?;
                    return Ok(Self::over(input, Arc::new(definition), self.bound));
                }
                input = sliced.in_windows();
            }
            input = share_work(windows_in_any_order(input)?)?;
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
