//! A range of offsets as pieces that tasks read: a partition each, or several pieces of a partition (`minPartitions`).

use std::sync::Arc;

use headwater_core::{Error, Offset, OffsetRange, Result, Split};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    OWNER,
    positions::{Positions, TopicPartition},
};

/// Where in [`OffsetRange::detail`] the positions stand that the range's start does not say.
const FROM: &str = "from";

/// What one task reads: the messages of a partition from `start` up to, not including, `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    topic: Arc<str>,
    partition: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The number of the piece in its partition, if that has several: each is read by a client of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<usize>,
}

impl Piece {
    pub(crate) fn partition(&self) -> TopicPartition {
        TopicPartition::new(&self.topic, self.partition)
    }

    /// # Errors
    /// `Internal` for a split that is not of this source.
    pub(crate) fn of(split: &Split) -> Result<Self> {
        serde_json::from_value(split.descriptor.clone()).map_err(|error| {
            Error::internal(format!("{OWNER} was given a split that it has not made"))
                .with_source(error)
        })
    }

    fn split(&self) -> Result<Split> {
        Ok(Split {
            descriptor: serde_json::to_value(self)?,
            estimated_rows: u64::try_from(self.end.saturating_sub(self.start)).ok(),
        })
    }
}

/// The detail of a range: where partitions begin that its start does not have, or has elsewhere.
pub(crate) fn detail(start: Option<&Positions>, begin: &Positions) -> Value {
    let said = |partition: &TopicPartition| start.and_then(|start| start.get(partition));
    let unsaid: Positions = begin
        .iter()
        .filter(|(partition, offset)| said(partition) != Some(*offset))
        .map(|(partition, offset)| (partition.clone(), offset))
        .collect();
    if unsaid.0.is_empty() {
        return Value::Null;
    }
    serde_json::json!({ FROM: unsaid.to_json() })
}

/// Where a range begins in each partition of its end.
pub(crate) fn begin_of(range: &OffsetRange) -> Result<Positions> {
    let positions = |what: &str, offset: &Value| Positions::from_json(what, offset);
    let mut begin = match &range.start {
        Some(Offset(start)) => positions("the start of a range", start)?,
        None => Positions::default(),
    };
    if let Some(from) = range.detail.get(FROM) {
        begin.0.extend(positions("the detail of a range", from)?.0);
    }
    Ok(begin)
}

/// Where a range ends.
pub(crate) fn end_of(range: &OffsetRange) -> Result<Positions> {
    Positions::from_json("the end of a range", &range.end.0)
}

/// The pieces of a range in order of partitions and offsets: about `at_least` of them, and one for each partition with
/// something to read.
pub(crate) fn pieces(range: &OffsetRange, at_least: Option<u64>) -> Result<Vec<Piece>> {
    let (begin, end) = (begin_of(range)?, end_of(range)?);
    let whole: Vec<Piece> = end
        .iter()
        .filter_map(|(partition, end)| {
            let start = begin.get(partition)?;
            (start < end).then(|| Piece {
                topic: Arc::clone(&partition.topic),
                partition: partition.partition,
                start,
                end,
                number: None,
            })
        })
        .collect();
    match at_least {
        Some(at_least) if at_least > whole.len() as u64 => {
            let total: u64 = whole
                .iter()
                .map(|piece| piece.start.abs_diff(piece.end))
                .sum();
            let divided = whole
                .iter()
                .flat_map(|piece| divide(piece, at_least, total));
            Ok(divided.collect())
        }
        _ => Ok(whole),
    }
}

/// The share of one partition in `at_least` pieces of `total` offsets: as many of about the same length as it deserves.
fn divide(piece: &Piece, at_least: u64, total: u64) -> Vec<Piece> {
    let length = piece.start.abs_diff(piece.end);
    let share = u128::from(length) * u128::from(at_least) + u128::from(total) / 2;
    let share = share / u128::from(total.max(1));
    let parts = u64::try_from(share).unwrap_or(u64::MAX).clamp(1, length);
    if parts == 1 {
        return vec![piece.clone()];
    }
    let edge = |number: u64| {
        let offset = u128::from(length) * u128::from(number) / u128::from(parts);
        let offset = u64::try_from(offset).unwrap_or(length);
        piece.start.saturating_add_unsigned(offset)
    };
    let pieces = (0..parts).map(|number| Piece {
        start: edge(number),
        end: edge(number + 1),
        number: usize::try_from(number).ok(),
        ..piece.clone()
    });
    pieces.collect()
}

