//! Why nothing comes out: one reason, as data. `sentence.rs` tells it.

use headwater_core::ErrorKind;
use serde::{Deserialize, Serialize};

/// A reason why no rows come out, or what is known about when they will. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// The query has failed.
    Failed {
        /// What to do about it.
        kind: ErrorKind,
        /// What happened.
        message: String,
        /// The epoch that a restart begins with, if there is a checkpoint.
        resumes_at: Option<u64>,
    },
    /// The query has ended.
    Stopped,
    /// The query has not begun its first trigger.
    Starting,
    /// An epoch takes long.
    LongEpoch {
        /// The epoch.
        epoch: u64,
        /// For how long.
        for_millis: i64,
        /// What it is doing, by the name that progress reports use.
        phase: String,
        /// For how long it has been doing that.
        phase_for_millis: i64,
    },
    /// Nothing is wrong: rows do come out.
    RowsComeOut {
        /// Rows of the last epoch that gave any.
        rows: u64,
        /// That epoch.
        epoch: u64,
        /// When it began.
        at_millis: i64,
    },
    /// A LIMIT has let all of its rows through.
    LimitReached {
        /// The operator.
        operator: String,
    },
    /// All recent rows were dropped as late, or nearly all.
    Late {
        /// The operator that dropped them.
        operator: String,
        /// How many it dropped.
        late: u64,
        /// How many were read.
        read: u64,
        /// The watermark that had passed them.
        watermark_millis: i64,
        /// The newest event time among the rows read.
        newest_millis: Option<i64>,
        /// Where the watermark comes from.
        raised: Option<Raised>,
    },
    /// No recent row has an event time.
    NoEventTimes {
        /// The event time, by name.
        input: String,
        /// Rows without one.
        rows: u64,
    },
    /// All recent rows were duplicates.
    Duplicates {
        /// The operator.
        operator: String,
        /// How many.
        rows: u64,
    },
    /// No recent row got past the conditions of the query.
    Filtered {
        /// Rows read.
        read: u64,
        /// Where none arrived: an operator, else the sink.
        before: Option<String>,
    },
    /// An operator gave out rows and none got past the conditions behind it.
    FilteredBehind {
        /// The operator.
        operator: String,
    },
    /// Rows were stored by a join and none found a match.
    NoMatch {
        /// The operator.
        operator: String,
        /// Rows in state.
        held: u64,
    },
    /// Some inputs hold back the watermark of all.
    HeldBack {
        /// These inputs.
        by: Vec<Holder>,
        /// The watermark.
        watermark_millis: i64,
        /// Where it would stand without them.
        without_millis: i64,
    },
    /// What an operator holds comes out when the watermark has passed it.
    NotClosed {
        /// The operator.
        operator: String,
        /// What comes out first.
        next: Closing,
        /// The watermark that it takes.
        needs_millis: i64,
        /// The watermark.
        watermark_millis: i64,
        /// Which rows it takes.
        events: Vec<NeededEvent>,
    },
    /// The watermark has passed what an operator holds; the next epoch gives it out.
    Due {
        /// The operator.
        operator: String,
        /// What comes out.
        next: Closing,
        /// Whether that epoch waits for new rows.
        waits_for_rows: bool,
    },
    /// There are no new rows.
    NoInput {
        /// From which sources.
        sources: Vec<IdleSource>,
        /// Whether these are all.
        all: bool,
    },
    /// The next epoch waits for its trigger.
    NextTrigger {
        /// When it fires.
        at_millis: i64,
        /// In how long.
        in_millis: i64,
    },
    /// State grows without bound. It keeps nothing back, but does not go on for ever.
    Grows {
        /// The operator.
        operator: String,
        /// Why.
        reason: String,
    },
}

/// What is given out when the watermark has passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Closing {
    /// A window.
    Window {
        /// Its start.
        start_millis: i64,
        /// Its end.
        end_millis: i64,
    },
    /// The groups of an event time.
    Time {
        /// That time.
        at_millis: i64,
    },
    /// A session. It may end later: rows that have come since made it longer.
    Session {
        /// Its end.
        end_millis: i64,
    },
    /// A row of a join that has found no match.
    UnmatchedRow {
        /// When it goes.
        at_millis: i64,
    },
    /// A timer of user code. It may be due later: timers may have been deleted.
    Timer {
        /// When it is due.
        at_millis: i64,
    },
}

/// Which row makes the watermark rise far enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededEvent {
    /// The event time, by name.
    pub input: String,
    /// It must be this or later.
    pub from_millis: i64,
    /// The newest so far.
    pub newest_millis: Option<i64>,
}

/// An input that holds back the watermark of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The event time, by name.
    pub input: String,
    /// Its own watermark, or the one that an earlier run reached.
    pub watermark_millis: i64,
    /// The newest event time; none if it has given no row in this run.
    pub newest_millis: Option<i64>,
}

/// Which row raised the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The event time, by name.
    pub input: String,
    /// The newest one.
    pub newest_millis: i64,
    /// The epoch it came in.
    pub epoch: u64,
    /// The newest one before that epoch.
    pub before_millis: Option<i64>,
    /// The mean of that epoch's event times.
    pub mean_millis: i64,
    /// How far it lies in the future by the query's clock; none if it does not.
    pub ahead_millis: Option<i64>,
}

/// A source without new rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleSource {
    /// What reports call it.
    pub description: String,
    /// When it last had some; none if it had none in this run.
    pub since_millis: Option<i64>,
    /// When this run started.
    pub started_millis: i64,
}
