//! Numbers the streams of a plan.

use std::sync::Arc;

use datafusion::{
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TreeNode},
    },
    datasource::provider_as_source,
    logical_expr::{LogicalPlan, TableScan},
};
use headwater_core::SourceProvider;

use crate::stream_table::{StreamTable, stream_of};

/// Gives every stream of the plan its number; the providers by number. A stream that is read twice is one source.
pub(crate) fn number_sources(
    plan: LogicalPlan,
) -> Result<(LogicalPlan, Vec<Arc<dyn SourceProvider>>)> {
    let mut providers: Vec<Arc<dyn SourceProvider>> = Vec::new();
    let numbered = plan.transform_up(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let Some(table) = stream_of(&scan) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let stream =
            <dyn datafusion::catalog::TableProvider>::downcast_ref::<StreamTable>(table.as_ref())
                .ok_or_else(|| DataFusionError::Internal("a stream is no stream".to_owned()))?;
        let known = providers
            .iter()
            .position(|provider| Arc::ptr_eq(provider, stream.provider()));
        let source_id = known.unwrap_or_else(|| {
            providers.push(Arc::clone(stream.provider()));
            providers.len() - 1
        });
        let source = provider_as_source(Arc::new(stream.numbered(source_id)));
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan {
            source,
            ..scan
        })))
    })?;
    Ok((numbered.data, providers))
}
