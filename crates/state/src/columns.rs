//! Columns that own what they show.
//!
//! Arrow arrays share memory freely: a view points into a buffer of other people's text, a dictionary lists values that
//! no row has, a slice of a list carries all items. Rows that are stored for long, or written to disk, must hold on to
//! no more than about twice what they need; and what they need is what their memory is counted as.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayData, ArrayRef, AsArray, FixedSizeListArray, GenericByteViewArray,
        GenericListArray, OffsetSizeTrait, RecordBatch, StructArray,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{ArrowNativeType, ByteViewType, DataType},
};
use headwater_core::Result;

use crate::spec::batch_of;

/// An array of views with more buffers than this is copied into one buffer.
const MAX_VIEW_BUFFERS: usize = 16;

/// Dictionaries with fewer values than this are left alone.
const SMALL_DICTIONARY: usize = 64;

/// Memory that the rows of a batch need, in bytes, whatever larger buffers they are slices of.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| column_bytes(column))
        .sum()
}

fn column_bytes(column: &dyn Array) -> usize {
    data_bytes(&column.to_data())
}

fn data_bytes(data: &ArrayData) -> usize {
    let children = |data: &ArrayData| data.child_data().iter().map(data_bytes).sum::<usize>();
    let nulls = data.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
    match data.data_type() {
        // Arrow counts views without their text, and lists with the items of other rows.
        DataType::Utf8View | DataType::BinaryView => {
            let text = data.buffers().iter().skip(1).map(|buffer| buffer.len());
            nulls + data.len() * size_of::<u128>() + text.sum::<usize>()
        }
        DataType::List(_) | DataType::Map(_, _) => nulls + list_bytes::<i32>(data),
        DataType::LargeList(_) => nulls + list_bytes::<i64>(data),
        DataType::Struct(_) | DataType::FixedSizeList(_, _) => nulls + children(data),
        _ => data
            .get_slice_memory_size()
            .unwrap_or_else(|_| data.get_array_memory_size()),
    }
}

fn list_bytes<O: OffsetSizeTrait + ArrowNativeType>(list: &ArrayData) -> usize {
    let offsets = list
        .buffers()
        .first()
        .map(|buffer| buffer.typed_data::<O>());
    let ours = offsets.and_then(|offsets| offsets.get(list.offset()..=list.offset() + list.len()));
    let (Some(ours), Some(items)) = (ours, list.child_data().first()) else {
        return 0;
    };
    let (first, end) = (ours[0].as_usize(), ours[list.len()].as_usize());
    size_of_val(ours) + data_bytes(&items.slice(first, end - first))
}

/// [`compact`] for every column.
pub(crate) fn compact_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(compact);
    batch_of(
        &batch.schema(),
        columns.collect::<Result<_>>()?,
        batch.num_rows(),
    )
}

