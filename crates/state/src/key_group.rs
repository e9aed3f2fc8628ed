//! Which partition owns a key.
//!
//! Keys fall into [`KEY_GROUPS`] groups by a hash of our own that never changes; a partition owns a contiguous range of
//! groups. Because groups, not partitions, are derived from keys, the number of partitions may change at a restart.
//! Neither DataFusion's hash nor Arrow's row format decides where durable state lives.

use arrow::array::ArrayRef;
use headwater_core::Result;

use crate::hash::row_hashes;

/// Number of groups that keys are divided into; fixed for ever, since durable state is placed by it.
pub const KEY_GROUPS: u16 = 1024;

/// The group of each row's key, given the `rows` rows of its key columns.
///
/// Equal keys share a group whatever array holds them: text may be plain, view or dictionary, an integer of any
/// width, and zeros of either sign and all NaN count as equal. Without columns every row has the same group.
///
/// # Errors
/// `Internal` if a column does not have `rows` rows.
pub fn key_groups(keys: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
    let hashes = row_hashes(keys, rows)?;
    Ok(hashes.into_iter().map(group_of).collect())
}

fn group_of(hash: u64) -> u16 {
    // The top ten bits: the remainder is below 1024.
    u16::try_from(hash >> (u64::BITS - KEY_GROUPS.trailing_zeros())).unwrap_or(0)
}

/// The partition, of `partitions`, that owns a key group.
///
/// Each partition owns a contiguous range of groups, and ranges differ in size by at most one. With more than
/// [`KEY_GROUPS`] partitions some own nothing; zero partitions count as one.
pub fn partition_of(group: u16, partitions: u32) -> u32 {
    let scaled = u64::from(group) * u64::from(partitions) / u64::from(KEY_GROUPS);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// Whether two partitions, each given as (partition, partitions), own a key group in common.
pub(crate) fn overlap(left: (u32, u32), right: (u32, u32)) -> bool {
    (0..KEY_GROUPS).any(|group| {
        partition_of(group, left.1) == left.0 && partition_of(group, right.1) == right.0
    })
}

#[cfg(test)]
mod tests;
