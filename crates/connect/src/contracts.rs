//! The conformance suites, run for every connector of this crate that is not a file.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    Admission, BatchStream, Discovery, Epoch, Error, Offset, OffsetRange, Options, OutputMode,
    Result, SinkContext, SinkProvider, Source, SourceContext, SourceProvider, Split,
    clock::ManualClock,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    conformance::{SinkFixture, SourceFixture, sink_conformance, sink_schema, source_conformance},
    console::ConsoleSinkProvider,
    foreach::{ForeachBatchSinkProvider, ForeachSinkProvider, ForeachWriter},
    generator::GeneratorSourceProvider,
    memory::{MemorySink, MemoryStream},
    nexmark::NexmarkSourceProvider,
    noop::NoopSinkProvider,
    rate::{RateMicroBatchSourceProvider, RateSourceProvider},
    socket::{SocketSinkProvider, SocketSourceProvider},
    test_support::{numbers, numbers_in, numbers_schema, sink_context, source_context_at},
};

/// A source that needs nothing from outside but a clock and what `grow` does.
struct Plain<G> {
    provider: Arc<dyn SourceProvider>,
    context: SourceContext,
    clock: Arc<ManualClock>,
    grow: G,
}

impl<G> Plain<G> {
    fn new(provider: impl SourceProvider, grow: G) -> Self {
        let (context, clock) = source_context_at(1_000_000);
        Self {
            provider: Arc::new(provider),
            context,
            clock,
            grow,
        }
    }
}

#[async_trait]
impl<G: Fn(&ManualClock) -> usize + Send + Sync> SourceFixture for Plain<G> {
    fn provider(&self) -> Arc<dyn SourceProvider> {
        Arc::clone(&self.provider)
    }

    fn context(&self) -> SourceContext {
        self.context.clone()
    }

    async fn grow(&self) -> usize {
        (self.grow)(&self.clock)
    }
}

/// Puts a gate into an endless source, so that it has an end that the fixture can move.
#[derive(Debug, Clone)]
struct Gated {
    inner: Arc<dyn SourceProvider>,
    /// How many steps may be taken, all in all.
    steps: Arc<AtomicU64>,
    count_steps: fn(&Offset) -> u64,
}

#[derive(Debug)]
struct GatedSource {
    inner: Arc<dyn Source>,
    gate: Gated,
    frozen_at: Mutex<Option<u64>>,
}

#[async_trait]
impl SourceProvider for Gated {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(GatedSource {
            inner: self.inner.create(context).await?,
            gate: self.clone(),
            frozen_at: Mutex::new(None),
        }))
    }
}

#[async_trait]
impl Source for GatedSource {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn description(&self) -> String {
        self.inner.description()
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let open = self.gate.steps.load(Ordering::Relaxed);
        let limit = self.frozen_at.lock().unwrap_or(open);
        if start.map_or(0, self.gate.count_steps) >= limit {
            return Ok(Discovery::Nothing);
        }
        self.inner.discover(start, admission).await
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        self.inner.splits(range, parallelism).await
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        self.inner.open(split, projection)
    }

