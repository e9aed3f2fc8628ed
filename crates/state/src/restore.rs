//! Restoring a store of either kind: its sections applied one after the other, its rows dealt out anew.

use arrow::{
    array::{BooleanArray, RecordBatch},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
};
use headwater_core::{Epoch, Error, Result};

use crate::{
    delta::Change,
    key_group::{key_groups, partition_of},
    layout::Layout,
    section::{self, Kind, Section},
};

/// What restoring needs of a store.
pub(crate) trait Restore: Sized {
    /// How its sections are laid out.
    fn layout(&self) -> &Layout;

    /// The version of the last section applied.
    fn restored_version(&self) -> Option<Epoch>;

    /// Whether there is any row.
    fn holds_rows(&self) -> bool;

    /// Does again what was done once. `wanted` (partition, partitions) takes only what this partition owns.
    fn apply(&mut self, change: Change, wanted: Option<(u32, u32)>) -> Result<()>;

    /// All changes of a section were applied; they lead to this version.
    fn end_of_section(&mut self, version: Epoch) -> Result<()>;

    /// Takes over all rows of another store, whose keys are not in this one.
    fn absorb(&mut self, other: Self) -> Result<()>;

    /// Makes the next commit hold the whole state instead of the changes.
    fn commit_as_a_whole(&mut self);

    /// Applies sections, oldest first. `picks` says where the key and value columns lie in them, if otherwise than
    /// here.
    fn apply_sections(
        &mut self,
        bytes: &[u8],
        wanted: Option<(u32, u32)>,
        picks: Option<&[usize]>,
    ) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (section, after) = section::decode(self.layout(), picks, rest)?;
            self.apply_section(section, wanted)?;
            rest = after;
        }
        Ok(())
    }

    /// Applies one section.
    fn apply_section(&mut self, section: Section, wanted: Option<(u32, u32)>) -> Result<()> {
        if section.kind == Kind::Snapshot && self.holds_rows() {
            return Err(Error::data(format!(
                "a snapshot of version {} follows rows of an older version",
                section.version
            )));
        }
        let last = self.restored_version();
        if let Some(last) = last.filter(|last| *last >= section.version) {
            return Err(Error::data(format!(
                "the changes of version {} follow version {last}",
                section.version
            )));
        }
        for change in section.changes {
            self.apply(change, wanted)?;
        }
        self.end_of_section(section.version)
    }
}

/// The rows that a partition, given as (partition, partitions), owns by their leading columns; all of them if none is
/// given.
pub(crate) fn owned(
    rows: RecordBatch,
    owner_columns: usize,
    wanted: Option<(u32, u32)>,
) -> Result<RecordBatch> {
    let Some((partition, partitions)) = wanted else {
        return Ok(rows);
    };
    let groups = key_groups(&rows.columns()[..owner_columns], rows.num_rows())?;
    let ours: BooleanBuffer = groups
        .into_iter()
        .map(|group| partition_of(group, partitions) == partition)
        .collect();
    Ok(filter_record_batch(&rows, &BooleanArray::new(ours, None))?)
}
