//! Adds up what the partitions of one epoch reported.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{EventTime, PreparedPart};
use headwater_ops::report::Report;

/// Event times that passed one watermark node in one epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EventTimes {
    /// Smallest.
    pub(crate) min: EventTime,
    /// Largest.
    pub(crate) max: EventTime,
    /// Sum in milliseconds.
    pub(crate) sum: f64,
    /// Rows with an event time.
    pub(crate) rows: u64,
}

impl EventTimes {
    /// Both together.
    #[must_use]
    pub(crate) fn merged(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            rows: self.rows + other.rows,
        }
    }

    /// The mean, floored to the millisecond.
    pub(crate) fn mean(&self) -> EventTime {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean for the eye"
        )]
        EventTime((self.sum / self.rows.max(1) as f64).floor() as i64)
    }
}

/// What one stateful operator did in one epoch, over all its partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StateTally {
    /// Keys in state after the epoch.
    pub(crate) total: u64,
    /// Keys written.
    pub(crate) updated: u64,
    /// Keys removed.
    pub(crate) removed: u64,
    /// Bytes of memory held.
    pub(crate) memory_bytes: u64,
    /// Rows that came after the watermark.
    pub(crate) late: u64,
}

/// What an operator gives out or forgets next, over all its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextExpiry {
    /// The watermark of the operator that is needed, in milliseconds.
    pub(crate) at_millis: i64,
    /// The one it had, which is the same for all partitions.
    pub(crate) watermark_millis: i64,
}

/// Everything the partitions of one epoch reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    /// Rows read, by source number.
    pub(crate) source_rows: BTreeMap<usize, u64>,
    /// Event times, by watermark node.
    pub(crate) event_times: BTreeMap<String, EventTimes>,
    /// Rows without an event time, by watermark node.
    pub(crate) null_times: BTreeMap<String, u64>,
    /// What operators did, by operator.
    pub(crate) operators: BTreeMap<String, StateTally>,
    /// Further numbers by operator and name.
    pub(crate) metrics: BTreeMap<String, BTreeMap<String, u64>>,
    /// When the earliest timer that follows the clock is due, in milliseconds.
    pub(crate) next_timer: Option<i64>,
    /// What each operator gives out or forgets next, by event time.
    pub(crate) next_expiry: BTreeMap<String, NextExpiry>,
    /// Operators that let no row through any more.
    pub(crate) exhausted: BTreeSet<String>,
    /// What the sink prepared, by partition.
    pub(crate) parts: Vec<PreparedPart>,
    /// What the sink of late rows prepared, by partition.
    pub(crate) late_parts: Vec<PreparedPart>,
}

impl Tally {
    /// Adds one report.
    pub(crate) fn add(&mut self, report: Report) {
        match report {
            Report::SourceRows { source_id, rows } => {
                *self.source_rows.entry(source_id).or_default() += rows;
            }
            Report::EventTimes {
                node,
                min,
                max,
                mean,
                rows,
            } => {
                #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
                let times = EventTimes {
                    min: EventTime(min),
                    max: EventTime(max),
                    sum: mean * rows as f64,
                    rows,
                };
                self.event_times
                    .entry(node)
                    .and_modify(|all| *all = all.merged(times))
                    .or_insert(times);
            }
            Report::NullTimes { node, rows } => {
                *self.null_times.entry(node).or_default() += rows;
            }
            Report::LateRows { operator, rows } => {
                self.operators.entry(operator).or_default().late += rows;
            }
            Report::State {
                operator,
                total,
                updated,
                removed,
                memory_bytes,
            } => {
                let all = self.operators.entry(operator).or_default();
                all.total += total;
                all.updated += updated;
                all.removed += removed;
                all.memory_bytes += memory_bytes;
            }
            Report::Metric {
                operator,
                name,
                value,
            } => {
                let all = self.metrics.entry(operator).or_default();
                *all.entry(name).or_default() += value;
            }
            Report::NextTimer { at_millis, .. } => {
                let earlier = self.next_timer.unwrap_or(i64::MAX).min(at_millis);
                self.next_timer = Some(earlier);
            }
            Report::NextExpiry {
                operator,
                at_millis,
                watermark_millis,
            } => {
                let next = NextExpiry {
                    at_millis,
                    watermark_millis,
                };
                let first = self.next_expiry.entry(operator).or_insert(next);
                first.at_millis = first.at_millis.min(at_millis);
            }
            Report::Exhausted { operator } => {
                self.exhausted.insert(operator);
            }
            Report::Part { part } => self.parts.push(part),
            Report::LatePart { part } => self.late_parts.push(part),
        }
    }

