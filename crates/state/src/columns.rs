//! Small operations on Arrow columns that state needs: sizes, grouping of rows, and not holding on to other people's
//! buffers.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayData, ArrayRef, AsArray, FixedSizeListArray, GenericByteViewArray,
        GenericListArray, OffsetSizeTrait, RecordBatch, StructArray,
    },
    datatypes::{ByteViewType, DataType},
};
use headwater_core::Result;

use crate::spec::batch_of;

/// Rows in order of their group, keeping their order within a group.
pub(crate) struct Grouped {
    /// Row numbers, group by group.
    pub(crate) order: Vec<u32>,
    /// Each group and its range of `order`.
    pub(crate) groups: Vec<(u32, Range<usize>)>,
}

impl Grouped {
    /// Groups rows by a small number; costs O(rows + largest number).
    pub(crate) fn by(group_of_row: &[u32]) -> Self {
        let largest = group_of_row.iter().max().map_or(0, |max| *max as usize + 1);
        let mut next = vec![0usize; largest];
        for group in group_of_row {
            next[*group as usize] += 1;
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for (group, next) in next.iter_mut().enumerate() {
            let len = std::mem::replace(next, start);
            if len > 0 {
                groups.push((group as u32, start..start + len));
                start += len;
            }
        }
        let mut order = vec![0u32; group_of_row.len()];
        for (row, group) in group_of_row.iter().enumerate() {
            let place = &mut next[*group as usize];
            order[*place] = row as u32;
            *place += 1;
        }
        Self { order, groups }
    }
}

/// Memory that the rows of a batch need, in bytes, whatever larger buffers they are slices of.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| column_bytes(column))
        .sum()
}

fn column_bytes(column: &dyn Array) -> usize {
    let data = column.to_data();
    match data.get_slice_memory_size() {
        Ok(bytes) => bytes + view_bytes(&data),
        Err(_) => data.get_array_memory_size(),
    }
}

/// Bytes of text that views point at, which Arrow's own count leaves out.
fn view_bytes(data: &ArrayData) -> usize {
    let own = match data.data_type() {
        DataType::Utf8View | DataType::BinaryView => data
            .buffers()
            .iter()
            .skip(1)
            .map(|buffer| buffer.len())
            .sum(),
        _ => 0,
    };
    own + data.child_data().iter().map(view_bytes).sum::<usize>()
}

/// Copies the text of view columns, at any depth, whose buffers are mostly text of other rows: a view keeps the whole
/// buffer it points into alive, and would write all of it to disk.
pub(crate) fn compact_views(column: &ArrayRef) -> Result<ArrayRef> {
    if !has_views(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    Ok(match column.data_type() {
        DataType::Utf8View => compact_view(column.as_string_view(), column),
        DataType::BinaryView => compact_view(column.as_binary_view(), column),
        DataType::List(_) => Arc::new(compact_list(column.as_list::<i32>())?),
        DataType::LargeList(_) => Arc::new(compact_list(column.as_list::<i64>())?),
        DataType::FixedSizeList(field, size) => {
            let list = column.as_fixed_size_list();
            Arc::new(FixedSizeListArray::try_new(
                Arc::clone(field),
                *size,
                compact_views(list.values())?,
                list.nulls().cloned(),
            )?)
        }
        DataType::Struct(fields) => {
            let array = column.as_struct();
            let columns = array.columns().iter().map(compact_views);
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns.collect::<Result<_>>()?,
                array.nulls().cloned(),
                array.len(),
            )?)
        }
        _ => Arc::clone(column),
    })
}

/// [`compact_views`] for every column.
pub(crate) fn compact_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(compact_views);
    batch_of(
        &batch.schema(),
        columns.collect::<Result<_>>()?,
        batch.num_rows(),
    )
}

fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_views(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_views(field.data_type())),
        _ => false,
    }
}

fn compact_view<T: ByteViewType>(view: &GenericByteViewArray<T>, column: &ArrayRef) -> ArrayRef {
    let held: usize = view.data_buffers().iter().map(|buffer| buffer.len()).sum();
    if held > 2 * view.total_buffer_bytes_used() {
        Arc::new(view.gc())
    } else {
        Arc::clone(column)
    }
}

fn compact_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<GenericListArray<O>> {
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else {
        return Ok(list.clone());
    };
    Ok(GenericListArray::try_new(
        Arc::clone(field),
        list.offsets().clone(),
        compact_views(list.values())?,
        list.nulls().cloned(),
    )?)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn rows_keep_their_order_within_a_group() {
        let grouped = Grouped::by(&[5, 2, 5, 2, 2]);
        assert_eq!(grouped.order, [1, 3, 4, 0, 2]);
        assert_eq!(grouped.groups, [(2, 0..3), (5, 3..5)]);
        assert!(Grouped::by(&[]).groups.is_empty());
    }

    #[test]
    fn a_few_views_do_not_keep_a_large_buffer_alive() -> Result<()> {
        let many: StringViewArray = (0..1000)
            .map(|i| Some(format!("a long text number {i}")))
            .collect();
        let few: ArrayRef = Arc::new(many.slice(10, 2));
        let compact = compact_views(&few)?;
        assert_eq!(&compact, &few);
        assert!(column_bytes(&compact) < 200);
        assert!(column_bytes(&few) > 10_000);
        Ok(())
    }
}
