//! A store of either kind, for those who keep stores and do not look inside.

use headwater_core::{Epoch, Error, Result};

use crate::{delta::DeltaBytes, keyed::KeyedState, rows::RowStore, snapshot::Snapshot};

/// A store of one partition: a value by key, or rows by key.
pub enum Store {
    /// A value by key.
    Keyed(KeyedState),
    /// Any number of rows by key.
    Rows(RowStore),
}

impl Store {
    /// Ends the epoch: [`KeyedState::commit`] or [`RowStore::commit`].
    ///
    /// # Errors
    /// Those of these two.
    pub fn commit(&mut self, version: Epoch) -> Result<DeltaBytes> {
        match self {
            Self::Keyed(store) => store.commit(version),
            Self::Rows(store) => store.commit(version),
        }
    }

    /// Captures the last committed version: [`KeyedState::snapshot`] or [`RowStore::snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        match self {
            Self::Keyed(store) => store.snapshot(),
            Self::Rows(store) => store.snapshot(),
        }
    }

    /// Memory in use, in bytes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Keyed(store) => store.memory_bytes(),
            Self::Rows(store) => store.memory_bytes(),
        }
    }
}

impl From<KeyedState> for Store {
    fn from(store: KeyedState) -> Self {
        Self::Keyed(store)
    }
}

impl From<RowStore> for Store {
    fn from(store: RowStore) -> Self {
        Self::Rows(store)
    }
}

impl TryFrom<Store> for KeyedState {
    type Error = Error;

    fn try_from(store: Store) -> Result<Self> {
        match store {
            Store::Keyed(store) => Ok(store),
            Store::Rows(_) => Err(Error::internal(
                "a store of rows by key was asked for as one of a value by key",
            )),
        }
    }
}

impl TryFrom<Store> for RowStore {
    type Error = Error;

    fn try_from(store: Store) -> Result<Self> {
        match store {
            Store::Rows(store) => Ok(store),
            Store::Keyed(_) => Err(Error::internal(
                "a store of a value by key was asked for as one of rows by key",
            )),
        }
    }
}
