//! Connectors by the names users write in `format("…")`.
//!
//! A registry makes providers; it opens nothing. Whatever a connector was not asked to take (a path, a schema,
//! partition columns) and was given all the same is refused, never ignored.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use headwater_core::{Error, Options, Result, SinkProvider, SourceProvider, nearest};
use parking_lot::RwLock;

use crate::{
    console::ConsoleSinkProvider,
    file::{FileFormat, FileSinkProvider, FileSourceProvider, WrittenFiles},
    generator::GeneratorSourceProvider,
    memory::{MemorySink, MemoryStream},
    nexmark::NexmarkSourceProvider,
    noop::NoopSinkProvider,
    rate::{RateMicroBatchSourceProvider, RateSourceProvider},
    socket::{SocketSinkProvider, SocketSourceProvider},
};

/// What a user asked to read.
#[derive(Debug, Clone, Default)]
pub struct SourceRequest {
    /// Name of the connector.
    pub format: String,
    /// Columns, where the user gave them.
    pub schema: Option<SchemaRef>,
    /// What the user gave to `load`: a path, a table.
    pub path: Option<String>,
    /// Options of the connector.
    pub options: Options,
    /// The table is read as it is now, once: not as a stream.
    pub is_bounded: bool,
}

/// Where a user asked to write.
#[derive(Debug, Clone, Default)]
pub struct SinkRequest {
    /// Name of the connector.
    pub format: String,
    /// What the user gave to `start`: a path.
    pub path: Option<String>,
    /// Options of the connector.
    pub options: Options,
    /// Columns that become folders.
    pub partition_by: Vec<String>,
    /// Name of the query.
    pub query_name: Option<String>,
}

type MakeSource = dyn Fn(&SourceRequest) -> Result<Arc<dyn SourceProvider>> + Send + Sync;
type MakeSink = dyn Fn(&SinkRequest) -> Result<Arc<dyn SinkProvider>> + Send + Sync;

const FILE_FORMATS: [(&str, FileFormat); 6] = [
    ("parquet", FileFormat::Parquet),
    ("json", FileFormat::Json),
    ("csv", FileFormat::Csv),
    ("text", FileFormat::Text),
    ("arrow", FileFormat::Arrow),
    ("ipc", FileFormat::Arrow),
];

/// The connectors of a session.
///
/// It knows the built-in ones, the named things of this session (memory streams and sinks, generator functions), and
/// what users register.
#[derive(Clone)]
pub struct ConnectorRegistry {
    // Locked to look up or add a name.
    sources: Arc<RwLock<BTreeMap<String, Arc<MakeSource>>>>,
    sinks: Arc<RwLock<BTreeMap<String, Arc<MakeSink>>>>,
    named: Arc<Named>,
}

/// Things of the session that connectors refer to by name.
#[derive(Debug, Default)]
struct Named {
    streams: RwLock<BTreeMap<String, MemoryStream>>,
    sinks: RwLock<BTreeMap<String, MemorySink>>,
    generators: RwLock<BTreeMap<String, GeneratorSourceProvider>>,
}

impl fmt::Debug for ConnectorRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorRegistry")
            .field("sources", &self.source_formats())
            .field("sinks", &self.sink_formats())
            .finish()
    }
}

impl Default for ConnectorRegistry {
    fn default() -> Self {
        let registry = Self {
            sources: Arc::default(),
            sinks: Arc::default(),
            named: Arc::default(),
        };
        registry.register_files();
        registry.register_made_up_sources();
        registry.register_memory();
        registry.register_plain_sinks();
        registry
    }
}

impl ConnectorRegistry {
    /// The built-in connectors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the provider of a streaming table.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown format (with the known ones) and for whatever the
    /// connector refuses.
    pub fn source(&self, request: &SourceRequest) -> Result<Arc<dyn SourceProvider>> {
        let make = self
            .sources
            .read()
            .get(&request.format.to_ascii_lowercase())
            .cloned();
        let make =
            make.ok_or_else(|| unknown("source", &request.format, &self.source_formats()))?;
        make(request)
    }

    /// Makes the provider of a sink.
    ///
    /// # Errors
    /// As [`Self::source`].
    pub fn sink(&self, request: &SinkRequest) -> Result<Arc<dyn SinkProvider>> {
        let make = self
            .sinks
            .read()
            .get(&request.format.to_ascii_lowercase())
            .cloned();
        let make = make.ok_or_else(|| unknown("sink", &request.format, &self.sink_formats()))?;
        make(request)
    }

    /// The formats that can be read, in order of their names.
    pub fn source_formats(&self) -> Vec<String> {
        self.sources.read().keys().cloned().collect()
    }

    /// The formats that can be written, in order of their names.
    pub fn sink_formats(&self) -> Vec<String> {
        self.sinks.read().keys().cloned().collect()
    }