    /// Brings the parts into the order of their partitions, so that records do not depend on which task was first.
    pub(crate) fn finish(&mut self) {
        self.parts.sort_by_key(|part| part.partition);
        self.late_parts.sort_by_key(|part| part.partition);
    }

    /// The largest event time that each watermark node saw.
    pub(crate) fn largest_event_times(&self) -> BTreeMap<String, EventTime> {
        self.event_times
            .iter()
            .map(|(node, times)| (node.clone(), times.max))
            .collect()
    }

    /// Rows read from all sources.
    pub(crate) fn input_rows(&self) -> u64 {
        self.source_rows.values().sum()
    }

    /// Rows that the sink received.
    pub(crate) fn output_rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Rows that the sink of late rows received.
    pub(crate) fn late_rows(&self) -> u64 {
        self.late_parts.iter().map(|part| part.rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn reports_of_all_partitions_add_up() {
        let part = |partition, rows| Report::Part {
            part: PreparedPart {
                partition,
                rows,
                detail: Value::Null,
            },
        };
        let times = |min, max, mean, rows| Report::EventTimes {
            node: "w".to_owned(),
            min,
            max,
            mean,
            rows,
        };
        let duplicates = |value| Report::Metric {
            operator: "agg".to_owned(),
            name: "duplicates".to_owned(),
            value,
        };
        let expiry = |at_millis| Report::NextExpiry {
            operator: "agg".to_owned(),
            at_millis,
            watermark_millis: 10,
        };
        let nulls = |rows| Report::NullTimes {
            node: "w".to_owned(),
            rows,
        };
        let timer = |at_millis| Report::NextTimer {
            operator: "agg".to_owned(),
            at_millis,
        };
        let mut tally = Tally::default();
        for report in [
            part(1, 5),
            Report::SourceRows {
                source_id: 0,
                rows: 3,
            },
            times(10, 20, 15.0, 2),
            times(5, 12, 7.0, 2),
            part(0, 2),
            Report::SourceRows {
                source_id: 0,
                rows: 4,
            },
            Report::LateRows {
                operator: "agg".to_owned(),
                rows: 2,
            },
            Report::State {
                operator: "agg".to_owned(),
                total: 7,
                updated: 2,
                removed: 1,
                memory_bytes: 64,
            },
            duplicates(3),
            duplicates(4),
            timer(70),
            timer(50),
            timer(60),
            expiry(30),
            expiry(20),
            expiry(40),
            nulls(2),
            nulls(1),
            Report::Exhausted {
                operator: "limit".to_owned(),
            },
        ] {
            tally.add(report);
        }
        tally.finish();
        assert_eq!(tally.input_rows(), 7);
        assert_eq!(tally.output_rows(), 7);
        assert_eq!(tally.parts[0].partition, 0);
        let seen = tally.event_times["w"];
        assert_eq!((seen.min, seen.max), (EventTime(5), EventTime(20)));
        assert_eq!(seen.mean(), EventTime(11));
        assert_eq!(tally.largest_event_times()["w"], EventTime(20));
        let agg = tally.operators["agg"];
        assert_eq!((agg.total, agg.late), (7, 2));
        assert_eq!(tally.metrics["agg"]["duplicates"], 7);
        assert_eq!(tally.next_timer, Some(50));
        let next = tally.next_expiry["agg"];
        assert_eq!((next.at_millis, next.watermark_millis), (20, 10));
        assert_eq!(tally.null_times["w"], 3);
        assert!(tally.exhausted.contains("limit"));
    }
}
