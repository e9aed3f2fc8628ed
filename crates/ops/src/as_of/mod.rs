//! The AS OF join of a stream with a static table: for each row the nearest row of the table with the same keys.
//!
//! The table is sorted once per version and kept from epoch to epoch (`index` finds a row in logarithmic time); the
//! stream passes through in order of arrival. The same node joins two finished tables.

mod index;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        compute::{concat_batches, filter, is_not_null, take},
        datatypes::SchemaRef,
    },
    common::{JoinType, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::PhysicalExpr,
    physical_plan::{
        Distribution, ExecutionPlan, PlanProperties, SendableRecordBatchStream, collect,
        execution_plan::{EmissionType, reset_plan_states},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, future, stream};
use tokio::sync::OnceCell;

use self::index::Index;
use crate::node::{display_as, node_over, properties};

/// Where the table's row lies that is wanted, seen from the stream's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// The last one that is not behind it. Of equal ones the one that comes last in the table.
    AtOrBefore,
    /// The last one before it.
    Before,
    /// The first one that is not before it. Of equal ones the one that comes first in the table.
    AtOrAfter,
    /// The first one behind it.
    After,
}

/// What joins a row with one of a table; expressions are over the stream's (first) and the table's columns (second).
#[derive(Debug, Clone)]
pub struct AsOf {
    /// What is equal. Nulls are equal to nothing.
    pub keys: Vec<[Arc<dyn PhysicalExpr>; 2]>,
    /// What is compared, of one type on both sides. Null is near to nothing.
    pub place: [Arc<dyn PhysicalExpr>; 2],
    /// Which of the table's rows of these keys is wanted.
    pub nearest: Nearest,
    /// How far away it may be, in microseconds; then the places are timestamps.
    pub within_micros: Option<i64>,
    /// Inner or left: whether a row without a match comes out.
    pub join_type: JoinType,
    /// The stream's columns, then the table's.
    pub schema: SchemaRef,
}

/// Adds to each row of the stream the nearest row of the table. Inputs: the table, the stream.
#[derive(Debug, Clone)]
pub struct AsOfJoinExec {
    table: Arc<dyn ExecutionPlan>,
    stream: Arc<dyn ExecutionPlan>,
    join: Arc<AsOf>,
    /// Shared by all epochs as long as the table stays as it is.
    sorted: Arc<OnceCell<Sorted>>,
    properties: Arc<PlanProperties>,
}

/// A table in memory, accounted for as long as it is there.
#[derive(Debug)]
struct Sorted {
    rows: RecordBatch,
    index: Index,
    _reservation: MemoryReservation,
}

impl AsOfJoinExec {
    /// Joins `stream` with `table`.
    ///
    /// # Errors
    /// A join that is neither inner nor left, or whose types do not fit: a defect of planning.
    pub fn try_new(
        table: Arc<dyn ExecutionPlan>,
        stream: Arc<dyn ExecutionPlan>,
        join: AsOf,
    ) -> Result<Self> {
        let wrong = |what: String| Err(DataFusionError::Internal(format!("AS OF join: {what}")));
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return wrong(format!("{} is not possible", join.join_type));
        }
        for [of_stream, of_table] in join.keys.iter().chain([&join.place]) {
            let left = of_stream.data_type(&stream.schema())?;
            let right = of_table.data_type(&table.schema())?;
            if left != right {
                return wrong(format!("{of_stream} is {left}, {of_table} is {right}"));
            }
        }
        Ok(Self::over(table, stream, Arc::new(join), Arc::default()))
    }

    fn over(
        table: Arc<dyn ExecutionPlan>,
        stream: Arc<dyn ExecutionPlan>,
        join: Arc<AsOf>,
        sorted: Arc<OnceCell<Sorted>>,
    ) -> Self {
        Self {
            properties: properties(
                Arc::clone(&join.schema),
                stream.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            table,
            stream,
            join,
            sorted,
        }
    }

    /// The input that is sorted.
    pub fn table(&self) -> &Arc<dyn ExecutionPlan> {
        &self.table
    }

    /// The same join that has sorted nothing yet.
    pub(crate) fn unsorted(&self) -> Self {
        Self {
            sorted: Arc::default(),
            ..self.clone()
        }
    }
}