    /// Adds a source under a name, or replaces it. Names are compared without regard to case.
    pub fn register_source(
        &self,
        format: impl AsRef<str>,
        make: impl Fn(&SourceRequest) -> Result<Arc<dyn SourceProvider>> + Send + Sync + 'static,
    ) {
        let name = format.as_ref().to_ascii_lowercase();
        self.sources.write().insert(name, Arc::new(make));
    }

    /// Adds a sink under a name, or replaces it. Names are compared without regard to case.
    pub fn register_sink(
        &self,
        format: impl AsRef<str>,
        make: impl Fn(&SinkRequest) -> Result<Arc<dyn SinkProvider>> + Send + Sync + 'static,
    ) {
        let name = format.as_ref().to_ascii_lowercase();
        self.sinks.write().insert(name, Arc::new(make));
    }

    /// Makes a stream readable as `format("memory").load(name)`, under its own name.
    pub fn register_memory_stream(&self, stream: &MemoryStream) {
        let mut streams = self.named.streams.write();
        streams.insert(stream.name().to_owned(), stream.clone());
    }

    /// The table that a query of this name writes with `format("memory")`.
    pub fn memory_sink(&self, query_name: &str) -> Option<MemorySink> {
        self.named.sinks.read().get(query_name).cloned()
    }

    /// What a sink of files writes, read with the options that it writes with; `None` for sinks of other formats.
    ///
    /// # Errors
    /// As [`Self::sink`].
    pub fn written_files(
        &self,
        request: &SinkRequest,
        schema: SchemaRef,
    ) -> Result<Option<WrittenFiles>> {
        let named = |(name, _): &&(&str, _)| request.format.eq_ignore_ascii_case(name);
        let Some((_, format)) = FILE_FORMATS.iter().find(named) else {
            return Ok(None);
        };
        WrittenFiles::of(*format, request.path_of_files()?, &request.options, schema).map(Some)
    }

    /// Makes a function of the row number readable as `format("generator").load(name)`; the options `rowsPerEpoch`
    /// and `end` may change what the provider says.
    pub fn register_generator(
        &self,
        name: impl Into<String>,
        schema: SchemaRef,
        function: impl Fn(u64, u64) -> Result<RecordBatch> + Send + Sync + 'static,
    ) {
        let name = name.into();
        let provider = GeneratorSourceProvider::new(name.clone(), schema, function);
        self.named.generators.write().insert(name, provider);
    }

    fn register_files(&self) {
        for (name, format) in FILE_FORMATS {
            self.register_source(name, move |request| {
                let path = request.path_of_files()?;
                let provider = FileSourceProvider::try_new(
                    format,
                    request.schema.clone(),
                    path,
                    request.options.clone(),
                )?;
                let provider = match request.schema {
                    Some(_) => provider,
                    None => provider.resolve_blocking()?,
                };
                Ok(Arc::new(provider))
            });
            self.register_sink(name, move |request| {
                let path = request.path_of_files()?;
                let provider = FileSinkProvider::try_new(
                    format,
                    path,
                    request.options.clone(),
                    request.partition_by.clone(),
                )?;
                Ok(Arc::new(provider))
            });
        }
    }

    fn register_made_up_sources(&self) {
        self.register_source("rate", |request| {
            request.deny_path()?;
            let provider = RateSourceProvider::try_new(&request.options)?;
            request.checked(Arc::new(provider))
        });
        self.register_source("rate-micro-batch", |request| {
            request.deny_path()?;
            let provider = RateMicroBatchSourceProvider::try_new(&request.options)?;
            request.checked(Arc::new(provider))
        });
        self.register_source("nexmark", |request| {
            request.deny_path()?;
            let provider = NexmarkSourceProvider::try_new(&request.options)?;
            request.checked(Arc::new(provider))
        });
        self.register_source("socket", |request| {
            request.deny_path()?;
            let provider = SocketSourceProvider::try_new(&request.options)?;
            request.checked(Arc::new(provider))
        });
        let named = Arc::clone(&self.named);
        self.register_source("generator", move |request| {
            let known = &["rowsPerEpoch", "end"];
            request.options.deny_unknown("source 'generator'", known)?;
            let mut provider = request.named("generator", &named.generators.read())?;
            if let Some(rows) = request.options.parse("rowsPerEpoch")? {
                provider = provider.rows_per_epoch(rows);
            }
            if let Some(end) = request.options.parse("end")? {
                provider = provider.end(end);
            }
            request.checked(Arc::new(provider))
        });
    }

