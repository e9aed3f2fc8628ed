//! Columns of integers stored as differences to a base, in as few bytes as they need.
//!
//! The rows of an epoch lie close together: their times within seconds, their numbers one after the other, their ids in
//! a narrow range. Such a column is written as unsigned integers of one, two or four bytes, to which the base is added
//! when it is read (frame of reference: Goldstein, Ramakrishnan, Shaft, "Compressing Relations and Indexes", 1998); one
//! whose values are all equal, all null or count up by one needs no bytes at all. Which way was taken stands in the
//! metadata of the field, so the stream stays plain Arrow. Everything is decided and done by whole columns.
//!
//! Invariant: widening gives the column that was narrowed, of the same type, value by value.

use std::{collections::HashMap, fmt::Display, str::FromStr, sync::Arc};

use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, NullArray, RecordBatch, make_array},
    buffer::{Buffer, NullBuffer, ScalarBuffer},
    datatypes::{
        ArrowNativeType, ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Field, FieldRef,
        IntervalUnit, Schema, UInt8Type, UInt16Type, UInt32Type,
    },
};
use headwater_core::{Error, Result};

use crate::spec::batch_of;

/// Metadata of a narrow column: its own type, as Arrow shows it.
const TYPE: &str = "type";
/// Metadata of a narrow column: what is added to each value. Without it all values are null.
const BASE: &str = "base";
/// Metadata of a column without bytes: what each value is more than the one before, 1; otherwise they are equal.
const STEP: &str = "step";

/// About what the metadata of a narrow column takes; a column is narrowed only if that saves more.
const METADATA_BYTES: usize = 192;

/// No column of more rows goes without bytes, so that a damaged number of rows does not ask for all memory.
const MOST_WITHOUT_BYTES: usize = 1 << 20;

/// The native type that holds the values of a column.
#[derive(Debug, Clone, Copy)]
enum Native {
    I32,
    I64,
    I128,
}

/// The native type of a column that can be narrowed. Unsigned ones are taken for signed ones of their width: it is
/// the same arithmetic, modulo the width.
fn native(data_type: &DataType) -> Option<Native> {
    use DataType as T;
    match data_type {
        T::Int32 | T::UInt32 | T::Date32 | T::Time32(_) | T::Decimal32(_, _) => Some(Native::I32),
        T::Interval(IntervalUnit::YearMonth) => Some(Native::I32),
        T::Int64 | T::UInt64 | T::Date64 | T::Time64(_) | T::Decimal64(_, _) => Some(Native::I64),
        T::Duration(_) | T::Timestamp(_, None) => Some(Native::I64),
        T::Timestamp(_, Some(zone)) => is_plain(zone).then_some(Native::I64),
        T::Decimal128(_, _) => Some(Native::I128),
        _ => None,
    }
}

/// Whether the name of a zone is one that Arrow reads as it has shown it.
fn is_plain(zone: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-:/_".contains(&byte);
    !zone.is_empty() && zone.bytes().all(is_plain)
}

/// The same rows, each column as narrow as it can be, under fields that say how.
pub(crate) fn narrow_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = std::iter::zip(batch.schema_ref().fields(), batch.columns());
    let (fields, columns) = columns
        .map(|(field, column)| narrow_column(field, column))
        .collect::<Result<(Vec<FieldRef>, Vec<ArrayRef>)>>()?;
    batch_of(&Arc::new(Schema::new(fields)), columns, batch.num_rows())
}

/// The same rows under fields that say nothing but name and type: what else those of a query say is no business of a
/// reader of state.
pub(crate) fn bare_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = batch.schema_ref().fields().iter();
    let fields = fields.map(|field| bare(field)).collect::<Vec<_>>();
    let columns = batch.columns().to_vec();
    batch_of(&Arc::new(Schema::new(fields)), columns, batch.num_rows())
}

fn bare(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), field.data_type().clone(), true))
}

