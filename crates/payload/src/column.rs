//! Columns that grow value by value and can be cut back: a malformed row is taken back whole.
//!
//! Each call of a `read` function adds exactly one entry. What fits no type of a text (a point where a whole number is
//! wanted, a date that there is not) is an entry too, a null one; who reads says so.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, NullArray, StringArray,
    StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Fields, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;

use crate::buffers::{Bytes, Valid, Values};
use crate::names::Names;

/// More bytes of text than this are not read at once, since offsets are 32 bits wide and a value can grow a little.
pub(crate) const MOST_BYTES: usize = 512 << 20;

/// Lists: where each ends among the items.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) items: Box<Column>,
    pub(crate) field: FieldRef,
    offsets: Vec<i32>,
    valid: Valid,
}

/// Maps: where each ends among the entries.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) keys: Bytes,
    pub(crate) values: Box<Column>,
    entries: FieldRef,
    offsets: Vec<i32>,
    valid: Valid,
}

/// Structs: a column for each field.
#[derive(Debug)]
pub(crate) struct Structs {
    pub(crate) fields: Fields,
    pub(crate) columns: Vec<Column>,
    pub(crate) names: Names,
    valid: Valid,
}

/// A column that grows.
#[derive(Debug)]
pub(crate) enum Column {
    Null(usize),
    Bool(Vec<Option<bool>>),
    Int8(Values<Int8Type>),
    Int16(Values<Int16Type>),
    Int32(Values<Int32Type>),
    Int64(Values<Int64Type>),
    UInt8(Values<UInt8Type>),
    UInt16(Values<UInt16Type>),
    UInt32(Values<UInt32Type>),
    UInt64(Values<UInt64Type>),
    Float32(Values<Float32Type>),
    Float64(Values<Float64Type>),
    Decimal(u8, i8, Values<Decimal128Type>),
    Date(Values<Date32Type>),
    Timestamp(Option<Arc<str>>, Values<TimestampMicrosecondType>),
    Text(Bytes),
    Binary(Bytes),
    List(Lists),
    Map(Maps),
    Struct(Structs),
}

/// Does the same with every kind of fixed width.
macro_rules! fixed {
    ($column:expr, $values:ident => $do:expr, $($other:tt)*) => {
        match $column {
            Column::Int8($values) => $do,
            Column::Int16($values) => $do,
            Column::Int32($values) => $do,
            Column::Int64($values) => $do,
            Column::UInt8($values) => $do,
            Column::UInt16($values) => $do,
            Column::UInt32($values) => $do,
            Column::UInt64($values) => $do,
            Column::Float32($values) => $do,
            Column::Float64($values) => $do,
            Column::Decimal(_, _, $values) => $do,
            Column::Date($values) => $do,
            Column::Timestamp(_, $values) => $do,
            $($other)*
        }
    };
}

