//! What is known of a running query when somebody asks why nothing comes out.
//!
//! The query's task keeps it up to date (`record.rs`), a few numbers an epoch; whoever asks gets a copy. Nothing here is
//! durable: what a query did before this start is known only as far as its watermark goes.
//!
//! Times are milliseconds since 1970. **Recent** means: in the last epoch that read rows and in those since.

use headwater_core::{ErrorKind, OutputMode, Trigger};
use headwater_log::WatermarkPolicy;
use headwater_plan::Withheld;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that a diagnosis is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosisFacts {
    /// The query in messages.
    pub query: String,
    /// When the question was asked, by the query's clock.
    pub asked_millis: i64,
    /// When this run of the query started.
    pub started_millis: i64,
    /// What the query was doing.
    pub activity: Activity,
    /// When epochs run.
    pub trigger: Trigger,
    /// When the trigger ticks next, if it has ticks.
    pub next_tick_millis: Option<i64>,
    /// Which rows the sink receives.
    pub mode: OutputMode,
    /// How the watermark follows from those of several inputs.
    pub watermark_policy: WatermarkPolicy,
    /// Whether epochs without data run for a watermark that has risen.
    pub no_data_epochs: bool,
    /// Whether a restart goes on where this run ended.
    pub has_checkpoint: bool,
    /// The epoch that is running or comes next.
    pub next_epoch: u64,
    /// Epochs that this run has committed.
    pub epochs: u64,
    /// Rows that this run has read.
    pub rows_read: u64,
    /// Rows that the sink has received from this run.
    pub rows_out: u64,
    /// Whether the last trigger found nothing new in any source.
    pub is_caught_up: bool,
    /// The watermark of the next epoch; none for a query without one.
    pub watermark_millis: Option<i64>,
    /// The sources by number.
    pub sources: Vec<SourceStanding>,
    /// The watermark of each input that has one.
    pub watermarks: Vec<WatermarkStanding>,
    /// The stateful operators, the one nearest the sink first.
    pub operators: Vec<OperatorStanding>,
    /// The last epoch that read rows.
    pub last_input: Option<InputEpoch>,
    /// The last epoch that gave rows to the sink.
    pub last_output: Option<OutputEpoch>,
}

/// What a query is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum Activity {
    /// Its first trigger has not fired yet.
    Starting,
    /// It waits for new rows or for its next trigger.
    Waiting {
        /// Since then.
        since_millis: i64,
    },
    /// A trigger is at work.
    Running {
        /// When it fired.
        since_millis: i64,
        /// The phase it is in, by the name that progress reports use.
        phase: String,
        /// When that began.
        phase_since_millis: i64,
    },
    /// It has ended without an error.
    Stopped,
    /// It has ended with an error.
    Failed {
        /// What to do about it.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
}

/// A source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStanding {
    /// What reports call it.
    pub description: String,
    /// Rows that this run has read.
    pub rows: u64,
    /// Of these, those of the last epoch that read rows from any source.
    pub recent_rows: u64,
    /// When the last epoch began that read rows from this one.
    pub last_rows_millis: Option<i64>,
    /// Where the query stands.
    pub position: Value,
    /// The newest position that the source knew of after the last epoch.
    pub latest: Value,
    /// Whether it had more than the last epoch took.
    pub is_behind: bool,
}

/// An input with a watermark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkStanding {
    /// Its id in the plan.
    pub id: String,
    /// The event time.
    pub column: String,
    /// The sources whose rows pass it, by number.
    pub sources: Vec<usize>,
    /// How far the watermark stays behind the newest event time.
    pub delay_millis: i64,
    /// The newest event time that this run has seen; none before the first row.
    pub newest_millis: Option<i64>,
    /// Its own watermark.
    pub watermark_millis: i64,
    /// When the newest event time came.
    pub rise: Option<Rise>,
    /// Recent event times: the first and the last.
    pub recent: Option<(i64, i64)>,
    /// Recent rows, those without an event time not counted.
    pub recent_rows: u64,
    /// Recent rows without an event time.
    pub recent_nulls: u64,
}

/// An epoch that brought a newer event time than any before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rise {
    /// The epoch.
    pub epoch: u64,
    /// The newest event time before.
    pub before_millis: Option<i64>,
    /// The mean of the epoch's event times.
    pub mean_millis: i64,
}

/// A stateful operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorStanding {
    /// Its id.
    pub id: String,
    /// `aggregate`, `join`, …
    pub kind: String,
    /// What it gives out only when the watermark has passed it.
    pub withholds: Withheld,
    /// Why its state grows without bound, if it does.
    pub grows: Vec<String>,
    /// Rows in state; none before the first epoch of this run.
    pub rows: Option<u64>,
    /// Memory that they take.
    pub memory_bytes: u64,
    /// Rows that this run dropped as late.
    pub late_rows: u64,
    /// What it did recently.
    pub recent: RecentWork,
    /// The first of what it holds that ends by event time; it may be too early, never too late.
    pub next: Option<NextEnd>,
    /// It will never let a row through again.
    pub is_exhausted: bool,
}

/// What an operator did recently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentWork {
    /// Rows of state that it wrote.
    pub updated: u64,
    /// Rows of state that it removed.
    pub removed: u64,
    /// Rows that it dropped as late.
    pub late: u64,
    /// Rows that it dropped as duplicates.
    pub duplicates: u64,
}

/// When something that an operator holds ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextEnd {
    /// Its end.
    pub at_millis: i64,
    /// The watermark of the query that it takes: later than the end if a join below keeps rows for so long.
    pub needs_millis: i64,
}

/// An epoch that read rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputEpoch {
    /// Its number.
    pub epoch: u64,
    /// When it began.
    pub at_millis: i64,
    /// Rows it read.
    pub rows: u64,
    /// The watermark by which its rows were late.
    pub late_watermark_millis: i64,
    /// Rows that it and the epochs since gave to the sink.
    pub rows_out: u64,
}

/// An epoch that gave rows to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputEpoch {
    /// Its number.
    pub epoch: u64,
    /// When it began.
    pub at_millis: i64,
    /// Rows it gave.
    pub rows: u64,
}

impl DiagnosisFacts {
    /// An input with a watermark as people know it: its event time and where its rows come from.
    pub(super) fn name_of(&self, watermark: &WatermarkStanding) -> String {
        let sources = watermark.sources.iter();
        let sources = sources.filter_map(|number| self.sources.get(*number));
        let sources: Vec<&str> = sources.map(|it| it.description.as_str()).collect();
        let column = &watermark.column;
        let name = match sources.as_slice() {
            [] => format!("'{column}' ({})", watermark.id),
            several => format!("'{column}' of {}", several.join(" and ")),
        };
        let same = self
            .watermarks
            .iter()
            .filter(|it| (&it.sources, &it.column) == (&watermark.sources, &watermark.column));
        match same.count() {
            0 | 1 => name,
            _ => format!("{name} ({})", watermark.id),
        }
    }
}