/// The pieces as the engine passes them on.
pub(crate) fn splits(pieces: &[Piece]) -> Result<Vec<Split>> {
    pieces.iter().map(Piece::split).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::{super::positions::positions, *};

    fn range(start: Option<Value>, end: Value, detail: Value) -> OffsetRange {
        OffsetRange {
            start: start.map(Offset),
            end: Offset(end),
            detail,
        }
    }

    fn shown(range: &OffsetRange, at_least: Option<u64>) -> Vec<String> {
        let pieces = pieces(range, at_least).expect("a range of Kafka");
        let shown = pieces
            .iter()
            .map(|p| format!("{} {}..{}", p.partition(), p.start, p.end));
        shown.collect()
    }

    #[test]
    fn a_range_is_a_piece_for_each_partition_with_something_to_read() {
        let range = range(
            Some(json!({"t": {"0": 5, "1": 5, "3": 9}})),
            json!({"t": {"0": 9, "1": 5, "2": 4, "3": 2}}),
            json!({"from": {"t": {"2": 1, "3": 0}}}),
        );
        // Partition 2 is new, 3 was created again.
        assert_eq!(shown(&range, None), ["t-0 5..9", "t-2 1..4", "t-3 0..2"]);
    }

    #[test]
    fn a_detail_says_what_the_start_does_not() {
        let begin = positions(&[("t", 0, 5), ("t", 1, 0)]);
        assert_eq!(detail(Some(&begin), &begin), Value::Null);
        let start = positions(&[("t", 0, 5), ("t", 1, 8)]);
        assert_eq!(
            detail(Some(&start), &begin),
            json!({"from": {"t": {"1": 0}}})
        );
        assert_eq!(
            detail(None, &begin),
            json!({"from": {"t": {"0": 5, "1": 0}}})
        );
    }

    #[test]
    fn long_partitions_are_divided_for_more_tasks() {
        let both = range(
            None,
            json!({"t": {"0": 90, "1": 10}}),
            json!({"from": {"t": {"0": 0, "1": 0}}}),
        );
        assert_eq!(shown(&both, Some(2)), ["t-0 0..90", "t-1 0..10"]);
        assert_eq!(
            shown(&both, Some(4)),
            [
                "t-0 0..22",
                "t-0 22..45",
                "t-0 45..67",
                "t-0 67..90",
                "t-1 0..10"
            ]
        );
        let nothing = range(None, json!({}), Value::Null);
        assert!(shown(&nothing, Some(4)).is_empty());
    }

    #[test]
    fn a_split_travels_as_data_and_a_foreign_one_is_refused() {
        let range = range(
            None,
            json!({"t": {"0": 9}}),
            json!({"from": {"t": {"0": 2}}}),
        );
        let pieces = pieces(&range, Some(3)).expect("a range");
        let splits = splits(&pieces).expect("data");
        assert_eq!(splits[0].estimated_rows, Some(2));
        let back: Vec<Piece> = splits
            .iter()
            .map(|s| Piece::of(s).expect("its own"))
            .collect();
        assert_eq!(back, pieces);
        let foreign = Split {
            descriptor: json!(3),
            estimated_rows: None,
        };
        assert!(Piece::of(&foreign).is_err());
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_in_order_once(
            lengths in vec(0..10_000_i64, 1..10), at_least in prop::option::of(1..200_u64)
        ) {
            let numbered = || (0..).zip(&lengths);
            let begin: Positions = numbered()
                .map(|(n, _)| (TopicPartition::new(&Arc::from("t"), n), i64::from(n)))
                .collect();
            let end: Positions = numbered()
                .map(|(n, length)| (TopicPartition::new(&Arc::from("t"), n), i64::from(n) + length))
                .collect();
            let range = range(None, end.to_json(), detail(None, &begin));
            let pieces = pieces(&range, at_least).expect("a range");
            let mut read: BTreeMap<i32, i64> = BTreeMap::new();
            for piece in &pieces {
                prop_assert!(piece.start < piece.end);
                let at = read.entry(piece.partition).or_insert(i64::from(piece.partition));
                prop_assert_eq!(*at, piece.start);
                *at = piece.end;
            }
            for (number, length) in numbered() {
                let until = read.get(&number).copied().unwrap_or(i64::from(number));
                prop_assert_eq!(until, i64::from(number) + length);
            }
            let mut sorted = pieces.clone();
            sorted.sort_by_key(|piece| (piece.partition, piece.start));
            prop_assert_eq!(&sorted, &pieces);
            if let Some(at_least) = at_least {
                let most = at_least + lengths.len() as u64;
                prop_assert!(pieces.len() as u64 <= most);
            }
        }
    }
}
