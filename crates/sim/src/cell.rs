//! One value of a result, whatever engine it came from, and when two of them count as the same.
//!
//! The record's types are the reference engine's; an engine may type a number or a time a little differently. So
//! numbers compare as numbers, doubles with a relative tolerance, and times as instants.

use std::fmt;

use datafusion::arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
        TimestampMicrosecondType, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use headwater_core::{Error, Result};
use serde_json::Value;

use crate::values::{parse_date, parse_decimal, parse_double, parse_instant};

/// Doubles are the same when they differ by at most this fraction.
const TOLERANCE: f64 = 1e-9;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// `unscaled / 10^scale`: integers and decimals.
    Exact {
        /// All digits.
        unscaled: i128,
        /// How many of them stand behind the point; may be negative.
        scale: i32,
    },
    /// A floating point number.
    Double(f64),
    /// Text.
    Text(String),
    /// Microseconds since 1970 in UTC.
    Instant(i64),
    /// Days since 1970.
    Date(i64),
    /// Elements in order.
    List(Vec<Cell>),
    /// Fields in order, with their names.
    Struct(Vec<(String, Cell)>),
}

/// A row: cells in the order of the columns.
pub type Row = Vec<Cell>;

impl Cell {
    /// An integer.
    pub fn int(value: i128) -> Self {
        Self::Exact {
            unscaled: value,
            scale: 0,
        }
    }