impl Column {
    /// An empty column for values of `data_type`; `None` if messages hold no values of this type.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Null(0),
            DataType::Boolean => Self::Bool(vec![]),
            DataType::Int8 => Self::Int8(Values::default()),
            DataType::Int16 => Self::Int16(Values::default()),
            DataType::Int32 => Self::Int32(Values::default()),
            DataType::Int64 => Self::Int64(Values::default()),
            DataType::UInt8 => Self::UInt8(Values::default()),
            DataType::UInt16 => Self::UInt16(Values::default()),
            DataType::UInt32 => Self::UInt32(Values::default()),
            DataType::UInt64 => Self::UInt64(Values::default()),
            DataType::Float32 => Self::Float32(Values::default()),
            DataType::Float64 => Self::Float64(Values::default()),
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                Self::Decimal(*precision, *scale, Values::default())
            }
            DataType::Date32 => Self::Date(Values::default()),
            DataType::Timestamp(_, zone) => Self::Timestamp(zone.clone(), Values::default()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Text(Bytes::default())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Self::Binary(Bytes::default())
            }
            DataType::List(item) | DataType::LargeList(item) => Self::List(Lists {
                items: Box::new(Self::of(item.data_type())?),
                field: Arc::clone(item),
                offsets: vec![0],
                valid: Valid::default(),
            }),
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return None;
                };
                let [key, value] = fields.as_ref() else {
                    return None;
                };
                if *key.data_type() != DataType::Utf8 {
                    return None;
                }
                Self::Map(Maps {
                    keys: Bytes::default(),
                    values: Box::new(Self::of(value.data_type())?),
                    entries: Arc::clone(entries),
                    offsets: vec![0],
                    valid: Valid::default(),
                })
            }
            DataType::Struct(fields) => Self::Struct(Structs {
                fields: fields.clone(),
                columns: fields
                    .iter()
                    .map(|field| Self::of(field.data_type()))
                    .collect::<Option<_>>()?,
                names: Names::new(fields),
                valid: Valid::default(),
            }),
            _ => return None,
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        fixed!(self, values => values.len(),
            Self::Null(length) => *length,
            Self::Bool(flags) => flags.len(),
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::List(lists) => lists.valid.0.len(),
            Self::Map(maps) => maps.valid.0.len(),
            Self::Struct(structs) => structs.valid.0.len(),
        )
    }

    /// Makes room for so many entries altogether, if they go on as those that are there, of messages that have so many
    /// bytes. Growing step by step would copy what is there again and again.
    pub(crate) fn expect(&mut self, entries: usize, message_bytes: usize) {
        fixed!(self, values => values.expect(entries),
            Self::Null(_) => {}
            Self::Bool(flags) => flags.reserve(entries.saturating_sub(flags.len())),
            Self::Text(bytes) | Self::Binary(bytes) => bytes.expect(entries, message_bytes),
            Self::List(_) | Self::Map(_) => {}
            Self::Struct(structs) => {
                structs.columns.iter_mut().for_each(|column| column.expect(entries, message_bytes));
            }
        );
    }

    /// Takes back everything behind the first `length` entries.
    pub(crate) fn truncate(&mut self, length: usize) {
        fixed!(self, values => values.truncate(length),
            Self::Null(count) => *count = (*count).min(length),
            Self::Bool(flags) => flags.truncate(length),
            Self::Text(bytes) | Self::Binary(bytes) => bytes.truncate(length),
            Self::List(lists) => {
                lists.items.truncate(cut(&mut lists.offsets, length));
                lists.valid.0.truncate(length);
            }
            Self::Map(maps) => {
                let entries = cut(&mut maps.offsets, length);
                maps.keys.truncate(entries);
                maps.values.truncate(entries);
                maps.valid.0.truncate(length);
            }
            Self::Struct(structs) => {
                structs.columns.iter_mut().for_each(|column| column.truncate(length));
                structs.valid.0.truncate(length);
            }
        );
    }

    pub(crate) fn push_null(&mut self) {
        fixed!(self, values => values.push(None),
            Self::Null(length) => *length += 1,
            Self::Bool(flags) => flags.push(None),
            Self::Text(bytes) | Self::Binary(bytes) => bytes.push(None),
            Self::List(lists) => lists.end(false),
            Self::Map(maps) => maps.end(false),
            Self::Struct(structs) => structs.end(false),
        );
    }

    /// Adds what a message becomes that cannot be read at all: null fields if it is a struct, else null.
    pub(crate) fn push_malformed(&mut self) {
        match self {
            Self::Struct(structs) => structs.end(true),
            column => column.push_null(),
        }
    }

    /// The array of all entries, of the type that the column was made for.
    pub(crate) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self {
            Self::Null(length) => Arc::new(NullArray::new(std::mem::take(length))),
            Self::Bool(flags) => Arc::new(BooleanArray::from(std::mem::take(flags))),
            Self::Int8(values) => Arc::new(values.finish()),
            Self::Int16(values) => Arc::new(values.finish()),
            Self::Int32(values) => Arc::new(values.finish()),
            Self::Int64(values) => Arc::new(values.finish()),
            Self::UInt8(values) => Arc::new(values.finish()),
            Self::UInt16(values) => Arc::new(values.finish()),
            Self::UInt32(values) => Arc::new(values.finish()),
            Self::UInt64(values) => Arc::new(values.finish()),
            Self::Float32(values) => Arc::new(values.finish()),
            Self::Float64(values) => Arc::new(values.finish()),
            Self::Decimal(precision, scale, values) => Arc::new(
                values
                    .finish()
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            Self::Date(values) => Arc::new(values.finish()),
            Self::Timestamp(zone, values) => {
                Arc::new(values.finish().with_timezone_opt(zone.clone()))
            }
            Self::Text(bytes) => {
                let (offsets, bytes, valid) = bytes.parts();
                Arc::new(StringArray::try_new(offsets, bytes, valid)?)
            }
            Self::Binary(bytes) => {
                let (offsets, bytes, valid) = bytes.parts();
                Arc::new(BinaryArray::try_new(offsets, bytes, valid)?)
            }
            Self::List(lists) => {
                let items = lists.items.finish(lists.field.data_type())?;
                Arc::new(ListArray::try_new(
                    Arc::clone(&lists.field),
                    taken(&mut lists.offsets),
                    items,
                    lists.valid.finish(),
                )?)
            }
            Self::Map(maps) => Arc::new(maps.finish()?),
            Self::Struct(structs) => Arc::new(structs.finish()?),
        };
        if array.data_type() == data_type {
            return Ok(array);
        }
        cast(&array, data_type)
    }
}

