//! A stream of the lines that a TCP server sends; [`SocketSourceProvider`] tells its options.
//!
//! One task receives lines into a buffer and lives as long as the source. Ranges are numbers of lines, counted over
//! restarts; lines that a dead process had received and not committed are skipped with a warning.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Clock, Discovery, Error, Offset, OffsetRange, Options, Result, Source,
    SourceContext, SourceProvider, Split,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
};

use super::{
    address::Address,
    buffer::{Line, LineBuffer},
};
use crate::counting::{count_of, counts_of, discovered, numbers_of, splits_of};

const OWNER: &str = "source 'socket'";
const KNOWN_OPTIONS: &[&str] = &["host", "port", "includeTimestamp", "reconnectInterval"];
/// A longer line is taken for a sender that does not send lines.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// The `socket` source: a column `value` with one line of text per row, and, if asked for, `timestamp`, the time at
/// which the line arrived.
///
/// **Not replayable**: lines of an epoch that was not committed are lost when the process dies. Invalid UTF-8 is
/// replaced. When the sender closes the connection the stream stays open without new rows; when the connection
/// breaks the query fails. With `reconnectInterval` it connects again instead, in both cases.
#[derive(Debug, Clone)]
pub struct SocketSourceProvider {
    address: Address,
    include_timestamp: bool,
    reconnect: Option<Duration>,
}

impl SocketSourceProvider {
    /// Options: `host` and `port` (required), `includeTimestamp` (default false), `reconnectInterval` (an interval
    /// such as `5 seconds`; without it a lost connection stays lost).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown or missing option or value.
    pub fn try_new(options: &Options) -> Result<Self> {
        options.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        Ok(Self {
            address: Address::from_options(OWNER, options)?,
            include_timestamp: options.parse("includeTimestamp")?.unwrap_or(false),
            reconnect: options.duration("reconnectInterval")?,
        })
    }
}

#[async_trait]
impl SourceProvider for SocketSourceProvider {
    fn schema(&self) -> SchemaRef {
        let mut fields = vec![Field::new("value", DataType::Utf8, true)];
        if self.include_timestamp {
            let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            fields.push(Field::new("timestamp", timestamp, true));
        }
        Arc::new(Schema::new(fields))
    }

    fn identity(&self) -> String {
        format!("socket {}", self.address)
    }

    /// Connects; if that fails, so does the start of the query.
    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        let connection = self.address.connect().await?;
        let buffer = Arc::new(LineBuffer::new());
        let receiver = Receiver {
            settings: self.clone(),
            buffer: Arc::clone(&buffer),
            clock: context.clock,
        };
        Ok(Arc::new(SocketSource {
            settings: self.clone(),
            schema: self.schema(),
            buffer,
            offered: AtomicU64::new(0),
            frozen_at: AtomicU64::new(u64::MAX),
            receiver: tokio::spawn(receiver.run(connection)),
        }))
    }
}

/// The task that moves lines from the connection to the buffer.
struct Receiver {
    settings: SocketSourceProvider,
    buffer: Arc<LineBuffer>,
    clock: Arc<dyn Clock>,
}

impl Receiver {
    async fn run(self, mut connection: TcpStream) {
        loop {
            let ended = self.receive(connection).await;
            let Some(interval) = self.settings.reconnect else {
                match ended {
                    Ok(()) => {
                        tracing::warn!(address = %self.settings.address, "the sender closed the connection");
                    }
                    Err(error) => self.buffer.fail(&error),
                }
                return;
            };
            connection = self.reconnect(interval).await;
        }
    }

    /// Receives lines until the sender closes the connection.
    async fn receive(&self, connection: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let mut bytes = Vec::new();
            let mut limited = (&mut reader).take(MAX_LINE_BYTES);
            limited
                .read_until(b'\n', &mut bytes)
                .await
                .map_err(|error| {
                    Error::unavailable(format!("the connection to {} broke", self.settings.address))
                        .with_source(error)
                })?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.len() as u64 == MAX_LINE_BYTES && !bytes.ends_with(b"\n") {
                return Err(Error::data(format!(
                    "{} sent {MAX_LINE_BYTES} bytes without a line end",
                    self.settings.address
                )));
            }
            let line = Line {
                text: text_of(&bytes),
                arrived_micros: self.clock.now_millis().saturating_mul(1000),
            };
            self.buffer.push(line).await;
        }
    }

    async fn reconnect(&self, interval: Duration) -> TcpStream {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        loop {
            let next = self.clock.now_millis().saturating_add(interval);
            self.clock.sleep_until(next).await;
            match self.settings.address.connect().await {
                Ok(connection) => return connection,
                Err(error) => tracing::debug!(%error, "will try again"),
            }
        }
    }
}

