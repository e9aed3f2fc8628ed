//! Rows by key: the store of one partition where a key has any number of rows, each with an expiry of its own.
//!
//! What a join remembers of a side, the sessions of a key, the keys seen within the watermark. Rows live in segments
//! by the time at which they expire, and one index over all segments finds the rows of a key ([`index`]). An epoch
//! costs what it touches: an append its rows, a probe the rows it finds, an expiry the rows that expire. Garbage is
//! collected when it outweighs what is live ([`maintain`]).
//!
//! Invariant: the live rows are those of the last committed version plus the changes since then, and those changes
//! are what [`RowStore::commit`] returns. Each row has a number of its own; of two rows the older one has the smaller.

mod append;
mod append_new;
mod bits;
mod delta;
mod equal;
mod expire;
mod index;
#[cfg(any(test, feature = "test-util"))]
mod invariants;
mod maintain;
mod probe;
mod refs;
mod renew;
mod segment;
mod spec;

pub use expire::Emit;
pub use probe::{Matches, NullKeys, Probe, Within};
pub use refs::RowRefs;
pub use renew::Renewed;
pub use spec::RowsSpec;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use headwater_core::{Epoch, Error, Result};

use self::{delta::Pending, index::Index, segment::Segment, spec::RowsShape};
use crate::{
    delta::DeltaBytes,
    segments::Segments,
    snapshot::{LiveRows, Snapshot},
    touched::Place,
    work::{Counters, Work},
};

/// Rows by key of one partition; see the module for what it costs.
///
/// After an error the content is undefined: drop it and load the last committed version again.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
/// # use arrow::datatypes::{DataType, Field, Int64Type, Schema};
/// # use headwater_core::{Epoch, Result};
/// # use headwater_state::{Emit, Probe, RowStore, RowsSpec, Within};
/// # fn main() -> Result<()> {
/// // Clicks by advertisement, each to be forgotten at its time.
/// let mut clicks = RowStore::new(RowsSpec {
///     keys: Arc::new(Schema::new(vec![Field::new("ad", DataType::Utf8, true)])),
///     values: Arc::new(Schema::new(vec![Field::new("user", DataType::Int64, true)])),
///     owner_columns: None,
///     expires: true,
///     bucket_millis: 1_000,
///     marks: true,
/// })?;
/// let ads: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
/// let users: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let forget = Int64Array::from(vec![5_000, 6_000, 9_000]);
/// clicks.append(&[ads], &[users], Some(&forget), None)?;
///
/// let wanted: ArrayRef = Arc::new(StringArray::from(vec!["c", "a"]));
/// let found = clicks.probe(&Probe::new(&[wanted], 2))?;
/// assert_eq!(found.probe_rows.values(), &[1, 1]);
/// let users = clicks.gather(&found.rows, &[1])?;
/// assert_eq!(users[0].as_primitive::<Int64Type>().values(), &[1, 3]);
/// clicks.mark(&found.rows)?;
/// assert_eq!(clicks.commit(Epoch::FIRST)?.rows, 3);
///
/// // Of those that go, the ones that were never found.
/// let expired = clicks.expire(7_000, Emit::Unmarked)?;
/// assert_eq!((expired.removed, expired.rows[0].num_rows()), (2, 1));
/// # Ok(())
/// # }
/// ```
pub struct RowStore {
    shape: Arc<RowsShape>,
    segments: Segments<Segment>,
    index: Index,
    /// Number of live rows.
    rows: usize,
    /// The number of the next row.
    next_number: u64,
    /// Rows with this number and larger ones are not committed yet.
    uncommitted: u64,
    /// What happened to committed rows since the last commit.
    pending: Pending,
    version: Option<Epoch>,
    /// The next commit must hold everything, because the files so far are divided among another number of partitions.
    commit_all: bool,
    /// Rises whenever rows may have moved: references from before are void.
    generation: u64,
    counters: Counters,
}

impl RowStore {
    /// An empty store.
    ///
    /// # Errors
    /// `Invalid` if the spec makes no sense.
    pub fn new(spec: RowsSpec) -> Result<Self> {
        let segments = Segments::new(spec.bucket_millis);
        let shape = Arc::new(RowsShape::new(spec)?);
        Ok(Self::over(shape, segments, Index::default(), 0))
    }

