//! A batch of rows taken apart by segment, in pieces that are stored as they are.

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};
use headwater_core::Result;

use crate::{columns::compact_batch, grouped::Grouped};

/// Larger batches are stored in pieces, which bounds what merging and collecting one block costs.
pub(crate) const MAX_BLOCK_ROWS: usize = 1 << 17;

/// Fewer rows than this are stored as a slice of a batch shared with other segments; more get memory of their own,
/// which is free as soon as their segment is.
const SHARED_ROWS: usize = 64;

/// Rows of one segment, at most [`MAX_BLOCK_ROWS`], in the order in which they came.
pub(crate) struct Piece {
    pub(crate) segment: u32,
    pub(crate) rows: RecordBatch,
    /// Where each of them was in the batch; ascending.
    pub(crate) order: Vec<u32>,
}

/// Takes a batch apart, given the segment of each row. The batch is compact.
pub(crate) fn by_segment(rows: &RecordBatch, segments: &[u32]) -> Result<Vec<Piece>> {
    let Grouped { order, groups } = Grouped::by(segments);
    if let ([(segment, _)], ..=MAX_BLOCK_ROWS) = (groups.as_slice(), order.len()) {
        return Ok(vec![Piece {
            segment: *segment,
            rows: rows.clone(),
            order,
        }]);
    }
    let (large, small): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|(_, range)| range.len() >= SHARED_ROWS);
    let mut pieces = Vec::with_capacity(large.len() + small.len());
    for (segment, range) in large {
        for order in order[range].chunks(MAX_BLOCK_ROWS) {
            let own = take_record_batch(rows, &UInt32Array::from(order.to_vec()))?;
            pieces.push(Piece {
                segment,
                rows: compact_batch(&own)?,
                order: order.to_vec(),
            });
        }
    }
    let shared = small.iter().flat_map(|(_, range)| &order[range.clone()]);
    let rows = take_record_batch(rows, &shared.copied().collect::<UInt32Array>())?;
    let mut start = 0;
    for (segment, range) in small {
        pieces.push(Piece {
            segment,
            rows: compact_batch(&rows.slice(start, range.len()))?,
            order: order[range.clone()].to_vec(),
        });
        start += range.len();
    }
    Ok(pieces)
}