/// A line without its end.
fn text_of(bytes: &[u8]) -> String {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

#[derive(Debug)]
struct SocketSource {
    settings: SocketSourceProvider,
    schema: SchemaRef,
    buffer: Arc<LineBuffer>,
    /// Where the last discovery ended.
    offered: AtomicU64,
    /// The line beyond which nothing is offered.
    frozen_at: AtomicU64,
    receiver: JoinHandle<()>,
}

impl Drop for SocketSource {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

#[async_trait]
impl Source for SocketSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("SocketSource[{}]", self.settings.address)
    }

    fn is_replayable(&self) -> bool {
        false
    }

    async fn discover(&self, start: Option<&Offset>, _admission: Admission) -> Result<Discovery> {
        let start = count_of(OWNER, start)?;
        self.buffer.begin_at(start);
        let end = self
            .buffer
            .end_after(start)?
            .min(self.frozen_at.load(Ordering::Relaxed))
            .max(start);
        self.offered.store(end, Ordering::Relaxed);
        Ok(discovered(start, end))
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        let numbers = counts_of(OWNER, range)?;
        let received = self.buffer.received(numbers.clone())?;
        let lost = (numbers.end - numbers.start) - (received.end - received.start);
        if lost > 0 {
            tracing::warn!(
                address = %self.settings.address,
                lines = lost,
                "lines were lost with the process that had received them: a socket cannot be read again"
            );
        }
        splits_of(received, parallelism)
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let numbers = numbers_of(OWNER, split)?;
        let (buffer, schema) = (Arc::clone(&self.buffer), self.schema());
        let projection = projection.map(<[usize]>::to_vec);
        Ok(stream::once(async move {
            let batch = batch_of(&schema, &buffer.read(numbers)?)?;
            Ok(match projection {
                Some(columns) => batch.project(&columns)?,
                None => batch,
            })
        })
        .boxed())
    }

    async fn resume(&self, range: &OffsetRange) -> Result<()> {
        self.buffer.begin_at(counts_of(OWNER, range)?.end);
        Ok(())
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Result<()> {
        self.buffer.acknowledge(counts_of(OWNER, range)?.end);
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        self.frozen_at.store(self.buffer.end(), Ordering::Relaxed);
        Ok(())
    }

    async fn changed(&self) {
        let offered = self.offered.load(Ordering::Relaxed);
        if offered >= self.frozen_at.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.buffer.beyond(offered).await;
    }

    async fn latest(&self) -> Option<Offset> {
        Some(Offset::count(self.buffer.end()))
    }
}

fn batch_of(schema: &SchemaRef, lines: &[Line]) -> Result<RecordBatch> {
    let texts = StringArray::from_iter_values(lines.iter().map(|line| &line.text));
    let mut columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(texts)];
    if schema.fields().len() > 1 {
        let micros = lines.iter().map(|line| line.arrived_micros);
        let times = TimestampMicrosecondArray::from_iter_values(micros);
        columns.push(Arc::new(times.with_timezone("UTC")));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Array, AsArray},
        datatypes::TimestampMicrosecondType,
    };
    use futures::FutureExt;
    use headwater_core::ErrorKind;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::test_support::{end_of, range, read, source_context, source_context_at};

    async fn listen() -> (TcpListener, Options) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port().to_string();
        let options = [("host", "127.0.0.1"), ("port", port.as_str())];
        (listener, options.into_iter().collect())
    }

    async fn send(listener: &TcpListener, text: &str) -> TcpStream {
        let (mut connection, _) = listener.accept().await.expect("the source connects");
        connection.write_all(text.as_bytes()).await.expect("sent");
        connection
    }

    /// Waits until the source has received `lines` lines.
    async fn received(source: &Arc<dyn Source>, lines: u64) {
        let mut known = 0;
        while known < lines {
            source.changed().await;
            known = end_of(source, Some(known)).await.unwrap_or(known);
        }
    }

    async fn texts(source: &Arc<dyn Source>, range: &OffsetRange, tasks: usize) -> Vec<String> {
        let batches = read(source, range, tasks).await;
        let lines = batches.iter().flat_map(|batch| {
            let column = batch.column(0).as_string::<i32>().clone();
            (0..column.len()).map(move |row| column.value(row).to_owned())
        });
        lines.collect()
    }

    #[tokio::test]
    async fn lines_can_be_read_again_until_acknowledged() {
        let (listener, options) = listen().await;
        let provider = SocketSourceProvider::try_new(&options).expect("valid options");
        let source = provider.create(source_context()).await.expect("connected");
        let connection = send(&listener, "one\r\ntwo\n\nrest").await;
        drop(connection);
        received(&source, 4).await;
        assert!(!source.is_replayable());
        for tasks in [1, 3] {
            let lines = texts(&source, &range(0, 4), tasks).await;
            assert_eq!(lines, ["one", "two", "", "rest"], "{tasks}");
        }
        source.acknowledge(&range(0, 2)).await.expect("dropped");
        assert_eq!(texts(&source, &range(2, 4), 1).await, ["", "rest"]);
        // The sender is gone: no rows, but no error either.
        assert_eq!(end_of(&source, Some(4)).await, None);
        assert!(source.changed().now_or_never().is_none());
    }

    #[tokio::test]
    async fn lines_carry_the_time_of_their_arrival() {
        let (listener, mut options) = listen().await;
        options.set("includeTimestamp", "true");
        let provider = SocketSourceProvider::try_new(&options).expect("valid options");
        let (context, _clock) = source_context_at(7);
        let source = provider.create(context).await.expect("connected");
        let _connection = send(&listener, "x\n").await;
        received(&source, 1).await;
        let rows = read(&source, &range(0, 1), 1).await;
        let times = rows[0].column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 7_000);
        assert_eq!(rows[0].schema(), source.schema());
    }

    #[tokio::test]
    async fn a_restarted_process_counts_on_and_skips_what_was_lost() {
        let (listener, options) = listen().await;
        let provider = SocketSourceProvider::try_new(&options).expect("valid options");
        let source = provider.create(source_context()).await.expect("connected");
        let _connection = send(&listener, "new\n").await;
        source.resume(&range(0, 3)).await.expect("noted");
        source.resume(&range(3, 5)).await.expect("noted");
        assert!(texts(&source, &range(3, 5), 2).await.is_empty());
        source
            .acknowledge(&range(3, 5))
            .await
            .expect("nothing held");
        let mut found = end_of(&source, Some(5)).await;
        while found.is_none() {
            source.changed().await;
            found = end_of(&source, Some(5)).await;
        }
        assert_eq!(found, Some(6));
        assert_eq!(texts(&source, &range(5, 6), 1).await, ["new"]);
    }

    #[tokio::test]
    async fn it_connects_again_when_asked_to() {
        let (listener, mut options) = listen().await;
        options.set("reconnectInterval", "5 seconds");
        let provider = SocketSourceProvider::try_new(&options).expect("valid options");
        let (context, clock) = source_context_at(0);
        let source = provider.create(context).await.expect("connected");
        drop(send(&listener, "before\n").await);
        received(&source, 1).await;
        let connection = loop {
            // The receiver may notice the end a moment later than the line.
            clock.advance(5_000);
            tokio::task::yield_now().await;
            if let Some(accepted) = listener.accept().now_or_never() {
                break accepted;
            }
        };
        let (mut connection, _) = connection.expect("the source connects again");
        connection.write_all(b"after\n").await.expect("sent");
        while end_of(&source, Some(1)).await.is_none() {
            source.changed().await;
        }
        assert_eq!(texts(&source, &range(1, 2), 1).await, ["after"]);
    }

    #[tokio::test]
    async fn nobody_listening_fails_the_start() {
        let (listener, options) = listen().await;
        drop(listener);
        let provider = SocketSourceProvider::try_new(&options).expect("valid options");
        let error = provider.create(source_context()).await;
        let error = error.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("127.0.0.1"), "{error}");
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for options in [
            &[("host", "h")][..],
            &[("host", "h"), ("port", "70000")],
            &[("host", "h"), ("port", "1"), ("path", "p")],
        ] {
            let named = if options.len() == 3 { "path" } else { "port" };
            let options: Options = options.iter().copied().collect();
            let error = SocketSourceProvider::try_new(&options).expect_err("refused");
            assert!(error.message().contains(named), "{error}");
        }
    }
}
