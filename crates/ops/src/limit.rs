//! LIMIT over a stream: the first rows in order of arrival, counted over the life of the query in append mode and per
//! epoch where the input is a whole result (complete mode).
//!
//! Where the input is sorted, the first rows are those of the order.
//!
//! The input is always read to its end, so that stateful operators below finish their epoch.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Int8Array, RecordBatch, UInt64Array},
        datatypes::{DataType, Field, Schema, UInt64Type},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_expr::{Distribution, LexOrdering, OrderingRequirements},
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, common::spawn_buffered,
        execution_plan::EmissionType,
    },
};
use futures::{StreamExt, future};
use headwater_state::{KeyedState, StateSpec, StoreLayout};

use crate::{
    binding::{BindEpoch, Bound, EpochBinding},
    node::{display_as, no_expressions, node_over, properties, rows_after},
    report::Report,
    runtime::{EpochRuntime, external},
    state_provider::StateAddress,
};

const STORE: &str = "count";

/// Batches that a partition may be ahead of the limit.
const READ_AHEAD: usize = 4;

/// How a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counting {
    /// Over the life of the query, in state kept by the operator of this id.
    Lifetime(String),
    /// Anew in each epoch.
    Epoch,
}

/// Lets the first `fetch` rows pass.
#[derive(Debug, Clone)]
pub struct StreamLimitExec {
    input: Arc<dyn ExecutionPlan>,
    fetch: u64,
    counting: Counting,
    /// The order of the input when the plan was made. It decides which rows are the first, so nobody may take it away.
    order: Option<LexOrdering>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl StreamLimitExec {
    /// A limit of `fetch` rows over all partitions of `input`: the first in its order, if it has one.
    pub fn new(input: Arc<dyn ExecutionPlan>, fetch: u64, counting: Counting) -> Self {
        let order = input.properties().output_ordering().cloned();
        Self::ordered(input, fetch, counting, order)
    }

    fn ordered(
        input: Arc<dyn ExecutionPlan>,
        fetch: u64,
        counting: Counting,
        order: Option<LexOrdering>,
    ) -> Self {
        let properties = properties(input.schema(), 1, EmissionType::Final);
        let properties = match order {
            None => properties,
            Some(_) => {
                let of_input = input.properties().equivalence_properties().clone();
                Arc::new(properties.as_ref().clone().with_eq_properties(of_input))
            }
        };
        Self {
            properties,
            input,
            fetch,
            counting,
            order,
            bound: Bound::NOT_YET,
        }
    }
}

impl BindEpoch for StreamLimitExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        match &self.counting {
            Counting::Lifetime(operator) => Some((operator, vec![spec().layout(STORE)])),
            Counting::Epoch => None,
        }
    }
}

fn spec() -> StateSpec {
    StateSpec {
        keys: Arc::new(Schema::new(vec![Field::new(
            "all rows",
            DataType::Int8,
            false,
        )])),
        values: Arc::new(Schema::new(vec![Field::new(
            "rows",
            DataType::UInt64,
            true,
        )])),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        chained: false,
    }
}

/// The first rows of one partition, up to `wanted`; the rest is read and forgotten.
async fn head(mut input: SendableRecordBatchStream, wanted: u64) -> Result<Vec<RecordBatch>> {
    let mut kept = Vec::new();
    let mut left = usize::try_from(wanted).unwrap_or(usize::MAX);
    while let Some(batch) = input.next().await {
        let batch = batch?;
        if left > 0 && batch.num_rows() > 0 {
            let taken = batch.slice(0, batch.num_rows().min(left));
            left -= taken.num_rows();
            kept.push(taken);
        }
    }
    Ok(kept)
}

/// The first `wanted` rows of all partitions in order.
async fn heads(inputs: Vec<SendableRecordBatchStream>, wanted: u64) -> Result<Vec<RecordBatch>> {
    let parts = future::try_join_all(inputs.into_iter().map(|input| head(input, wanted))).await?;
    let mut left = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut kept = Vec::new();
    for batch in parts.into_iter().flatten() {
        if left == 0 {
            break;
        }
        let taken = batch.slice(0, batch.num_rows().min(left));
        left -= taken.num_rows();
        kept.push(taken);
    }
    Ok(kept)
}

/// Rows let through in earlier epochs.
fn counted(state: &KeyedState) -> Result<u64> {
    let rows = state.scan().map_err(external)?;
    Ok(rows.first().map_or(0, |batch| {
        batch.column(1).as_primitive::<UInt64Type>().value(0)
    }))
}

async fn run(
    limit: StreamLimitExec,
    inputs: Vec<SendableRecordBatchStream>,
    runtime: Arc<EpochRuntime>,
) -> Result<Vec<RecordBatch>> {
    let Counting::Lifetime(operator) = &limit.counting else {
        return heads(inputs, limit.fetch).await;
    };
    let address = StateAddress {
        operator: operator.clone(),
        store: STORE.to_owned(),
        partition: 0,
    };
    let mut state = runtime
        .state
        .check_out(&address, limit.bound.reads, &spec(), 1)
        .await
        .map_err(external)?;
    let before = counted(&state)?;
    let kept = heads(inputs, limit.fetch.saturating_sub(before)).await?;
    let passed: u64 = kept.iter().map(|batch| batch.num_rows() as u64).sum();
    let changed = passed > 0;
    if changed {
        let key: ArrayRef = Arc::new(Int8Array::from_value(0, 1));
        let touched = state.touch(&[key], None).map_err(external)?;
        let value: ArrayRef = Arc::new(UInt64Array::from(vec![before + passed]));
        state.put(&touched, vec![value]).map_err(external)?;
    }
    runtime.outbox.post(Report::State {
        operator: operator.clone(),
        total: state.len() as u64,
        updated: u64::from(changed),
        removed: 0,
        memory_bytes: state.memory_bytes() as u64,
    });
    if before + passed >= limit.fetch {
        runtime.outbox.post(Report::Exhausted {
            operator: operator.clone(),
        });
    }
    runtime
        .state
        .check_in(
            operator,
            0,
            limit.bound.writes,
            vec![(STORE.to_owned(), state)],
            1,
        )
        .map_err(external)?;
    Ok(kept)
}

display_as!(StreamLimitExec, |this, f| {
    match &this.counting {
        Counting::Lifetime(operator) => {
            write!(
                f,
                "StreamLimitExec: fetch={}, operator={operator}",
                this.fetch
            )
        }
        Counting::Epoch => write!(f, "StreamLimitExec: fetch={}, per epoch", this.fetch),
    }
});

impl ExecutionPlan for StreamLimitExec {
    node_over!("StreamLimitExec", [input], |this| {
        Ok(Arc::new(Self {
            bound: this.bound,
            ..Self::ordered(input, this.fetch, this.counting.clone(), this.order.clone())
        }))
    });
    no_expressions!();

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        // An order holds within a partition only.
        match self.order {
            None => vec![Distribution::UnspecifiedDistribution],
            Some(_) => vec![Distribution::SinglePartition],
        }
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.order.is_some()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a limit has one partition, not {partition}"
            )));
        }
        let runtime = EpochRuntime::of(&context)?;
        let partitions = self
            .input
            .properties()
            .output_partitioning()
            .partition_count();
        let inputs = (0..partitions)
            .map(|partition| {
                let input = self.input.execute(partition, Arc::clone(&context))?;
                Ok(spawn_buffered(input, READ_AHEAD))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(rows_after(
            self.schema(),
            run(self.clone(), inputs, runtime),
        ))
    }
}
