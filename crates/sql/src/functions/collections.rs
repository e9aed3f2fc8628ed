//! Arrays and maps: what `explode` needs, sorting, and access by position or key.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, UInt32Array, make_comparator,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, cast, take};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, arity};

static POSITIONS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Scalar::new(
        "__positions",
        |t| collection("posexplode", t),
        |_| {
            Ok(DataType::List(Arc::new(Field::new_list_field(
                DataType::Int32,
                false,
            ))))
        },
        |args, _| positions(&args[0]),
    )
    .udf()
});

static ROW_LIST: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Scalar::new(
        "__row_list",
        |t| collection("explode", t),
        row_list_type,
        |args, call| match args[0].data_type() {
            DataType::Map(_, _) => {
                let map = args[0].as_map();
                let DataType::List(item) = call.return_type else {
                    return exec_err!("expected a list type");
                };
                let list = ListArray::try_new(
                    Arc::clone(item),
                    map.offsets().clone(),
                    Arc::new(map.entries().clone()),
                    map.nulls().cloned(),
                )?;
                Ok(Arc::new(list))
            }
            _ => Ok(cast(&args[0], call.return_type)?),
        },
    )
    .udf()
});

/// `__positions(xs)`: `[0, 1, ...]`, as long as the array or map.
pub(crate) fn positions_udf() -> Arc<ScalarUDF> {
    Arc::clone(&POSITIONS)
}

/// `__row_list(xs)`: an array as it is, a map as the array of its entries.
pub(crate) fn row_list_udf() -> Arc<ScalarUDF> {
    Arc::clone(&ROW_LIST)
}

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = [
        Scalar::new("sort_array", coerce_sort, |t| Ok(t[0].clone()), |args, _| {
            let ascending = match args.get(1) {
                Some(flag) => flag.is_empty() || flag.is_null(0) || flag.as_boolean().value(0),
                None => true,
            };
            // Spark: nulls come first ascending, last descending.
            sort(&args[0], SortOptions { descending: !ascending, nulls_first: ascending })
        }),
        Scalar::new("array_sort", |t| lists("array_sort", t), |t| Ok(t[0].clone()), |args, _| {
            sort(&args[0], SortOptions { descending: false, nulls_first: false })
        }),
        Scalar::new("get", coerce_get, item_type, |args, _| element(&args[0], &args[1], |i, _| Ok(i))),
        Scalar::new("__subscript", coerce_get, item_type, |args, _| {
            element(&args[0], &args[1], |i, len| {
                if (0..len).contains(&i) {
                    return Ok(i);
                }
                exec_err!("[INVALID_ARRAY_INDEX] index {i} is outside an array of {len}: use get() to get NULL instead")
            })
        }),
        Scalar::new("element_at", |t| coerce_element_at("element_at", t), item_type, |args, _| {
            element_at(args, |i, len| match i {
                0 => exec_err!("[INVALID_INDEX_OF_ZERO] element_at() counts from 1"),
                i if i > 0 && i <= len => Ok(i - 1),
                i if i < 0 && -i <= len => Ok(len + i),
                i => exec_err!("[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] index {i} is outside an array of {len}: use try_element_at() to get NULL instead"),
            })
        }),
        Scalar::new("try_element_at", |t| coerce_element_at("try_element_at", t), item_type, |args, _| {
            element_at(args, |i, len| match i {
                0 => exec_err!("[INVALID_INDEX_OF_ZERO] try_element_at() counts from 1"),
                i if i > 0 => Ok(i - 1),
                i => Ok(len + i),
            })
        }),
    ]
    .map(Scalar::udf)
    .into();
    functions.extend([positions_udf(), row_list_udf()]);
    functions
}

fn collection(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    match &types[0] {
        DataType::Map(_, _) => Ok(types.to_vec()),
        _ => lists(name, types),
    }
}

/// Arrays of any layout as lists.
fn lists(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=2, types)?;
    let mut coerced = types.to_vec();
    coerced[0] = match &types[0] {
        DataType::List(_) => types[0].clone(),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::clone(item))
        }
        DataType::Null => DataType::List(Arc::new(Field::new_list_field(DataType::Null, true))),
        other => return plan_err!("{name}() takes an array, found {other}"),
    };
    Ok(coerced)
}

fn row_list_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Map(entries, _) => DataType::List(Arc::clone(entries)),
        other => other.clone(),
    })
}

fn positions(values: &ArrayRef) -> Result<ArrayRef> {
    let (offsets, nulls) = match values.data_type() {
        DataType::Map(_, _) => (values.as_map().offsets().clone(), values.nulls().cloned()),
        _ => (
            values.as_list::<i32>().offsets().clone(),
            values.nulls().cloned(),
        ),
    };
    let lengths: Vec<usize> = offsets.lengths().collect();
    let items: Int32Array = lengths
        .iter()
        .flat_map(|n| (0..).take(*n))
        .map(Some::<i32>)
        .collect();
    let field = Arc::new(Field::new_list_field(DataType::Int32, false));
    Ok(Arc::new(ListArray::try_new(
        field,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(items),
        nulls,
    )?))
}

fn coerce_sort(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("sort_array", 1..=2, types)?;
    let mut coerced = lists("sort_array", types)?;
    if let Some(flag) = coerced.get_mut(1) {
        *flag = DataType::Boolean;
    }
    Ok(coerced)
}