    async fn resume(&self, range: &OffsetRange) -> Result<()> {
        self.inner.resume(range).await
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Result<()> {
        self.inner.acknowledge(range).await
    }

    async fn freeze(&self) -> Result<()> {
        *self.frozen_at.lock() = Some(self.gate.steps.load(Ordering::Relaxed));
        Ok(())
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

/// A fixture of an endless source that takes steps of five rows.
fn gated(provider: impl SourceProvider, count_steps: fn(&Offset) -> u64) -> impl SourceFixture {
    let steps = Arc::new(AtomicU64::new(0));
    let provider = Gated {
        inner: Arc::new(provider),
        steps: Arc::clone(&steps),
        count_steps,
    };
    Plain::new(provider, move |_: &ManualClock| {
        // One step: an endless source offers no more at once, however much it is asked for.
        steps.fetch_add(1, Ordering::Relaxed);
        5
    })
}

#[tokio::test]
async fn memory_stream_keeps_the_contract_of_sources() {
    for limited in [false, true] {
        source_conformance(async || {
            let stream = MemoryStream::new("m", numbers_schema());
            let provider = match limited {
                true => stream.provider().blocks_per_epoch(1).drop_acknowledged(),
                false => stream.provider(),
            };
            Plain::new(provider, move |_: &ManualClock| {
                let count = stream.block_count() as i64;
                stream.add_batch(numbers(&[count, 7])).expect("it fits");
                stream.add_batch(numbers(&[])).expect("it fits");
                stream.add_batch(numbers(&[-count])).expect("it fits");
                3
            })
        })
        .await;
    }
}

#[tokio::test]
async fn rate_keeps_the_contract_of_sources() {
    source_conformance(async || {
        let options: Options = [("rowsPerSecond", "7")].into_iter().collect();
        let provider = RateSourceProvider::try_new(&options).expect("valid options");
        let fixture = Plain::new(provider, |clock: &ManualClock| {
            clock.advance(3_000);
            21
        });
        // The first start, from which seconds are counted.
        let first = fixture.provider().create(fixture.context()).await;
        first.expect("created");
        fixture
    })
    .await;
}

#[tokio::test]
async fn nexmark_keeps_the_contract_of_sources() {
    source_conformance(async || {
        let options = [("table", "bid"), ("eventsPerSecond", "50")];
        let options: Options = options.into_iter().collect();
        let provider = NexmarkSourceProvider::try_new(&options).expect("valid options");
        let fixture = Plain::new(provider, |clock: &ManualClock| {
            clock.advance(3_000);
            138
        });
        // The first start, from which seconds are counted.
        let first = fixture.provider().create(fixture.context()).await;
        first.expect("created");
        fixture
    })
    .await;
}

#[tokio::test]
async fn rate_micro_batch_keeps_the_contract_of_sources() {
    source_conformance(async || {
        let options: Options = [("rowsPerBatch", "5")].into_iter().collect();
        let provider = RateMicroBatchSourceProvider::try_new(&options).expect("valid options");
        gated(provider, |end| {
            end.0["offset"].as_u64().expect("a number of rows") / 5
        })
    })
    .await;
}

#[tokio::test]
async fn generator_keeps_the_contract_of_sources() {
    source_conformance(async || {
        let make = |start: u64, end: u64| {
            let values: Vec<i64> = (start..end).map(|n| n as i64 * 3).collect();
            Ok(numbers(&values))
        };
        let provider = GeneratorSourceProvider::new("g", numbers_schema(), make).rows_per_epoch(5);
        gated(provider, |end| {
            end.as_count().expect("a number of rows") / 5
        })
    })
    .await;
}

/// A sender of lines at the other end of a socket source.
#[derive(Debug, Clone)]
struct Sender {
    listener: Arc<TcpListener>,
    provider: SocketSourceProvider,
    unsent: Arc<Mutex<String>>,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
}

/// The newest connection, and the source at its other end.
type Open = (TcpStream, Arc<dyn Source>);

impl Sender {
    async fn new() -> Self {
        let (listener, options) = listen().await;
        Self {
            listener: Arc::new(listener),
            provider: SocketSourceProvider::try_new(&options).expect("valid options"),
            unsent: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Sends what is due over the open connection and waits until the source has it.
    async fn send(&self) {
        let mut open = self.open.lock().await;
        let Some((connection, source)) = &mut *open else {
            return;
        };
        let text = std::mem::take(&mut *self.unsent.lock());
        let known = source.latest().await.and_then(|end| end.as_count());
        let expected = known.expect("a count") + text.lines().count() as u64;
        connection
            .write_all(text.as_bytes())
            .await
            .expect("the source listens");
        while source.latest().await != Some(Offset::count(expected)) {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl SourceProvider for Sender {
    fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    fn identity(&self) -> String {
        self.provider.identity()
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        let source = self.provider.create(context).await?;
        let (connection, _) = self.listener.accept().await.expect("the source connects");
        *self.open.lock().await = Some((connection, Arc::clone(&source)));
        self.send().await;
        Ok(source)
    }
}

#[async_trait]
impl SourceFixture for Sender {
    fn provider(&self) -> Arc<dyn SourceProvider> {
        Arc::new(self.clone())
    }

    fn context(&self) -> SourceContext {
        source_context_at(0).0
    }

    async fn grow(&self) -> usize {
        self.unsent.lock().push_str("a\nb\n\nc\n");
        self.send().await;
        4
    }
}

#[tokio::test]
async fn socket_source_keeps_the_contract_of_sources() {
    source_conformance(Sender::new).await;
}

/// A sink whose rows can be looked at with `look`, if at all.
struct Shown {
    provider: Arc<dyn SinkProvider>,
    mode: OutputMode,
    look: Option<Box<dyn Fn() -> Vec<i64> + Send + Sync>>,
    exactly_once: bool,
}

impl Shown {
    fn delivered(provider: impl SinkProvider) -> Self {
        Self {
            provider: Arc::new(provider),
            mode: OutputMode::Append,
            look: None,
            exactly_once: false,
        }
    }
}

#[async_trait]
impl SinkFixture for Shown {
    fn provider(&self) -> Arc<dyn SinkProvider> {
        Arc::clone(&self.provider)
    }

    fn context(&self) -> SinkContext {
        SinkContext {
            schema: sink_schema(),
            ..sink_context(self.mode)
        }
    }

    async fn visible(&self) -> Option<Vec<i64>> {
        self.look.as_ref().map(|look| look())
    }

    fn is_exactly_once(&self) -> bool {
        self.exactly_once
    }
}

#[tokio::test]
async fn memory_sink_keeps_the_contract_of_sinks() {
    for mode in [OutputMode::Append, OutputMode::Update] {
        sink_conformance(async || {
            let sink = MemorySink::new("m");
            Shown {
                provider: Arc::new(sink.provider()),
                mode,
                look: Some(Box::new(move || numbers_in(&sink.batches()))),
                exactly_once: true,
            }
        })
        .await;
    }
}

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn console_keeps_the_contract_of_sinks() {
    sink_conformance(async || {
        let screen = Screen::default();
        let provider = ConsoleSinkProvider::try_with_output(&Options::new(), screen.clone());
        // The first cell of every line that holds a number.
        let numbers_on_screen = move || {
            let text = String::from_utf8_lossy(&screen.0.lock()).into_owned();
            let cells = text.lines().filter_map(|line| line.split('|').nth(1));
            cells.filter_map(|cell| cell.trim().parse().ok()).collect()
        };
        Shown {
            provider: Arc::new(provider.expect("valid options")),
            mode: OutputMode::Append,
            look: Some(Box::new(numbers_on_screen)),
            exactly_once: true,
        }
    })
    .await;
}

#[tokio::test]
async fn noop_keeps_the_contract_of_sinks() {
    sink_conformance(async || Shown::delivered(NoopSinkProvider)).await;
}

struct Ignore;

#[async_trait]
impl ForeachWriter for Ignore {
    async fn open(&mut self, _partition: usize, _epoch: Epoch) -> Result<bool> {
        Ok(true)
    }

    async fn process(&mut self, _rows: RecordBatch) -> Result<()> {
        Ok(())
    }

    async fn close(&mut self, _error: Option<&Error>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn foreach_keeps_the_contract_of_sinks() {
    sink_conformance(async || Shown::delivered(ForeachSinkProvider::new(|| Ignore))).await;
    sink_conformance(async || {
        Shown::delivered(ForeachBatchSinkProvider::new(|_| async { Ok(()) }))
    })
    .await;
}

#[tokio::test]
async fn socket_sink_keeps_the_contract_of_sinks() {
    let (listener, options) = listen().await;
    let drain = tokio::spawn(async move {
        // Each sink that is made connects once.
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut text = String::new();
            let _ = connection.read_to_string(&mut text).await;
        }
    });
    sink_conformance(async || {
        let provider = SocketSinkProvider::try_new(&options);
        Shown::delivered(provider.expect("valid options"))
    })
    .await;
    drain.abort();
}

async fn listen() -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let options = [("host", "127.0.0.1"), ("port", port.as_str())];
    (listener, options.into_iter().collect())
}