fn narrow_column(field: &FieldRef, column: &ArrayRef) -> Result<(FieldRef, ArrayRef)> {
    let narrow = match native(column.data_type()) {
        None => None,
        Some(Native::I32) => narrow::<i32>(column)?,
        Some(Native::I64) => narrow::<i64>(column)?,
        Some(Native::I128) => narrow::<i128>(column)?,
    };
    let Some(narrow) = narrow else {
        return Ok((bare(field), Arc::clone(column)));
    };
    let mut metadata = HashMap::from([(TYPE.to_owned(), column.data_type().to_string())]);
    metadata.extend(narrow.base.map(|base| (BASE.to_owned(), base)));
    if narrow.counts_up {
        metadata.insert(STEP.to_owned(), "1".to_owned());
    }
    let field = Field::new(field.name(), narrow.values.data_type().clone(), true);
    Ok((Arc::new(field.with_metadata(metadata)), narrow.values))
}

/// A narrowed column.
struct Narrow {
    values: ArrayRef,
    base: Option<String>,
    counts_up: bool,
}

impl Narrow {
    /// A column that needs no bytes.
    fn without_bytes(rows: usize, base: Option<String>, counts_up: bool) -> Self {
        let values = Arc::new(NullArray::new(rows));
        Self {
            values,
            base,
            counts_up,
        }
    }
}

/// What narrowing needs of a native type.
trait Integer: ArrowNativeTypeOp + Display + FromStr {}
impl<T: ArrowNativeTypeOp + Display + FromStr> Integer for T {}

/// The column in as few bytes as it needs; none if it stays as it is.
fn narrow<T: Integer>(column: &ArrayRef) -> Result<Option<Narrow>> {
    let rows = column.len();
    let is_worth = |width: usize| rows * (size_of::<T>() - width) > METADATA_BYTES;
    if !is_worth(0) {
        return Ok(None);
    }
    let data = column.to_data();
    let values = ScalarBuffer::<T>::new(data.buffers()[0].clone(), data.offset(), rows);
    let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
    let Some((low, high)) = range(&values, nulls) else {
        let is_short = rows <= MOST_WITHOUT_BYTES;
        return Ok(is_short.then(|| Narrow::without_bytes(rows, None, false)));
    };
    // Negative if it does not fit.
    let span = high.sub_wrapping(low);
    let fits = |most: usize| span.is_ge(T::ZERO) && span.is_le(T::usize_as(most));
    let base = Some(low.to_string());
    if nulls.is_none() && rows <= MOST_WITHOUT_BYTES {
        if span.is_zero() {
            return Ok(Some(Narrow::without_bytes(rows, base, false)));
        }
        if fits(rows - 1) && span.as_usize() == rows - 1 && counts_up(&values) {
            return Ok(Some(Narrow::without_bytes(rows, base, true)));
        }
    }
    let above = |value: &T| value.sub_wrapping(low).as_usize();
    let (data_type, buffer): (_, Buffer) = if is_worth(1) && fits(u8::MAX.into()) {
        let narrow = values.iter().map(|value| above(value) as u8);
        (DataType::UInt8, narrow.collect::<Vec<_>>().into())
    } else if is_worth(2) && fits(u16::MAX.into()) {
        let narrow = values.iter().map(|value| above(value) as u16);
        (DataType::UInt16, narrow.collect::<Vec<_>>().into())
    } else if size_of::<T>() > 4 && is_worth(4) && fits(u32::MAX as usize) {
        let narrow = values.iter().map(|value| above(value) as u32);
        (DataType::UInt32, narrow.collect::<Vec<_>>().into())
    } else {
        return Ok(None);
    };
    Ok(Some(Narrow {
        values: array(&data_type, rows, buffer, nulls.cloned())?,
        base,
        counts_up: false,
    }))
}

/// The least and the greatest value; none if all are null.
fn range<T: Integer>(values: &[T], nulls: Option<&NullBuffer>) -> Option<(T, T)> {
    let first = match nulls {
        None => values.first(),
        Some(nulls) => nulls.valid_indices().next().and_then(|row| values.get(row)),
    };
    let first = *first?;
    let wider = |(low, high): (T, T), value: T| {
        let low = if value.is_lt(low) { value } else { low };
        let high = if value.is_gt(high) { value } else { high };
        (low, high)
    };
    Some(match nulls {
        None => values.iter().copied().fold((first, first), wider),
        Some(nulls) => {
            let valid = nulls.valid_slices().map(|(start, end)| &values[start..end]);
            valid.flatten().copied().fold((first, first), wider)
        }
    })
}

