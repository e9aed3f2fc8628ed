//! One store of one partition, in memory: keys with their value rows, in batches only.
//!
//! An epoch costs what it touches: a touch looks up the keys of a batch, a gather copies the rows of those keys, a put
//! appends one batch, an expiry drops whole segments. Nothing walks over all keys but garbage collection, whose cost
//! is paid for by the rows that were put ([`crate::maintain`]).
//!
//! Invariant: the live rows are those of the last committed version plus the changes since then, and those changes,
//! in order, are what [`KeyedState::commit`] returns. Making them durable is left to [`crate::StateBackend`].

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    compute::{filter_record_batch, take, take_arrays},
};
use headwater_core::{Epoch, Error, Result};

use crate::{
    block::Blocks,
    columns::compact_batch,
    delta::{self, Change, DeltaBytes},
    index::KeyIndexFactory,
    segment::Segment,
    segments::Segments,
    snapshot::{LiveRows, Snapshot},
    spec::{Shape, StateSpec, batch_of},
    touched::{Place, Touched},
    work::{Counters, Work},
};

/// Keyed state of one partition; see the module for what it costs.
///
/// After an error the content is undefined: drop it and load the last committed version again.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
/// # use arrow::datatypes::{DataType, Field, Schema};
/// # use headwater_core::{Epoch, Result};
/// # use headwater_state::{KeyedState, RowIndexFactory, StateSpec};
/// # fn main() -> Result<()> {
/// // A count per word.
/// let mut state = KeyedState::new(
///     StateSpec {
///         keys: Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, false)])),
///         values: Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)])),
///         owner_columns: None,
///         expires: false,
///         bucket_millis: 1,
///         chained: false,
///     },
///     Arc::new(RowIndexFactory),
/// )?;
/// let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "rose", "is", "a", "rose"]));
/// let touched = state.touch(&[words], None)?;
/// let mut counts = vec![0; touched.len()];
/// for id in touched.row_ids() {
///     counts[*id] += 1;
/// }
/// let (ids, old) = state.gather(&touched)?;
/// assert!(ids.is_empty() && old[0].is_empty(), "no word was there before");
/// state.put(&touched, vec![Arc::new(Int64Array::from(counts))])?;
/// let delta = state.commit(Epoch::FIRST)?;
/// assert_eq!(delta.rows, 3);
/// # Ok(())
/// # }
/// ```
pub struct KeyedState {
    pub(crate) shape: Arc<Shape>,
    pub(crate) factory: Arc<dyn KeyIndexFactory>,
    pub(crate) segments: Segments<Segment>,
    pub(crate) blocks: Blocks,
    pub(crate) keys: usize,
    /// Changes since the last commit, in order.
    pub(crate) changes: Vec<Change>,
    pub(crate) version: Option<Epoch>,
    /// The next commit must hold everything, because the files so far are divided among another number of partitions.
    pub(crate) commit_all: bool,
    /// Rises whenever slots move: places found before are void.
    pub(crate) generation: u64,
    pub(crate) counters: Counters,
}

impl KeyedState {
    /// An empty store.
    ///
    /// # Errors
    /// `Invalid` if the spec makes no sense.
    pub fn new(spec: StateSpec, index: Arc<dyn KeyIndexFactory>) -> Result<Self> {
        let segments = Segments::new(spec.bucket_millis);
        Ok(Self {
            shape: Arc::new(Shape::new(spec)?),
            factory: index,
            segments,
            blocks: Blocks::default(),
            keys: 0,
            changes: Vec::new(),
            version: None,
            commit_all: false,
            generation: 0,
            counters: Counters::default(),
        })
    }

    /// What the store holds.
    pub fn spec(&self) -> &StateSpec {
        &self.shape.spec
    }

    /// The version it was last committed at or restored to.
    pub fn version(&self) -> Option<Epoch> {
        self.version
    }

    /// Number of keys that have a value row.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Number of value rows: in a chained store a key may have several.
    pub fn rows(&self) -> usize {
        self.blocks.live()
    }

    /// Whether no key has a value row.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// No key expires before this, in milliseconds; `None` if no key ever does. Where keys were removed it may be too
    /// early, until [`Self::expire`] is called for it.
    pub fn earliest_expiry(&self) -> Option<i64> {
        let first = self.segments.by_time().find(|segment| segment.keys > 0)?;
        Some(first.earliest)
    }

    /// Memory in use, in bytes: rows, index, garbage that is not yet collected and changes not yet committed.
    pub fn memory_bytes(&self) -> usize {
        let changes: usize = self.changes.iter().map(Change::memory_bytes).sum();
        self.segments.memory_bytes() + changes + self.blocks.memory_bytes()
    }

