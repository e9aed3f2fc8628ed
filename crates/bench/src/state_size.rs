//! What an epoch costs beside state that it does not touch: the same rows per epoch over states of different sizes.
//!
//! The state is filled first and then kept as large as it is: event time advances a second an epoch, each epoch brings
//! as many new keys as the watermark removes. So every epoch adds, probes and evicts the same number of rows, and
//! differs between the sizes by nothing but what lies untouched beside them.

use std::{fmt, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater::connect::memory::MemoryStream;
use headwater::{Clock, DataFrame, Error, Options, OutputMode, Result, Session, StreamingQuery};
use headwater_log::store::{CountedStorage, counted_storage_for_url};
use serde::Serialize;
use tempfile::TempDir;

use crate::report::round;

/// New rows, with a new key each, in an epoch; so many per second of event time.
const ROWS: i64 = 1_000;
/// Rows of an epoch while the state is being filled.
const FILL: i64 = 50_000;
/// Epochs that run before any is measured: plans are warm, caches are filled.
const WARM: i64 = 20;
/// Epochs of one size before it is another's turn.
const TURN: i64 = 20;

const SECOND: i64 = 1_000_000;

/// An operator whose state is made large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Tumbling windows by key.
    Tumbling,
    /// Sessions by key.
    Session,
    /// Duplicates dropped within the watermark.
    Dedup,
    /// Two streams joined by key and a range of time.
    Join,
    /// Totals by key for ever: an epoch touches some of the keys.
    Running,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Tumbling,
        Self::Session,
        Self::Dedup,
        Self::Join,
        Self::Running,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tumbling => "tumbling",
            Self::Session => "session",
            Self::Dedup => "dedup",
            Self::Join => "join",
            Self::Running => "running",
        }
    }

    fn mode(self) -> OutputMode {
        match self {
            Self::Running => OutputMode::Update,
            _ => OutputMode::Append,
        }
    }

    /// The query that keeps rows for about `seconds` of event time.
    async fn query(self, session: &Session, seconds: i64) -> Result<DataFrame> {
        let marked = |table: &str, delay: i64| {
            format!("{table} WATERMARK time DELAY OF INTERVAL {delay} SECONDS")
        };
        let text = match self {
            Self::Tumbling => format!(
                "SELECT window(time, '1 second') AS w, key, count(*) AS n FROM {} \
                 GROUP BY window(time, '1 second'), key",
                marked("a", seconds)
            ),
            Self::Session => format!(
                "SELECT session_window(time, '1 second') AS w, key, count(*) AS n FROM {} \
                 GROUP BY session_window(time, '1 second'), key",
                marked("a", seconds)
            ),
            // A key stays for the delay after its row, and the watermark is as far behind.
            Self::Dedup => format!("SELECT * FROM {}", marked("a", seconds / 2)),
            // Each side gets half of the rows.
            Self::Join => format!(
                "SELECT a.key, a.time AS a_time, b.time AS b_time FROM {} AS a JOIN {} AS b \
                 ON a.key = b.key AND b.time BETWEEN a.time AND a.time + INTERVAL 1 SECOND",
                marked("a", seconds),
                marked("b", seconds)
            ),
            Self::Running => "SELECT key, count(*) AS n FROM a GROUP BY key".to_owned(),
        };
        let frame = session.sql(&text).await?;
        match self {
            Self::Dedup => frame.drop_duplicates_within_watermark(&["key"]),
            _ => Ok(frame),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cost of an epoch beside a state of some size.
#[derive(Debug, Clone, Serialize)]
pub struct EpochCost {
    /// The operator.
    pub operator: String,
    /// Rows that the state was to hold.
    pub keys: i64,
    /// Rows that it held at the end, as the last report says.
    pub state_rows: u64,
    /// Rows of input in an epoch.
    pub rows_per_epoch: i64,
    /// Epochs measured.
    pub epochs: i64,
    /// Median time from giving the rows until they are processed, the epoch without data that the watermark asks for
    /// included, in milliseconds.
    pub epoch_ms_p50: f64,
    /// The same at the 90th percentile.
    pub epoch_ms_p90: f64,
    /// Bytes written to the checkpoint for an epoch on average, snapshots included.
    pub checkpoint_bytes_per_epoch: u64,
}

/// Runs `epochs` epochs of `operator` beside each of these numbers of keys in state, the sizes in turns: a machine that
/// is slow for a while is slow for all of them. The checkpoints are in temporary folders.
///
/// # Errors
/// `Invalid` if a size is no multiple of 2,000; whatever the queries fail with.
pub async fn run(
    operator: Operator,
    sizes: &[i64],
    epochs: i64,
    clock: &dyn Clock,
) -> Result<Vec<EpochCost>> {
    let mut filled = Vec::new();
    for keys in sizes {
        filled.push(Filled::fill(operator, *keys).await?);
    }
    let mut left = epochs;
    while left > 0 {
        for size in &mut filled {
            size.measure(left.min(TURN), clock).await?;
        }
        left -= TURN;
    }
    let mut costs = Vec::new();
    for size in filled {
        costs.push(size.stop(operator).await?);
    }
    Ok(costs)
}

/// A running query whose state is as large as it is to be, and what its epochs cost so far.
struct Filled {
    keys: i64,
    feed: Feed,
    storage: Arc<CountedStorage>,
    times: Vec<Duration>,
    bytes_written: u64,
    /// Its checkpoint, gone with it.
    _folder: TempDir,
}

impl Filled {
    async fn fill(operator: Operator, keys: i64) -> Result<Self> {
        if keys < 2 * ROWS || keys % (2 * ROWS) != 0 {
            return Err(Error::invalid(format!(
                "{keys} keys cannot be kept: choose a multiple of {}",
                2 * ROWS
            )));
        }
        let folder = tempfile::tempdir().map_err(|e| {
            Error::unavailable("cannot create a folder for the query").with_source(e)
        })?;
        let url = folder.path().to_string_lossy();
        let storage = Arc::new(counted_storage_for_url(&url, &Options::new())?);
        let mut feed = Feed::start(operator, keys, &storage).await?;
        while feed.rows < keys {
            feed.give(FILL.min(keys - feed.rows)).await?;
        }
        for _ in 0..WARM {
            feed.give(ROWS).await?;
        }
        Ok(Self {
            keys,
            feed,
            storage,
            times: Vec::new(),
            bytes_written: 0,
            _folder: folder,
        })
    }

    async fn measure(&mut self, epochs: i64, clock: &dyn Clock) -> Result<()> {
        // What the other sizes have put out of the processor's caches comes back before the clock runs.
        self.feed.give(ROWS).await?;
        let written = self.storage.counts();
        for _ in 0..epochs {
            let start = clock.monotonic();
            self.feed.give(ROWS).await?;
            self.times.push(clock.monotonic() - start);
        }
        self.bytes_written += self.storage.counts().since(&written).bytes_written;
        Ok(())
    }

    async fn stop(mut self, operator: Operator) -> Result<EpochCost> {
        let report = self.feed.query.last_progress();
        self.feed.query.stop().await?;
        let state_rows = report.map(|report| {
            let operators = report.state_operators.iter();
            operators.map(|operator| operator.num_rows_total).sum()
        });
        self.times.sort();
        let epochs = self.times.len() as i64;
        Ok(EpochCost {
            operator: operator.to_string(),
            keys: self.keys,
            state_rows: state_rows.unwrap_or(0),
            rows_per_epoch: ROWS,
            epochs,
            epoch_ms_p50: millis(&self.times, 50),
            epoch_ms_p90: millis(&self.times, 90),
            checkpoint_bytes_per_epoch: self.bytes_written / epochs.max(1).unsigned_abs(),
        })
    }
}

fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let time = sorted.get(sorted.len() * percent / 100);
    round(time.map_or(0.0, Duration::as_secs_f64) * 1_000.0)
}

/// A running query and what feeds it.
struct Feed {
    streams: Vec<MemoryStream>,
    query: StreamingQuery,
    /// For totals: how many keys there are.
    keys: Option<i64>,
    /// Rows given so far, of all streams.
    rows: i64,
}

impl Feed {
    async fn start(operator: Operator, keys: i64, storage: &Arc<CountedStorage>) -> Result<Self> {
        let session = Session::new();
        let names: &[&str] = match operator {
            Operator::Join => &["a", "b"],
            _ => &["a"],
        };
        let mut streams = Vec::new();
        for name in names {
            let stream = MemoryStream::new(*name, schema());
            let provider = stream.provider().drop_acknowledged();
            session.register_stream(name, Arc::new(provider))?;
            streams.push(stream);
        }
        let frame = operator.query(&session, keys / ROWS).await?;
        let query = frame
            .write_stream()
            .output_mode(operator.mode())
            .checkpoint(Arc::clone(storage) as _)
            .format("noop")
            .start(None)
            .await?;
        Ok(Self {
            streams,
            query,
            keys: (operator == Operator::Running).then_some(keys),
            rows: 0,
        })
    }

    /// Gives so many rows and waits until they are processed.
    async fn give(&mut self, rows: i64) -> Result<()> {
        let each = rows / self.streams.len() as i64;
        let first = self.rows / self.streams.len() as i64;
        for stream in &self.streams {
            stream.add_batch(batch(
                first..first + each,
                self.keys,
                ROWS / self.streams.len() as i64,
            )?)?;
        }
        self.rows += rows;
        self.query.process_all_available().await
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("time", time, false),
    ]))
}

