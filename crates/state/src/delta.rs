//! The changes of an epoch: noted as they happen, written as one section, applied again at a restore.
//!
//! Invariant: applying the changes of version n, in order, to version n-1 gives version n.

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
};
use headwater_core::{Epoch, Error, Payload, Result};

use crate::{
    columns::batch_bytes,
    index::KeyIndexFactory,
    keyed::KeyedState,
    layout::Layout,
    restore::{Restore, owned},
    section::{self, Kind},
    spec::Shape,
    touched::Place,
};

/// One change of a store.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Rows put.
    Put(RecordBatch),
    /// Keys, or rows of a key, removed.
    Remove(RecordBatch),
    /// Everything that expires at or before this many milliseconds removed.
    Expire(i64),
    /// Rows marked.
    Mark(RecordBatch),
}

impl Change {
    /// The rows of a put, of a removal or that are marked.
    pub(crate) fn rows(&self) -> Option<&RecordBatch> {
        match self {
            Self::Put(rows) | Self::Remove(rows) | Self::Mark(rows) => Some(rows),
            Self::Expire(_) => None,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.rows().map_or(0, batch_bytes)
    }
}

/// The changes of one store of one partition in one epoch, or all of its rows, as the bytes of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaBytes {
    /// The bytes; empty if nothing has changed.
    pub bytes: Payload,
    /// Number of rows put.
    pub rows: u64,
    /// Whether it is the whole state and not a change to an older version.
    pub full: bool,
    /// Number of rows in the store after them.
    pub live: u64,
}

impl DeltaBytes {
    /// Whether nothing has changed, so that there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Encodes changes as a section of kind delta; no bytes if there are none.
pub(crate) fn encode(
    shape: &Shape,
    factory: &dyn KeyIndexFactory,
    version: Epoch,
    changes: Vec<Change>,
    live: usize,
) -> Result<DeltaBytes> {
    let changes = without_replaced_rows(shape, factory, changes)?;
    let bytes = match changes.is_empty() {
        true => Payload::new(),
        false => section::encode(&shape.layout, Kind::Delta, version, &changes)?,
    };
    Ok(DeltaBytes {
        bytes,
        rows: rows_put(&changes),
        full: false,
        live: live as u64,
    })
}

pub(crate) fn rows_put(changes: &[Change]) -> u64 {
    let puts = changes.iter().map(|change| match change {
        Change::Put(rows) => rows.num_rows() as u64,
        _ => 0,
    });
    puts.sum()
}

/// An operator that puts once per batch puts a busy key many times in an epoch; only its last row of each run of puts
/// needs to be written.
fn without_replaced_rows(
    shape: &Shape,
    factory: &dyn KeyIndexFactory,
    changes: Vec<Change>,
) -> Result<Vec<Change>> {
    if shape.spec.chained {
        return Ok(changes);
    }
    let is_put = |change: &Change| matches!(change, Change::Put(_));
    let mut kept = Vec::with_capacity(changes.len());
    for run in changes.chunk_by(|a, b| is_put(a) && is_put(b)) {
        match run {
            [single] => kept.push(single.clone()),
            puts => kept.push(Change::Put(last_rows(shape, factory, puts)?)),
        }
    }
    Ok(kept)
}

/// The last row of each key, over several puts.
fn last_rows(shape: &Shape, factory: &dyn KeyIndexFactory, puts: &[Change]) -> Result<RecordBatch> {
    let rows = concat_batches(&shape.layout.rows, puts.iter().filter_map(Change::rows))?;
    let keys = shape.key_columns();
    if keys == 0 {
        return Ok(rows.slice(rows.num_rows().saturating_sub(1), rows.num_rows().min(1)));
    }
    let mut index = factory.create(&shape.spec.keys)?;
    let mut slots = Vec::new();
    index.intern(&rows.columns()[..keys], &mut slots)?;
    let mut last = vec![0u32; index.len()];
    for (row, slot) in slots.into_iter().enumerate() {
        last[slot] = row as u32;
    }
    if last.len() == rows.num_rows() {
        return Ok(rows);
    }
    Ok(take_record_batch(&rows, &UInt32Array::from(last))?)
}

impl KeyedState {
    /// Applies sections to this version of the state, for a restore: the changes of the next versions, or all rows.
    /// Empty bytes change nothing.
    ///
    /// `wanted_groups` (partition, partitions) takes only the keys that this partition owns, so that the sections
    /// of other partitions can be read when their number has changed.
    ///
    /// # Errors
    /// `Data` if the bytes are not sections of such a store, or older than the state. The state is then undefined.
    pub fn apply_delta(&mut self, bytes: &[u8], wanted_groups: Option<(u32, u32)>) -> Result<()> {
        self.apply_sections(bytes, wanted_groups, None)
    }

    fn places_of(&mut self, rows: &RecordBatch) -> Result<Vec<Place>> {
        let keys = &rows.columns()[..self.shape.key_columns()];
        let expiry = self.shape.expiry(rows).cloned();
        self.locate(keys, rows.num_rows(), expiry.as_ref())
    }
}

impl Restore for KeyedState {
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
            Change::Put(rows) => {
                let rows = owned(rows, self.shape.owner_columns(), wanted)?;
                let places = self.places_of(&rows)?;
                self.insert(&rows, &places)
            }
            Change::Remove(keys) => {
                let keys = owned(keys, self.shape.owner_columns(), wanted)?;
                for place in self.places_of(&keys)? {
                    self.remove_key(place);
                }
                Ok(())
            }
            Change::Expire(limit) => self.expire(limit, false).map(drop),
            Change::Mark(_) => Err(Error::data("a store of values by key has marked rows")),
        }
    }

    fn end_of_section(&mut self, version: Epoch) -> Result<()> {
        self.version = Some(version);
        // What was restored is durable already.
        self.changes.clear();
        self.compact()
    }

    fn absorb(&mut self, other: Self) -> Result<()> {
        for segment in other.segments.ids() {
            for block in &other.segments.get(segment).blocks {
                self.apply(Change::Put(other.blocks.get(*block).live_batch()?), None)?;
            }
        }
        self.version = self.version.max(other.version);
        Ok(())
    }

    fn commit_as_a_whole(&mut self) {
        self.commit_all = true;
    }
}
