//! Columns as JSON, row by row: each column is looked at once, then its values are written one behind the other.

use std::io::Write;

use datafusion::arrow::array::Date32Array;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeListArray,
    Float32Array, Float64Array, Int64Array, ListArray, MapArray, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, UInt64Type,
};
use datafusion::common::{Result, exec_err, plan_err};

use super::render::quote;
use crate::base64;
use crate::number::{java_decimal, java_double, java_float};
use crate::time::formats::TimeFormats;

/// Refuses types that are not written, with the path to the field.
pub(crate) fn writable(function: &str, data_type: &DataType, path: &str) -> Result<()> {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Float16
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Date32
        | DataType::Timestamp(_, _)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Ok(()),
        number if number.is_integer() || number.is_floating() => Ok(()),
        DataType::Dictionary(_, values) => writable(function, values, path),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| {
            let path = match path {
                "" => field.name().clone(),
                path => format!("{path}.{}", field.name()),
            };
            writable(function, field.data_type(), &path)
        }),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            writable(function, item.data_type(), path)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields
                .iter()
                .try_for_each(|field| writable(function, field.data_type(), path)),
            other => plan_err!("{function}: a map has entries, found {other}"),
        },
        other => plan_err!(
            "{function} writes no values of type {other} (the field {path}): cast it to STRING"
        ),
    }
}

/// A column, ready to be written.
pub(crate) struct Writer {
    values: Values,
    ignore_null_fields: bool,
}

enum Values {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(i8, Decimal128Array),
    Date(Date32Array),
    /// Whether it is an instant, and not a local time.
    Timestamp(bool, TimestampMicrosecondArray),
    Text(StringArray),
    Binary(BinaryArray),
    /// Each field's name, quoted and with its colon.
    Struct(StructArray, Vec<(Vec<u8>, Writer)>),
    List(ListArray, Box<Writer>),
    FixedList(FixedSizeListArray, Box<Writer>),
    Map(MapArray, Box<Writer>, Box<Writer>),
}