/// Rows of these numbers; `per_second` of them share a second.
fn batch(numbers: std::ops::Range<i64>, keys: Option<i64>, per_second: i64) -> Result<RecordBatch> {
    let key = |number: i64| match keys {
        // Far apart, so that an epoch touches keys all over the state.
        Some(keys) => number.wrapping_mul(7_919).rem_euclid(keys),
        None => number,
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(key))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                numbers.map(|number| number * (SECOND / per_second)),
            )
            .with_timezone("UTC"),
        ),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_state_is_as_large_as_it_was_to_be() {
        let clock = headwater::core::SystemClock::default();
        for operator in Operator::ALL {
            let costs = run(operator, &[4_000, 8_000], 3, &clock).await.unwrap();
            assert_eq!(costs.len(), 2);
            for (cost, near) in std::iter::zip(costs, [3_500..=6_500, 7_500..=10_500]) {
                assert!(near.contains(&cost.state_rows), "{cost:?}");
                assert_eq!(cost.epochs, 3);
                assert!(cost.checkpoint_bytes_per_epoch > 1_000, "{cost:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_size_that_cannot_be_kept_is_refused() {
        let clock = headwater::core::SystemClock::default();
        let error = run(Operator::Dedup, &[1_234], 1, &clock).await.unwrap_err();
        assert!(error.message().contains("2000"), "{error}");
    }
}