/// Whether each value is one more than the one before.
fn counts_up<T: Integer>(values: &[T]) -> bool {
    let first = values.first().copied().unwrap_or(T::ZERO);
    let rows = values.iter().enumerate();
    // All of them, because a loop that may end early looks at one value at a time.
    rows.fold(true, |so_far, (row, value)| {
        so_far & (*value == first.add_wrapping(T::usize_as(row)))
    })
}

fn array(
    data_type: &DataType,
    rows: usize,
    buffer: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let data = ArrayData::builder(data_type.clone()).len(rows);
    Ok(make_array(data.add_buffer(buffer).nulls(nulls).build()?))
}

/// The type that a column of this field has once it is widened.
///
/// # Errors
/// `Data` if the metadata does not say.
pub(crate) fn wide_type(field: &Field) -> Result<DataType> {
    let Some(text) = field.metadata().get(TYPE) else {
        return Ok(field.data_type().clone());
    };
    let data_type = text.parse::<DataType>().ok();
    let data_type = data_type.filter(|data_type| native(data_type).is_some());
    data_type.ok_or_else(|| {
        Error::data(format!(
            "the stored column {} is narrowed from a type that cannot be: {text}",
            field.name()
        ))
    })
}

/// A column as it was before it was narrowed; others stay as they are.
///
/// # Errors
/// `Data` if the metadata of the field does not fit the column.
pub(crate) fn widen(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    if !field.metadata().contains_key(TYPE) {
        return Ok(Arc::clone(column));
    }
    let data_type = wide_type(field)?;
    match native(&data_type) {
        Some(Native::I32) => widen_to::<i32>(field, column, &data_type),
        Some(Native::I64) => widen_to::<i64>(field, column, &data_type),
        Some(Native::I128) => widen_to::<i128>(field, column, &data_type),
        None => Ok(Arc::clone(column)),
    }
}

fn widen_to<T: Integer>(
    field: &Field,
    column: &ArrayRef,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let misfit = |what: &str| {
        Error::data(format!(
            "the stored column {} is narrowed from {data_type} to {}, but {what}",
            field.name(),
            column.data_type()
        ))
    };
    let rows = column.len();
    if *column.data_type() == DataType::Null && rows > MOST_WITHOUT_BYTES {
        return Err(misfit(&format!("{rows} rows cannot go without bytes")));
    }
    let Some(base) = field.metadata().get(BASE) else {
        return match column.data_type() {
            DataType::Null => Ok(arrow::array::new_null_array(data_type, rows)),
            _ => Err(misfit("its base is missing")),
        };
    };
    let base: T = base
        .parse()
        .map_err(|_| misfit(&format!("its base is no integer: {base}")))?;
    let values: Vec<T> = match column.data_type() {
        DataType::UInt8 => added::<T, UInt8Type>(base, column),
        DataType::UInt16 => added::<T, UInt16Type>(base, column),
        DataType::UInt32 => added::<T, UInt32Type>(base, column),
        DataType::Null if field.metadata().contains_key(STEP) => {
            let numbers = (0..rows).map(|row| base.add_wrapping(T::usize_as(row)));
            numbers.collect()
        }
        DataType::Null => vec![base; rows],
        _ => return Err(misfit("that is none of the narrow types")),
    };
    let nulls = column.nulls().cloned();
    array(data_type, rows, Buffer::from_vec(values), nulls)
}

fn added<T: Integer, N: ArrowPrimitiveType>(base: T, column: &ArrayRef) -> Vec<T> {
    let narrow = column.as_primitive::<N>().values().iter();
    let values = narrow.map(|value| base.add_wrapping(T::usize_as(value.as_usize())));
    values.collect()
}

#[cfg(test)]
mod tests;
