//! The queries that the oracle asks, over frames of any kind.

use std::fmt;

use datafusion::{
    functions::core::expr_fn::get_field,
    functions_aggregate::expr_fn::max,
    logical_expr::{Expr, lit},
};
use headwater::{DataFrame, session_window, sql::window_udf};
use headwater_core::{OutputMode, Result};

use super::{case::Event, duplicates::Duplicates};

/// Which rows count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filter {
    /// All.
    #[default]
    None,
    /// Those whose value is above a number.
    ValueAbove(i64),
    /// Those with another key.
    KeyIsNot(&'static str),
    /// Those before a time in microseconds since 1970.
    TimeBefore(i64),
}

/// Windows, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Length.
    pub size: i64,
    /// Distance between starts.
    pub slide: i64,
    /// Shift of the starts.
    pub start: i64,
}

/// How long after its time a row keeps its session open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The same number of seconds for all rows.
    Fixed(i64),
    /// By the row's value: none below zero and for null, zero seconds for zero, else the value and one second.
    ByValue,
}

/// A query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryShape {
    /// Which rows count. Written behind the watermark.
    pub filter: Filter,
    /// Delay of the watermark in seconds.
    pub delay: Option<i64>,
    /// Rows that are dropped below everything else.
    pub duplicates: Option<Duplicates>,
    /// Windows to group by.
    pub window: Option<Windows>,
    /// Sessions to group by, in place of windows.
    pub sessions: Option<Gap>,
    /// Whether the event time itself is a key.
    pub by_time: bool,
    /// Further keys.
    pub keys: Vec<&'static str>,
    /// Aggregates as SQL; none: the query only filters.
    pub aggregates: Vec<&'static str>,
    /// Whether there are aggregates of the windows themselves too.
    pub of_windows: bool,
    /// A condition on the groups.
    pub having: Option<&'static str>,
    /// Which rows come out.
    pub mode: OutputMode,
}

const SECOND: i64 = 1_000_000;

impl Filter {
    fn sql(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::ValueAbove(least) => Some(format!("v > {least}")),
            Self::KeyIsNot(key) => Some(format!("k <> '{key}'")),
            Self::TimeBefore(micros) => {
                let time = chrono::DateTime::from_timestamp_micros(micros)?;
                let time = time.format("%Y-%m-%d %H:%M:%S%.6f");
                Some(format!("ts < TIMESTAMP '{time}+00:00'"))
            }
        }
    }

    /// What SQL's three-valued logic says of a row.
    pub fn passes(self, event: &Event) -> bool {
        match self {
            Self::None => true,
            Self::ValueAbove(least) => event.value.is_some_and(|value| value > least),
            Self::KeyIsNot(key) => event.key.is_some_and(|found| found != key),
            Self::TimeBefore(micros) => event.time.is_some_and(|time| time < micros),
        }
    }

    /// Whether rows that it removes still advance the watermark: a filter on the event time stands above it.
    pub fn stays_above_the_watermark(self) -> bool {
        matches!(self, Self::TimeBefore(_))
    }
}

impl Windows {
    /// The windows `[start, end)` in microseconds that hold a time.
    pub fn of(self, time: i64) -> Vec<(i64, i64)> {
        let (size, slide) = (self.size * SECOND, self.slide * SECOND);
        let offset = self.start * SECOND;
        let last = (time - offset).div_euclid(slide) * slide + offset;
        let mut starts: Vec<i64> = (0..)
            .map(|position| last - position * slide)
            .take_while(|start| start + size > time)
            .collect();
        starts.reverse();
        starts
            .into_iter()
            .map(|start| (start, start + size))
            .collect()
    }
}

impl Gap {
    fn sql(self) -> String {
        match self {
            Self::Fixed(seconds) => format!("'{seconds} seconds'"),
            Self::ByValue => {
                "CASE WHEN v IS NULL OR v < 0 THEN NULL WHEN v = 0 THEN '0 seconds' ELSE \
                              concat(CAST(v + 1 AS STRING), ' seconds') END"
                    .to_owned()
            }
        }
    }

    /// The interval `[start, end)` in microseconds that a row opens.
    pub fn of(self, event: &Event) -> Option<(i64, i64)> {
        let seconds = match (self, event.value) {
            (Self::Fixed(seconds), _) => seconds,
            (Self::ByValue, Some(value @ 1..)) => value + 1,
            (Self::ByValue, _) => return None,
        };
        event.time.map(|time| (time, time + seconds * SECOND))
    }
}

impl QueryShape {
    /// Whether it groups at all.
    pub fn aggregates_anything(&self) -> bool {
        !self.aggregates.is_empty()
    }

    /// Whether it groups by windows or sessions.
    pub fn has_bounds(&self) -> bool {
        self.window.is_some() || self.sessions.is_some()
    }

    /// How many columns of the result identify a row of it.
    pub fn key_columns(&self) -> usize {
        self.keys.len() + usize::from(self.by_time) + 2 * usize::from(self.has_bounds())
    }

