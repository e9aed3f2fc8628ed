//! The joins that the oracle asks for, and what event time does to them.

use std::fmt;

use super::case::JoinRow;

/// Which rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    LeftSemi,
}

/// What the condition says about `r.ts - l.ts`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Nothing.
    Any,
    /// At most this much.
    UpTo(i64),
    /// From the one to the other, both included or both left out.
    Between(i64, i64, bool),
    /// The times are equal.
    Equal,
    /// The times lie in the same window of this length.
    SameWindow(i64),
}

/// A join, and maybe a windowed aggregation above it.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinShape {
    /// Which rows come out.
    pub kind: JoinKind,
    /// Delay of the watermark of the left and the right side in seconds.
    pub delays: [Option<i64>; 2],
    /// The condition on the times.
    pub range: Range,
    /// A further condition.
    pub condition: Option<Condition>,
    /// Length in seconds of the windows that count what comes out.
    pub windows: Option<i64>,
}

/// A further condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// On the left side alone: `l.v > 2`.
    Left,
    /// On the right side alone: `r.v > 2`.
    Right,
    /// On both: `l.v < r.v`.
    Both,
}

const MILLI: i64 = 1_000;
const SECOND: i64 = 1_000_000;

impl JoinShape {
    /// Whether rows of a side come out without a match too.
    pub fn keeps(&self, side: usize) -> bool {
        match self.kind {
            JoinKind::Full => true,
            JoinKind::Left => side == 0,
            JoinKind::Right => side == 1,
            JoinKind::Inner | JoinKind::LeftSemi => false,
        }
    }

    /// Whether a row satisfies what the condition asks of its side alone.
    pub fn passes_alone(&self, side: usize, row: &JoinRow) -> bool {
        let asks = match self.condition {
            Some(Condition::Left) => side == 0,
            Some(Condition::Right) => side == 1,
            _ => false,
        };
        !asks || row.value.is_some_and(|value| value > 2)
    }

    /// Whether the filter that drops what can match nothing lets a row through: it stands before everything else.
    pub fn reaches_the_join(&self, side: usize, row: &JoinRow) -> bool {
        let has_time = row.time.is_some() || matches!(self.range, Range::Any);
        let has_value = row.value.is_some() || self.condition != Some(Condition::Both);
        let can_match = row.key.is_some() && has_time && has_value && self.passes_alone(side, row);
        self.keeps(side) || can_match
    }

    /// Whether a row is late at a watermark in milliseconds.
    pub fn is_late(&self, side: usize, row: &JoinRow, watermark: i64) -> bool {
        let time = match (self.range, row.time) {
            (_, None) => return false,
            (Range::SameWindow(size), Some(time)) => window_end(time, size),
            (_, Some(time)) => time,
        };
        self.delays[side].is_some() && time <= watermark.saturating_mul(MILLI)
    }

    /// The window by which a row is late, in microseconds, if it is by one.
    pub fn window_of(&self, row: &JoinRow) -> Option<(i64, i64)> {
        match (self.range, row.time) {
            (Range::SameWindow(size), Some(time)) => {
                let end = window_end(time, size);
                Some((end - size * SECOND, end))
            }
            _ => None,
        }
    }

    /// Whether nothing can match a row any more at a watermark in milliseconds.
    pub fn is_gone(&self, side: usize, row: &JoinRow, watermark: i64) -> bool {
        let (Some(time), Some(reach)) = (row.time, self.reach(side)) else {
            return false;
        };
        let end = match self.range {
            Range::SameWindow(size) => window_end(time, size),
            _ => time + reach,
        };
        end <= watermark.saturating_mul(MILLI)
    }

    /// How long after its time a row can still be matched, in microseconds; `None`: for ever.
    fn reach(&self, side: usize) -> Option<i64> {
        let later =
            |distance: i64, included: bool| distance * SECOND + if included { MILLI } else { 0 };
        match (self.range, side) {
            (Range::Any, _) | (Range::UpTo(_), 1) => None,
            (Range::UpTo(high), _) => Some(later(high, true)),
            (Range::Between(_, high, included), 0) => Some(later(high, included)),
            (Range::Between(low, _, included), _) => Some(later(-low, included)),
            (Range::Equal | Range::SameWindow(_), _) => Some(0),
        }
    }

