//! The changes of an epoch: which committed rows were marked, removed or have expired, and the rows that came and are
//! still there.
//!
//! Changes are written in the order marks, removals, expiry, puts. What the first three say is about older rows only,
//! so that a row which came and went within the epoch is not written at all.

use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array},
    compute::max,
    datatypes::{Int64Type, UInt64Type},
};
use headwater_core::{Epoch, Error, Payload, Result};

use super::{Emit, RowStore, spec::RowsShape};
use crate::{
    columns::compact_batch,
    delta::{Change, DeltaBytes, rows_put},
    layout::Layout,
    restore::{Restore, owned},
    section::{self, Kind},
    snapshot::{LiveRows, puts},
    spec::batch_of,
    touched::Place,
};

/// What happened to rows of the last version since then.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) marked: Named,
    pub(super) removed: Named,
    pub(super) expired_to: Option<i64>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.marked.numbers.is_empty()
            && self.removed.numbers.is_empty()
            && self.expired_to.is_none()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.marked.memory_bytes() + self.removed.memory_bytes()
    }
}

/// Rows by number and expiry: what is needed to find them again.
#[derive(Debug, Default)]
pub(super) struct Named {
    numbers: Vec<u64>,
    expiry: Vec<Option<i64>>,
}

impl Named {
    pub(super) fn push(&mut self, number: u64, expiry: Option<i64>) {
        self.numbers.push(number);
        self.expiry.push(expiry);
    }

    fn memory_bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<u64>()
            + self.expiry.capacity() * size_of::<Option<i64>>()
    }

    fn batch(&self, shape: &RowsShape) -> Result<Option<RecordBatch>> {
        if self.numbers.is_empty() {
            return Ok(None);
        }
        let numbers = UInt64Array::from(self.numbers.clone());
        let expiry = Int64Array::from(self.expiry.clone());
        let columns = shape.naming(numbers, Some(expiry));
        batch_of(&shape.layout.named, columns, self.numbers.len()).map(Some)
    }
}

impl RowStore {
    /// The changes since the last commit as a section; no bytes if there are none.
    pub(super) fn encode_changes(&self, version: Epoch) -> Result<DeltaBytes> {
        let pending = &self.pending;
        let marks = pending.marked.batch(&self.shape)?.map(Change::Mark);
        let removals = pending.removed.batch(&self.shape)?.map(Change::Remove);
        let expiry = pending.expired_to.map(Change::Expire);
        let mut changes: Vec<Change> = marks.into_iter().chain(removals).chain(expiry).collect();
        changes.extend(self.new_rows()?);
        let bytes = match changes.is_empty() {
            true => Payload::new(),
            false => section::encode(&self.shape.layout, Kind::Delta, version, &changes)?,
        };
        Ok(DeltaBytes {
            bytes,
            rows: rows_put(&changes),
            full: false,
            live: self.rows as u64,
        })
    }

    /// The rows that came since the last commit and are still there, as puts by time bucket, oldest first within each.
    fn new_rows(&self) -> Result<Vec<Change>> {
        let is_new = |number: &u64| *number >= self.uncommitted;
        let mut pieces = Vec::new();
        for id in self.segments.changed() {
            let segment = self.segments.get(id);
            if !segment.newest.as_ref().is_some_and(is_new) {
                continue;
            }
            // Slots are in order of age: new rows are at the end.
            let first = segment
                .blocks
                .partition_point(|block| !block.numbers.values().last().is_some_and(is_new));
            for block in &segment.blocks[first..] {
                let numbers = block.numbers.values();
                let start = numbers.partition_point(|number| !is_new(number));
                pieces.push(segment.capture(&self.shape, block, start..block.len()));
            }
        }
        puts(
            &self.shape.layout,
            pieces.iter().map(|piece| piece as &dyn LiveRows),
        )
    }

    /// Applies sections to this version of the state, for a restore: the changes of the next versions, or all rows.
    /// Empty bytes change nothing.
    ///
    /// `wanted_groups` (partition, partitions) takes only the rows that this partition owns, so that the sections of
    /// other partitions can be read when their number has changed.
    ///
    /// # Errors
    /// `Data` if the bytes are not sections of such a store, or older than the state. The state is then undefined.
    pub fn apply_delta(&mut self, bytes: &[u8], wanted_groups: Option<(u32, u32)>) -> Result<()> {
        self.apply_sections(bytes, wanted_groups, None)
    }

