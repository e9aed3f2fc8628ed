//! The streams of a pipeline, fed by the test instead of by their own sources.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use datafusion::arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
};
use headwater::{
    Error, Options, Result, Session, Source, SourceProvider, StreamDefinition,
    connect::{memory::MemoryStream, registry::SourceRequest},
    core::{SourceContext, nearest::nearest},
};
use parking_lot::Mutex;

use super::{
    inference,
    recorded::{DIALECT, RECORDS, RowReader},
    row_file,
};
use crate::exit::Failure;

/// Formats of files, whose rows a stream can infer its columns from.
const FILES: [&str; 5] = ["json", "csv", "parquet", "arrow", "ipc"];

/// The rows of one stream, as the command line gives them.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) stream: String,
    /// Read one after the other.
    pub(crate) files: Vec<PathBuf>,
}

/// All streams that a pipeline defines, and what they are given.
#[derive(Debug)]
pub(crate) struct Streams {
    inputs: Vec<Input>,
    session: Session,
    // Locked to add one, or look.
    defined: Mutex<Vec<Defined>>,
}

#[derive(Debug, Clone)]
struct Defined {
    definition: StreamDefinition,
    stream: MemoryStream,
    /// Which of the inputs it reads.
    input: Option<usize>,
}

impl Streams {
    /// The inputs of `--input`, those of a stream in one.
    ///
    /// # Errors
    /// `Wrong` if a file is not there or says nothing of its format.
    pub(crate) fn new(given: &[(String, PathBuf)], session: &Session) -> Result<Self, Failure> {
        let mut inputs: Vec<Input> = Vec::new();
        for (stream, path) in given {
            let files = row_file::files(path)?;
            match inputs.iter_mut().find(|input| input.stream == *stream) {
                Some(input) => input.files.extend(files),
                None => inputs.push(Input {
                    stream: stream.clone(),
                    files,
                }),
            }
        }
        Ok(Self {
            inputs,
            session: session.clone(),
            defined: Mutex::default(),
        })
    }

    /// What a stream reads in the test. One without input can be defined, but not read.
    pub(crate) fn source(&self, definition: &StreamDefinition) -> Result<Arc<dyn SourceProvider>> {
        let name = &definition.name;
        let input = self.input_of(name);
        let first = input.and_then(|input| self.inputs[input].files.first());
        let schema = self.columns(definition, first)?;
        let stream = MemoryStream::new(name, Arc::clone(&schema));
        let provider: Arc<dyn SourceProvider> = match input {
            Some(_) => Arc::new(stream.provider().blocks_per_epoch(1)),
            None => Arc::new(WithoutInput {
                stream: name.clone(),
                schema,
            }),
        };
        self.defined.lock().push(Defined {
            definition: definition.clone(),
            stream,
            input,
        });
        Ok(provider)
    }

    /// By its name; case counts only if two streams differ in nothing else.
    fn input_of(&self, name: &str) -> Option<usize> {
        let exact = self.inputs.iter().position(|input| input.stream == name);
        exact.or_else(|| {
            let mut inputs = self.inputs.iter();
            inputs.position(|input| input.stream.eq_ignore_ascii_case(name))
        })
    }

    fn columns(&self, definition: &StreamDefinition, first: Option<&PathBuf>) -> Result<SchemaRef> {
        let format = definition.format.to_ascii_lowercase();
        if let Some(schema) = &definition.schema {
            // What a file lacks is null.
            return Ok(inference::nullable(schema));
        }
        if format == "text" {
            return Ok(inference::lines());
        }
        if FILES.contains(&format.as_str())
            && let Some(first) = first
        {
            return inference::infer(first);
        }
        let mut options = definition.options.clone();
        let source = self.session.connectors().source(&SourceRequest {
            format,
            schema: None,
            path: options.take("path"),
            options,
            is_bounded: false,
        });
        source.map(|source| source.schema()).map_err(|error| {
            Error::new(
                error.kind(),
                format!(
                    "{error}; in a test, declare the columns of stream '{0}' or give it rows with --input {0}=FILE",
                    definition.name
                ),
            )
        })
    }

