//! How often a static table is read, and what is kept.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    },
    catalog::memory::MemorySourceConfig,
    common::NullEquality,
    execution::TaskContext,
    physical_expr::expressions::Column,
    physical_plan::{
        PlanProperties, SendableRecordBatchStream, collect,
        execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions},
        joins::HashJoinExecBuilder,
    },
};

use super::*;
use crate::node::{display_as, no_expressions, node_over, properties};

fn keys(count: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("k", DataType::Int64, false)]);
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_new(Arc::new(schema), vec![keys]).unwrap()
}

fn rows(batch: RecordBatch) -> Arc<dyn ExecutionPlan> {
    let schema = batch.schema();
    MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap()
}

/// Counts how often its input is read.
#[derive(Debug, Clone)]
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
    reads: Arc<AtomicUsize>,
    properties: Arc<PlanProperties>,
}

display_as!(CountedExec, |_this, f| write!(f, "CountedExec"));

impl ExecutionPlan for CountedExec {
    node_over!("CountedExec", [], |this| Ok(this));

    no_expressions!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.reads.fetch_add(1, SeqCst);
        self.input.execute(partition, context)
    }
}

/// A join with a table of ten keys, and the number of times the table was read.
struct Case {
    join: Arc<dyn ExecutionPlan>,
    reads: Arc<AtomicUsize>,
}

impl Case {
    fn new(join_type: JoinType, is_versioned: bool, used: Use) -> Self {
        let reads = Arc::new(AtomicUsize::new(0));
        let table = rows(keys(10));
        let counted = CountedExec {
            properties: properties(table.schema(), 1, EmissionType::Incremental),
            input: table,
            reads: Arc::clone(&reads),
        };
        let table = TableExec::new(0, Arc::new(counted), is_versioned).used(used);
        let key: Arc<dyn datafusion::physical_expr::PhysicalExpr> = Arc::new(Column::new("k", 0));
        let on = vec![(Arc::clone(&key), key)];
        let join = HashJoinExecBuilder::new(Arc::new(table), rows(keys(3)), on, join_type)
            .with_partition_mode(PartitionMode::CollectLeft)
            .with_null_equality(NullEquality::NullEqualsNothing)
            .build_exec()
            .unwrap();
        Self { join, reads }
    }

    /// Runs some epochs; how often the table was read in all.
    async fn run(&self, epochs: usize) -> usize {
        for epoch in 0..epochs {
            // As binding does it: the stream's side is another one in each epoch.
            let bound = Arc::clone(&self.join)
                .transform_up(|node| reset(node).map(Transformed::yes))
                .unwrap();
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            let children = vec![Arc::clone(bound.data.children()[0]), rows(keys(3))];
            let plan = bound.data.replace_children(children, recompute).unwrap();
            let batches = collect(plan, Arc::default()).await.unwrap();
            let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(found, 3, "epoch {epoch}");
        }
        self.reads.load(SeqCst)
    }
}

#[tokio::test]
async fn a_join_keeps_what_it_has_built_until_it_is_told_to_forget() {
    let mut case = Case::new(JoinType::Inner, true, Use::Read);
    assert_eq!(case.run(5).await, 1);
    case.join = forget_builds(case.join).unwrap();
    assert_eq!(case.run(5).await, 2);
}

#[tokio::test]
async fn a_table_that_may_change_at_any_time_is_read_in_each_epoch() {
    assert_eq!(Case::new(JoinType::Right, false, Use::Read).run(3).await, 3);
}

#[tokio::test]
async fn a_join_that_writes_into_what_it_has_built_gets_the_rows_from_memory() {
    let case = Case::new(JoinType::LeftSemi, true, Use::Remember);
    assert_eq!(case.run(3).await, 1);
}
