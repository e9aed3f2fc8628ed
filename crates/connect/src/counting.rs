//! Offsets that are plain counts, and the even pieces a range of them is cut into.
//!
//! Pieces are contiguous and in order, so that the order of arrival is the order of the numbers, whatever the
//! parallelism: a replay with another number of tasks meets rows in the same order.

use std::ops::Range;

use headwater_core::{Discovery, Error, Increment, Offset, OffsetRange, Result, Split};
use serde_json::Value;

/// The count an offset of `owner` holds; before the first row it is 0.
///
/// # Errors
/// [`headwater_core::ErrorKind::Data`] if the offset is not a count.
pub(crate) fn count_of(owner: &str, offset: Option<&Offset>) -> Result<u64> {
    let Some(offset) = offset else {
        return Ok(0);
    };
    offset.as_count().ok_or_else(|| {
        Error::data(format!(
            "{owner} cannot read from offset {offset}: expected a count"
        ))
    })
}

/// The numbers `[from, until)` of a range of counts.
///
/// # Errors
/// [`headwater_core::ErrorKind::Data`] if an offset is not a count or the range runs backwards.
pub(crate) fn counts_of(owner: &str, range: &OffsetRange) -> Result<Range<u64>> {
    let from = count_of(owner, range.start.as_ref())?;
    let until = count_of(owner, Some(&range.end))?;
    if from > until {
        return Err(Error::data(format!(
            "{owner} cannot read backwards from offset {from} to {until}"
        )));
    }
    Ok(from..until)
}

/// Cuts `numbers` into at most `pieces` contiguous pieces whose lengths differ by at most one; none of them is empty.
pub(crate) fn even_pieces(numbers: Range<u64>, pieces: usize) -> Vec<Range<u64>> {
    let total = numbers.end.saturating_sub(numbers.start);
    let pieces = u64::try_from(pieces)
        .unwrap_or(u64::MAX)
        .clamp(1, total.max(1));
    let (length, longer) = (total / pieces, total % pieces);
    let mut from = numbers.start;
    (0..pieces)
        .map(|piece| {
            let until = from + length + u64::from(piece < longer);
            let range = from..until;
            from = until;
            range
        })
        .filter(|range| !range.is_empty())
        .collect()
}

/// What lies between two counts, if anything does.
pub(crate) fn discovered(start: u64, end: u64) -> Discovery {
    if end <= start {
        return Discovery::Nothing;
    }
    Discovery::Increment(Increment {
        end: Offset::count(end),
        detail: Value::Null,
    })
}

/// Even pieces of `numbers` as splits of one row a number.
pub(crate) fn splits_of(numbers: Range<u64>, pieces: usize) -> Result<Vec<Split>> {
    let splits = even_pieces(numbers, pieces).into_iter().map(|numbers| {
        Ok(Split {
            estimated_rows: Some(numbers.end - numbers.start),
            descriptor: serde_json::to_value(numbers)?,
        })
    });
    splits.collect()
}

/// The numbers of a split that [`splits_of`] made for `owner`.
///
/// # Errors
/// [`headwater_core::ErrorKind::Data`] for any other.
pub(crate) fn numbers_of(owner: &str, split: &Split) -> Result<Range<u64>> {
    serde_json::from_value(split.descriptor.clone()).map_err(|error| {
        Error::data(format!("{owner} cannot read split {}", split.descriptor)).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_contiguous_even_and_never_empty() {
        for (numbers, pieces, expected) in [
            (0..10, 3, &[(0, 4), (4, 7), (7, 10)][..]),
            (5..7, 4, &[(5, 6), (6, 7)]),
            (5..5, 4, &[]),
            (1..4, 0, &[(1, 4)]),
        ] {
            let found: Vec<_> = even_pieces(numbers, pieces)
                .into_iter()
                .map(|piece| (piece.start, piece.end))
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_split_is_read_as_it_was_made() {
        let splits = splits_of(3..8, 2).expect("splits");
        let rows: Vec<_> = splits.iter().map(|split| split.estimated_rows).collect();
        assert_eq!(rows, [Some(3), Some(2)]);
        let numbers = splits.iter().map(|split| numbers_of("s", split));
        let numbers: Vec<_> = numbers.map(|it| it.expect("numbers")).collect();
        assert_eq!(numbers, [3..6, 6..8]);
        let other = Split {
            descriptor: Value::from("x"),
            estimated_rows: None,
        };
        let error = numbers_of("source 's'", &other).expect_err("no numbers");
        assert_eq!(error.message(), "source 's' cannot read split \"x\"");
    }

    #[test]
    fn an_offset_that_is_no_count_is_named() {
        let offset = Offset("abc".into());
        let error = count_of("source 'rate'", Some(&offset)).expect_err("not a count");
        assert!(error.message().contains("\"abc\""), "{error}");
    }
}