impl AsOf {
    fn sorted(&self, rows: RecordBatch, context: &TaskContext) -> Result<Sorted> {
        let (keys, place) = self.evaluate(&rows, 1)?;
        let index = Index::new(&keys, &place, self.within_micros.is_some())?;
        let reservation = MemoryConsumer::new("AS OF join").register(context.memory_pool());
        reservation.try_grow(rows.get_array_memory_size() + index.size())?;
        Ok(Sorted {
            rows,
            index,
            _reservation: reservation,
        })
    }

    /// Keys and places of the rows of one side.
    fn evaluate(&self, rows: &RecordBatch, side: usize) -> Result<(Vec<ArrayRef>, ArrayRef)> {
        let array = |pair: &[Arc<dyn PhysicalExpr>; 2]| {
            let value = pair[side].evaluate(rows)?;
            value.into_array(rows.num_rows())
        };
        let keys = self.keys.iter().map(array).collect::<Result<_>>()?;
        Ok((keys, array(&self.place)?))
    }

    fn join(&self, rows: RecordBatch, table: &Sorted) -> Result<RecordBatch> {
        let (keys, place) = self.evaluate(&rows, 0)?;
        let found = table
            .index
            .nearest(&keys, &place, self.nearest, self.within_micros)?;
        let mut columns = rows.columns().to_vec();
        for column in table.rows.columns() {
            columns.push(take(column, &found, None)?);
        }
        match self.join_type {
            JoinType::Inner => {
                let matched = is_not_null(&found)?;
                let columns = columns
                    .iter()
                    .map(|column| filter(column, &matched))
                    .collect::<std::result::Result<_, _>>()?;
                Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
            }
            _ => Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?),
        }
    }
}

async fn read(
    join: &AsOf,
    table: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Sorted> {
    let schema = table.schema();
    let batches = collect(reset_plan_states(table)?, Arc::clone(&context)).await?;
    join.sorted(concat_batches(&schema, &batches)?, &context)
}

display_as!(AsOfJoinExec, |this, f| {
    write!(
        f,
        "AsOfJoinExec: {} nearest={:?}",
        this.join.join_type, this.join.nearest
    )?;
    for [left, right] in &this.join.keys {
        write!(f, ", {left} = {right}")?;
    }
    let [left, right] = &this.join.place;
    write!(f, ", {left} and {right}")
});

impl ExecutionPlan for AsOfJoinExec {
    node_over!("AsOfJoinExec", [table, stream], |this| {
        // Over the very same table what was sorted stays; the stream is another one in each epoch.
        let sorted = match Arc::ptr_eq(&table, &this.table) {
            true => Arc::clone(&this.sorted),
            false => Arc::default(),
        };
        let join = Arc::clone(&this.join);
        Ok(Arc::new(Self::over(table, stream, join, sorted)))
    });

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.unsorted()))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let pairs = self.join.keys.iter().chain([&self.join.place]);
        for expression in pairs.flatten() {
            if visit(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![
            Distribution::SinglePartition,
            Distribution::UnspecifiedDistribution,
        ]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.stream.execute(partition, Arc::clone(&context))?;
        let (sorted, join) = (Arc::clone(&self.sorted), Arc::clone(&self.join));
        let table = Arc::clone(&self.table);
        let joined = stream::once(async move {
            sorted
                .get_or_try_init(|| read(&join, table, context))
                .await?;
            let joined = input.and_then(move |rows| {
                let joined = match sorted.get() {
                    Some(table) => join.join(rows, table),
                    None => Err(DataFusionError::Internal("no table is sorted".to_owned())),
                };
                future::ready(joined)
            });
            Ok::<_, DataFusionError>(joined.boxed())
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            joined.try_flatten(),
        )))
    }
}

#[cfg(test)]
mod tests;
