//! The sinks that a writer's words stand for: of the result, and of late rows.

use std::sync::Arc;

use datafusion::execution::SessionState;
use headwater_connect::{memory::MemorySink, registry::SinkRequest};
use headwater_core::{Error, Options, Result, SinkProvider};

use crate::{
    late_rows::{LateRows, LateTarget, refuse_inside},
    services::Services,
};

/// Sinks that cannot be exactly once without a checkpoint that outlives the process.
const FILE_FORMATS: &[&str] = &["parquet", "json", "csv", "text", "arrow", "ipc"];

/// A sink of the query.
pub(crate) struct Output {
    pub(crate) sink: Arc<dyn SinkProvider>,
    /// Where it writes files.
    path: Option<String>,
    /// The memory sink that it is.
    pub(crate) table: Option<MemorySink>,
}

impl Output {
    pub(crate) fn of(sink: Arc<dyn SinkProvider>) -> Self {
        Self {
            sink,
            path: None,
            table: None,
        }
    }

    /// The sink of a format; one of files needs a checkpoint.
    pub(crate) fn by_format(
        services: &Services,
        mut request: SinkRequest,
        is_durable: bool,
    ) -> Result<Self> {
        request.format.make_ascii_lowercase();
        let writes_files = FILE_FORMATS.contains(&request.format.as_str());
        if writes_files && !is_durable {
            return Err(Error::invalid(format!(
                "sink '{}' writes files, which must not be written twice: say where the query's checkpoint is with \
                 the option 'checkpointLocation'",
                request.format
            )));
        }
        let sink = services.connectors.sink(&request)?;
        // Any sink that takes the option means the same by it.
        if request.options.parse("exactlyOnce")? == Some(true) && !is_durable {
            return Err(Error::invalid(format!(
                "sink '{}' with 'exactlyOnce' must know after a restart what it has written: say where the query's \
                 checkpoint is with the option 'checkpointLocation'",
                request.format
            )));
        }
        let table = request.query_name.filter(|_| request.format == "memory");
        Ok(Self {
            sink,
            path: request.path.filter(|_| writes_files),
            table: table.and_then(|name| services.connectors.memory_sink(&name)),
        })
    }

    /// Refuses late rows where the result goes.
    pub(crate) fn refuse_same_place(&self, late: &Self) -> Result<()> {
        if let (Some(output), Some(late)) = (&self.path, &late.path) {
            refuse_inside(output, late)?;
        }
        if let (Some(output), Some(late)) = (&self.table, &late.table)
            && output.name() == late.name()
        {
            return Err(Error::invalid(format!(
                "late rows and the result would both be the table '{}': give the late rows another name",
                late.name()
            )));
        }
        Ok(())
    }
}

/// The sink of late rows.
pub(crate) fn late_output(
    late: LateRows,
    state: &SessionState,
    services: &Services,
    is_durable: bool,
) -> Result<Output> {
    let path = late.path.transpose()?.flatten();
    let request = |format: String, query_name: Option<String>| SinkRequest {
        format,
        path: path.clone(),
        options: late.options.clone(),
        partition_by: late.partition_by.clone(),
        query_name,
    };
    let output = match late.target {
        LateTarget::Format(format) if format.eq_ignore_ascii_case("memory") => {
            return Err(Error::invalid(
                "late rows in memory need the name of their table: write LateRows::table(name)",
            ));
        }
        LateTarget::Format(format) => {
            Output::by_format(services, request(format, None), is_durable)
        }
        LateTarget::Table(name) => {
            let request = request("memory".to_owned(), Some(name));
            Output::by_format(services, request, is_durable)
        }
        LateTarget::Provider(sink) => {
            refuse_leftovers(path.as_deref(), &late.options, &late.partition_by)?;
            Ok(Output::of(sink))
        }
        LateTarget::Made(make) => {
            refuse_leftovers(path.as_deref(), &late.options, &late.partition_by)?;
            Ok(Output::of(make(state.clone())))
        }
    };
    output.map_err(|error| error.context("the sink of late rows"))
}

/// A sink of one's own takes nothing from the writer.
pub(crate) fn refuse_leftovers(
    path: Option<&str>,
    options: &Options,
    partition_by: &[String],
) -> Result<()> {
    options.deny_unknown("a sink of one's own", &[])?;
    if let Some(path) = path {
        return Err(Error::invalid(format!(
            "the path '{path}' means nothing to a sink of one's own: write start(None)"
        )));
    }
    if !partition_by.is_empty() {
        return Err(Error::invalid(format!(
            "only file sinks make folders: drop partition_by({})",
            partition_by.join(", ")
        )));
    }
    Ok(())
}
