//! Sinks that keep their rows, as tables: what a query has written up to the moment of a scan.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session as Catalog, TableProvider},
    datasource::TableType,
    error::{DataFusionError, Result},
    logical_expr::Expr,
    physical_plan::{ExecutionPlan, empty::EmptyExec, project_schema},
};
use headwater_connect::{file::WrittenFiles, registry::ConnectorRegistry};
use headwater_core::Clock;
use headwater_plan::FinishedTable;

use super::{definitions::SinkDefinition, queries::PipelineQuery};
use crate::session::Session;

/// A sink with the columns of the query that writes to it. It is looked at anew in each scan: before the first epoch it
/// has no rows.
struct SinkTable {
    name: String,
    schema: SchemaRef,
    kept: Kept,
}

/// Where a sink keeps its rows.
enum Kept {
    InMemory(ConnectorRegistry),
    InFiles(Box<WrittenFiles>, Arc<dyn Clock>),
}

impl fmt::Debug for SinkTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkTable")
            .field("sink", &self.name)
            .finish_non_exhaustive()
    }
}

impl SinkTable {
    /// The table that holds the rows now; `None` while there is none.
    fn now(&self) -> headwater_core::Result<Option<Arc<dyn TableProvider>>> {
        match &self.kept {
            Kept::InMemory(connectors) => {
                let sink = connectors.memory_sink(&self.name);
                let begun = sink.filter(|sink| sink.schema().is_some());
                let table = begun.map(|sink| sink.table()).transpose()?;
                Ok(table.map(|table| Arc::new(table) as Arc<dyn TableProvider>))
            }
            Kept::InFiles(files, clock) => Ok(files.source().map(|source| {
                Arc::new(FinishedTable::new(source, Arc::clone(clock))) as Arc<dyn TableProvider>
            })),
        }
    }
}

#[async_trait]
impl TableProvider for SinkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Catalog,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self
            .now()
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        match table {
            Some(table) if same_columns(&table.schema(), &self.schema) => {
                table.scan(state, projection, filters, limit).await
            }
            Some(_) => Err(DataFusionError::Plan(format!(
                "sink '{}' holds other columns now than when this was planned: plan it again",
                self.name
            ))),
            None => Ok(Arc::new(EmptyExec::new(project_schema(
                &self.schema,
                projection,
            )?))),
        }
    }
}

fn same_columns(found: &SchemaRef, expected: &SchemaRef) -> bool {
    let columns = |schema: &SchemaRef| {
        let fields = schema.fields().iter();
        let columns = fields.map(|field| (field.name().clone(), field.data_type().clone()));
        columns.collect::<Vec<_>>()
    };
    columns(found) == columns(expected)
}

impl Session {
    /// Makes the sinks of a planned query tables, under the sinks' names, if they keep their rows and no other tables
    /// have those names.
    pub(super) fn show_sinks_as_tables(&self, query: &PipelineQuery) -> headwater_core::Result<()> {
        query
            .written()
            .into_iter()
            .try_for_each(|(sink, schema)| self.show_as_table(&sink, schema))
    }

    fn show_as_table(
        &self,
        sink: &SinkDefinition,
        schema: SchemaRef,
    ) -> headwater_core::Result<()> {
        let name = sink.name.as_str();
        if self.has_table(name) && !self.is_sink_table(name) {
            return Ok(());
        }
        let connectors = self.connectors();
        let (schema, kept) = if sink.is_memory() {
            (schema, Kept::InMemory(connectors.clone()))
        } else {
            match connectors.written_files(&sink.request(), schema)? {
                Some(files) => (
                    files.schema(),
                    Kept::InFiles(Box::new(files), Arc::clone(self.clock())),
                ),
                None => return Ok(()),
            }
        };
        let table = SinkTable {
            name: name.to_owned(),
            schema,
            kept,
        };
        self.define_table(name, Arc::new(table))
    }

    /// Forgets the table that a sink was shown as.
    pub(super) fn hide_sink(&self, name: &str) -> Result<()> {
        match self.is_sink_table(name) {
            true => self.forget_table(name),
            false => Ok(()),
        }
    }

    /// Whether the table of this name shows a sink.
    pub(super) fn is_sink_table(&self, name: &str) -> bool {
        let provider = self.table_named(name);
        provider.is_some_and(|table| <dyn TableProvider>::is::<SinkTable>(table.as_ref()))
    }
}
