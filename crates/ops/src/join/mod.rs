//! The join of two streams: keeps rows of both sides until no match can come any more.
//!
//! An epoch joins the new left rows with the right rows in state, adds them to state, and joins the new right rows with
//! all left rows: each pair comes exactly once. (In a semi join the right rows go first.) What the watermark has passed is removed then; where rows come out
//! without a match too, those that never found one come out as they go, once.
//!
//! Both inputs are exchanged by key. All work, the check-in of the new state included, is done before the first output
//! row: whoever stops reading early cannot leave a state half written. An epoch costs its rows, the pairs it finds and
//! the rows that expire, whatever else is in state.

mod definition;
mod epoch;
mod pairs;
mod range;

use std::sync::Arc;

use datafusion::{
    arrow::array::RecordBatch,
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
    },
};
use futures::TryStreamExt;
use headwater_state::{RowStore, StoreLayout};

use self::epoch::JoinEpoch;
pub use self::{
    definition::{JoinInput, StreamJoin},
    range::Near,
};
use crate::{
    binding::{BindEpoch, Bound, EpochBinding},
    exchange::exchange_by_key,
    node::{display_as, node_over, properties, rows_after},
    report::Report,
    runtime::{EpochRuntime, external},
    state_provider::StateAddress,
    stores::{expiry_text, with_shown_names},
    work_sharing::share_work,
};

/// Names of the stores that hold the rows of each side.
const STORES: [&str; 2] = ["left", "right"];

/// Joins two streams.
#[derive(Debug, Clone)]
pub struct StreamJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    definition: Arc<StreamJoin>,
    bound: Bound,
    properties: Arc<PlanProperties>,
}

impl StreamJoinExec {
    /// Joins `left` and `right`, whose columns lie as `definition` says.
    ///
    /// # Errors
    /// A definition that does not fit the inputs, which would be a defect of planning.
    pub fn try_new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        definition: StreamJoin,
    ) -> Result<Self> {
        definition.check([&left.schema(), &right.schema()])?;
        Ok(Self::over(
            left,
            right,
            Arc::new(definition),
            Bound::NOT_YET,
        ))
    }

    fn over(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        definition: Arc<StreamJoin>,
        bound: Bound,
    ) -> Self {
        Self {
            properties: properties(
                Arc::clone(&definition.schema),
                left.properties().output_partitioning().partition_count(),
                EmissionType::Final,
            ),
            left,
            right,
            definition,
            bound,
        }
    }

    /// The operator's id.
    pub fn operator(&self) -> &str {
        &self.definition.operator
    }

    /// The same operator with its inputs exchanged by key over `partitions`. Called once the rest of the physical plan
    /// is final, since DataFusion's own passes would remove a hand-made exchange.
    ///
    /// # Errors
    /// Whatever the exchange refuses.
    pub fn with_exchange(&self, partitions: usize) -> Result<Self> {
        let exchange = |input| {
            let input = share_work(Arc::clone(input))?;
            exchange_by_key(input, self.definition.keys, partitions)
        };
        Ok(Self::over(
            exchange(&self.left)?,
            exchange(&self.right)?,
            Arc::clone(&self.definition),
            self.bound,
        ))
    }
}

impl BindEpoch for StreamJoinExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            bound: Bound::to(binding),
            ..self.clone()
        }))
    }

    fn lag_millis(&self) -> i64 {
        self.definition.lag_millis
    }

    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        let inputs = [&self.left, &self.right];
        let layouts = STORES.iter().enumerate().map(|(side, store)| {
            let schema = inputs[side].schema();
            let layout = self.definition.spec(side, &schema).layout(*store);
            match self.definition.inputs[side].expiry {
                Some(expiry) => {
                    layout.expiring(expiry_text(schema.field(expiry.column).name(), expiry))
                }
                None => layout,
            }
        });
        let layouts = layouts.map(with_shown_names).collect();
        Some((&self.definition.operator, layouts))
    }
}