    /// Reads all inputs into the streams, and returns the number of epochs: that of the stream with the most. The others
    /// get nothing in the epochs that they lack.
    ///
    /// # Errors
    /// `Wrong` if an input is for no stream of the pipeline, or a row does not fit.
    pub(crate) async fn feed(&self) -> Result<usize, Failure> {
        let defined = self.defined.lock().clone();
        self.refuse_unknown(&defined)?;
        let mut fed = Vec::new();
        for defined in &defined {
            let Some(input) = defined.input else {
                continue;
            };
            let reader = RowReader::new(
                format!("stream '{}'", defined.definition.name),
                defined.stream.schema(),
                own_options(&defined.definition),
            );
            let mut epochs = Vec::new();
            for file in &self.inputs[input].files {
                epochs.extend(reader.read(file).await?.epochs);
            }
            fed.push((&defined.stream, epochs));
        }
        let epochs = fed.iter().map(|(_, epochs)| epochs.len()).max();
        let epochs = epochs.unwrap_or(0);
        for (stream, mut rows) in fed {
            rows.resize_with(epochs, Vec::new);
            for rows in rows {
                add(stream, &rows).map_err(|error| Failure::wrong(error.to_string()))?;
            }
        }
        Ok(epochs)
    }

    fn refuse_unknown(&self, defined: &[Defined]) -> Result<(), Failure> {
        for (number, input) in self.inputs.iter().enumerate() {
            if defined.iter().any(|defined| defined.input == Some(number)) {
                continue;
            }
            let names = defined
                .iter()
                .map(|defined| defined.definition.name.as_str());
            let mut names: Vec<&str> = names.collect();
            names.dedup();
            let hint = match (
                nearest(&input.stream, names.iter().copied()),
                names.is_empty(),
            ) {
                (_, true) => "it defines none".to_owned(),
                (Some(name), _) => {
                    format!("did you mean '{name}'? It defines {}", names.join(", "))
                }
                (None, _) => format!("it defines {}", names.join(", ")),
            };
            return Err(Failure::wrong(format!(
                "--input {}: the pipeline defines no such stream: {hint}",
                input.stream
            )));
        }
        Ok(())
    }
}

/// One epoch is one block, of no rows too.
fn add(stream: &MemoryStream, rows: &[RecordBatch]) -> Result<()> {
    let schema = stream.schema();
    let rows = concat_batches(rows.first().map_or(&schema, |rows| rows.schema_ref()), rows)
        .map_err(|error| {
            Error::data("the rows of an epoch do not fit together").with_source(error)
        })?;
    stream.add_batch(rows).map(drop)
}

/// How the stream's own files are written, which files of the same format are too. Without a word about rows that do not
/// fit, they are errors.
fn own_options(definition: &StreamDefinition) -> Options {
    let mut options = Options::new();
    let format = definition.format.to_ascii_lowercase();
    let is_csv = format == "csv";
    for (name, value) in definition.options.iter() {
        let is_one_of = |names: &[&str]| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        if (is_csv || format == "json") && is_one_of(RECORDS) || is_csv && is_one_of(DIALECT) {
            options.set(name, value);
        }
    }
    if is_csv && options.get("header").is_none() {
        // What a CSV stream that says nothing reads.
        options.set("header", "false");
    }
    options
}

/// A stream that the test gives nothing.
#[derive(Debug)]
struct WithoutInput {
    stream: String,
    schema: SchemaRef,
}

#[async_trait]
impl SourceProvider for WithoutInput {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    fn identity(&self) -> String {
        format!("no input for {}", self.stream)
    }

    async fn create(&self, _context: SourceContext) -> Result<Arc<dyn Source>> {
        Err(Error::invalid(format!(
            "stream '{0}' has no input: give it rows with --input {0}=FILE (an empty .json file if it is to get none)",
            self.stream
        )))
    }
}
