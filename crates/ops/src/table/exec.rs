//! A subplan over static tables as one leaf.

use std::sync::Arc;

use datafusion::{
    arrow::array::RecordBatch,
    error::{DataFusionError, Result},
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, collect, execute_stream,
        execution_plan::{EmissionType, reset_plan_states},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{TryStreamExt, stream};
use tokio::sync::OnceCell;

use crate::node::{display_as, no_expressions, node_over, properties};

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read from the tables whenever they are asked for: what is above keeps what it makes of them, or nobody can tell
    /// whether they have changed.
    Read,
    /// Read once, then given from memory.
    Remember,
}

/// The rows of a plan over static tables, in one partition. The plan inside is none of its children: it is optimised
/// by itself and replaced as a whole.
#[derive(Debug, Clone)]
pub struct TableExec {
    number: usize,
    plan: Arc<dyn ExecutionPlan>,
    is_versioned: bool,
    used: Use,
    /// Shared by all epochs that run the plan as it is now.
    remembered: Arc<OnceCell<Remembered>>,
    properties: Arc<PlanProperties>,
}

/// Rows in memory, accounted for as long as they are there.
#[derive(Debug)]
struct Remembered {
    batches: Vec<RecordBatch>,
    _reservation: MemoryReservation,
}

impl TableExec {
    /// Subplan number `number` of a streaming plan. `is_versioned`: whether it is known when its tables change, so that it
    /// is replaced then.
    pub fn new(number: usize, plan: Arc<dyn ExecutionPlan>, is_versioned: bool) -> Self {
        Self {
            properties: properties(plan.schema(), 1, EmissionType::Incremental),
            number,
            plan,
            is_versioned,
            used: Use::Read,
            remembered: Arc::default(),
        }
    }

    /// The subplan's number.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Whether it is known when its tables change.
    pub fn is_versioned(&self) -> bool {
        self.is_versioned
    }

    /// The same subplan over tables that have changed; nothing is remembered of the old ones.
    #[must_use]
    pub fn replaced(&self, plan: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            plan,
            remembered: Arc::default(),
            ..self.clone()
        }
    }

    /// The same subplan with rows that are used so.
    #[must_use]
    pub fn used(&self, used: Use) -> Self {
        Self {
            used,
            ..self.clone()
        }
    }
}

async fn read(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Remembered> {
    let batches = collect(reset_plan_states(plan)?, Arc::clone(&context)).await?;
    let reservation = MemoryConsumer::new("static table").register(context.memory_pool());
    let bytes = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    reservation.try_grow(bytes)?;
    Ok(Remembered {
        batches,
        _reservation: reservation,
    })
}

display_as!(TableExec, |this, f| write!(
    f,
    "TableExec: table={}, {}",
    this.number,
    match this.used {
        Use::Read => "read",
        Use::Remember => "remembered",
    }
));

impl ExecutionPlan for TableExec {
    node_over!("TableExec", [], |this| Ok(this));

    no_expressions!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a static table has one partition, not {partition}"
            )));
        }
        let plan = Arc::clone(&self.plan);
        if self.used == Use::Read {
            return execute_stream(reset_plan_states(plan)?, context);
        }
        let remembered = Arc::clone(&self.remembered);
        let rows = stream::once(async move {
            let rows = remembered.get_or_try_init(|| read(plan, context)).await?;
            let batches = rows.batches.clone();
            Ok::<_, DataFusionError>(stream::iter(batches.into_iter().map(Ok)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            rows.try_flatten(),
        )))
    }
}