/// When the next stored row goes: one that may come out then, in a join that keeps rows without a match.
fn next_to_go(definition: &StreamJoin, stores: &[RowStore; 2]) -> Option<i64> {
    let keeps_none = !(definition.keeps(0) || definition.keeps(1));
    let sides = (0..stores.len()).filter(|side| keeps_none || definition.keeps(*side));
    sides
        .filter_map(|side| stores[side].earliest_expiry())
        .min()
}

/// One epoch of one partition: state in, work, state out.
async fn run_partition(
    definition: Arc<StreamJoin>,
    bound: Bound,
    partition: usize,
    inputs: [SendableRecordBatchStream; 2],
    runtime: Arc<EpochRuntime>,
) -> Result<Vec<RecordBatch>> {
    let partition = u32::try_from(partition)
        .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
    let state = &runtime.state;
    let schemas = inputs.each_ref().map(|input| input.schema());
    let [left, right] = inputs;
    let stored = async {
        let mut stores = Vec::with_capacity(STORES.len());
        for (side, store) in STORES.into_iter().enumerate() {
            let address = StateAddress {
                operator: definition.operator.clone(),
                store: store.to_owned(),
                partition,
            };
            let spec = definition.spec(side, &schemas[side]);
            let state = state.check_out_rows(&address, bound.reads, &spec, state.partitions());
            stores.push(state.await.map_err(external)?);
        }
        <[RowStore; 2]>::try_from(stores)
            .map_err(|_| DataFusionError::Internal("a join has two stores".to_owned()))
    };
    let rows = async {
        let left = left.try_collect::<Vec<RecordBatch>>();
        let right = right.try_collect::<Vec<RecordBatch>>();
        futures::try_join!(left, right)
    };
    let (stores, (left, right)) = futures::try_join!(stored, rows)?;
    let mut epoch = JoinEpoch::new(&definition, stores, bound.watermark);
    epoch.take_all([left, right])?;
    let outcome = epoch.finish()?;
    let stores = outcome.stores;
    runtime.outbox.post(Report::State {
        operator: definition.operator.clone(),
        total: stores.iter().map(|store| store.len() as u64).sum(),
        updated: outcome.updated as u64,
        removed: outcome.removed as u64,
        memory_bytes: stores.iter().map(|store| store.memory_bytes() as u64).sum(),
    });
    runtime.outbox.post_next_expiry(
        &definition.operator,
        next_to_go(&definition, &stores),
        bound.watermark,
    );
    let names = STORES.into_iter().map(str::to_owned);
    state
        .check_in(
            &definition.operator,
            partition,
            bound.writes,
            names.zip(stores).collect(),
            state.partitions(),
        )
        .map_err(external)?;
    Ok(outcome.output)
}

display_as!(StreamJoinExec, |this, f| {
    let definition = &this.definition;
    write!(
        f,
        "StreamJoinExec: operator={}, type={}, keys={}",
        definition.operator, definition.join_type, definition.keys
    )?;
    for (side, input) in STORES.iter().zip([&this.left, &this.right]) {
        let number = usize::from(*side == STORES[1]);
        let schema = input.schema();
        match definition.inputs[number].expiry {
            None => write!(f, ", {side} expires=never")?,
            Some(expiry) => write!(
                f,
                ", {side} expires={} + {}us",
                schema.field(expiry.column).name(),
                expiry.extra_micros
            )?,
        }
    }
    match &definition.filter {
        Some(filter) => write!(f, ", filter={}", filter.expression()),
        None => Ok(()),
    }
});

impl ExecutionPlan for StreamJoinExec {
    node_over!("StreamJoinExec", [left, right], |this| {
        let definition = Arc::clone(&this.definition);
        Ok(Arc::new(Self::over(left, right, definition, this.bound)))
    });

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let own = self
            .definition
            .inputs
            .iter()
            .filter_map(|input| input.own.as_ref());
        let filter = self
            .definition
            .filter
            .iter()
            .map(|filter| filter.expression());
        for expr in own.chain(filter) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let inputs = [
            self.left.execute(partition, Arc::clone(&context))?,
            self.right.execute(partition, context)?,
        ];
        let definition = Arc::clone(&self.definition);
        let work = run_partition(definition, self.bound, partition, inputs, runtime);
        Ok(rows_after(self.schema(), work))
    }
}

#[cfg(test)]
mod tests;