    /// Whether both stand for the same value.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact { .. } | Self::Double(_), Self::Exact { .. } | Self::Double(_)) => {
                same_number(self, other)
            }
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.same(r))
            }
            (Self::Struct(left), Self::Struct(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|((ln, l), (rn, r))| ln.eq_ignore_ascii_case(rn) && l.same(r))
            }
            _ => self == other,
        }
    }

    /// Reads a recorded value of a column of this type.
    ///
    /// # Errors
    /// `Data` if it is not a value of the type.
    pub fn from_json(value: &Value, data_type: &DataType) -> Result<Self> {
        let wrong = || Error::data(format!("{value} is not a value of type {data_type}"));
        if value.is_null() {
            return Ok(Self::Null);
        }
        Ok(match data_type {
            DataType::Boolean => Self::Bool(value.as_bool().ok_or_else(wrong)?),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Self::int(value.as_i64().ok_or_else(wrong)?.into())
            }
            DataType::Float32 | DataType::Float64 => {
                Self::Double(parse_double(value).ok_or_else(wrong)?)
            }
            DataType::Decimal128(_, scale) => Self::Exact {
                unscaled: parse_decimal(value, *scale).ok_or_else(wrong)?,
                scale: i32::from(*scale),
            },
            DataType::Utf8 | DataType::Binary => {
                Self::Text(value.as_str().ok_or_else(wrong)?.to_owned())
            }
            DataType::Timestamp(_, _) => Self::Instant(parse_instant(value).ok_or_else(wrong)?),
            DataType::Date32 => Self::Date(parse_date(value).ok_or_else(wrong)?.into()),
            DataType::List(item) => Self::List(
                value
                    .as_array()
                    .ok_or_else(wrong)?
                    .iter()
                    .map(|value| Self::from_json(value, item.data_type()))
                    .collect::<Result<_>>()?,
            ),
            DataType::Struct(fields) => {
                let object = value.as_object().ok_or_else(wrong)?;
                let cells = fields.iter().map(|field| {
                    let value = object.get(field.name()).unwrap_or(&Value::Null);
                    Ok((
                        field.name().clone(),
                        Self::from_json(value, field.data_type())?,
                    ))
                });
                Self::Struct(cells.collect::<Result<_>>()?)
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(wrong());
                };
                let cells = value.as_object().ok_or_else(wrong)?.iter().map(|(k, v)| {
                    Ok(Self::Struct(vec![
                        ("keys".into(), Self::Text(k.clone())),
                        ("values".into(), Self::from_json(v, fields[1].data_type())?),
                    ]))
                });
                Self::List(cells.collect::<Result<_>>()?)
            }
            _ => return Err(wrong()),
        })
    }

    /// Reads one value of an array.
    ///
    /// # Errors
    /// `Data` if the array cannot be read as the kind of value its type says.
    pub fn from_array(array: &dyn Array, row: usize) -> Result<Self> {
        if array.is_null(row) {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                let array = cast(array.slice(row, 1).as_ref(), &DataType::Int64)?;
                Self::int(array.as_primitive::<Int64Type>().value(0).into())
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                let array = cast(array.slice(row, 1).as_ref(), &DataType::UInt64)?;
                Self::int(array.as_primitive::<UInt64Type>().value(0).into())
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let array = cast(array.slice(row, 1).as_ref(), &DataType::Float64)?;
                Self::Double(array.as_primitive::<Float64Type>().value(0))
            }
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => {
                let wide = DataType::Decimal128(38, *scale);
                let array = cast(array.slice(row, 1).as_ref(), &wide)?;
                Self::Exact {
                    unscaled: array.as_primitive::<Decimal128Type>().value(0),
                    scale: i32::from(*scale),
                }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let array = cast(array.slice(row, 1).as_ref(), &DataType::Utf8)?;
                Self::Text(array.as_string::<i32>().value(0).to_owned())
            }
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                let array = cast(array.slice(row, 1).as_ref(), &micros)?;
                Self::Instant(array.as_primitive::<TimestampMicrosecondType>().value(0))
            }
            DataType::Date32 | DataType::Date64 => {
                let array = cast(array.slice(row, 1).as_ref(), &DataType::Date32)?;
                Self::Date(array.as_primitive::<Date32Type>().value(0).into())
            }
            DataType::List(_) => Self::list(array.as_list::<i32>().value(row).as_ref())?,
            DataType::LargeList(_) => Self::list(array.as_list::<i64>().value(row).as_ref())?,
            DataType::FixedSizeList(_, _) => {
                Self::list(array.as_fixed_size_list().value(row).as_ref())?
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let cells = fields.iter().zip(columns).map(|(field, column)| {
                    Ok((
                        field.name().clone(),
                        Self::from_array(column.as_ref(), row)?,
                    ))
                });
                Self::Struct(cells.collect::<Result<_>>()?)
            }
            DataType::Map(_, _) => {
                let entries = array.as_map().value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                let entries = (0..entries.len()).map(|row| {
                    Ok(Self::Struct(vec![
                        ("keys".into(), Self::from_array(keys.as_ref(), row)?),
                        ("values".into(), Self::from_array(values.as_ref(), row)?),
                    ]))
                });
                Self::List(entries.collect::<Result<_>>()?)
            }
            DataType::Dictionary(_, value) => {
                let array = cast(array.slice(row, 1).as_ref(), value)?;
                Self::from_array(array.as_ref(), 0)?
            }
            _ => {
                let format = FormatOptions::default();
                let text = ArrayFormatter::try_new(array, &format)?;
                Self::Text(text.value(row).try_to_string()?)
            }
        })
    }

    fn list(elements: &dyn Array) -> Result<Self> {
        (0..elements.len())
            .map(|row| Self::from_array(elements, row))
            .collect::<Result<_>>()
            .map(Self::List)
    }
}

/// All rows of a batch.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Row>> {
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|column| Cell::from_array(column.as_ref(), row))
                .collect()
        })
        .collect()
}

/// All rows of some batches.
pub fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let rows = batches.iter().map(rows).collect::<Result<Vec<_>>>()?;
    Ok(rows.concat())
}

/// Whether two rows are the same, cell by cell.
pub fn same_row(left: &Row, right: &Row) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.same(r))
}

