//! The index from keys to slots of the state layer: packed keys where that can be, else DataFusion's `GroupValues`, which is
//! vectorised and specialised by type.

use std::sync::Arc;

use datafusion::{
    arrow::{array::ArrayRef, datatypes::SchemaRef},
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use headwater_core::{Error, Result};
use headwater_state::{KeyIndex, KeyIndexFactory, packed_index};

/// Makes the index that suits the types of the keys.
#[derive(Debug)]
struct BySchema;

struct GroupValuesIndex {
    groups: Box<dyn GroupValues>,
}

/// The factory to give to the state layer.
pub fn key_index_factory() -> Arc<dyn KeyIndexFactory> {
    Arc::new(BySchema)
}

impl KeyIndexFactory for BySchema {
    fn create(&self, keys: &SchemaRef) -> Result<Box<dyn KeyIndex>> {
        if let Some(packed) = packed_index(keys) {
            return Ok(packed);
        }
        let groups = new_group_values(Arc::clone(keys), &GroupOrdering::None).map_err(|error| {
            Error::invalid(format!("these columns cannot be grouped by: {keys}")).with_source(error)
        })?;
        Ok(Box::new(GroupValuesIndex { groups }))
    }
}

impl KeyIndex for GroupValuesIndex {
    fn intern(&mut self, keys: &[ArrayRef], slots: &mut Vec<usize>) -> Result<()> {
        self.groups
            .intern(keys, slots)
            .map_err(crate::runtime::from_datafusion)
    }

    fn len(&self) -> usize {
        self.groups.len()
    }

    fn memory_bytes(&self) -> usize {
        self.groups.size()
    }
}
