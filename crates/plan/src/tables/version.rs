//! What tells one content of a static table from another.
//!
//! Batches in memory are told apart by their addresses, which are not used again as long as a plan over them lives; files
//! by name, size, time and what the store says of them; a source by all that it has to offer. Of other tables nothing is
//! known, and they are read in each epoch.

use std::sync::Arc;

use datafusion::{
    arrow::array::RecordBatch,
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    datasource::{
        MemTable,
        listing::{ListingTable, ListingTableUrl},
        source_as_provider,
    },
    error::Result,
    execution::{SessionState, cache::TableScopedPath},
    logical_expr::LogicalPlan,
    object_store::ObjectMeta,
};
use futures::TryStreamExt;
use headwater_core::OffsetRange;

use crate::FinishedTable;

/// The content of one table at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Version {
    /// Address of the first column and number of rows of each batch.
    Batches(Vec<(usize, usize)>),
    /// Files by name.
    Files(Vec<ObjectMeta>),
    /// All that a source has; `None` if it has nothing.
    Source(Option<OffsetRange>),
}

/// The static tables in a plan, subqueries inside expressions included.
pub(crate) fn providers(plan: &LogicalPlan) -> Vec<Arc<dyn TableProvider>> {
    let mut found = Vec::new();
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            found.push(provider);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether [`version_of`] knows this kind of table.
pub(crate) fn is_versioned(provider: &Arc<dyn TableProvider>) -> bool {
    let provider = provider.as_ref();
    <dyn TableProvider>::is::<MemTable>(provider)
        || <dyn TableProvider>::is::<ListingTable>(provider)
        || <dyn TableProvider>::is::<FinishedTable>(provider)
}

/// The content as it is now; `None` if nobody can say. Lists the files of a table of files, and has DataFusion's cache
/// of such lists hold what was found.
pub(crate) async fn version_of(
    provider: &Arc<dyn TableProvider>,
    session: &SessionState,
) -> Result<Option<Version>> {
    let provider = provider.as_ref();
    if let Some(table) = <dyn TableProvider>::downcast_ref::<MemTable>(provider) {
        let mut batches = Vec::new();
        for partition in &table.batches {
            batches.extend(partition.read().await.iter().map(address));
        }
        return Ok(Some(Version::Batches(batches)));
    }
    if let Some(table) = <dyn TableProvider>::downcast_ref::<FinishedTable>(provider) {
        return Ok(Some(Version::Source(table.version().await?)));
    }
    let Some(table) = <dyn TableProvider>::downcast_ref::<ListingTable>(provider) else {
        return Ok(None);
    };
    let mut files = Vec::new();
    for path in table.table_paths() {
        files.extend(listed(path, &table.options().file_extension, session).await?);
    }
    files.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(Some(Version::Files(files)))
}

fn address(batch: &RecordBatch) -> (usize, usize) {
    let column = batch.columns().first();
    let address = column.map_or(0, |column| Arc::as_ptr(column).cast::<()>() as usize);
    (address, batch.num_rows())
}

async fn listed(
    path: &ListingTableUrl,
    extension: &str,
    session: &SessionState,
) -> Result<Vec<ObjectMeta>> {
    let runtime = session.runtime_env();
    if let Some(lists) = runtime.cache_manager.get_list_files_cache() {
        lists.remove(&TableScopedPath {
            table: path.get_table_ref().clone(),
            path: path.prefix().clone(),
        });
    }
    let store = runtime.object_store(path)?;
    let files = path.list_all_files(session, store.as_ref(), extension);
    files.await?.try_collect().await
}