/// Sorts every list on its own.
fn sort(values: &ArrayRef, options: SortOptions) -> Result<ArrayRef> {
    let DataType::List(field) = values.data_type() else {
        return exec_err!("expected arrays, found {}", values.data_type());
    };
    let lists = values.as_list::<i32>();
    let compare = make_comparator(lists.values(), lists.values(), options)?;
    let mut indices: Vec<u32> = Vec::with_capacity(lists.values().len());
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let (from, length) = match lists.is_valid(row) {
            true => (
                usize::try_from(lists.value_offsets()[row]).unwrap_or(0),
                lists.value(row).len(),
            ),
            false => (0, 0),
        };
        let start = indices.len();
        indices.extend((from..from + length).filter_map(|i| u32::try_from(i).ok()));
        indices[start..].sort_by(|a, b| {
            let (a, b) = (usize::try_from(*a), usize::try_from(*b));
            match (a, b) {
                (Ok(a), Ok(b)) => compare(a, b),
                _ => Ordering::Equal,
            }
        });
        lengths.push(length);
    }
    let items = take(lists.values(), &UInt32Array::from(indices), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(field),
        offsets,
        items,
        lists.nulls().cloned(),
    )?))
}

fn coerce_get(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("get", 2..=2, types)?;
    Ok(vec![lists("get", &types[..1])?[0].clone(), DataType::Int32])
}

fn coerce_element_at(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    match &types[0] {
        DataType::Map(_, _) => Ok(vec![types[0].clone(), map_types(&types[0])?.0]),
        _ => Ok(vec![lists(name, &types[..1])?[0].clone(), DataType::Int32]),
    }
}

/// The types of the keys and values of a map.
fn map_types(map: &DataType) -> Result<(DataType, DataType)> {
    if let DataType::Map(entries, _) = map
        && let DataType::Struct(fields) = entries.data_type()
        && let [key, value] = fields.as_ref()
    {
        return Ok((key.data_type().clone(), value.data_type().clone()));
    }
    plan_err!("expected a map, found {map}")
}

/// An element by its position, or a value by its key; a key that is not there gives null.
fn element_at(args: &[ArrayRef], resolve: fn(i64, i64) -> Result<i64>) -> Result<ArrayRef> {
    let DataType::Map(_, _) = args[0].data_type() else {
        return element(&args[0], &args[1], resolve);
    };
    let map = args[0].as_map();
    let compare = make_comparator(map.keys(), &args[1], SortOptions::default())?;
    let offsets = map.offsets();
    let indices: UInt32Array = (0..map.len())
        .map(|row| {
            if map.is_null(row) || args[1].is_null(row) {
                return None;
            }
            let (from, to) = (
                usize::try_from(offsets[row]).ok()?,
                usize::try_from(offsets[row + 1]).ok()?,
            );
            (from..to)
                .find(|i| compare(*i, row).is_eq())
                .and_then(|i| u32::try_from(i).ok())
        })
        .collect();
    Ok(take(map.values(), &indices, None)?)
}

fn item_type(types: &[DataType]) -> Result<DataType> {
    match &types[0] {
        DataType::List(item) => Ok(item.data_type().clone()),
        DataType::Map(_, _) => Ok(map_types(&types[0])?.1),
        other => plan_err!("expected an array, found {other}"),
    }
}

/// One element per list: `resolve` turns the index given into one from 0; outside the list means null.
fn element(
    values: &ArrayRef,
    positions: &ArrayRef,
    resolve: fn(i64, i64) -> Result<i64>,
) -> Result<ArrayRef> {
    let (lists, positions) = (
        values.as_list::<i32>(),
        positions.as_primitive::<Int32Type>(),
    );
    let mut indices: Vec<Option<u32>> = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        if lists.is_null(row) || positions.is_null(row) {
            indices.push(None);
            continue;
        }
        let length = i64::from(lists.value_length(row));
        let index = resolve(positions.value(row).into(), length)?;
        let index = (0..length)
            .contains(&index)
            .then(|| i64::from(lists.value_offsets()[row]) + index);
        indices.push(index.and_then(|i| u32::try_from(i).ok()));
    }
    Ok(take(lists.values(), &UInt32Array::from(indices), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Int64Type;

    fn lists_of(rows: Vec<Option<Vec<Option<i64>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
    }

    #[test]
    fn arrays_sort_with_nulls_where_spark_puts_them() {
        let rows = lists_of(vec![Some(vec![Some(2), None, Some(1)]), None, Some(vec![])]);
        let up = sort(
            &rows,
            SortOptions {
                descending: false,
                nulls_first: true,
            },
        )
        .expect("sorted");
        assert_eq!(
            &up,
            &lists_of(vec![Some(vec![None, Some(1), Some(2)]), None, Some(vec![])])
        );
        let down = sort(
            &rows,
            SortOptions {
                descending: true,
                nulls_first: false,
            },
        )
        .expect("sorted");
        assert_eq!(
            &down,
            &lists_of(vec![Some(vec![Some(2), Some(1), None]), None, Some(vec![])])
        );
    }

    #[test]
    fn positions_count_from_zero_in_every_row() {
        let rows = lists_of(vec![
            Some(vec![Some(7), Some(8)]),
            None,
            Some(vec![Some(9)]),
        ]);
        let positions = positions(&rows).expect("positions");
        let items: Vec<i32> = positions
            .as_list::<i32>()
            .values()
            .as_primitive::<Int32Type>()
            .values()
            .to_vec();
        assert_eq!(items, [0, 1, 0]);
        assert!(positions.is_null(1));
    }
}
