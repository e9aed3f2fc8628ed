//! Tables and views that a plan reads under a name, and that the name stands for another one now.
//!
//! A plan holds the tables themselves, and of a view its plan. Where the catalog gives the very same under the name, the
//! query was written by name and follows it.

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    common::{
        TableReference,
        tree_node::{Transformed, TreeNodeRecursion},
    },
    datasource::{provider_as_source, source_as_provider},
    execution::SessionState,
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
};
use headwater_core::{Error, Result};
use headwater_ops::runtime::from_datafusion;

use crate::stream_table::{is_streaming, stream_of};

/// A static table or view under a name of the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    name: TableReference,
    table: Arc<dyn TableProvider>,
}

/// The names by which `plan`, as it was written, reads static tables and views. What a view reads inside is the view's
/// business: it was made with the tables that its names stood for then.
pub(crate) async fn names(plan: &LogicalPlan, session: &SessionState) -> Vec<Named> {
    let mut mentioned: Vec<TableReference> = Vec::new();
    walk(plan, |node| {
        let name = match node {
            LogicalPlan::TableScan(scan) if stream_of(scan).is_none() => Some(&scan.table_name),
            LogicalPlan::SubqueryAlias(alias) if !is_streaming(&alias.input) => Some(&alias.alias),
            _ => None,
        };
        mentioned.extend(name.filter(|name| !mentioned.contains(name)).cloned());
        TreeNodeRecursion::Continue
    });
    let mut known = Vec::new();
    for name in mentioned {
        if let Some(table) = look_up(&name, session).await {
            known.push(Named { name, table });
        }
    }
    let mut read = vec![false; known.len()];
    walk(plan, |node| {
        match known.iter().position(|named| named.is_read_by(node)) {
            Some(place) => {
                read[place] = true;
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        }
    });
    let read = known.into_iter().zip(read).filter(|(_, is_read)| *is_read);
    read.map(|(named, _)| named).collect()
}

fn walk(plan: &LogicalPlan, mut visit: impl FnMut(&LogicalPlan) -> TreeNodeRecursion) {
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| Ok(visit(node)));
}

/// What the catalog has under a name; a catalog that fails is taken for one that has nothing.
async fn look_up(name: &TableReference, session: &SessionState) -> Option<Arc<dyn TableProvider>> {
    let schema = session.schema_for_ref(name.clone()).ok()?;
    schema.table(name.table()).await.ok().flatten()
}

impl Named {
    /// Whether `node` is this table, or this view's plan.
    fn is_read_by(&self, node: &LogicalPlan) -> bool {
        match node {
            LogicalPlan::TableScan(scan) if scan.table_name == self.name => {
                source_as_provider(&scan.source)
                    .is_ok_and(|provider| Arc::ptr_eq(&provider, &self.table))
            }
            LogicalPlan::SubqueryAlias(alias) if alias.alias == self.name => {
                let view = self.table.get_logical_plan();
                view.is_some_and(|view| *view == *alias.input)
            }
            _ => false,
        }
    }
}

/// The plan as it was written with every name standing for what it stands for now; `None` if that is what it was.
///
/// # Errors
/// `Invalid` if a table was replaced by one with other columns, or by a stream.
pub(crate) async fn followed(
    plan: &LogicalPlan,
    names: &[Named],
    session: &SessionState,
) -> Result<Option<LogicalPlan>> {
    let mut now = Vec::with_capacity(names.len());
    let mut has_changed = false;
    for named in names {
        // A name that is gone is what it was.
        let table = look_up(&named.name, session).await;
        let table = table.unwrap_or_else(|| Arc::clone(&named.table));
        if !Arc::ptr_eq(&table, &named.table) {
            check_replacement(named, &table)?;
            has_changed = true;
        }
        now.push(table);
    }
    if !has_changed {
        return Ok(None);
    }
    replaced(plan.clone(), names, &now)
        .map(Some)
        .map_err(from_datafusion)
}

fn check_replacement(named: &Named, now: &Arc<dyn TableProvider>) -> Result<()> {
    let name = &named.name;
    let (before, after) = (named.table.schema(), now.schema());
    if before.fields() != after.fields() {
        let show = |schema: &datafusion::arrow::datatypes::Schema| {
            let fields = schema.fields().iter();
            let columns: Vec<String> = fields
                .map(|field| {
                    let null = if field.is_nullable() { "" } else { " not null" };
                    format!("{}: {}{null}", field.name(), field.data_type())
                })
                .collect();
            columns.join(", ")
        };
        return Err(Error::invalid(format!(
            "table '{name}' was replaced by one with other columns while the query runs: expected ({}), found ({}); \
             start the query again",
            show(&before),
            show(&after)
        )));
    }
    let streams = now
        .get_logical_plan()
        .is_some_and(|view| is_streaming(&view));
    let is_stream = <dyn TableProvider>::is::<crate::StreamTable>(now.as_ref());
    if streams || is_stream {
        return Err(Error::invalid(format!(
            "table '{name}' was replaced by a stream while the query runs: start the query again"
        )));
    }
    Ok(())
}

fn replaced(
    plan: LogicalPlan,
    names: &[Named],
    now: &[Arc<dyn TableProvider>],
) -> datafusion::error::Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| {
        let Some(place) = names.iter().position(|named| named.is_read_by(&node)) else {
            return Ok(Transformed::no(node));
        };
        let (named, table) = (&names[place], &now[place]);
        if Arc::ptr_eq(table, &named.table) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let (projection, filters, fetch) = match node {
            LogicalPlan::TableScan(scan) => (scan.projection, scan.filters, scan.fetch),
            _ => (None, Vec::new(), None),
        };
        let scan = LogicalPlanBuilder::scan_with_filters_fetch(
            named.name.clone(),
            provider_as_source(Arc::clone(table)),
            projection,
            filters,
            fetch,
        )?;
        let scan = scan.build()?;
        Ok(Transformed::new(scan, true, TreeNodeRecursion::Jump))
    })
    .map(|plan| plan.data)
}
