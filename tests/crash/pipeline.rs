//! The queries that are crashed, and the world they run in.
//!
//! Everything durable is given: where checkpoint and output lie, and with [`Tamper`] a hand in between that does what
//! a faulty engine would do.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use headwater::{
    Settings, Storage, StreamingQueryProgress,
    connect::file::{FileFormat, FileSinkProvider, FileSourceProvider},
    core::{Options, SinkProvider, SourceProvider, clock::ManualClock},
    engine::{Driver, QuerySpec, Step},
    prelude::*,
};

use headwater_log::store::SimMachine;

use super::{
    by_hand::WindowsByHand,
    input::{self, Answer, Row},
    ledger::Ledger,
};

/// When the queries' clock stands: 2001-09-09T01:46:40Z.
const NOW: i64 = 1_000_000_000_000;

/// A query over the files of `input`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// Rows through a filter, into Parquet files.
    Stateless,
    /// Tumbling windows with a watermark, in append mode, into Parquet files.
    Windows,
    /// Windows that overlap, with a watermark, in append mode, into Parquet files.
    Sliding,
    /// A stream joined with itself, left outer, and tumbling windows over what comes out, into Parquet files.
    Join,
    /// Sessions by key, in append mode, into Parquet files.
    Sessions,
    /// The first row of each key for a while, into Parquet files.
    Dedup,
    /// Tumbling windows by a processor with a map and timers, into Parquet files.
    Processor,
    /// Totals by key of what an epoch touched, into the ledger.
    Update,
    /// All totals by key, into the ledger.
    Complete,
}

impl Query {
    /// The result over a table, growing or not.
    pub(crate) fn over(self, table: DataFrame) -> Result<DataFrame> {
        match self {
            Self::Stateless => table.filter(col("value").gt_eq(lit(20)))?.select_expr([
                "time AS start",
                "key",
                "value",
            ]),
            Self::Windows => table
                .with_watermark("time", "5 seconds")?
                .group_by([window(col("time"), "10 seconds"), col("key")])?
                .agg([
                    count(lit(1)).alias("rows"),
                    sum(col("value")).alias("total"),
                ])?
                .select_expr(["window.start AS start", "key", "rows", "total"]),
            Self::Sliding => table
                .with_watermark("time", "5 seconds")?
                .group_by([
                    window(col("time"), "10 seconds").slide("4 seconds"),
                    col("key"),
                ])?
                .agg([
                    count(lit(1)).alias("rows"),
                    sum(col("value")).alias("total"),
                ])?
                .select_expr(["window.start AS start", "key", "rows", "total"]),
            Self::Join => {
                let table = table.with_watermark("time", "5 seconds")?;
                let (left, right) = (table.clone().alias("l")?, table.alias("r")?);
                let last = left.expr(&format!(
                    "l.time + INTERVAL '{} microseconds'",
                    input::REACH
                ))?;
                let pairs = [
                    col("l.key").eq(col("r.key")),
                    col("r.time").between(col("l.time"), last),
                    col("r.value").lt(col("l.value")),
                ];
                left.join_on(right, JoinType::Left, pairs)?
                    .select_expr([
                        "l.time AS time",
                        "l.key AS key",
                        "coalesce(r.value, 0) AS value",
                    ])?
                    .group_by([window(col("time"), "10 seconds"), col("key")])?
                    .agg([
                        count(lit(1)).alias("rows"),
                        sum(col("value")).alias("total"),
                    ])?
                    .select_expr(["window.start AS start", "key", "rows", "total"])
            }
            Self::Sessions => table
                .with_watermark("time", "5 seconds")?
                .group_by([session_window(col("time"), "3 seconds"), col("key")])?
                .agg([
                    count(lit(1)).alias("rows"),
                    sum(col("value")).alias("total"),
                ])?
                .select_expr(["session_window.start AS start", "key", "rows", "total"]),
            Self::Dedup => table
                .with_watermark("time", "5 seconds")?
                .drop_duplicates_within_watermark(&["key"])?
                .select_expr(["time AS start", "key", "value"]),
            Self::Processor => table
                .with_watermark("time", "5 seconds")?
                .group_by_key(["key"])?
                .transform_with_state("windows by hand", TimeMode::EventTime),
            Self::Update | Self::Complete => table.group_by(["key"])?.agg([
                count(lit(1)).alias("rows"),
                sum(col("value")).alias("total"),
                min(col("value")).alias("least"),
                max(col("value")).alias("most"),
                count_distinct(col("value")).alias("different"),
            ]),
        }
    }