    fn register_memory(&self) {
        let named = Arc::clone(&self.named);
        self.register_source("memory", move |request| {
            let known = &["blocksPerEpoch"];
            request.options.deny_unknown("source 'memory'", known)?;
            let stream = request.named("memory stream", &named.streams.read())?;
            let mut provider = stream.provider();
            if let Some(blocks) = request.options.parse("blocksPerEpoch")? {
                provider = provider.blocks_per_epoch(blocks);
            }
            request.checked(Arc::new(provider))
        });
        let named = Arc::clone(&self.named);
        self.register_sink("memory", move |request| {
            request.deny_path_and_partitions()?;
            request.options.deny_unknown("sink 'memory'", &[])?;
            let name = request.query_name.clone().ok_or_else(|| {
                Error::invalid(
                    "sink 'memory' needs the name of its table: call query_name(…) before start",
                )
            })?;
            // Kept over restarts of the query, so that its table goes on; another query of that name empties it.
            let mut sinks = named.sinks.write();
            let sink = sinks
                .entry(name.clone())
                .or_insert_with(|| MemorySink::without_history(name));
            Ok(Arc::new(sink.provider()))
        });
    }

    fn register_plain_sinks(&self) {
        self.register_sink("console", |request| {
            request.deny_path_and_partitions()?;
            Ok(Arc::new(ConsoleSinkProvider::try_new(&request.options)?))
        });
        self.register_sink("socket", |request| {
            request.deny_path_and_partitions()?;
            Ok(Arc::new(SocketSinkProvider::try_new(&request.options)?))
        });
        self.register_sink("noop", |request| {
            request.deny_path_and_partitions()?;
            request.options.deny_unknown("sink 'noop'", &[])?;
            Ok(Arc::new(NoopSinkProvider))
        });
    }
}

fn unknown(kind: &str, format: &str, known: &[String]) -> Error {
    let list = known.join(", ");
    if format.eq_ignore_ascii_case("kafka") {
        return Error::invalid(format!(
            "this program was built without Apache Kafka, so that there is no {kind} of the format 'kafka': build it with \
             the feature 'kafka' of the crate headwater (of headwater-cli for the command)"
        ));
    }
    let advice = match nearest(format, known.iter().map(String::as_str)) {
        Some(close) => format!("did you mean '{close}'? There are {list}"),
        None => format!("write one of {list}"),
    };
    Error::invalid(format!(
        "there is no {kind} of the format '{format}': {advice}"
    ))
}

/// `id BIGINT, host STRING`, as near as Arrow's own names of types come to it.
fn columns(schema: &SchemaRef) -> String {
    let fields = schema.fields().iter();
    let columns: Vec<String> = fields
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    columns.join(", ")
}

impl SourceRequest {
    fn path_of_files(&self) -> Result<&str> {
        self.path.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "source '{}' needs a path: give it the option 'path', such as 'path/of/folder'",
                self.format
            ))
        })
    }

    /// Refuses a path.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if there is one.
    pub fn deny_path(&self) -> Result<()> {
        match &self.path {
            Some(path) => Err(Error::invalid(format!(
                "source '{}' has no path, found '{path}': leave the path out",
                self.format
            ))),
            None => Ok(()),
        }
    }

    /// What `load(name)` refers to.
    fn named<T: Clone>(&self, what: &str, things: &BTreeMap<String, T>) -> Result<T> {
        let names = || things.keys().cloned().collect::<Vec<_>>().join(", ");
        let name = self.path.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "source '{}' needs the name of a {what}: give it as the path, one of [{}]",
                self.format,
                names()
            ))
        })?;
        things.get(name).cloned().ok_or_else(|| {
            Error::invalid(format!(
                "there is no {what} '{name}': register it first; known are [{}]",
                names()
            ))
        })
    }

    /// Refuses a schema that is not the one the source has.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`], with both.
    pub fn checked(&self, provider: Arc<dyn SourceProvider>) -> Result<Arc<dyn SourceProvider>> {
        match &self.schema {
            Some(schema) if *schema != provider.schema() => Err(Error::invalid(format!(
                "source '{}' has the columns {}, not {}: leave the columns out",
                self.format,
                columns(&provider.schema()),
                columns(schema)
            ))),
            _ => Ok(provider),
        }
    }
}