    fn put(&mut self, rows: &RecordBatch) -> Result<()> {
        let (rows, marked) = self.shape.split(rows)?;
        let numbers = self.shape.numbers(&rows);
        check_numbers(&numbers)?;
        let next = max(&numbers).map_or(0, |last| last.saturating_add(1));
        self.next_number = self.next_number.max(next);
        let rows = compact_batch(&rows)?;
        self.insert(&rows, marked.as_ref()).map(drop)
    }

    /// The rows that are named, as they are written.
    pub(crate) fn named_rows(&mut self, named: &RecordBatch) -> Result<RecordBatch> {
        let places = self.find(named, None)?;
        let mut columns = self.fetch(&places, 0..self.shape.stored.fields().len())?;
        if self.shape.spec.marks {
            let marked: Vec<bool> = places.iter().map(|place| self.is_marked(*place)).collect();
            columns.push(std::sync::Arc::new(BooleanArray::from(marked)));
        }
        batch_of(&self.shape.layout.rows, columns, places.len())
    }

    /// The rows that are named. With `wanted`, names of rows that are not here are those of other partitions.
    fn find(&mut self, named: &RecordBatch, wanted: Option<(u32, u32)>) -> Result<Vec<Place>> {
        self.order_slots()?;
        let numbers = named.column(0).as_primitive::<UInt64Type>();
        check_numbers(numbers)?;
        let expiry = self.shape.spec.expires.then(|| named.column(1));
        let expiry = expiry.map(|expiry| expiry.as_primitive::<Int64Type>());
        let mut places = Vec::with_capacity(named.num_rows());
        for (row, number) in numbers.values().iter().enumerate() {
            let millis = expiry.filter(|e| e.is_valid(row)).map(|e| e.value(row));
            let bucket = millis.map(|millis| millis.div_euclid(self.segments.width));
            let segment = self.segments.find(bucket);
            let slot = segment.and_then(|id| self.segments.get(id).find(*number));
            match (segment, slot) {
                (Some(segment), Some(slot)) => places.push(Place::new(segment, slot as usize)),
                _ if wanted.is_some() => {}
                _ => {
                    return Err(Error::data(format!(
                        "row {number} is marked or removed, but there is no such row"
                    )));
                }
            }
        }
        Ok(places)
    }
}

fn check_numbers(numbers: &UInt64Array) -> Result<()> {
    match numbers.null_count() {
        0 => Ok(()),
        _ => Err(Error::data("a stored row has no number")),
    }
}

impl Restore for RowStore {
    fn layout(&self) -> &Layout {
        &self.shape.layout
    }

    fn restored_version(&self) -> Option<Epoch> {
        self.version
    }

    fn holds_rows(&self) -> bool {
        !self.is_empty()
    }

    fn apply(&mut self, change: Change, wanted: Option<(u32, u32)>) -> Result<()> {
        match change {
            Change::Put(rows) => self.put(&owned(rows, self.shape.owner_columns(), wanted)?),
            Change::Remove(named) => {
                let places = self.find(&named, wanted)?;
                let rows = self.refer_to(places);
                self.remove(&rows).map(drop)
            }
            Change::Mark(named) => {
                let places = self.find(&named, wanted)?;
                let rows = self.refer_to(places);
                self.mark(&rows).map(drop)
            }
            Change::Expire(limit) => self.expire(limit, Emit::Nothing).map(drop),
        }
    }

    fn end_of_section(&mut self, version: Epoch) -> Result<()> {
        self.order_slots()?;
        // What was restored is durable already.
        self.committed(Some(version));
        self.compact()
    }

    fn absorb(&mut self, other: Self) -> Result<()> {
        self.take_over(&other)?;
        self.committed(self.version.max(other.version));
        Ok(())
    }

    fn commit_as_a_whole(&mut self) {
        self.commit_all = true;
    }
}
