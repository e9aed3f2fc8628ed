//! Runs real partial aggregations, for tests of the operators behind them.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::RecordBatch, compute::concat_batches, datatypes::SchemaRef,
        util::pretty::pretty_format_batches,
    },
    common::tree_node::{TreeNode, TreeNodeRecursion},
    datasource::MemTable,
    execution::session_state::SessionStateBuilder,
    optimizer::Optimizer,
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode},
        collect,
    },
    prelude::{SessionConfig, SessionContext},
};

/// A session with `batch` as table `t`.
pub(crate) fn context(batch: &RecordBatch) -> SessionContext {
    // As the planner does it: this rule would turn a DISTINCT aggregate into two aggregations.
    let rules = Optimizer::new()
        .rules
        .into_iter()
        .filter(|rule| rule.name() != "single_distinct_aggregation_to_group_by")
        .collect();
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(1))
        .with_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

/// The partial step of `sql` over `batch`, and the schema of its final step.
pub(crate) async fn partial(
    sql: &str,
    batch: &RecordBatch,
) -> (AggregateExec, SchemaRef, RecordBatch) {
    let context = context(batch);
    let plan = context
        .sql(sql)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let mut found = None;
    plan.apply(|node| {
        if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
            found.get_or_insert_with(|| aggregate.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    let last = found.expect("an aggregation");
    let step = match last.input().downcast_ref::<AggregateExec>() {
        Some(partial) => partial.clone(),
        None => AggregateExec::try_new(
            AggregateMode::Partial,
            last.group_expr().clone(),
            last.aggr_expr().to_vec(),
            last.filter_expr().to_vec(),
            Arc::clone(last.input()),
            last.input_schema(),
        )
        .unwrap(),
    };
    let batches = collect(Arc::new(step.clone()), context.task_ctx())
        .await
        .unwrap();
    let rows = concat_batches(&step.schema(), &batches).unwrap();
    (step, last.schema(), rows)
}

/// Rows as text, sorted.
pub(crate) fn sorted(batches: &[RecordBatch]) -> String {
    let text = pretty_format_batches(batches).unwrap().to_string();
    // The widths of columns follow their names, which do not matter here.
    let mut lines: Vec<String> = text
        .lines()
        .skip(3)
        .filter(|line| !line.starts_with('+'))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}
