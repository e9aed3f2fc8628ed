//! Streams as tables of a DataFusion catalog.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::tree_node::{TreeNode, TreeNodeRecursion},
    datasource::{TableType, source_as_provider},
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, TableScan},
    physical_plan::{ExecutionPlan, project_schema},
};
use headwater_core::SourceProvider;
use headwater_ops::scan::SourceScanExec;

/// A table that never stops growing. It can be part of any logical plan; only a streaming query can run that plan.
pub struct StreamTable {
    name: String,
    provider: Arc<dyn SourceProvider>,
    /// Number of the source in a plan that is prepared to run.
    source_id: Option<usize>,
}

impl StreamTable {
    /// A stream called `name`, read from `provider`.
    pub fn new(name: impl Into<String>, provider: Arc<dyn SourceProvider>) -> Self {
        Self {
            name: name.into(),
            provider,
            source_id: None,
        }
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its rows come from.
    pub fn provider(&self) -> &Arc<dyn SourceProvider> {
        &self.provider
    }

    /// The same stream as source number `source_id` of a plan.
    pub(crate) fn numbered(&self, source_id: usize) -> Self {
        Self {
            name: self.name.clone(),
            provider: Arc::clone(&self.provider),
            source_id: Some(source_id),
        }
    }
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTable")
            .field("name", &self.name)
            .field("identity", &self.provider.identity())
            .field("source_id", &self.source_id)
            .finish()
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(source_id) = self.source_id else {
            return Err(DataFusionError::Plan(format!(
                "'{}' is a stream and has no end to collect: start a streaming query over it with write_stream()",
                self.name
            )));
        };
        let projected = project_schema(&self.provider.schema(), projection)?;
        Ok(Arc::new(SourceScanExec::new(
            source_id,
            self.name.clone(),
            projected,
            projection.cloned(),
            state.config().target_partitions(),
        )))
    }
}

/// The stream that a scan reads, if it reads one.
pub(crate) fn stream_of(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    source_as_provider(&scan.source)
        .ok()
        .filter(|provider| <dyn TableProvider>::is::<StreamTable>(provider.as_ref()))
}

/// The numbers of the sources that a numbered plan reads, each once.
pub(crate) fn sources_of(plan: &LogicalPlan) -> Vec<usize> {
    let mut found = BTreeSet::new();
    // The closure never fails, so neither does the walk.
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = stream_of(scan)
            && let Some(stream) = <dyn TableProvider>::downcast_ref::<StreamTable>(table.as_ref())
        {
            found.extend(stream.source_id);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.into_iter().collect()
}

/// Whether some leaf of a plan is a stream. Subqueries inside expressions count too.
pub fn is_streaming(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // The closure never fails, so neither does the walk.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= stream_of(scan).is_some();
        }
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

/// Whether some leaf is a stream, subqueries inside expressions left out.
pub(crate) fn reads_stream(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= stream_of(scan).is_some();
        }
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}