impl Writer {
    /// Looks at a column.
    ///
    /// # Errors
    /// When its type is not [`writable`].
    pub(crate) fn new(array: &ArrayRef, ignore_null_fields: bool) -> Result<Self> {
        let below = |array: &ArrayRef| Self::new(array, ignore_null_fields);
        let as_type = |wanted: &DataType| cast(array, wanted);
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::UInt64 => Values::UInt(array.as_primitive::<UInt64Type>().clone()),
            whole if whole.is_integer() => {
                let wide = as_type(&DataType::Int64)?;
                Values::Int(wide.as_primitive::<Int64Type>().clone())
            }
            DataType::Float64 => Values::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::Float32 | DataType::Float16 => {
                let wide = as_type(&DataType::Float32)?;
                Values::Float(wide.as_primitive::<Float32Type>().clone())
            }
            DataType::Decimal128(_, scale) => {
                Values::Decimal(*scale, array.as_primitive::<Decimal128Type>().clone())
            }
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                let wide = as_type(&DataType::Decimal128(*precision, *scale))?;
                Values::Decimal(*scale, wide.as_primitive::<Decimal128Type>().clone())
            }
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp(_, zone) => {
                let micros = as_type(&DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                let micros = micros.as_primitive::<TimestampMicrosecondType>();
                Values::Timestamp(zone.is_some(), micros.clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Values::Text(as_type(&DataType::Utf8)?.as_string::<i32>().clone())
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                Values::Binary(as_type(&DataType::Binary)?.as_binary::<i32>().clone())
            }
            DataType::Dictionary(_, values) => return below(&as_type(values)?),
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let writers = fields.iter().zip(array.columns()).map(|(field, column)| {
                    let mut name = Vec::new();
                    quote(field.name().as_bytes(), &mut name);
                    name.push(b':');
                    Ok((name, below(column)?))
                });
                Values::Struct(array.clone(), writers.collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                Values::List(array.clone(), Box::new(below(array.values())?))
            }
            DataType::LargeList(item) => {
                let item = std::sync::Arc::clone(item);
                return below(&as_type(&DataType::List(item))?);
            }
            DataType::FixedSizeList(_, _) => {
                let array = array.as_fixed_size_list();
                Values::FixedList(array.clone(), Box::new(below(array.values())?))
            }
            DataType::Map(_, _) => {
                let array = array.as_map();
                Values::Map(
                    array.clone(),
                    Box::new(below(array.keys())?),
                    Box::new(below(array.values())?),
                )
            }
            other => return exec_err!("to_json writes no values of type {other}"),
        };
        Ok(Self {
            values,
            ignore_null_fields,
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Bool(array) => array.is_null(row),
            Values::Int(array) => array.is_null(row),
            Values::UInt(array) => array.is_null(row),
            Values::Float(array) => array.is_null(row),
            Values::Double(array) => array.is_null(row),
            Values::Decimal(_, array) => array.is_null(row),
            Values::Date(array) => array.is_null(row),
            Values::Timestamp(_, array) => array.is_null(row),
            Values::Text(array) => array.is_null(row),
            Values::Binary(array) => array.is_null(row),
            Values::Struct(array, _) => array.is_null(row),
            Values::List(array, _) => array.is_null(row),
            Values::FixedList(array, _) => array.is_null(row),
            Values::Map(array, _, _) => array.is_null(row),
        }
    }

    /// Writes the value in `row`.
    ///
    /// # Errors
    /// When a time is beyond what can be shown.
    pub(crate) fn write(&self, row: usize, formats: &TimeFormats, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.values {
            Values::Text(array) => quote(array.value(row).as_bytes(), out),
            Values::Struct(_, fields) => {
                out.push(b'{');
                let start = out.len();
                for (name, writer) in fields {
                    if self.ignore_null_fields && writer.is_null(row) {
                        continue;
                    }
                    if out.len() > start {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    writer.write(row, formats, out)?;
                }
                out.push(b'}');
            }
            Values::List(array, items) => {
                let offsets = array.value_offsets();
                let (from, to) = (offsets[row], offsets[row + 1]);
                items.write_all(places(from, to), formats, out)?;
            }
            Values::FixedList(array, items) => {
                let from = array.value_offset(row);
                items.write_all(places(from, from + array.value_length()), formats, out)?;
            }
            Values::Map(array, keys, values) => {
                let offsets = array.value_offsets();
                out.push(b'{');
                for (count, entry) in places(offsets[row], offsets[row + 1]).enumerate() {
                    if count > 0 {
                        out.push(b',');
                    }
                    keys.write_key(entry, formats, out)?;
                    out.push(b':');
                    values.write(entry, formats, out)?;
                }
                out.push(b'}');
            }
            Values::Float(array) => number(&java_float(array.value(row)), out),
            Values::Double(array) => number(&java_double(array.value(row)), out),
            Values::Date(_) | Values::Timestamp(_, _) | Values::Binary(_) => {
                out.push(b'"');
                let start = out.len();
                self.write_bare(row, formats, out)?;
                // A pattern may hold what must be escaped.
                if out[start..]
                    .iter()
                    .any(|b| matches!(b, b'"' | b'\\' | 0..32))
                {
                    let bare = out.split_off(start);
                    out.pop();
                    quote(&bare, out);
                } else {
                    out.push(b'"');
                }
            }
            _ => self.write_bare(row, formats, out)?,
        }
        Ok(())
    }

    /// Writes a plain value without quotes.
    pub(crate) fn write_bare(
        &self,
        row: usize,
        formats: &TimeFormats,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match &self.values {
            Values::Bool(array) if array.value(row) => out.extend_from_slice(b"true"),
            Values::Bool(_) => out.extend_from_slice(b"false"),
            // Writing to memory does not fail.
            Values::Int(array) => drop(write!(out, "{}", array.value(row))),
            Values::UInt(array) => drop(write!(out, "{}", array.value(row))),
            Values::Float(array) => out.extend_from_slice(java_float(array.value(row)).as_bytes()),
            Values::Double(array) => {
                out.extend_from_slice(java_double(array.value(row)).as_bytes());
            }
            Values::Decimal(scale, array) => java_decimal(array.value(row), *scale, out),
            Values::Date(array) => formats.write_date(array.value(row), out)?,
            Values::Timestamp(true, array) => formats.write_timestamp(array.value(row), out)?,
            Values::Timestamp(false, array) => {
                formats.write_local_timestamp(array.value(row), out)?;
            }
            Values::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Binary(array) => base64::encode(array.value(row), out),
            Values::Null => {}
            Values::Struct(..) | Values::List(..) | Values::FixedList(..) | Values::Map(..) => {
                self.write(row, formats, out)?;
            }
        }
        Ok(())
    }

    /// Writes a key of a map, which is a text whatever it is.
    fn write_key(&self, row: usize, formats: &TimeFormats, out: &mut Vec<u8>) -> Result<()> {
        let mut text = Vec::new();
        self.write_bare(row, formats, &mut text)?;
        quote(&text, out);
        Ok(())
    }

    fn write_all(
        &self,
        rows: std::ops::Range<usize>,
        formats: &TimeFormats,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.push(b'[');
        for (count, row) in rows.enumerate() {
            if count > 0 {
                out.push(b',');
            }
            self.write(row, formats, out)?;
        }
        out.push(b']');
        Ok(())
    }
}

/// The rows between two offsets.
fn places(from: i32, to: i32) -> std::ops::Range<usize> {
    usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0)
}

/// A number; `NaN` and the infinities are texts.
fn number(text: &str, out: &mut Vec<u8>) {
    if text.ends_with(|c: char| c.is_ascii_digit()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        quote(text.as_bytes(), out);
    }
}