    /// Work done since the store was made.
    pub fn work(&self) -> Work {
        self.counters.work()
    }

    /// Finds or creates the keys of these rows.
    ///
    /// `expiry` is in milliseconds, one per row; null or `None` means that the key never expires. It is derived from
    /// the key: the same key always has the same expiry. A store without key columns takes its number of rows from
    /// `expiry`, or else counts one; see [`Self::touch_rows`].
    pub fn touch(&mut self, keys: &[ArrayRef], expiry: Option<&Int64Array>) -> Result<Touched> {
        let rows = match (keys.first(), expiry) {
            (Some(column), _) => column.len(),
            (None, Some(expiry)) => expiry.len(),
            (None, None) => 1,
        };
        self.touch_rows(keys, rows, expiry)
    }

    /// As [`Self::touch`], for key columns that may be none and therefore cannot tell the number of rows.
    pub fn touch_rows(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        expiry: Option<&Int64Array>,
    ) -> Result<Touched> {
        let places = self.locate(keys, rows, expiry)?;
        let mut touched = Touched {
            row_ids: Vec::with_capacity(rows),
            first_rows: Vec::new(),
            places: Vec::new(),
            new: Vec::new(),
            keys: Vec::new(),
            expiry: None,
            generation: self.generation,
        };
        let mut start = 0;
        for run in places.chunk_by(|a, b| a.segment == b.segment) {
            let segment = self.segments.get_mut(run[0].segment);
            for (row, place) in (start..).zip(run) {
                let next = touched.places.len();
                let id = segment.mark(place.slot, next);
                if id == next {
                    touched.places.push(*place);
                    touched.first_rows.push(row);
                    touched
                        .new
                        .push(!segment.heads[place.slot as usize].is_some());
                }
                touched.row_ids.push(id);
            }
            start += run.len() as u32;
        }
        for place in &touched.places {
            self.segments.get_mut(place.segment).unmark(place.slot);
        }
        if touched.len() == rows {
            touched.keys = keys.to_vec();
            touched.expiry = expiry.cloned();
        } else {
            let first = UInt32Array::from(touched.first_rows.clone());
            touched.keys = take_arrays(keys, &first, None)?;
            touched.expiry = expiry.map(|expiry| take_i64(expiry, &first)).transpose()?;
        }
        Ok(touched)
    }

    /// The value rows of the touched keys that the store holds, and for each the id of its key, ascending. In a
    /// chained store a key has all of its rows, oldest first; otherwise at most one.
    ///
    /// # Errors
    /// `Internal` if keys have moved since the touch, see [`Touched`].
    pub fn gather(&self, touched: &Touched) -> Result<(Vec<usize>, Vec<ArrayRef>)> {
        if touched.generation != self.generation {
            return Err(Error::internal(
                "state was gathered for keys that were touched before the store was expired or committed",
            ));
        }
        let mut ids = Vec::new();
        let mut positions = Vec::new();
        for (id, place) in touched.places.iter().enumerate() {
            let start = positions.len();
            self.chain(
                self.segments.get(place.segment).heads[place.slot as usize],
                &mut positions,
            );
            ids.resize(positions.len(), id);
            positions[start..].reverse();
        }
        let values = self.fetch(&positions, self.shape.value_columns())?;
        Ok((ids, values))
    }

    /// Gives each touched key a new value row, in id order: in place of the old one or, in a chained store, after the
    /// others. `values` has one row per touched key.
    pub fn put(&mut self, touched: &Touched, values: Vec<ArrayRef>) -> Result<()> {
        let places = self.places(touched)?;
        self.put_rows(places, touched.keys.clone(), values, touched.expiry.clone())
    }

    /// As [`Self::put`], for some of the touched keys: one value row for each of these ids, which are distinct.
    pub fn put_ids(
        &mut self,
        touched: &Touched,
        ids: &[usize],
        values: Vec<ArrayRef>,
    ) -> Result<()> {
        if ids.len() == touched.len() && ids.is_sorted() {
            return self.put(touched, values);
        }
        let places = self.places(touched)?;
        let places = ids.iter().map(|id| places[*id]).collect();
        let rows: UInt32Array = ids.iter().map(|id| *id as u32).collect();
        let keys = take_arrays(&touched.keys, &rows, None)?;
        let expiry = touched
            .expiry
            .as_ref()
            .map(|expiry| take_i64(expiry, &rows));
        self.put_rows(places, keys, values, expiry.transpose()?)
    }

