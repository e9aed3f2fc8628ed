//! Static tables in a streaming plan.
//!
//! Whatever reads static tables only is taken out of the optimised plan subplan by subplan ([`separate()`]) and planned by
//! itself. Before each epoch the tables are looked at ([`version`]): a subplan whose tables have changed is planned again,
//! and put in the place of the old one; all others stay as they are, with what was built over them. A name of the catalog
//! that stands for another table now makes the whole plan anew ([`follow`]).

pub(crate) mod follow;
mod separate;
mod version;

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    catalog::TableProvider,
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    execution::SessionState,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, joins::HashJoinExec},
};
use headwater_ops::table::TableExec;

pub(crate) use separate::separate;

use self::version::{Version, providers, version_of};
use crate::lower::plan_table;

/// A subplan that reads static tables only.
#[derive(Debug, Clone)]
struct Subplan {
    plan: LogicalPlan,
    providers: Vec<Arc<dyn TableProvider>>,
    /// Of the tables as the plan has them; `None` where one of them cannot be told.
    versions: Option<Vec<Version>>,
}

/// All such subplans of a plan, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    subplans: Vec<Subplan>,
}

impl Tables {
    /// Whether the plan reads no table.
    pub(crate) fn is_empty(&self) -> bool {
        self.subplans.is_empty()
    }

    /// These subplans, with the tables as they are now. To be called before they are planned: what changes in between
    /// is then planned once more, and not missed.
    pub(crate) async fn of(subplans: Vec<LogicalPlan>, session: &SessionState) -> Result<Self> {
        let mut tables = Self::default();
        for plan in subplans {
            let providers = providers(&plan);
            tables.subplans.push(Subplan {
                versions: versions(&providers, session).await?,
                providers,
                plan,
            });
        }
        Ok(tables)
    }

    /// Plans every subplan anew whose tables have changed, or may have; those plans by number.
    pub(crate) async fn refresh(
        &mut self,
        session: &SessionState,
    ) -> Result<BTreeMap<usize, Arc<dyn ExecutionPlan>>> {
        let mut changed = BTreeMap::new();
        for (number, subplan) in self.subplans.iter_mut().enumerate() {
            let now = versions(&subplan.providers, session).await?;
            if now.is_some() && now == subplan.versions {
                continue;
            }
            changed.insert(number, plan_table(session, &subplan.plan).await?);
            subplan.versions = now;
        }
        Ok(changed)
    }
}

async fn versions(
    providers: &[Arc<dyn TableProvider>],
    session: &SessionState,
) -> Result<Option<Vec<Version>>> {
    let mut versions = Vec::with_capacity(providers.len());
    for provider in providers {
        match version_of(provider, session).await? {
            Some(version) => versions.push(version),
            None => return Ok(None),
        }
    }
    Ok(Some(versions))
}

/// Puts new subplans in the place of those before; joins forget what they have built over those.
pub(crate) fn replace(
    plan: Arc<dyn ExecutionPlan>,
    changed: &BTreeMap<usize, Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let is_changed = |plan: &Arc<dyn ExecutionPlan>| -> bool {
        plan.exists(|node| {
            let table = node.downcast_ref::<TableExec>();
            Ok(table.is_some_and(|table| changed.contains_key(&table.number())))
        })
        .unwrap_or(true)
    };
    plan.transform_up(|node| {
        if let Some(table) = node.downcast_ref::<TableExec>() {
            return Ok(match changed.get(&table.number()) {
                Some(plan) => Transformed::yes(Arc::new(table.replaced(Arc::clone(plan)))),
                None => Transformed::no(node),
            });
        }
        match node.downcast_ref::<HashJoinExec>() {
            Some(join) if is_changed(join.left()) => Ok(Transformed::yes(node.reset_state()?)),
            _ => Ok(Transformed::no(node)),
        }
    })
    .map(|plan| plan.data)
}