    /// A store of no version with these segments, their index and the number of their rows.
    fn over(shape: Arc<RowsShape>, segments: Segments<Segment>, index: Index, rows: usize) -> Self {
        Self {
            shape,
            segments,
            index,
            rows,
            next_number: 0,
            uncommitted: 0,
            pending: Pending::default(),
            version: None,
            commit_all: false,
            generation: 0,
            counters: Counters::default(),
        }
    }

    /// What the store holds.
    pub fn spec(&self) -> &RowsSpec {
        &self.shape.spec
    }

    /// The version it was last committed at or restored to.
    pub fn version(&self) -> Option<Epoch> {
        self.version
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Memory in use, in bytes: rows, index, garbage that is not yet collected and changes not yet committed.
    pub fn memory_bytes(&self) -> usize {
        self.segments.memory_bytes() + self.index.memory_bytes() + self.pending.memory_bytes()
    }

    /// Work done since the store was made.
    pub fn work(&self) -> Work {
        self.counters.work()
    }

    /// Copies some columns of these rows, given by their position among keys ++ values, in the order of the
    /// references.
    ///
    /// # Errors
    /// `Internal` if the references are void, see [`RowRefs`].
    pub fn gather(&self, rows: &RowRefs, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        self.check(rows)?;
        let visible = self.shape.visible_columns();
        if let Some(column) = columns.iter().find(|column| **column >= visible) {
            return Err(Error::internal(format!(
                "state rows have {visible} columns, column {column} was asked for"
            )));
        }
        self.fetch(&rows.places, columns.iter().copied())
    }

    /// The expiry of each of these rows in milliseconds; null for a row that never expires.
    ///
    /// # Errors
    /// `Internal` if the references are void, see [`RowRefs`].
    pub fn expiry_of(&self, rows: &RowRefs) -> Result<Int64Array> {
        self.check(rows)?;
        let expiry = |place: &Place| self.segments.get(place.segment).expiry(place.slot);
        Ok(rows.places.iter().map(expiry).collect())
    }

    /// No row expires before this, in milliseconds; `None` if no row ever does. Where rows were removed it may be too
    /// early, until [`Self::expire`] is called for it.
    pub fn earliest_expiry(&self) -> Option<i64> {
        let first = self.segments.by_time().find(|segment| segment.rows > 0)?;
        Some(first.earliest)
    }

    /// Whether each of these rows is marked.
    ///
    /// # Errors
    /// `Internal` if the references are void, see [`RowRefs`].
    pub fn marked(&self, rows: &RowRefs) -> Result<BooleanArray> {
        self.check(rows)?;
        let marked = |place: &Place| self.is_marked(*place);
        let marked: Vec<bool> = rows.places.iter().map(marked).collect();
        Ok(marked.into())
    }

    fn is_marked(&self, place: Place) -> bool {
        let segment = self.segments.get(place.segment);
        self.shape.spec.marks && segment.marked.get(place.slot as usize)
    }

    /// Marks these rows, for good; says how many were live and not marked before.
    ///
    /// # Errors
    /// `Internal` if the store has no marks or the references are void, see [`RowRefs`].
    pub fn mark(&mut self, rows: &RowRefs) -> Result<usize> {
        self.check(rows)?;
        if !self.shape.spec.marks {
            return Err(Error::internal(
                "rows were marked in a store whose rows carry no mark",
            ));
        }
        let mut count = 0;
        for place in &rows.places {
            let segment = self.segments.get_mut(place.segment);
            let slot = place.slot as usize;
            if segment.marked.get(slot) || !segment.live.get(slot) {
                continue;
            }
            Arc::make_mut(&mut segment.marked).set(slot);
            count += 1;
            let number = segment.number(place.slot);
            if number < self.uncommitted {
                self.pending.marked.push(number, segment.expiry(place.slot));
            }
        }
        Ok(count)
    }

    /// Removes these rows; says how many were still there. The references stay good: what was removed can be gathered
    /// as long as the others can.
    ///
    /// # Errors
    /// `Internal` if the references are void, see [`RowRefs`].
    pub fn remove(&mut self, rows: &RowRefs) -> Result<usize> {
        self.check(rows)?;
        let mut places = rows.places.clone();
        places.sort_unstable_by_key(|place| (place.segment, place.slot));
        places.dedup();
        let mut count = 0;
        for of_segment in places.chunk_by(|a, b| a.segment == b.segment) {
            let segment = self.segments.get(of_segment[0].segment);
            let slots = of_segment.iter().map(|place| place.slot);
            let slots: Vec<u32> = slots.filter(|s| segment.live.get(*s as usize)).collect();
            for slot in &slots {
                let number = segment.number(*slot);
                if number < self.uncommitted {
                    self.pending.removed.push(number, segment.expiry(*slot));
                }
            }
            count += slots.len();
            self.kill(of_segment[0].segment, &slots);
        }
        Ok(count)
    }

    /// Declares live rows of a segment dead.
    fn kill(&mut self, segment: u32, slots: &[u32]) {
        self.rows -= slots.len();
        let segment = self.segments.get_mut(segment);
        segment.kill(&mut self.index, slots);
    }

    /// All rows, keys ++ values, by time bucket, oldest first within each.
    pub fn scan(&self) -> Result<Vec<RecordBatch>> {
        self.counters.copied.fetch_add(self.rows as u64, Relaxed);
        let live = self.captured().into_iter().filter(|block| block.live() > 0);
        live.map(|block| self.shape.visible(&block.live_batch()?))
            .collect()
    }

    /// Ends the epoch: the changes since the last commit, which turn the last version into this one. References to
    /// rows are void from then on.
    ///
    /// The first commit after a restore for another number of partitions holds the whole state instead. The bytes
    /// are empty if nothing has changed.
    ///
    /// # Errors
    /// `Internal` if `version` is not newer than the last one.
    pub fn commit(&mut self, version: Epoch) -> Result<DeltaBytes> {
        if self.version.is_some_and(|last| last >= version) {
            return Err(Error::internal(format!(
                "state was committed as version {version} after version {}",
                self.version.map_or(0, |last| last.0)
            )));
        }
        let delta = match self.commit_all {
            false => self.encode_changes(version)?,
            true => self.captured_at(Some(version), true).encode()?,
        };
        self.committed(Some(version));
        self.commit_all = false;
        self.compact()?;
        Ok(delta)
    }

    /// Everything up to now is part of a version.
    fn committed(&mut self, version: Option<Epoch>) {
        self.version = version;
        self.uncommitted = self.next_number;
        self.pending = Pending::default();
    }

    /// Captures the last committed version in O(blocks), to be encoded later, on another thread if need be.
    pub fn snapshot(&self) -> Snapshot {
        let is_committed = self.uncommitted == self.next_number && self.pending.is_empty();
        self.captured_at(self.version, is_committed)
    }

    fn captured_at(&self, version: Option<Epoch>, is_committed: bool) -> Snapshot {
        let layout = Arc::clone(&self.shape.layout);
        let blocks = self.captured().into_iter();
        let blocks = blocks.map(|block| Arc::new(block) as Arc<dyn LiveRows>);
        Snapshot::new(layout, version, is_committed, blocks.collect())
    }

    /// Number of key and value columns.
    pub(crate) fn visible_columns(&self) -> usize {
        self.shape.visible_columns()
    }

    /// The blocks in which rows expire at or before `limit`, in milliseconds, and maybe later ones.
    pub(crate) fn captured_up_to(&self, limit: i64) -> Vec<segment::Captured> {
        let segments = self.segments.up_to(limit).into_iter();
        self.captured_of(segments.map(|(id, _)| id))
    }

    /// All blocks as they are now, by time bucket, oldest first within each.
    fn captured(&self) -> Vec<segment::Captured> {
        self.captured_of(self.segments.ids().into_iter())
    }

    fn captured_of(&self, segments: impl Iterator<Item = u32>) -> Vec<segment::Captured> {
        let segments = segments.map(|id| self.segments.get(id));
        segments
            .flat_map(|segment| {
                let blocks = segment.blocks.iter();
                blocks.map(|block| segment.capture(&self.shape, block, 0..block.len()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
