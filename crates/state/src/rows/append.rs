//! Rows in: their numbers, their segments, their chains.

use std::{iter::zip, sync::atomic::Ordering::Relaxed};

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use headwater_core::{Error, Result};

use super::{
    RowStore,
    index::{AT_A_TIME, NONE},
    refs::RowRefs,
    segment::Segment,
};
use crate::{
    columns::compact_batch, hash::row_hashes, pieces::by_segment, segments::Buckets,
    spec::batch_of, touched::Place,
};

impl RowStore {
    /// Adds rows; the references to them are in the order of the rows.
    ///
    /// `expiry` is in milliseconds, one per row; null or `None` means that the row never expires. `marked` says which
    /// rows are marked from the start; null or `None` means that they are not.
    ///
    /// # Errors
    /// `Internal` if columns do not fit the spec, or an expiry or mark is given to a store without them.
    pub fn append(
        &mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        expiry: Option<&Int64Array>,
        marked: Option<&BooleanArray>,
    ) -> Result<RowRefs> {
        // A store has a key or a value column.
        let rows = keys
            .iter()
            .chain(values)
            .next()
            .map_or(0, |column| column.len());
        self.check_appended(rows, expiry, marked)?;
        let hashes = row_hashes(keys, rows)?;
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        let places =
            self.append_hashed(keys, values, expiry, marked, &hashes, &vec![NONE; rows])?;
        Ok(RowRefs {
            places,
            generation: self.generation,
        })
    }

    /// Adds rows of which the hashes of the keys are known, and the chain that was claimed for each; [`NONE`] where none
    /// was.
    pub(super) fn append_hashed(
        &mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        expiry: Option<&Int64Array>,
        marked: Option<&BooleanArray>,
        hashes: &[u64],
        claims: &[u32],
    ) -> Result<Vec<Place>> {
        let rows = hashes.len();
        let mut columns = keys.to_vec();
        columns.extend_from_slice(values);
        let numbers = self.next_number..self.next_number.saturating_add(rows as u64);
        self.next_number = numbers.end;
        let numbers = UInt64Array::from_iter_values(numbers);
        columns.extend(self.shape.naming(numbers, expiry.cloned()));
        let batch = compact_batch(&batch_of(&self.shape.stored, columns, rows)?)?;
        self.generation += 1;
        self.insert_hashed(&batch, marked, hashes, claims)
    }

    pub(super) fn check_appended(
        &self,
        rows: usize,
        expiry: Option<&Int64Array>,
        marked: Option<&BooleanArray>,
    ) -> Result<()> {
        let spec = &self.shape.spec;
        match (expiry, marked) {
            (Some(_), _) if !spec.expires => Err(Error::internal(
                "an expiry was given to a store whose rows never expire",
            )),
            (_, Some(_)) if !spec.marks => Err(Error::internal(
                "a mark was given to a store whose rows carry no mark",
            )),
            (_, Some(marked)) if marked.len() != rows => Err(Error::internal(format!(
                "state was given {} marks for {rows} rows",
                marked.len()
            ))),
            _ if rows >= u32::MAX as usize => Err(Error::invalid(format!(
                "a batch of {rows} rows is too large for state: use smaller batches"
            ))),
            _ => Ok(()),
        }
    }

    /// Adds rows as they are kept in memory.
    pub(super) fn insert(
        &mut self,
        batch: &RecordBatch,
        marked: Option<&BooleanArray>,
    ) -> Result<Vec<Place>> {
        let rows = batch.num_rows();
        let keys = &batch.columns()[..self.shape.key_columns()];
        let hashes = row_hashes(keys, rows)?;
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        self.insert_hashed(batch, marked, &hashes, &vec![NONE; rows])
    }

    fn insert_hashed(
        &mut self,
        batch: &RecordBatch,
        marked: Option<&BooleanArray>,
        hashes: &[u64],
        claims: &[u32],
    ) -> Result<Vec<Place>> {
        let rows = batch.num_rows();
        let segments = self.route(rows, self.shape.expiry(batch).as_ref())?;
        // All of them before any other chain is looked for.
        for (claim, segment) in zip(claims, &segments).filter(|(claim, _)| **claim != NONE) {
            self.index.settle(*claim, *segment);
        }
        let mut places = vec![Place::new(0, 0); rows];
        for piece in by_segment(batch, &segments)? {
            let order = piece.order;
            // The low half: the high bits decide about the partition, and are much the same for all rows.
            let hashes = order.iter().map(|row| hashes[*row as usize] as u32);
            let hashes: Vec<u32> = hashes.collect();
            let marked = marked.map(|marked| {
                let bits = order.iter().map(|row| *row as usize);
                bits.map(|row| marked.is_valid(row) && marked.value(row))
                    .collect::<Vec<bool>>()
            });
            let chains = order.iter().map(|row| claims[*row as usize]).collect();
            let start = self.insert_piece(piece.segment, piece.rows, &hashes, marked, chains)?;
            for (slot, row) in (start..).zip(order) {
                places[row as usize] = Place::new(piece.segment, slot as usize);
            }
        }
        Ok(places)
    }

    /// Appends rows to a segment; the slot of the first. `chains` are those of the segment that are known, one for each
    /// row; [`NONE`] has it looked up.
    pub(super) fn insert_piece(
        &mut self,
        id: u32,
        rows: RecordBatch,
        hashes: &[u32],
        marked: Option<Vec<bool>>,
        mut chains: Vec<u32>,
    ) -> Result<u32> {
        let segments = &self.segments;
        let is_later = |a: u32, b: u32| segments.get(a).is_later(segments.get(b));
        for (chains, hashes) in zip(chains.chunks_mut(AT_A_TIME), hashes.chunks(AT_A_TIME)) {
            let is_missing = |(chain, _): &(&mut u32, &u32)| **chain == NONE;
            let missing = zip(chains.iter_mut(), hashes).filter(is_missing);
            self.index.fetch(missing.map(|(_, hash)| *hash));
            for (chain, hash) in zip(chains, hashes).filter(is_missing) {
                *chain = self.index.find_or_add(*hash, id, is_later);
            }
        }
        let segment = self.segments.get_mut(id);
        let start = segment.push(&self.shape, rows, marked.map(BooleanArray::from).as_ref())?;
        segment.link(&mut self.index, start, &chains);
        self.rows += hashes.len();
        Ok(start)
    }

    /// The segment of each row.
    fn route(&mut self, rows: usize, expiry: Option<&Int64Array>) -> Result<Vec<u32>> {
        let Some(expiry) = expiry.filter(|_| rows > 0) else {
            return Ok(vec![self.segment_of(None); rows]);
        };
        let mut buckets = Buckets::of(expiry, self.segments.width);
        let doublings = self.segments.doublings_to_fit(&buckets.distinct);
        if doublings > 0 {
            self.widen(doublings)?;
            buckets = Buckets::of(expiry, self.segments.width);
        }
        let segments: Vec<u32> = buckets
            .distinct
            .iter()
            .map(|b| self.segment_of(*b))
            .collect();
        Ok(match segments.as_slice() {
            [segment] => vec![*segment; rows],
            _ => {
                let of_row = buckets.of_row.iter();
                of_row.map(|bucket| segments[*bucket as usize]).collect()
            }
        })
    }

    fn segment_of(&mut self, bucket: Option<i64>) -> u32 {
        match self.segments.find(bucket) {
            Some(segment) => segment,
            None => self.segments.add(Segment::new(bucket)),
        }
    }
}
