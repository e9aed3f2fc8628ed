//! Windows that are kept as slices until they end.
//!
//! State has a row for each slice that a key was met in, not for each window: a new row of the stream touches one, however
//! much windows overlap. A row of which a window was late already came by window, and is kept as that. Both are named in
//! the last column of the key, see [`super::slice`]; the columns before it decide the partition, so that all slices of a key
//! are in one.
//!
//! A window ends once, in the epoch whose watermark reaches its end: the watermark of the epoch before had not, and what
//! that one had reached is late from then on. A slice stays until the last of its windows has ended.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::DataType,
    },
    error::{DataFusionError, Result},
};
use headwater_core::Watermark;

use super::{
    Windows,
    combine_slices::Combination,
    slice::{instants, times},
};
use crate::expiry::Expiry;

/// Most rows that leave in one batch, so that texts among the keys fit into it.
const PIECE: usize = 1 << 16;

/// How windows of an aggregation are had from its slices when they end.
#[derive(Debug)]
pub(crate) struct ClosingWindows {
    windows: Windows,
    /// Which of the grouping columns is the window.
    number: usize,
    combination: Combination,
}

/// The span between two watermarks, in milliseconds: windows that end in it are given out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// What ends here or before has been given out.
    pub(crate) after: i64,
    /// The last instant.
    pub(crate) until: i64,
}

impl Span {
    /// From the watermark of the epoch before to that of this one.
    pub(crate) fn between(before: Watermark, now: Watermark) -> Self {
        Self {
            after: before.millis(),
            until: now.millis(),
        }
    }
}

impl ClosingWindows {
    pub(super) fn new(windows: Windows, number: usize, combination: Combination) -> Self {
        Self {
            windows,
            number,
            combination,
        }
    }

    /// The grouping columns in the order of the state: the window last.
    pub(crate) fn key_order(&self) -> Vec<usize> {
        let others = (0..self.combination.keys()).filter(|key| *key != self.number);
        others.chain([self.number]).collect()
    }

    /// When the last of its windows ends, for each slice of the keys of state, in milliseconds.
    pub(crate) fn expiry(&self, keys: &[ArrayRef]) -> Result<Int64Array> {
        let slices = &keys[self.combination.keys() - 1];
        let last_start = self.combination.scaled().last_starts();
        let starts: Int64Array = instants(slices)?.unary(last_start);
        let expiry = Expiry {
            column: 0,
            extra_micros: self.windows.size_micros,
        };
        expiry.millis(&[times(starts, slices.data_type())?])
    }

    /// Up to which expiry rows are in windows that end in `span`; `None` if no window ends in it.
    pub(crate) fn needed(&self, span: Span) -> Option<i64> {
        let micros = |millis: i64| millis.saturating_mul(1_000);
        let ends = self.windows.next_end(micros(span.after)) <= micros(span.until);
        // A part of a millisecond more is a whole one.
        let earlier = self.first_to_last() / 1_000 + 1;
        ends.then(|| span.until.saturating_add(earlier))
    }

    /// When the next window ends of which the rows of state may be part, in milliseconds, where the first of them to
    /// expire does so at `first_expiry`. It may be too early, never too late.
    pub(crate) fn next_end(&self, first_expiry: i64, watermark: Watermark) -> i64 {
        let last = first_expiry.saturating_sub(1).saturating_mul(1_000);
        let before_first = last.saturating_sub(self.first_to_last());
        let after = before_first.max(watermark.millis().saturating_mul(1_000));
        let end = self.windows.next_end(after);
        end.div_euclid(1_000)
            .saturating_add(i64::from(end.rem_euclid(1_000) > 0))
    }

    /// How much earlier the first window of a slice ends than its last, at most, in microseconds.
    fn first_to_last(&self) -> i64 {
        (self.windows.overlapping() - 1).saturating_mul(self.windows.slide_micros)
    }

