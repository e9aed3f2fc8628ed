//! Finding the rows of keys.
//!
//! The index gives candidates, rows whose keys have the same hash; those that expire outside the range asked for are
//! left out as they come, whole segments at a time where that is enough. Then the keys of all candidates are compared
//! at once.

use std::{ops::Range, sync::atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, ArrayRef, Int64Array, UInt32Array},
    buffer::NullBuffer,
    compute::take_arrays,
};
use headwater_core::{Error, Result};

use super::{
    RowStore,
    equal::rows_equal,
    index::{AT_A_TIME, NONE},
    refs::RowRefs,
    segment::Segment,
};
use crate::{hash::row_hashes, touched::Place};

/// What to look up with [`RowStore::probe`].
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    /// Key columns, of the types that the spec says.
    pub keys: &'a [ArrayRef],
    /// Which of their rows to look up.
    pub rows: Range<usize>,
    /// Which stored rows count, by their expiry.
    pub within: Within<'a>,
    /// Whether NULL in a key column equals NULL.
    pub null_keys: NullKeys,
    /// Stop after the probe row at which there are this many candidates, so that a key with very many rows cannot
    /// exhaust the memory; [`Matches::end`] says where to go on.
    pub at_most: usize,
}

/// Which stored rows a probe finds, by their expiry in milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum Within<'a> {
    /// All of them.
    Any,
    /// For each row of the key columns those that expire from `low` to `high`, both included; null is no bound. A row
    /// that never expires is later than any time.
    Range {
        /// Lower bounds.
        low: &'a Int64Array,
        /// Upper bounds.
        high: &'a Int64Array,
    },
}

/// Whether a NULL among the key columns of a probe row is a value like any other. NULL inside a struct or a list is, in
/// any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullKeys {
    /// NULL equals NULL, as in a grouping.
    Match,
    /// A row with NULL finds nothing, as in a join.
    Never,
}

impl<'a> Probe<'a> {
    /// All of these rows of key columns, with stored rows of any expiry; NULL equals NULL.
    pub fn new(keys: &'a [ArrayRef], rows: usize) -> Self {
        Self {
            keys,
            rows: 0..rows,
            within: Within::Any,
            null_keys: NullKeys::Match,
            at_most: usize::MAX,
        }
    }
}

/// What a probe has found: pairs of a probe row and a stored row, by probe row, then from the oldest to the newest.
#[derive(Debug, Clone)]
pub struct Matches {
    /// The row of the probe's key columns of each pair.
    pub probe_rows: UInt32Array,
    /// The stored row of each pair.
    pub rows: RowRefs,
    /// The row after the last one that was looked up: where to go on.
    pub end: usize,
}

/// Expiries that a probe row asks for.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    low: i64,
    /// None: rows that never expire count as well.
    high: Option<i64>,
}

/// How the rows of a segment lie to the bounds.
enum Overlap {
    /// None of them is inside, nor any that expires earlier.
    TooEarly,
    TooLate,
    /// Some may be inside.
    Some,
    All,
}

impl Bounds {
    fn overlap(self, segment: &Segment) -> Overlap {
        let (earliest, latest) = (segment.earliest, segment.latest);
        match self.high {
            Some(_) if segment.never_expires() => Overlap::TooLate,
            None if segment.never_expires() => Overlap::All,
            _ if latest < self.low => Overlap::TooEarly,
            Some(high) if earliest > high => Overlap::TooLate,
            high if self.low <= earliest && high.is_none_or(|high| latest <= high) => Overlap::All,
            _ => Overlap::Some,
        }
    }

    fn holds(self, expiry: i64) -> bool {
        self.low <= expiry && self.high.is_none_or(|high| expiry <= high)
    }
}

impl Within<'_> {
    pub(super) fn bounds(&self, row: usize) -> Bounds {
        let bound = |of_row: &Int64Array| of_row.is_valid(row).then(|| of_row.value(row));
        match self {
            Self::Any => Bounds {
                low: i64::MIN,
                high: None,
            },
            Self::Range { low, high } => Bounds {
                low: bound(low).unwrap_or(i64::MIN),
                high: bound(high),
            },
        }
    }
}

impl RowStore {
    /// Finds the rows of these keys.
    ///
    /// Costs a look-up for each probe row, a step for each segment that holds rows of its key and expires after the
    /// lower bound, and a comparison for each row found; in a segment that a bound cuts also for rows that are not.
    ///
    /// # Errors
    /// `Internal` if the columns do not fit the spec.
    pub fn probe(&self, probe: &Probe<'_>) -> Result<Matches> {
        self.check_probe(probe)?;
        let (start, rows) = (probe.rows.start, probe.rows.len());
        let keys: Vec<ArrayRef> = probe
            .keys
            .iter()
            .map(|key| key.slice(start, rows))
            .collect();
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        let (mut probe_rows, mut places, looked_up) = self.candidates(probe, &keys)?;
        if !places.is_empty() {
            let of_probe = UInt32Array::from(probe_rows);
            let left = take_arrays(&keys, &of_probe, None)?;
            let right = self.fetch(&places, 0..keys.len())?;
            let equal = rows_equal(&left, &right, places.len())?;
            probe_rows = of_probe.values().to_vec();
            if equal.count_set_bits() < places.len() {
                let mut bits = equal.iter();
                probe_rows.retain(|_| bits.next().unwrap_or(false));
                let mut bits = equal.iter();
                places.retain(|_| bits.next().unwrap_or(false));
            }
        }
        Ok(Matches {
            probe_rows: probe_rows
                .into_iter()
                .map(|row| row + start as u32)
                .collect(),
            rows: RowRefs {
                places,
                generation: self.generation,
            },
            end: start + looked_up,
        })
    }

