//! The rows of a table by key and by what they are near by: found in logarithmic time.

use std::{collections::HashMap, ops::Range};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array},
        compute::cast,
        datatypes::{DataType, Int64Type, TimeUnit},
        row::{RowConverter, Rows, SortField},
    },
    error::{DataFusionError, Result},
};

use super::Nearest;
use crate::normal_float::normal_floats;

/// The rows of a table that can be nearest to some row.
#[derive(Debug)]
pub(super) struct Index {
    keys: Option<RowConverter>,
    /// For each key where its rows are in `sorted`.
    groups: HashMap<Box<[u8]>, Range<usize>>,
    /// Numbers of the table's rows, by key, then by place; equal ones as they lie in the table.
    sorted: Vec<u32>,
    place: RowConverter,
    /// What the rows are near by, in the order of the table.
    places: Rows,
    /// The same in microseconds, if there is a limit to the distance.
    micros: Option<Int64Array>,
}

impl Index {
    /// Sorts the rows whose `keys` are these and which are near by `place`. Those with a null in either match nothing.
    pub(super) fn new(keys: &[ArrayRef], place: &ArrayRef, is_limited: bool) -> Result<Self> {
        let rows = u32::try_from(place.len()).map_err(|_| {
            DataFusionError::Execution(format!(
                "the table of an AS OF join has {} rows, more than {}: filter it first",
                place.len(),
                u32::MAX
            ))
        })?;
        let keys = normal(keys)?;
        let place = normal_floats(place)?;
        let key = converter(&keys)?;
        let encoded = encode(key.as_ref(), &keys)?;
        let by = RowConverter::new(vec![SortField::new(place.data_type().clone())])?;
        let places = by.convert_columns(std::slice::from_ref(&place))?;
        let has_null = |row: usize| place.is_null(row) || keys.iter().any(|key| key.is_null(row));
        let mut sorted: Vec<u32> = (0..rows).filter(|row| !has_null(*row as usize)).collect();
        // Stable: equal rows stay in the table's order.
        sorted.sort_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            key_of(encoded.as_ref(), a)
                .cmp(key_of(encoded.as_ref(), b))
                .then_with(|| places.row(a).cmp(&places.row(b)))
        });
        let mut groups: HashMap<Box<[u8]>, Range<usize>> = HashMap::new();
        let mut start = 0;
        for group in sorted.chunk_by(|a, b| {
            key_of(encoded.as_ref(), *a as usize) == key_of(encoded.as_ref(), *b as usize)
        }) {
            let end = start + group.len();
            groups.insert(
                key_of(encoded.as_ref(), group[0] as usize).into(),
                start..end,
            );
            start = end;
        }
        Ok(Self {
            keys: key,
            groups,
            sorted,
            place: by,
            places,
            micros: is_limited.then(|| micros(&place)).transpose()?,
        })
    }

    /// Bytes in memory, about.
    pub(super) fn size(&self) -> usize {
        let group = size_of::<(Box<[u8]>, Range<usize>)>() + 16;
        self.groups.capacity() * group + self.sorted.capacity() * 4 + self.places.size()
    }

    /// For each row with these keys and places the number of the table's row that is nearest to it.
    pub(super) fn nearest(
        &self,
        keys: &[ArrayRef],
        place: &ArrayRef,
        nearest: Nearest,
        within_micros: Option<i64>,
    ) -> Result<UInt32Array> {
        let keys = normal(keys)?;
        let place = normal_floats(place)?;
        let encoded = encode(self.keys.as_ref(), &keys)?;
        let wanted = self.place.convert_columns(std::slice::from_ref(&place))?;
        let limit = within_micros.zip(self.micros.as_ref());
        let own_micros = limit.map(|_| micros(&place)).transpose()?;
        let found = (0..place.len()).map(|row| {
            if place.is_null(row) || keys.iter().any(|key| key.is_null(row)) {
                return None;
            }
            let group = self.groups.get(key_of(encoded.as_ref(), row))?;
            let of_key = &self.sorted[group.clone()];
            let place = wanted.row(row);
            let at = |other: &u32| self.places.row(*other as usize);
            let found = match nearest {
                Nearest::AtOrBefore => of_key.partition_point(|other| at(other) <= place),
                Nearest::Before | Nearest::AtOrAfter => {
                    of_key.partition_point(|other| at(other) < place)
                }
                Nearest::After => of_key.partition_point(|other| at(other) <= place),
            };
            let found = match nearest {
                Nearest::AtOrBefore | Nearest::Before => found.checked_sub(1)?,
                Nearest::AtOrAfter | Nearest::After => found,
            };
            let found = *of_key.get(found)?;
            let is_near = match (limit, &own_micros) {
                (Some((within, theirs)), Some(own)) => {
                    let distance = own.value(row).abs_diff(theirs.value(found as usize));
                    distance <= within.unsigned_abs()
                }
                _ => true,
            };
            is_near.then_some(found)
        });
        Ok(found.collect())
    }
}

fn normal(keys: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    keys.iter().map(normal_floats).collect()
}

/// None without keys: then all rows are of one group.
fn converter(keys: &[ArrayRef]) -> Result<Option<RowConverter>> {
    let fields: Vec<SortField> = keys
        .iter()
        .map(|key| SortField::new(key.data_type().clone()))
        .collect();
    match fields.is_empty() {
        true => Ok(None),
        false => Ok(Some(RowConverter::new(fields)?)),
    }
}

fn encode(converter: Option<&RowConverter>, keys: &[ArrayRef]) -> Result<Option<Rows>> {
    let rows = converter.map(|converter| converter.convert_columns(keys));
    Ok(rows.transpose()?)
}

fn key_of(rows: Option<&Rows>, row: usize) -> &[u8] {
    match rows {
        Some(rows) => rows.row(row).data(),
        None => &[],
    }
}

/// Times in microseconds.
fn micros(times: &ArrayRef) -> Result<Int64Array> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let micros = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(cast(&micros, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}