    fn put_rows(
        &mut self,
        places: Vec<Place>,
        mut columns: Vec<ArrayRef>,
        values: Vec<ArrayRef>,
        expiry: Option<Int64Array>,
    ) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        columns.extend(values);
        if self.shape.spec.expires {
            columns.push(match expiry {
                Some(expiry) => Arc::new(expiry),
                None => Arc::new(Int64Array::new_null(places.len())),
            });
        }
        let rows = compact_batch(&batch_of(&self.shape.layout.rows, columns, places.len())?)?;
        self.changes.push(Change::Put(rows.clone()));
        self.insert(&rows, &places)
    }

    /// The key columns of the touched keys in id order.
    pub fn touched_keys(
        &self,
        touched: &Touched,
        _incoming_keys: &[ArrayRef],
    ) -> Result<Vec<ArrayRef>> {
        Ok(touched.keys.clone())
    }

    /// Removes the touched keys that the store holds; says how many those were.
    pub fn remove(&mut self, touched: &Touched) -> Result<usize> {
        let all: Vec<usize> = (0..touched.len()).collect();
        self.remove_ids(touched, &all)
    }

    /// As [`Self::remove`], for some of the touched keys.
    pub fn remove_ids(&mut self, touched: &Touched, ids: &[usize]) -> Result<usize> {
        let places = self.places(touched)?;
        let mut removed = Vec::new();
        for id in ids {
            if self.remove_key(places[*id]) {
                removed.push(*id as u32);
            }
        }
        let count = removed.len();
        if count > 0 {
            let rows = UInt32Array::from(removed);
            let mut columns = take_arrays(&touched.keys, &rows, None)?;
            if self.shape.spec.expires {
                columns.push(match &touched.expiry {
                    Some(expiry) => take(expiry, &rows, None)?,
                    None => Arc::new(Int64Array::new_null(count)),
                });
            }
            let batch = batch_of(&self.shape.layout.named, columns, count)?;
            self.changes.push(Change::Remove(compact_batch(&batch)?));
        }
        Ok(count)
    }

    /// All live rows, keys ++ values; in a chained store several rows per key, oldest first per key.
    pub fn scan(&self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for segment in self.segments.ids() {
            for rows in self.live(segment)? {
                batches.push(self.shape.visible(&rows)?);
            }
        }
        Ok(batches)
    }

    /// The live rows that expire at or before `limit`, in milliseconds, as [`Self::scan`] gives them; those that never
    /// expire are not among them.
    pub fn scan_until(&self, limit: i64) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for (segment, whole) in self.segments.up_to(limit) {
            for rows in self.live(segment)? {
                let expiry = self.shape.expiry(&rows).filter(|_| !whole);
                let rows = match expiry {
                    None => rows,
                    Some(expiry) => {
                        self.counters
                            .compared
                            .fetch_add(rows.num_rows() as u64, Relaxed);
                        let within = BooleanArray::from_unary(expiry, |millis| millis <= limit);
                        filter_record_batch(&rows, &within)?
                    }
                };
                if rows.num_rows() > 0 {
                    batches.push(self.shape.visible(&rows)?);
                }
            }
        }
        Ok(batches)
    }

    /// The live rows of a segment, with their expiry.
    fn live(&self, segment: u32) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for block in &self.segments.get(segment).blocks {
            let block = self.blocks.get(*block);
            if block.live > 0 {
                self.counters.copied.fetch_add(block.live as u64, Relaxed);
                batches.push(block.live_batch()?);
            }
        }
        Ok(batches)
    }

    /// Ends the epoch: the changes since the last commit, which turn the last version into this one.
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
        let changes = std::mem::take(&mut self.changes);
        self.version = Some(version);
        let delta = if std::mem::take(&mut self.commit_all) {
            self.snapshot().encode()?
        } else {
            delta::encode(
                &self.shape,
                self.factory.as_ref(),
                version,
                changes,
                self.rows(),
            )?
        };
        self.compact()?;
        Ok(delta)
    }

    /// Captures the last committed version in O(blocks), to be encoded later, on another thread if need be.
    pub fn snapshot(&self) -> Snapshot {
        let blocks = self.segments.ids().into_iter().flat_map(|segment| {
            let blocks = self.segments.get(segment).blocks.iter();
            blocks.map(|block| Arc::new(self.blocks.get(*block).capture()) as Arc<dyn LiveRows>)
        });
        Snapshot::new(
            Arc::clone(&self.shape.layout),
            self.version,
            self.changes.is_empty(),
            blocks.collect(),
        )
    }
}

pub(crate) fn take_i64(values: &Int64Array, rows: &UInt32Array) -> Result<Int64Array> {
    Ok(take(values, rows, None)?.as_primitive().clone())
}

#[cfg(test)]
mod tests;