    pub(super) fn check_probe(&self, probe: &Probe<'_>) -> Result<()> {
        let expected = self.shape.spec.keys.fields();
        if probe.keys.len() != expected.len() {
            return Err(Error::internal(format!(
                "state was probed with {} key columns, expected {}",
                probe.keys.len(),
                expected.len()
            )));
        }
        let end = probe.rows.end;
        for (column, field) in probe.keys.iter().zip(expected) {
            if column.data_type() != field.data_type() || column.len() < end {
                return Err(Error::internal(format!(
                    "state was probed with key {} of {} rows of type {}, expected {end} or more of type {}",
                    field.name(),
                    column.len(),
                    column.data_type(),
                    field.data_type()
                )));
            }
        }
        if let Within::Range { low, high } = probe.within
            && (low.len() < end || high.len() < end)
        {
            return Err(Error::internal(format!(
                "state was probed with {} lower and {} upper bounds, expected {end} or more",
                low.len(),
                high.len()
            )));
        }
        // Row numbers are 32 bits wide.
        if end >= u32::MAX as usize {
            return Err(Error::invalid(format!(
                "a batch of {end} rows is too large for state: use smaller batches"
            )));
        }
        Ok(())
    }

    /// Pairs of a row of `keys` and a stored row with the same hash and an expiry within bounds, in order; and the
    /// number of rows that were looked up.
    fn candidates(
        &self,
        probe: &Probe<'_>,
        keys: &[ArrayRef],
    ) -> Result<(Vec<u32>, Vec<Place>, usize)> {
        let rows = probe.rows.len();
        let hashes = row_hashes(keys, rows)?;
        let nulls = match probe.null_keys {
            NullKeys::Match => None,
            NullKeys::Never => keys.iter().fold(None, |nulls, key| {
                NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref())
            }),
        };
        let (mut probe_rows, mut places, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        for (row, hash) in hashes.iter().enumerate() {
            if row % AT_A_TIME == 0 {
                let next = hashes[row..].iter().take(AT_A_TIME);
                self.index.fetch(next.map(|hash| *hash as u32));
            }
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let first = places.len();
            let bounds = probe.within.bounds(probe.rows.start + row);
            let chains = self.follow(*hash as u32, bounds, &mut places);
            if chains > 1 {
                self.order_by_age(&mut places[first..], &mut scratch);
            }
            probe_rows.resize(places.len(), row as u32);
            if places.len() >= probe.at_most {
                self.counters
                    .compared
                    .fetch_add(places.len() as u64, Relaxed);
                return Ok((probe_rows, places, row + 1));
            }
        }
        self.counters
            .compared
            .fetch_add(places.len() as u64, Relaxed);
        Ok((probe_rows, places, rows))
    }

    fn order_by_age(&self, places: &mut [Place], scratch: &mut Vec<(u64, Place)>) {
        scratch.clear();
        scratch.extend(places.iter().map(|place| {
            let segment = self.segments.get(place.segment);
            (segment.number(place.slot), *place)
        }));
        // Of several segments, each in order: a stable sort merges them.
        scratch.sort_by_key(|(number, _)| *number);
        for (place, (_, next)) in places.iter_mut().zip(scratch) {
            *place = *next;
        }
    }

    /// Adds the rows with this hash and an expiry within bounds, the oldest first in each segment; in how many
    /// segments there are any.
    pub(super) fn follow(&self, hash: u32, bounds: Bounds, places: &mut Vec<Place>) -> usize {
        let mut found = 0;
        let mut next = self.index.first(hash);
        while next != NONE {
            let chain = self.index.chain(next);
            next = chain.earlier;
            let segment = self.segments.get(chain.segment);
            let overlap = bounds.overlap(segment);
            let is_all = match overlap {
                Overlap::TooEarly => break,
                Overlap::TooLate => continue,
                Overlap::Some => false,
                Overlap::All => true,
            };
            let first = places.len();
            let mut slot = chain.head;
            let mut steps = 0;
            while slot != NONE {
                steps += 1;
                if is_all
                    || segment
                        .expiry(slot)
                        .is_some_and(|expiry| bounds.holds(expiry))
                {
                    places.push(Place::new(chain.segment, slot as usize));
                }
                slot = segment.older[slot as usize];
            }
            places[first..].reverse();
            let left_out = steps - (places.len() - first);
            self.counters.compared.fetch_add(left_out as u64, Relaxed);
            found += usize::from(places.len() > first);
        }
        found
    }
}