    /// The windows that end in `span`, of these rows of state: grouping columns, then results. A window of many keys comes
    /// in pieces.
    pub(crate) fn close(&self, rows: &[RecordBatch], span: Span) -> Result<Vec<Vec<ArrayRef>>> {
        let Some(first) = rows.first() else {
            return Ok(Vec::new());
        };
        let slice = self.combination.keys() - 1;
        let DataType::Timestamp(unit, _) = first.column(slice).data_type() else {
            return Err(DataFusionError::Internal(format!(
                "a slice has become {}",
                first.column(slice).data_type()
            )));
        };
        let wanted = self.combination.scaled().starts_of_ends(span, *unit);
        let order = self.key_order();
        let mut closed = Vec::new();
        self.combination.merge(rows, wanted, |mut merged| {
            let results = merged.take_results(&self.combination)?;
            for start in (0..merged.len()).step_by(PIECE) {
                let length = PIECE.min(merged.len() - start);
                let keys = merged.keys(&self.combination, start..start + length)?;
                let mut columns: Vec<ArrayRef> = (0..keys.len())
                    .filter_map(|grouping| order.iter().position(|key| *key == grouping))
                    .map(|place| Arc::clone(&keys[place]))
                    .collect();
                columns.extend(results.iter().map(|result| result.slice(start, length)));
                closed.push(columns);
            }
            Ok(())
        })?;
        Ok(closed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::{
        array::{AsArray, TimestampMillisecondArray},
        datatypes::{Int64Type, TimestampMillisecondType},
    };
    use headwater_core::{Delay, EventTime};
    use proptest::prelude::*;

    use super::*;
    use crate::window::{
        Scaled,
        combine_slices::tests::{combination, schema},
        window_starts,
    };

    const MILLI: i64 = 1_000;

    /// What state has of a key in a slice or window: key, name, value, and when it expires.
    type Kept = (Option<i64>, i64, i64, i64);

    fn batch(rows: &[Kept]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(TimestampMillisecondArray::from_iter_values(
                rows.iter().map(|row| row.1),
            )),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 1))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    /// By window start in milliseconds and key: how many rows, and the largest value.
    type Answer = BTreeMap<(i64, Option<i64>), (i64, i64)>;

    fn given_out(closed: &[Vec<ArrayRef>]) -> Answer {
        let mut found = Answer::new();
        for columns in closed {
            let keys = columns[0].as_primitive::<Int64Type>();
            let starts = columns[1].as_primitive::<TimestampMillisecondType>();
            let number =
                |column: usize, row| columns[column].as_primitive::<Int64Type>().value(row);
            for (row, key) in keys.iter().enumerate() {
                let answer = (number(2, row), number(3, row));
                let before = found.insert((starts.value(row), key), answer);
                assert_eq!(before, None, "a window is given out once for a key");
            }
        }
        found
    }

    /// Windows of ten units every five, the first of two keys; a unit has so many microseconds.
    fn ten_every_five(unit: i64) -> ClosingWindows {
        let scaled = Scaled {
            size: 10,
            slide: 5,
            offset: 0,
        };
        let windows = Windows {
            size_micros: 10 * unit,
            slide_micros: 5 * unit,
            offset_micros: 0,
        };
        ClosingWindows::new(windows, 0, combination(scaled))
    }

    fn watermark(millis: i64) -> Watermark {
        Watermark::START.advanced(EventTime(millis), Delay(0))
    }

    proptest! {
        #[test]
        fn every_window_is_given_out_once_and_whole_in_the_epoch_that_reaches_its_end(
            (slide, more, offset) in (2_i64..6, 1_i64..20, 0_i64..5),
            epochs in prop::collection::vec(
                (
                    prop::collection::vec((prop::option::weighted(0.9, 0_i64..3), 0_i64..100, 0_i64..9), 0..12),
                    prop_oneof![Just(0), 0_i64..5, 0_i64..60],
                ),
                1..12,
            ),
        ) {
            let scaled = Scaled { size: slide + more, slide, offset };
            prop_assume!(scaled.can_be_sliced());
            let windows = Windows {
                size_micros: scaled.size * MILLI,
                slide_micros: slide * MILLI,
                offset_micros: offset * MILLI,
            };
            let closing = ClosingWindows::new(windows, 1, combination(scaled));
            let mut kept: Vec<Kept> = Vec::new();
            let mut open = Answer::new();
            let mut span = Span::between(Watermark::START, Watermark::START);
            for (rows, more) in epochs {
                span = Span { after: span.until, until: span.until + more };
                // An epoch merges its rows before it closes anything, and what its late filter knows is the span before.
                let mut names = Vec::new();
                for (key, time, value) in rows {
                    let starts = window_starts(time * MILLI, &windows);
                    let starts: Vec<i64> = starts.into_iter().map(|start| start / MILLI).collect();
                    let alive = starts.iter().copied().filter(|start| start + scaled.size > span.after);
                    for start in alive.clone() {
                        let answer = open.entry((start, key)).or_insert((0, 0));
                        *answer = (answer.0 + 1, answer.1.max(value));
                    }
                    if alive.clone().count() == starts.len() {
                        names.push((key, scaled.slice_of(time), value));
                    } else {
                        names.extend(alive.map(|start| (key, start, value)));
                    }
                }
                let unexpired: Vec<Kept> = names.into_iter().map(|(key, name, value)| (key, name, value, 0)).collect();
                let expiry = closing.expiry(batch(&unexpired).columns().split_at(2).0).unwrap();
                kept.extend(unexpired.iter().zip(expiry.values()).map(|(row, at)| (row.0, row.1, row.2, *at)));

                let ended = |start: i64| start + scaled.size <= span.until;
                let expected: Answer = open.iter().filter(|((start, _), _)| ended(*start)).map(|(key, answer)| (*key, *answer)).collect();
                open.retain(|(start, _), _| !ended(*start));
                let found = match closing.needed(span) {
                    None => Answer::new(),
                    Some(needed) => {
                        let rows: Vec<Kept> = kept.iter().copied().filter(|row| row.3 <= needed).collect();
                        given_out(&closing.close(&[batch(&rows)], span).unwrap())
                    }
                };
                prop_assert_eq!(found, expected);
                kept.retain(|row| row.3 > span.until);

                let first = kept.iter().map(|row| row.3).min();
                let next = open.keys().map(|(start, _)| start + scaled.size).min();
                prop_assert_eq!(first.is_some(), next.is_some(), "what is kept is in some window that is open");
                if let Some((first, next)) = first.zip(next) {
                    let told = closing.next_end(first, watermark(span.until));
                    prop_assert!(span.until < told && told <= next, "{} {} {}", span.until, told, next);
                }
            }
        }
    }

    #[test]
    fn the_first_window_of_the_first_slice_ends_next() {
        let closing = ten_every_five(1_000_000);
        // A row at 100 s is in windows that end at 105 s and 110 s.
        for (at, expected) in [(0, 105_000), (104_999, 105_000), (105_000, 110_000)] {
            assert_eq!(closing.next_end(110_000, watermark(at)), expected, "{at}");
        }
    }

    #[test]
    fn keys_come_in_the_order_of_the_grouping() {
        let closing = ten_every_five(MILLI);
        assert_eq!(closing.key_order(), [1, 0]);
        let rows = batch(&[(Some(7), 4, 1, 10)]);
        let span = Span {
            after: 4,
            until: 10,
        };
        let closed = closing.close(&[rows], span).unwrap();
        let (starts, keys) = (&closed[0][0], &closed[0][1]);
        let starts: Vec<i64> = starts
            .as_primitive::<TimestampMillisecondType>()
            .values()
            .to_vec();
        assert_eq!(starts, [-5, 0]);
        assert_eq!(keys.as_primitive::<Int64Type>().values().to_vec(), [7, 7]);
    }
}
