//! From keys to slots: what the operators choose by the types of the keys.
//!
//! Keys of a few numbers have an index here ([`crate::packed_index()`]). Comparing and hashing others in memory is what a
//! query engine does best, so the operators bring its group table.
//! Nothing durable depends on how an index hashes or stores keys: it is rebuilt from the rows at every restore.

use std::fmt::Debug;

use arrow::{array::ArrayRef, datatypes::SchemaRef};
use headwater_core::Result;

/// A growing map from keys to slots.
pub trait KeyIndex: Send {
    /// Finds the slot of each row's key, adding keys that are new, and replaces the content of `slots` with one slot
    /// per row. Slots are 0, 1, 2 … in order of first appearance; NULL is a value like any other.
    fn intern(&mut self, keys: &[ArrayRef], slots: &mut Vec<usize>) -> Result<()>;

    /// Number of keys.
    fn len(&self) -> usize;

    /// Whether there is no key.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap memory in use, in bytes.
    fn memory_bytes(&self) -> usize;
}

/// Makes empty [`KeyIndex`]es; state makes one for each segment.
pub trait KeyIndexFactory: Debug + Send + Sync {
    /// An empty index of keys with these columns, of which there is at least one.
    fn create(&self, keys: &SchemaRef) -> Result<Box<dyn KeyIndex>>;
}
