//! A world with a table, a checkpoint and an output folder, in which queries are started and stopped.

use std::sync::Arc;

use datafusion::{
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    prelude::{DataFrame, SessionContext, col, lit},
};
use headwater_core::{
    Clock, OutputMode, Result, Storage, StreamingQueryProgress, Trigger, clock::ManualClock,
};
use headwater_log::MemoryStorage;
use headwater_plan::{StreamTable, with_watermark};

use super::{LedgerSink, TestTable};
use crate::{Driver, QuerySpec, Settings, Step};

/// When the clock of a fixture begins: 2001-09-09T01:46:40Z.
const START_MILLIS: i64 = 1_000_000_000_000;

/// Which query to run over the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// `v` as it comes.
    Rows,
    /// Count and sum of `v` by windows of ten seconds, with a watermark without delay.
    Windows,
    /// As [`Self::Windows`], over the union of two tables with a watermark each.
    UnionWindows,
}

/// Everything outside a query: what is here outlives its runs.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) a: TestTable,
    pub(crate) b: TestTable,
    /// Of the checkpoint.
    pub(crate) checkpoint: Arc<dyn Storage>,
    /// Of the output folder.
    pub(crate) output: Arc<dyn Storage>,
    pub(crate) sink: LedgerSink,
    /// Where late rows go, if they are wanted.
    pub(crate) late: Option<LedgerSink>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) settings: Settings,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (checkpoint, output) = (MemoryStorage::default(), MemoryStorage::default());
        Self::on(Arc::new(checkpoint), Arc::new(output))
    }

    pub(crate) fn on(checkpoint: Arc<dyn Storage>, output: Arc<dyn Storage>) -> Self {
        Self {
            a: TestTable::new("a"),
            b: TestTable::new("b"),
            checkpoint,
            sink: LedgerSink::new(Arc::clone(&output)),
            late: None,
            output,
            clock: Arc::new(ManualClock::at(START_MILLIS)),
            settings: Settings {
                state_partitions: Some(2),
                ..Settings::default()
            },
        }
    }

    /// The same world after a crash of the machine.
    pub(crate) fn reopened(self, checkpoint: Arc<dyn Storage>, output: Arc<dyn Storage>) -> Self {
        Self {
            checkpoint,
            sink: LedgerSink::new(Arc::clone(&output)),
            output,
            ..self
        }
    }

    pub(crate) fn spec(&self, query: Query, trigger: Trigger) -> QuerySpec {
        let context = SessionContext::new();
        QuerySpec {
            name: Some("q".to_owned()),
            plan: self.plan(&context, query),
            state: context.state(),
            mode: OutputMode::Append,
            trigger,
            sink: Arc::new(self.sink.clone()),
            late_sink: self.late.clone().map(|late| Arc::new(late) as _),
            checkpoint: Some(Arc::clone(&self.checkpoint)),
            settings: self.settings.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        }
    }

    fn plan(&self, context: &SessionContext, query: Query) -> LogicalPlan {
        let table = |table: &TestTable| {
            let provider = StreamTable::new("t", Arc::new(table.clone()));
            let frame = context.read_table(Arc::new(provider)).unwrap();
            frame.into_unoptimized_plan()
        };
        let marked = |source: &TestTable| with_watermark(table(source), "ts", "0 seconds").unwrap();
        let input = match query {
            Query::Rows => {
                let rows = DataFrame::new(context.state(), table(&self.a));
                let rows = rows.select([col("v")]).unwrap();
                return rows.into_unoptimized_plan();
            }
            Query::Windows => marked(&self.a),
            Query::UnionWindows => LogicalPlanBuilder::from(marked(&self.a))
                .union(marked(&self.b))
                .unwrap()
                .build()
                .unwrap(),
        };
        DataFrame::new(context.state(), input)
            .aggregate(
                vec![headwater_sql::window(col("ts"), "10 seconds")],
                vec![count(lit(1)).alias("n"), sum(col("v")).alias("s")],
            )
            .unwrap()
            .into_unoptimized_plan()
    }

    pub(crate) async fn start(&self, query: Query, trigger: Trigger) -> Result<Driver> {
        Driver::start(self.spec(query, trigger)).await
    }

    /// Everything that a reader of the output folder sees, sorted. Windows are shown as `start n s`.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let rows = LedgerSink::rows(&self.output).await;
        let mut rows: Vec<String> = rows.iter().map(|row| shown(row)).collect();
        rows.sort();
        rows
    }
}

fn shown(row: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(row).unwrap();
    match row.get("window") {
        None => row["v"].to_string(),
        Some(window) => {
            let start = window["start"].as_str().unwrap();
            format!("{} n={} s={}", &start[14..19], row["n"], row["s"])
        }
    }
}

/// The report of a step that ran an epoch.
pub(crate) async fn ran(driver: &mut Driver) -> StreamingQueryProgress {
    match driver.step().await.unwrap() {
        Step::Ran(progress) => *progress,
        other => panic!("expected an epoch, found {other:?}"),
    }
}

/// Runs triggers until one finds nothing to do; the epochs that ran.
pub(crate) async fn idle(driver: &mut Driver) -> Vec<StreamingQueryProgress> {
    let mut epochs = Vec::new();
    loop {
        match driver.step().await.unwrap() {
            Step::Ran(progress) => epochs.push(*progress),
            Step::Idle | Step::Finished => return epochs,
        }
    }
}

/// The numbers of epochs.
pub(crate) fn batch_ids(epochs: &[StreamingQueryProgress]) -> Vec<u64> {
    epochs.iter().map(|progress| progress.batch_id).collect()
}
