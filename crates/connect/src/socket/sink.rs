//! A sink that sends each row as a line to a TCP server; [`SocketSinkProvider`] tells its options.
//!
//! Lines are sent when all partitions are there, before the epoch is committed: at least once.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    json::LineDelimitedWriter,
};
use async_trait::async_trait;
use headwater_core::{
    BatchStream, EpochWrite, Error, Options, OutputMode, PartWrite, PreparedPart, Result, Sink,
    SinkContext, SinkProvider,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Mutex};

use super::address::Address;
use crate::pending::Pending;

const OWNER: &str = "sink 'socket'";
const KNOWN_OPTIONS: &[&str] = &["host", "port"];

/// The `socket` sink: one line for each row, partition after partition. A single string column is sent as it is (a
/// null as an empty line), anything else as a JSON object without its nulls.
#[derive(Debug, Clone)]
pub struct SocketSinkProvider {
    address: Address,
}

impl SocketSinkProvider {
    /// Options: `host` and `port` (required).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown or missing option or value.
    pub fn try_new(options: &Options) -> Result<Self> {
        options.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        Ok(Self {
            address: Address::from_options(OWNER, options)?,
        })
    }
}

#[async_trait]
impl SinkProvider for SocketSinkProvider {
    fn identity(&self) -> String {
        format!("socket {}", self.address)
    }

    fn check(&self, _mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        encode(schema, &[row_of_nulls(schema)?])
            .map(drop)
            .map_err(|error| {
                Error::invalid(format!(
                    "{OWNER} cannot send these columns: cast them to types that JSON has"
                ))
                .with_source(error)
            })
    }

    /// Connects; if that fails, so does the start of the query.
    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(SocketSink {
            connection: Mutex::new(Some(self.address.connect().await?)),
            address: self.address.clone(),
            schema: context.schema,
            pending: Pending::default(),
        }))
    }
}

#[derive(Debug)]
struct SocketSink {
    address: Address,
    schema: SchemaRef,
    pending: Pending,
    // Held while an epoch is sent, across awaits, so that epochs do not mix. `None` after a failure.
    connection: Mutex<Option<TcpStream>>,
}

impl SocketSink {
    async fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut held = self.connection.lock().await;
        // Taken out, so that a failure or a cancelled send leaves no half-used connection behind.
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.address.connect().await?,
        };
        let sent = async {
            connection.write_all(bytes).await?;
            connection.flush().await
        };
        sent.await.map_err(|error| {
            Error::unavailable(format!("the connection to {} broke", self.address))
                .with_source(error)
        })?;
        *held = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl Sink for SocketSink {
    fn description(&self) -> String {
        format!("SocketSink[{}]", self.address)
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        self.pending.receive(part, rows).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        let rows = self.pending.peek(write).unwrap_or_default();
        let lines = encode(&self.schema, &rows)?;
        if !lines.is_empty() {
            self.send(&lines).await?;
        }
        self.pending.discard(write);
        Ok(parts)
    }

    async fn publish(&self, _write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.pending.discard(write);
        Ok(())
    }
}

/// One row without a value, to find out whether the columns can be encoded at all.
fn row_of_nulls(schema: &SchemaRef) -> Result<RecordBatch> {
    let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
    let fields: Vec<Field> = schema.fields().iter().map(nullable).collect();
    let columns = fields.iter().map(|f| new_null_array(f.data_type(), 1));
    let columns = columns.collect();
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &row,
    )?)
}

/// The rows as lines.
fn encode(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Vec<u8>> {
    let is_text = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let mut lines = Vec::new();
    match schema.fields().as_ref() {
        [only] if is_text(only.data_type()) => {
            for batch in rows {
                let texts = cast(batch.column(0), &DataType::Utf8View)?;
                for text in texts.as_string_view() {
                    lines.extend_from_slice(text.unwrap_or_default().as_bytes());
                    lines.push(b'\n');
                }
            }
        }
        _ => {
            let mut writer = LineDelimitedWriter::new(&mut lines);
            for batch in rows {
                writer.write(batch)?;
            }
            writer.finish()?;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::test_support::{deliver, sink_context, write};

    #[tokio::test]
    async fn rows_arrive_as_lines_of_json_before_the_commit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port().to_string();
        let options = [("host", "127.0.0.1"), ("port", port.as_str())];
        let provider = SocketSinkProvider::try_new(&options.into_iter().collect());
        let sink = provider
            .expect("valid options")
            .create(sink_context(OutputMode::Append))
            .await
            .expect("connected");
        let (mut other_end, _): (TcpStream, _) = listener.accept().await.expect("connected");
        deliver(&*sink, &write(0, OutputMode::Append), &[&[1], &[2, 3]]).await;
        deliver(&*sink, &write(1, OutputMode::Append), &[&[]]).await;
        drop(sink);
        let mut text = String::new();
        other_end.read_to_string(&mut text).await.expect("text");
        assert_eq!(text, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    }

    #[test]
    fn columns_that_json_cannot_hold_are_refused_before_the_start() {
        let options = [("host", "h"), ("port", "1")].into_iter().collect();
        let provider = SocketSinkProvider::try_new(&options).expect("valid options");
        let keys = Field::new("key", DataType::Int64, false);
        let values = Field::new("value", DataType::Int64, true);
        let map = Field::new_map("m", "entries", keys, values, false, true);
        let schema = Arc::new(Schema::new(vec![map]));
        let error = provider.check(OutputMode::Append, &schema);
        let error = error.expect_err("its keys are no text");
        assert!(error.message().contains("cast them"), "{error}");
        let check = provider.check(OutputMode::Append, &crate::test_support::numbers_schema());
        assert!(check.is_ok());
    }

    #[test]
    fn a_single_text_column_is_sent_as_it_is() {
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, true)]));
        let texts = Arc::new(StringArray::from(vec![Some("a"), None, Some("{b}")]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![texts]).expect("a column");
        assert_eq!(encode(&schema, &[rows]).expect("text"), b"a\n\n{b}\n");
    }
}