/// The offset of entry `length`, which becomes the last one.
fn cut(offsets: &mut Vec<i32>, length: usize) -> usize {
    offsets.truncate(length + 1);
    let end = offsets.last().copied().unwrap_or(0);
    usize::try_from(end).unwrap_or(0)
}

fn taken(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
}

impl Lists {
    /// Ends a list: its items are those added since the last one.
    pub(crate) fn end(&mut self, valid: bool) {
        let end = self.items.len();
        self.offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
        self.valid.0.push(valid);
    }
}

impl Maps {
    /// Ends a map: its entries are those added since the last one.
    pub(crate) fn end(&mut self, valid: bool) {
        let end = self.values.len();
        self.offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
        self.valid.0.push(valid);
    }

    fn finish(&mut self) -> Result<MapArray, ArrowError> {
        let DataType::Struct(fields) = self.entries.data_type().clone() else {
            return Err(ArrowError::SchemaError("a map has entries".to_owned()));
        };
        let (offsets, bytes, valid) = self.keys.parts();
        let keys = StringArray::try_new(offsets, bytes, valid)?;
        let value_type = fields
            .get(1)
            .map_or(DataType::Null, |value| value.data_type().clone());
        let values = self.values.finish(&value_type)?;
        let entries = StructArray::try_new(fields, vec![Arc::new(keys), values], None)?;
        MapArray::try_new(
            Arc::clone(&self.entries),
            taken(&mut self.offsets),
            entries,
            self.valid.finish(),
            false,
        )
    }
}

impl Structs {
    pub(crate) fn len(&self) -> usize {
        self.valid.0.len()
    }

    /// Ends a struct: fields that nothing was added for are null.
    pub(crate) fn end(&mut self, valid: bool) {
        let length = self.valid.0.len() + 1;
        for column in &mut self.columns {
            if column.len() < length {
                column.push_null();
            }
        }
        self.valid.0.push(valid);
    }

    fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let length = self.valid.0.len();
        let columns = self
            .columns
            .iter_mut()
            .zip(&self.fields)
            .map(|(column, field)| column.finish(field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        StructArray::try_new_with_length(self.fields.clone(), columns, self.valid.finish(), length)
    }
}

/// Refuses types that messages hold no values of, with the path to the field.
pub(crate) fn unsupported(data_type: &DataType, path: &str) -> Option<(String, DataType)> {
    let below = |field: &FieldRef| {
        let path = match path {
            "" => field.name().clone(),
            path => format!("{path}.{}", field.name()),
        };
        unsupported(field.data_type(), &path)
    };
    match data_type {
        DataType::Struct(fields) => fields.iter().find_map(below),
        DataType::List(item) | DataType::LargeList(item) => unsupported(item.data_type(), path),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                if *fields[0].data_type() != DataType::Utf8 {
                    return Some((path.to_owned(), data_type.clone()));
                }
                unsupported(fields[1].data_type(), path)
            }
            _ => Some((path.to_owned(), data_type.clone())),
        },
        other => Column::of(other)
            .is_none()
            .then(|| (path.to_owned(), other.clone())),
    }
}
