//! Offsets that are plain counts, and the even pieces a range of them is cut into.
//!
//! Pieces are contiguous and in order, so that the order of arrival is the order of the numbers, whatever the
//! parallelism: a replay with another number of tasks meets rows in the same order.

use std::ops::Range;

use headwater_core::{Error, Offset, OffsetRange, Result};

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
    fn an_offset_that_is_no_count_is_named() {
        let offset = Offset("abc".into());
        let error = count_of("source 'rate'", Some(&offset)).expect_err("not a count");
        assert!(error.message().contains("\"abc\""), "{error}");
    }
}