impl SinkRequest {
    fn path_of_files(&self) -> Result<&str> {
        self.path.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "sink '{}' needs a path: give it the option 'path', such as 'path/of/folder'",
                self.format
            ))
        })
    }

    /// Refuses a path and columns that become folders.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if there is either.
    pub fn deny_path_and_partitions(&self) -> Result<()> {
        if let Some(path) = &self.path {
            return Err(Error::invalid(format!(
                "sink '{}' has no path, found '{path}': leave the path out",
                self.format
            )));
        }
        if self.partition_by.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "sink '{}' cannot partition by {}: only sinks of files can, leave the columns out",
            self.format,
            self.partition_by.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::OutputMode;

    use super::*;
    use crate::test_support::{deliver, numbers, numbers_in, numbers_schema, sink_context, write};

    fn source(format: &str, path: Option<&str>, options: &[(&str, &str)]) -> SourceRequest {
        SourceRequest {
            format: format.to_owned(),
            path: path.map(str::to_owned),
            options: options.iter().copied().collect(),
            ..SourceRequest::default()
        }
    }

    fn sink(format: &str) -> SinkRequest {
        SinkRequest {
            format: format.to_owned(),
            ..SinkRequest::default()
        }
    }

    #[test]
    fn an_unknown_format_is_refused_with_the_known_ones() {
        let registry = ConnectorRegistry::new();
        let error = registry.source(&source("kafka", None, &[]));
        let error = error.expect_err("a crate of its own");
        assert!(error.message().contains("the feature 'kafka'"), "{error}");
        let error = registry.source(&source("pulsar", None, &[]));
        assert_eq!(
            error.expect_err("not built in").message(),
            "there is no source of the format 'pulsar': write one of arrow, csv, generator, ipc, json, memory, nexmark, parquet, \
             rate, rate-micro-batch, socket, text"
        );
        let error = registry.sink(&sink("rate"));
        assert_eq!(
            error.expect_err("no sink").message(),
            "there is no sink of the format 'rate': write one of arrow, console, csv, ipc, json, memory, noop, parquet, \
             socket, text"
        );
    }

    #[test]
    fn names_match_in_any_case_and_users_add_their_own() {
        let registry = ConnectorRegistry::new();
        assert!(registry.source(&source("RATE", None, &[])).is_ok());
        registry.register_sink("Mine", |_| Ok(Arc::new(NoopSinkProvider)));
        assert!(registry.clone().sink(&sink("mine")).is_ok());
    }

    #[test]
    fn nothing_that_was_asked_for_is_ignored() {
        let registry = ConnectorRegistry::new();
        let refused = |request: &SourceRequest| {
            let error = registry.source(request).expect_err("refused");
            error.message().to_owned()
        };
        assert!(refused(&source("rate", Some("p"), &[])).contains("has no path"));
        assert!(refused(&source("parquet", None, &[])).contains("needs a path"));
        assert!(refused(&source("rate", None, &[("speed", "1")])).contains("'speed'"));
        let mut request = source("rate", None, &[]);
        request.schema = Some(numbers_schema());
        assert!(refused(&request).contains("leave the columns out"));
        let mut request = sink("console");
        request.partition_by = vec!["n".to_owned()];
        let error = registry.sink(&request).expect_err("refused");
        assert!(error.message().contains("cannot partition by n"), "{error}");
    }

    #[test]
    fn files_are_read_and_written_in_every_format() {
        let registry = ConnectorRegistry::new();
        for (format, canonical) in FILE_FORMATS {
            let mut request = source(format, Some("memory:///logs"), &[]);
            if canonical != FileFormat::Text {
                request.schema = Some(numbers_schema());
            }
            let found = registry.source(&request).expect("a source of files");
            assert!(
                found.identity().contains(canonical.name()),
                "{}",
                found.identity()
            );
            let mut request = sink(format);
            request.path = Some("memory:///out".to_owned());
            let found = registry.sink(&request).expect("a sink of files");
            assert!(
                found.identity().contains(canonical.name()),
                "{}",
                found.identity()
            );
        }
    }

    #[test]
    fn streams_and_generators_are_found_by_name() {
        let registry = ConnectorRegistry::new();
        registry.register_memory_stream(&MemoryStream::new("m", numbers_schema()));
        registry.register_generator("g", numbers_schema(), |start, _| {
            Ok(numbers(&[start as i64]))
        });
        let found = registry.source(&source("memory", Some("m"), &[]));
        assert_eq!(found.expect("registered").identity(), "memory m");
        let found = registry.source(&source("generator", Some("g"), &[("end", "5")]));
        assert_eq!(found.expect("registered").identity(), "generator g");
        let error = registry.source(&source("memory", Some("x"), &[]));
        let error = error.expect_err("unknown");
        assert!(error.message().ends_with("known are [m]"), "{error}");
    }

    #[tokio::test]
    async fn a_memory_sink_is_found_by_the_name_of_its_query() {
        let registry = ConnectorRegistry::new();
        let error = registry.sink(&sink("memory")).expect_err("no name");
        assert!(error.message().contains("query_name"), "{error}");
        let request = SinkRequest {
            query_name: Some("errors".to_owned()),
            ..sink("memory")
        };
        let provider = registry.sink(&request).expect("made");
        let context = sink_context(OutputMode::Append);
        let running = provider.create(context).await.expect("created");
        deliver(&*running, &write(0, OutputMode::Append), &[&[1]]).await;
        let table = registry.memory_sink("errors").expect("known");
        assert_eq!(numbers_in(&table.batches()), [1]);
        registry.sink(&request).expect("a restart");
        assert_eq!(numbers_in(&table.batches()), [1]);
    }
}