    pub(crate) fn mode(self) -> OutputMode {
        match self {
            Self::Stateless
            | Self::Windows
            | Self::Sliding
            | Self::Join
            | Self::Sessions
            | Self::Dedup
            | Self::Processor => OutputMode::Append,
            Self::Update => OutputMode::Update,
            Self::Complete => OutputMode::Complete,
        }
    }

    /// Whether the result is a folder of Parquet files.
    pub(crate) fn writes_files(self) -> bool {
        self.mode() == OutputMode::Append
    }

    /// What the output holds at the end (files), or in the last epoch that touched every key (the ledger).
    pub(crate) fn answer(self, files: &[Vec<Row>]) -> Answer {
        match self {
            Self::Stateless => input::filtered(files),
            Self::Windows => input::closed_windows(files),
            Self::Sliding => input::closed_sliding_windows(files),
            Self::Join => input::joined(files),
            Self::Sessions => input::closed_sessions(files),
            Self::Dedup => input::first_for_a_while(files),
            Self::Processor => input::windows_by_hand(files),
            Self::Update | Self::Complete => input::totals(files),
        }
    }

    /// What epoch `epoch`, which takes one file, gives to the ledger.
    pub(crate) fn answer_of_epoch(self, files: &[Vec<Row>], epoch: usize) -> Answer {
        let mut answer = self.answer(&files[..=epoch]);
        if self == Self::Update {
            answer.retain(|(_, key), _| files[epoch].iter().any(|row| row.key == *key));
        }
        answer
    }
}

/// A hand between the engine and what it rests on. By default it does nothing.
pub(crate) trait Tamper: Send + Sync {
    fn machine(&self, _machine: &SimMachine) {}

    fn checkpoint(&self, checkpoint: Arc<dyn Storage>) -> Arc<dyn Storage> {
        checkpoint
    }

    fn output(&self, output: Arc<dyn Storage>) -> Arc<dyn Storage> {
        output
    }

    fn source(&self, source: Arc<dyn SourceProvider>) -> Arc<dyn SourceProvider> {
        source
    }

    fn sink(&self, sink: Arc<dyn SinkProvider>) -> Arc<dyn SinkProvider> {
        sink
    }

    fn late_output(&self, output: Arc<dyn Storage>) -> Arc<dyn Storage> {
        output
    }

    fn late_sink(&self, sink: Arc<dyn SinkProvider>) -> Arc<dyn SinkProvider> {
        sink
    }
}

/// A sink of Parquet files that calls itself by a path and lies in a storage.
fn parquet_in(path: &str, storage: Arc<dyn Storage>) -> Result<FileSinkProvider> {
    let sink = FileSinkProvider::try_new(FileFormat::Parquet, path, Options::new(), Vec::new())?;
    Ok(sink.with_storage(storage))
}

/// Everything works as it should.
pub(crate) struct Honest;

impl Tamper for Honest {}

/// What an epoch reported, as far as it must be the same whenever the epoch runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    input_rows: u64,
    watermark: Option<String>,
    /// Rows in state, updated, removed, dropped as late; by operator.
    state: Vec<[u64; 4]>,
}