/// The same values; text of views and values of dictionaries, at any depth, are copied if most of what they hold is
/// not theirs.
pub(crate) fn compact(column: &ArrayRef) -> Result<ArrayRef> {
    if !may_hold_more(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    Ok(match column.data_type() {
        DataType::Utf8View => compact_view(column.as_string_view(), column),
        DataType::BinaryView => compact_view(column.as_binary_view(), column),
        DataType::Dictionary(_, values) => compact_dictionary(column, values),
        DataType::List(_) => compact_list::<i32>(column)?,
        DataType::LargeList(_) => compact_list::<i64>(column)?,
        DataType::FixedSizeList(field, size) => {
            let list = column.as_fixed_size_list();
            Arc::new(FixedSizeListArray::try_new(
                Arc::clone(field),
                *size,
                compact(list.values())?,
                list.nulls().cloned(),
            )?)
        }
        DataType::Struct(fields) => {
            let array = column.as_struct();
            let columns = array.columns().iter().map(compact);
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

fn may_hold_more(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(_, _) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            may_hold_more(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| may_hold_more(field.data_type())),
        _ => false,
    }
}

fn compact_view<T: ByteViewType>(view: &GenericByteViewArray<T>, column: &ArrayRef) -> ArrayRef {
    let buffers = view.data_buffers();
    let held: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    if held > 2 * view.total_buffer_bytes_used() || buffers.len() > MAX_VIEW_BUFFERS {
        Arc::new(view.gc())
    } else {
        Arc::clone(column)
    }
}

fn compact_dictionary(column: &ArrayRef, values: &DataType) -> ArrayRef {
    let held = column.as_any_dictionary().values().len();
    if held < SMALL_DICTIONARY || held <= 2 * column.len() {
        return Arc::clone(column);
    }
    // Not every type can be made a dictionary again; what cannot be compacted stays as it is.
    let plain = cast(column, values);
    let compact = plain.and_then(|plain| cast(&plain, column.data_type()));
    compact.unwrap_or_else(|_| Arc::clone(column))
}

fn compact_list<O: OffsetSizeTrait>(column: &ArrayRef) -> Result<ArrayRef> {
    let list = column.as_list::<O>();
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else {
        return Ok(Arc::clone(column));
    };
    let offsets = list.value_offsets();
    let (first, end) = (offsets[0], offsets[list.len()]);
    let items = list
        .values()
        .slice(first.as_usize(), (end - first).as_usize());
    let offsets: ScalarBuffer<O> = offsets.iter().map(|offset| *offset - first).collect();
    Ok(Arc::new(GenericListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::new(offsets),
        compact(&items)?,
        list.nulls().cloned(),
    )?))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray},
        datatypes::{Field, Int32Type, Int64Type},
    };

    use super::*;

    fn many_views() -> StringViewArray {
        let texts = (0..1_000).map(|i| Some(format!("a long text, number {i}")));
        texts.collect()
    }

    #[track_caller]
    fn check(few: ArrayRef, most: usize) {
        let compact = compact(&few).unwrap();
        assert_eq!(&compact, &few);
        let bytes = column_bytes(&compact);
        assert!(bytes <= most, "{bytes} bytes");
    }

    #[test]
    fn a_few_rows_do_not_keep_the_text_of_many() {
        check(Arc::new(many_views().slice(10, 2)), 100);
        let fields = vec![Arc::new(Field::new("text", DataType::Utf8View, true))];
        let text: ArrayRef = Arc::new(many_views());
        let many = StructArray::new(fields.into(), vec![Arc::clone(&text)], None);
        check(Arc::new(many.slice(10, 2)), 100);
        let field = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let offsets = OffsetBuffer::from_lengths(vec![2; 500]);
        let many = ListArray::new(field, offsets, text, None);
        check(Arc::new(many.slice(10, 2)), 200);
    }

    #[test]
    fn a_few_rows_do_not_keep_the_dictionary_of_many() {
        let texts: Vec<String> = (0..1_000).map(|i| format!("text {i}")).collect();
        let many: DictionaryArray<Int32Type> =
            texts.iter().map(|text| Some(text.as_str())).collect();
        check(Arc::new(many.slice(10, 2)), 50);
        // Many rows with few values, and types that cannot be compacted, stay as they are.
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x"; 100]));
        let keys = arrow::array::Int32Array::from(vec![7; 90]);
        let kept: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        assert_eq!(&compact(&kept).unwrap(), &kept);
    }

    #[test]
    fn a_slice_is_counted_as_what_it_shows() {
        let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        assert_eq!(column_bytes(&ints.slice(10, 2)), 16);
        let lists = (0..1_000).map(|i| Some(vec![Some(i), Some(i)]));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let bytes = column_bytes(&lists.slice(10, 2));
        assert!((44..60).contains(&bytes), "{bytes} bytes");
        let text = StringArray::from_iter_values((0..1_000).map(|i| format!("{i:04}")));
        assert_eq!(column_bytes(&text.slice(10, 2)), 12 + 8);
    }
}
