//! A memory sink as a table of DataFusion.
//!
//! A scan takes the rows published at that moment, whole epochs only; later epochs do not disturb it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider, memory::MemorySourceConfig},
    error::Result,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};

use super::MemorySink;

/// The rows of a [`MemorySink`], for SQL.
#[derive(Debug)]
pub struct MemorySinkTable {
    sink: MemorySink,
    schema: SchemaRef,
}

impl MemorySinkTable {
    pub(super) fn new(sink: MemorySink, schema: SchemaRef) -> Self {
        Self { sink, schema }
    }
}

#[async_trait]
impl TableProvider for MemorySinkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.sink.batches();
        let source = MemorySourceConfig::try_new(&[rows], self.schema(), projection.cloned())?
            .with_limit(limit);
        Ok(datafusion::datasource::source::DataSourceExec::from_data_source(source))
    }
}
