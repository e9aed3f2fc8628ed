//! The values that DISTINCT aggregates have already counted, in a store keyed by (group, value).
//!
//! A group with a million distinct values costs an epoch what it adds to it, not the million.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array},
        compute::take,
        datatypes::{DataType, Field, Schema},
    },
    error::{DataFusionError, Result},
};
use headwater_state::{KeyedState, StateSpec};

use crate::runtime::external;

/// The specification of the store of one DISTINCT argument: the group's keys and the value, nothing else.
pub(crate) fn distinct_spec(groups: &StateSpec, argument: &DataType) -> StateSpec {
    let mut fields = groups.keys.fields().to_vec();
    fields.push(Arc::new(Field::new(
        "distinct value",
        argument.clone(),
        true,
    )));
    StateSpec {
        keys: Arc::new(Schema::new(fields)),
        values: Arc::new(Schema::empty()),
        chained: false,
        ..groups.clone()
    }
}

/// Name of the store of DISTINCT aggregate number `number`.
pub(crate) fn distinct_store(number: usize) -> String {
    format!("distinct-{number}")
}

/// Values that their group has not seen before.
pub(crate) struct NewValues {
    /// The values.
    pub(crate) values: ArrayRef,
    /// The group of each, by the ids that `group_ids` gave.
    pub(crate) ids: Vec<usize>,
}

/// Enters the lists of values that a partial aggregation sent into the store; what was new comes back.
///
/// Row `r` of `lists` belongs to the group with keys `keys[..][r]`, expiry `expiry[r]` and id `group_ids[r]`.
pub(crate) fn new_values(
    store: &mut KeyedState,
    keys: &[ArrayRef],
    expiry: Option<&Int64Array>,
    group_ids: &[usize],
    lists: &ArrayRef,
) -> Result<NewValues> {
    let lists = lists
        .as_list_opt::<i32>()
        .ok_or_else(|| DataFusionError::Internal("distinct values came as no list".to_owned()))?;
    let mut owners: Vec<u32> = Vec::new();
    let mut places: Vec<u32> = Vec::new();
    let offsets = lists.value_offsets();
    for row in 0..lists.len() {
        if lists.is_valid(row) {
            for place in offsets[row]..offsets[row + 1] {
                owners.push(row as u32);
                places.push(place as u32);
            }
        }
    }
    let owner_rows = UInt32Array::from(owners.clone());
    let values = take(lists.values(), &UInt32Array::from(places), None)?;
    let mut pairs = keys
        .iter()
        .map(|key| take(key, &owner_rows, None))
        .collect::<Result<Vec<_>, _>>()?;
    pairs.push(Arc::clone(&values));
    let expiry = expiry
        .map(|expiry| take(expiry, &owner_rows, None))
        .transpose()?;
    let touched = store
        .touch(&pairs, expiry.as_ref().map(|expiry| expiry.as_primitive()))
        .map_err(external)?;
    let new_ids = touched.new_ids();
    let new_rows: Vec<u32> = new_ids.iter().map(|id| touched.first_rows()[*id]).collect();
    let ids = new_rows
        .iter()
        .map(|row| group_ids[owners[*row as usize] as usize])
        .collect();
    let new_values = take(&values, &UInt32Array::from(new_rows), None)?;
    store
        .put_ids(&touched, &new_ids, Vec::new())
        .map_err(external)?;
    Ok(NewValues {
        values: new_values,
        ids,
    })
}