    /// How far behind the watermark the rows that come out may lie, in microseconds.
    fn lag(&self) -> i64 {
        if let Range::SameWindow(size) = self.range {
            // The time may be that of the window's first row.
            return size * SECOND;
        }
        let reaches = [0, 1].map(|side| self.reach(side).unwrap_or(0));
        reaches[0].max(reaches[1]).max(0)
    }

    /// The watermark in milliseconds down to which windows behind the join are closed.
    pub fn closed_to(&self, watermark: i64) -> i64 {
        (watermark.saturating_mul(MILLI) - self.lag()).div_euclid(MILLI)
    }

    /// The query over tables `l` and `r` with the columns `id, ts, k, v`, growing or not.
    pub fn sql(&self, is_stream: bool) -> String {
        let side = |name: &str, delay: Option<i64>| {
            let watermark = match delay {
                Some(delay) if is_stream => {
                    format!(" WATERMARK ts DELAY OF INTERVAL {delay} SECONDS")
                }
                _ => String::new(),
            };
            match self.range {
                Range::SameWindow(size) => format!(
                    "(SELECT window(ts, '{size} seconds') AS w, id, ts, k, v FROM {name}{watermark}) AS {name}"
                ),
                _ => format!("{name}{watermark} AS {name}"),
            }
        };
        let [left, right] = self.delays;
        let (left, right) = (side("l", left), side("r", right));
        let kind = match self.kind {
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
            JoinKind::LeftSemi => "LEFT SEMI JOIN",
        };
        let columns = match self.kind {
            JoinKind::LeftSemi => "l.id AS lid, l.ts AS lts, l.k AS lk, l.v AS lv",
            _ => {
                "l.id AS lid, r.id AS rid, l.ts AS lts, l.k AS lk, l.v AS lv, r.ts AS rts, r.k AS rk, r.v AS rv"
            }
        };
        let joined = format!(
            "SELECT {columns} FROM {left} {kind} {right} ON l.k = r.k{}{}",
            self.on_times(),
            self.on_values()
        );
        let Some(size) = self.windows else {
            return joined;
        };
        let (time, key, sum) = match self.kind {
            JoinKind::Right => ("rts", "rk", "sum(lv) AS s"),
            JoinKind::LeftSemi => ("lts", "lk", "sum(lv) AS s"),
            _ => ("lts", "lk", "sum(rv) AS s"),
        };
        format!(
            "SELECT window.end AS we, {key} AS k, count(*) AS n, {sum} FROM ({joined}) \
             GROUP BY window({time}, '{size} seconds'), {key}"
        )
    }

    fn on_times(&self) -> String {
        let interval = |seconds: i64| match seconds {
            0.. => format!("+ INTERVAL '{seconds} seconds'"),
            _ => format!("- INTERVAL '{} seconds'", -seconds),
        };
        match self.range {
            Range::Any => String::new(),
            Range::UpTo(high) => format!(" AND r.ts <= l.ts {}", interval(high)),
            Range::Between(low, high, true) => format!(
                " AND r.ts BETWEEN l.ts {} AND l.ts {}",
                interval(low),
                interval(high)
            ),
            Range::Between(low, high, false) => format!(
                " AND l.ts {} < r.ts AND r.ts {} < l.ts",
                interval(low),
                interval(-high)
            ),
            Range::Equal => " AND l.ts = r.ts".to_owned(),
            Range::SameWindow(_) => " AND l.w = r.w".to_owned(),
        }
    }

    fn on_values(&self) -> &'static str {
        match self.condition {
            None => "",
            Some(Condition::Left) => " AND l.v > 2",
            Some(Condition::Right) => " AND r.v > 2",
            Some(Condition::Both) => " AND l.v < r.v",
        }
    }
}

impl fmt::Display for JoinShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql(true))
    }
}

/// The end of the window of `size` seconds that holds a time.
fn window_end(time: i64, size: i64) -> i64 {
    (time.div_euclid(size * SECOND) + 1) * size * SECOND
}
