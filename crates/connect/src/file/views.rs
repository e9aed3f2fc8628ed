//! Views: text and bytes that point into a buffer which they share, as some functions give them.
//!
//! Files never tell of views: they are a layout in memory, and not every reader knows the note that Arrow leaves about
//! them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields};

/// The fields without views, inside others too.
pub(crate) fn without_views(fields: &Fields) -> Fields {
    fields.iter().map(without_view).collect()
}

fn without_view(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Struct(fields) => DataType::Struct(without_views(fields)),
        DataType::List(item) => DataType::List(without_view(item)),
        DataType::LargeList(item) => DataType::LargeList(without_view(item)),
        DataType::Map(entries, sorted) => DataType::Map(without_view(entries), *sorted),
        _ => return Arc::clone(field),
    };
    with_type(field, data_type)
}

fn with_type(field: &FieldRef, data_type: DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