    /// The query over a frame with the columns `ts, k, v, x, b`, growing or not.
    ///
    /// # Errors
    /// Whatever the frame refuses.
    pub fn build(&self, frame: DataFrame) -> Result<DataFrame> {
        let frame = match self.delay {
            Some(delay) => frame.with_watermark("ts", &format!("{delay} seconds"))?,
            None => frame,
        };
        let frame = match self.filter.sql() {
            Some(text) => {
                let predicate = frame.expr(&text)?;
                frame.filter(predicate)?
            }
            None => frame,
        };
        let frame = match &self.duplicates {
            Some(duplicates) => duplicates.drop_from(frame)?,
            None => frame,
        };
        let (mut keys, mut bounds, mut output) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(windows) = self.window {
            let durations = [windows.size, windows.slide, windows.start];
            let mut arguments = vec![frame.expr("ts")?];
            arguments.extend(durations.map(|n| lit(format!("{n} seconds"))));
            let window = window_udf().call(arguments);
            bounds = ["start", "end"]
                .map(|bound| get_field(window.clone(), bound))
                .into();
            keys.push(window);
            output.extend([
                "window.start AS ws".to_owned(),
                "window.end AS we".to_owned(),
            ]);
        }
        if let Some(gap) = self.sessions {
            keys.push(session_window(frame.expr("ts")?, frame.expr(&gap.sql())?));
            output.extend([
                "session_window.start AS ws".to_owned(),
                "session_window.end AS we".to_owned(),
            ]);
        }
        self.group(frame, keys, bounds, output)
    }

    /// The same over a static frame that has one row per (row, window), with the columns `ws` and `we` besides.
    ///
    /// # Errors
    /// Whatever the frame refuses.
    pub fn build_over_pairs(&self, frame: DataFrame) -> Result<DataFrame> {
        let (mut keys, mut output) = (Vec::new(), Vec::new());
        if self.has_bounds() {
            keys.extend([frame.expr("ws")?, frame.expr("we")?]);
            output.extend(["ws".to_owned(), "we".to_owned()]);
        }
        self.group(frame, keys.clone(), keys, output)
    }

    fn group(
        &self,
        frame: DataFrame,
        mut keys: Vec<Expr>,
        bounds: Vec<Expr>,
        mut output: Vec<String>,
    ) -> Result<DataFrame> {
        if !self.aggregates_anything() {
            return frame.select(["ts", "k", "v", "x", "b"]);
        }
        let plain = self
            .by_time
            .then_some("ts")
            .into_iter()
            .chain(self.keys.iter().copied());
        for key in plain {
            keys.push(frame.expr(key)?);
            output.push(key.to_owned());
        }
        let mut aggregates = Vec::new();
        for (number, text) in self.aggregates.iter().enumerate() {
            aggregates.push(frame.expr(&format!("{text} AS a{number}"))?);
            output.push(format!("a{number}"));
        }
        for (number, bound) in bounds.into_iter().enumerate().filter(|_| self.of_windows) {
            aggregates.push(max(bound).alias(format!("w{number}")));
            output.push(format!("w{number}"));
        }
        if let Some(having) = self.having {
            aggregates.push(frame.expr(&format!("{having} AS kept"))?);
        }
        let grouped = frame.group_by(keys)?.agg(aggregates)?;
        let grouped = match self.having {
            Some(_) => {
                let kept = grouped.expr("kept")?;
                grouped.filter(kept)?
            }
            None => grouped,
        };
        grouped.select_expr(output)
    }
}

impl fmt::Display for QueryShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} mode", self.mode)?;
        if let Some(delay) = self.delay {
            write!(f, ", watermark {delay} s")?;
        }
        if let Some(filter) = self.filter.sql() {
            write!(f, ", where {filter}")?;
        }
        if let Some(duplicates) = &self.duplicates {
            write!(f, ", {duplicates}")?;
        }
        if let Some(w) = self.window {
            write!(f, ", windows {} s / {} s + {} s", w.size, w.slide, w.start)?;
        }
        if let Some(gap) = self.sessions {
            write!(f, ", sessions {gap:?}")?;
        }
        let time = if self.by_time { "ts " } else { "" };
        write!(f, ", by [{time}{}]", self.keys.join(" "))?;
        write!(f, ", [{}]", self.aggregates.join(", "))?;
        if self.of_windows {
            write!(f, " and of the windows")?;
        }
        if let Some(having) = self.having {
            write!(f, ", having {having}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_that_holds_a_time_is_listed() {
        let windows = Windows {
            size: 5,
            slide: 2,
            start: 1,
        };
        let seconds: Vec<(i64, i64)> = windows
            .of(6 * SECOND)
            .into_iter()
            .map(|(start, end)| (start / SECOND, end / SECOND))
            .collect();
        assert_eq!(seconds, [(3, 8), (5, 10)]);
        let tumbling = Windows {
            size: 5,
            slide: 5,
            start: 0,
        };
        assert_eq!(tumbling.of(-1), [(-5 * SECOND, 0)]);
    }
}