fn same_number(left: &Cell, right: &Cell) -> bool {
    if let (
        Cell::Exact {
            unscaled: l,
            scale: ls,
        },
        Cell::Exact {
            unscaled: r,
            scale: rs,
        },
    ) = (left, right)
    {
        return normalized(*l, *ls) == normalized(*r, *rs);
    }
    let (l, r) = (as_double(left), as_double(right));
    if l.is_nan() || r.is_nan() {
        return l.is_nan() && r.is_nan();
    }
    if l.is_infinite() || r.is_infinite() {
        return l == r;
    }
    (l - r).abs() <= TOLERANCE * l.abs().max(r.abs())
}

/// Takes trailing zeros off, so that 1.50 and 1.5 have one form.
fn normalized(mut unscaled: i128, mut scale: i32) -> (i128, i32) {
    if unscaled == 0 {
        return (0, 0);
    }
    while unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    (unscaled, scale)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "compared with a tolerance afterwards"
)]
fn as_double(cell: &Cell) -> f64 {
    match cell {
        Cell::Exact { unscaled, scale } => *unscaled as f64 / 10_f64.powi(*scale),
        Cell::Double(value) => *value,
        _ => f64::NAN,
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Exact { unscaled, scale } if *scale <= 0 => {
                write!(f, "{unscaled}")?;
                (0..-scale).try_for_each(|_| f.write_str("0"))
            }
            Self::Exact { unscaled, scale } => {
                let width = usize::try_from(*scale).unwrap_or(0) + 1;
                let digits = format!("{:0>width$}", unscaled.unsigned_abs());
                let (whole, fraction) = digits.split_at(digits.len() + 1 - width);
                let sign = if *unscaled < 0 { "-" } else { "" };
                write!(f, "{sign}{whole}.{fraction}")
            }
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Instant(micros) => match chrono::DateTime::from_timestamp_micros(*micros) {
                Some(time) => {
                    f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
                }
                None => write!(f, "{micros} us"),
            },
            Self::Date(days) => {
                let date = chrono::DateTime::from_timestamp(days * 86_400, 0);
                match date {
                    Some(date) => write!(f, "{}", date.date_naive()),
                    None => write!(f, "day {days}"),
                }
            }
            Self::List(cells) => {
                f.write_str("[")?;
                for (i, cell) in cells.iter().enumerate() {
                    write!(f, "{}{cell}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Struct(cells) => {
                f.write_str("{")?;
                for (i, (name, cell)) in cells.iter().enumerate() {
                    write!(f, "{}{name}: {cell}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A row as a report shows it.
pub fn display_row(row: &Row) -> String {
    let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
    format!("({})", cells.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value_whatever_their_type() {
        let half = Cell::Exact {
            unscaled: 150,
            scale: 2,
        };
        assert!(half.same(&Cell::Double(1.5)));
        assert!(half.same(&Cell::Exact {
            unscaled: 15,
            scale: 1
        }));
        assert!(!half.same(&Cell::Double(1.5 + 1e-6)));
        assert!(Cell::Double(1e300).same(&Cell::Double(1e300 * (1.0 + 1e-12))));
        assert!(Cell::Double(f64::NAN).same(&Cell::Double(f64::NAN)));
        assert!(!Cell::Double(f64::INFINITY).same(&Cell::Double(1e308)));
        assert!(Cell::Double(-0.0).same(&Cell::Double(0.0)));
        assert!(!Cell::Null.same(&Cell::int(0)));
        assert!(!Cell::Text("1".into()).same(&Cell::int(1)));
    }

    #[test]
    fn integers_beyond_the_precision_of_a_double_stay_apart() {
        assert!(!Cell::int(i64::MAX.into()).same(&Cell::int(i128::from(i64::MAX) - 1)));
    }

    #[test]
    fn a_decimal_is_shown_with_its_point() {
        let cell = Cell::Exact {
            unscaled: -5,
            scale: 2,
        };
        assert_eq!(cell.to_string(), "-0.05");
    }
}
