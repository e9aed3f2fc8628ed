//! Doing recorded changes again one by one, and saying which rows each of them is about.

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use headwater_core::Result;

use crate::{
    block::Position, delta::Change, keyed::KeyedState, restore::Restore, rows::RowStore,
    snapshot::LiveRows, spec::batch_of, store::Store,
};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was added to those of its key.
    Insert,
    /// It took the place of the row of its key, if there was one; in a store of rows by key, of the row of its number.
    Upsert,
    /// It went: removed, or expired. In a chained store all rows of the key do.
    Delete,
}

impl ChangeKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// Changed rows, as they are written: keys, values, then number, expiry and mark as far as the store has them.
pub(super) type Changed = Vec<(ChangeKind, RecordBatch)>;

/// What replaying needs of a store.
trait Replay: Restore {
    /// What a put does.
    fn put_kind(&self) -> ChangeKind;

    /// The rows that a removal or marking names, as they are now.
    fn named(&mut self, named: &RecordBatch) -> Result<RecordBatch>;

    /// Rows of which some may expire at or before `limit`, in milliseconds.
    fn candidates(&self, limit: i64) -> Result<Vec<RecordBatch>>;

    /// The column of a row as it is written that says when it expires.
    fn expiry_column(&self) -> usize;

    fn expiring(&self, limit: i64) -> Result<Vec<RecordBatch>> {
        let candidates = self.candidates(limit)?.into_iter();
        let expiring = candidates.map(|rows| {
            let expiry: &Int64Array = rows
                .column(self.expiry_column())
                .as_primitive::<Int64Type>();
            let expires = expiry
                .iter()
                .map(|millis| Some(millis.is_some_and(|it| it <= limit)));
            let expires: BooleanArray = expires.collect();
            Ok(filter_record_batch(&rows, &expires)?)
        });
        expiring.collect()
    }

    fn replay(&mut self, change: Change) -> Result<Changed> {
        let about = match &change {
            Change::Put(rows) => vec![(self.put_kind(), rows.clone())],
            Change::Remove(named) => vec![(ChangeKind::Delete, self.named(named)?)],
            Change::Expire(limit) => {
                let expiring = self.expiring(*limit)?.into_iter();
                expiring.map(|rows| (ChangeKind::Delete, rows)).collect()
            }
            Change::Mark(named) => {
                let named = named.clone();
                self.apply(change, None)?;
                return Ok(vec![(ChangeKind::Upsert, self.named(&named)?)]);
            }
        };
        self.apply(change, None)?;
        Ok(about)
    }
}

impl Replay for KeyedState {
    fn put_kind(&self) -> ChangeKind {
        match self.shape.spec.chained {
            true => ChangeKind::Insert,
            false => ChangeKind::Upsert,
        }
    }

    fn named(&mut self, named: &RecordBatch) -> Result<RecordBatch> {
        let keys = &named.columns()[..self.shape.key_columns()];
        let expiry = self.shape.expiry(named).cloned();
        let places = self.locate(keys, named.num_rows(), expiry.as_ref())?;
        let mut positions: Vec<Position> = Vec::new();
        for place in places {
            let head = self.segments.get(place.segment).heads[place.slot as usize];
            let start = positions.len();
            self.chain(head, &mut positions);
            positions[start..].reverse();
        }
        let layout = &self.shape.layout.rows;
        let columns = self.fetch(&positions, 0..layout.fields().len())?;
        batch_of(layout, columns, positions.len())
    }

    fn candidates(&self, limit: i64) -> Result<Vec<RecordBatch>> {
        let segments = self.segments.up_to(limit).into_iter();
        let blocks = segments.flat_map(|(segment, _)| &self.segments.get(segment).blocks);
        blocks
            .map(|block| self.blocks.get(*block).live_batch())
            .collect()
    }

    fn expiry_column(&self) -> usize {
        self.shape.visible.fields().len()
    }
}

impl Replay for RowStore {
    fn put_kind(&self) -> ChangeKind {
        ChangeKind::Insert
    }

    fn named(&mut self, named: &RecordBatch) -> Result<RecordBatch> {
        self.named_rows(named)
    }

    fn candidates(&self, limit: i64) -> Result<Vec<RecordBatch>> {
        let blocks = self.captured_up_to(limit).into_iter();
        blocks.map(|block| block.live_batch()).collect()
    }

    fn expiry_column(&self) -> usize {
        self.visible_columns() + 1
    }
}

impl Store {
    /// Does a change again, and says what it changed.
    pub(super) fn replay(&mut self, change: Change) -> Result<Changed> {
        match self {
            Self::Keyed(store) => store.replay(change),
            Self::Rows(store) => store.replay(change),
        }
    }

    /// All changes up to this version are done.
    pub(super) fn replayed(&mut self, version: headwater_core::Epoch) -> Result<()> {
        match self {
            Self::Keyed(store) => store.end_of_section(version),
            Self::Rows(store) => store.end_of_section(version),
        }
    }

    /// How rows are written.
    pub(super) fn layout(&self) -> &crate::layout::Layout {
        match self {
            Self::Keyed(store) => Restore::layout(store),
            Self::Rows(store) => Restore::layout(store),
        }
    }
}

/// Some columns of rows.
pub(super) fn columns_of(rows: &RecordBatch, columns: std::ops::Range<usize>) -> Vec<ArrayRef> {
    rows.columns()[columns].to_vec()
}