impl Report {
    fn of(progress: &StreamingQueryProgress) -> Self {
        let operators = progress.state_operators.iter();
        Self {
            input_rows: progress.num_input_rows,
            watermark: progress.event_time.get("watermark").cloned(),
            state: operators
                .map(|operator| {
                    [
                        operator.num_rows_total,
                        operator.num_rows_updated,
                        operator.num_rows_removed,
                        operator.num_rows_dropped_by_watermark,
                    ]
                })
                .collect(),
        }
    }
}

/// Reports by epoch.
pub(crate) type Reports = BTreeMap<u64, Report>;

/// Epochs that stay in the log where nothing else is said: few, so that deletion is part of what is crashed.
pub(crate) const RETAINED: u64 = 2;

/// What a query runs in: the places that a crash spares, and those it does not, as they are now.
pub(crate) struct World<'a> {
    pub(crate) query: Query,
    pub(crate) input: &'a Path,
    pub(crate) source_options: &'a [(&'static str, &'static str)],
    /// Epochs that stay in the log.
    pub(crate) retained: u64,
    pub(crate) checkpoint: Arc<dyn Storage>,
    pub(crate) output: Arc<dyn Storage>,
    /// Where late rows go, if they are wanted.
    pub(crate) late: Option<Arc<dyn Storage>>,
    pub(crate) ledger: Ledger,
    pub(crate) tamper: &'a dyn Tamper,
    pub(crate) reports: &'a Mutex<Reports>,
}

impl World<'_> {
    fn source(&self) -> Result<Arc<dyn SourceProvider>> {
        let mut options = Options::new();
        options.set("maxFilesPerTrigger", "1");
        for (name, value) in self.source_options {
            options.set(*name, *value);
        }
        let path = self.input.to_str().expect("a path in UTF-8");
        let source =
            FileSourceProvider::try_new(FileFormat::Parquet, Some(input::schema()), path, options)?;
        Ok(self.tamper.source(Arc::new(source)))
    }

    fn sink(&self) -> Result<Arc<dyn SinkProvider>> {
        if !self.query.writes_files() {
            return Ok(self.tamper.sink(Arc::new(self.ledger.clone())));
        }
        let output = self.tamper.output(Arc::clone(&self.output));
        let sink = parquet_in("memory://crash/output", output)?;
        Ok(self.tamper.sink(Arc::new(sink)))
    }

    /// The query, ready to be started.
    pub(crate) async fn spec(&self) -> Result<QuerySpec> {
        let session = Session::builder()
            .clock(Arc::new(ManualClock::at(NOW)))
            .settings(Settings {
                state_partitions: Some(2),
                min_batches_to_retain: self.retained,
                ..Settings::default()
            })
            .build()?;
        session.register_processor("windows by hand", WindowsByHand);
        session.register_stream("input", self.source()?)?;
        let writer = self
            .query
            .over(session.table("input").await?)?
            .write_stream();
        let writer = match &self.late {
            None => writer,
            Some(late) => {
                let late = self.tamper.late_output(Arc::clone(late));
                let sink = parquet_in("memory://crash/late", late)?;
                writer.late_rows_to(LateRows::sink(self.tamper.late_sink(Arc::new(sink))))
            }
        };
        writer
            .query_name("crashed")
            .sink(self.sink()?)
            .checkpoint(self.tamper.checkpoint(Arc::clone(&self.checkpoint)))
            .output_mode(self.query.mode())
            .trigger(Trigger::available_now())
            .into_spec(None)
    }

    /// Starts the query and runs it until there is nothing left to do.
    pub(crate) async fn run(&self) -> Result<()> {
        let mut driver = Driver::start(self.spec().await?).await?;
        loop {
            match driver.step_and_begin_next().await? {
                Step::Ran(progress) => {
                    let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
                    reports.insert(progress.batch_id, Report::of(&progress));
                }
                Step::Idle => return Err(Error::internal("available-now does not wait")),
                Step::Finished => {
                    driver.shut_down().await;
                    return Ok(());
                }
            }
        }
    }
}
