//! Functions over arrays that Spark answers otherwise than DataFusion, mostly where there are nulls.
//!
//! Each says which items of its arguments the lists of its result hold; `Lists` gathers them with one kernel.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray,
    make_comparator, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{SortOptions, interleave};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, arity, is_text, texts};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "size",
            sized,
            |_| Ok(DataType::Int32),
            |args, _| size(&args[0]),
        ),
        Scalar::new(
            "array_position",
            |t| list_and_item("array_position", t),
            |_| Ok(DataType::Int64),
            |args, _| position(&args[0], &args[1]),
        ),
        Scalar::new(
            "array_remove",
            |t| list_and_item("array_remove", t),
            first_type,
            |args, _| remove(&args[0], &args[1]),
        ),
        Scalar::new(
            "array_append",
            |t| list_and_item("array_append", t),
            first_type,
            |args, _| insert(&args[0], &args[1], |_, length| Ok(Some(length))),
        ),
        Scalar::new(
            "array_prepend",
            |t| list_and_item("array_prepend", t),
            first_type,
            |args, _| insert(&args[0], &args[1], |_, _| Ok(Some(0))),
        ),
        Scalar::new("array_insert", insert_args, first_type, |args, _| {
            let places = args[1].as_primitive::<Int32Type>();
            insert(&args[0], &args[2], |row, length| {
                match places.is_null(row) {
                    true => Ok(None),
                    false => place(places.value(row), length).map(Some),
                }
            })
        }),
        Scalar::new("flatten", nested, flat_type, |args, _| flatten(&args[0])),
        Scalar::new(
            "arrays_overlap",
            two_lists,
            |_| Ok(DataType::Boolean),
            |args, _| overlap(&args[0], &args[1]),
        ),
        Scalar::new("reverse", reversible, first_type, |args, _| {
            reverse(&args[0])
        }),
    ]
    .map(Scalar::udf)
    .into()
}

fn first_type(types: &[DataType]) -> Result<DataType> {
    Ok(types[0].clone())
}

/// Lists as `List`; whatever else is refused.
fn list(name: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::List(_) => Ok(data_type.clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(DataType::List(Arc::clone(item)))
        }
        other => plan_err!("{name}() takes an array, found {other}"),
    }
}

fn item_of(list: &DataType) -> Result<&FieldRef> {
    match list {
        DataType::List(item) => Ok(item),
        other => plan_err!("expected an array, found {other}"),
    }
}

fn sized(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("size", 1..=1, types)?;
    match &types[0] {
        DataType::Map(_, _) | DataType::Null => Ok(types.to_vec()),
        other => Ok(vec![list("size", other)?]),
    }
}

fn list_and_item(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    let list = list(name, &types[0])?;
    let item = item_of(&list)?.data_type().clone();
    Ok(vec![list, item])
}

fn insert_args(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("array_insert", 3..=3, types)?;
    let list = list("array_insert", &types[0])?;
    let item = item_of(&list)?.data_type().clone();
    Ok(vec![list, DataType::Int32, item])
}

fn two_lists(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("arrays_overlap", 2..=2, types)?;
    let list = list("arrays_overlap", &types[0])?;
    Ok(vec![list.clone(), list])
}

fn nested(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("flatten", 1..=1, types)?;
    let outer = list("flatten", &types[0])?;
    list("flatten", item_of(&outer)?.data_type())?;
    Ok(vec![outer])
}

fn flat_type(types: &[DataType]) -> Result<DataType> {
    Ok(item_of(&types[0])?.data_type().clone())
}

fn reversible(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("reverse", 1..=1, types)?;
    match &types[0] {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
            Ok(vec![list("reverse", &types[0])?])
        }
        _ => Ok(vec![DataType::Utf8]),
    }
}

fn size(values: &ArrayRef) -> Result<ArrayRef> {
    let lengths = |offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>| {
        let lengths = offsets
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect::<Vec<i32>>();
        Arc::new(Int32Array::new(lengths.into(), nulls.cloned())) as ArrayRef
    };
    Ok(match values.data_type() {
        DataType::Map(_, _) => lengths(values.as_map().offsets(), values.nulls()),
        DataType::Null => new_null_array(&DataType::Int32, values.len()),
        _ => lengths(values.as_list::<i32>().offsets(), values.nulls()),
    })
}

/// The places of a list's items among the items of all lists.
fn span(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    let at = |place: usize| usize::try_from(offsets[place]).unwrap_or(0);
    at(row)..at(row + 1)
}

/// Lists in the making: which item of which array comes next.
struct Lists {
    picks: Vec<(usize, usize)>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Lists {
    fn of(rows: usize) -> Self {
        Self {
            picks: vec![],
            lengths: Vec::with_capacity(rows),
            valid: Vec::with_capacity(rows),
        }
    }

    /// A list of `items`, each an array's number and a place in it; null if there is none.
    fn push(&mut self, items: Option<impl IntoIterator<Item = (usize, usize)>>) {
        let before = self.picks.len();
        self.valid.push(items.is_some());
        self.picks.extend(items.into_iter().flatten());
        self.lengths.push(self.picks.len() - before);
    }

    fn gather(self, sources: &[&dyn Array], item: &FieldRef) -> Result<ArrayRef> {
        let values = match self.picks.is_empty() {
            true => datafusion::arrow::array::new_empty_array(item.data_type()),
            false => interleave(sources, &self.picks)?,
        };
        let item = Arc::new(item.as_ref().clone().with_nullable(true));
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Ok(Arc::new(ListArray::try_new(
            item,
            offsets,
            values,
            Some(NullBuffer::from(self.valid)),
        )?))
    }
}

/// Counts from 1; 0 if it is not there.
fn position(values: &ArrayRef, wanted: &ArrayRef) -> Result<ArrayRef> {
    let lists = values.as_list::<i32>();
    let same = make_comparator(lists.values(), wanted, SortOptions::default())?;
    let places = (0..lists.len()).map(|row| {
        if lists.is_null(row) || wanted.is_null(row) {
            return None;
        }
        let found = span(lists, row).position(|item| same(item, row).is_eq());
        i64::try_from(found.map_or(0, |place| place + 1)).ok()
    });
    Ok(Arc::new(places.collect::<Int64Array>()))
}

fn remove(values: &ArrayRef, unwanted: &ArrayRef) -> Result<ArrayRef> {
    let lists = values.as_list::<i32>();
    let same = make_comparator(lists.values(), unwanted, SortOptions::default())?;
    let mut kept = Lists::of(lists.len());
    for row in 0..lists.len() {
        let known = lists.is_valid(row) && unwanted.is_valid(row);
        let items = span(lists, row)
            .filter(|item| !same(*item, row).is_eq())
            .map(|item| (0, item));
        kept.push(known.then_some(items));
    }
    kept.gather(&[lists.values()], item_of(values.data_type())?)
}

/// Where `array_insert` puts an item: counted from 1, or from the end if negative.
fn place(wanted: i32, length: usize) -> Result<usize> {
    const MOST: usize = 1 << 20;
    let wanted = i64::from(wanted);
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = match wanted {
        0 => return exec_err!("[INVALID_INDEX_OF_ZERO] array_insert() counts from 1"),
        1.. => wanted - 1,
        _ if length + wanted + 1 >= 0 => length + wanted + 1,
        _ => {
            return exec_err!(
                "array_insert() at {wanted} of an array of {length}: a place before the first item is not supported"
            );
        }
    };
    match usize::try_from(from_start) {
        Ok(place) if place <= MOST => Ok(place),
        _ => exec_err!("array_insert() at {wanted}: arrays have at most {MOST} items here"),
    }
}

/// Puts `items` where `place` says, with nulls between the end and a place behind it.
fn insert(
    values: &ArrayRef,
    items: &ArrayRef,
    place: impl Fn(usize, usize) -> Result<Option<usize>>,
) -> Result<ArrayRef> {
    let lists = values.as_list::<i32>();
    let null = new_null_array(items.data_type(), 1);
    let mut made = Lists::of(lists.len());
    for row in 0..lists.len() {
        let old = span(lists, row);
        let at = match lists.is_valid(row) {
            true => place(row, old.len())?,
            false => None,
        };
        made.push(at.map(|at| {
            let (start, length) = (old.start, old.len());
            let before = (0..at).map(move |i| if i < length { (0, start + i) } else { (2, 0) });
            let after = (at..length).map(move |i| (0, start + i));
            before.chain([(1, row)]).chain(after)
        }));
    }
    made.gather(
        &[lists.values(), items, &null],
        item_of(values.data_type())?,
    )
}

/// The items of the lists in a list, one after the other; null if one of the lists is.
fn flatten(values: &ArrayRef) -> Result<ArrayRef> {
    let outer = values.as_list::<i32>();
    let inner = outer.values().as_list::<i32>();
    let mut flat = Lists::of(outer.len());
    for row in 0..outer.len() {
        let known = outer.is_valid(row) && span(outer, row).all(|list| inner.is_valid(list));
        let items = span(outer, row)
            .flat_map(|list| span(inner, list))
            .map(|item| (0, item));
        flat.push(known.then_some(items));
    }
    flat.gather(
        &[inner.values()],
        item_of(item_of(values.data_type())?.data_type())?,
    )
}

/// Null if nothing is in both, but a null could be.
fn overlap(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left, right) = (left.as_list::<i32>(), right.as_list::<i32>());
    let same = make_comparator(left.values(), right.values(), SortOptions::default())?;
    let overlaps = (0..left.len()).map(|row| {
        if left.is_null(row) || right.is_null(row) {
            return None;
        }
        let (a, b) = (span(left, row), span(right, row));
        let is_common = |i: usize| {
            left.values().is_valid(i)
                && b.clone()
                    .any(|j| right.values().is_valid(j) && same(i, j).is_eq())
        };
        if a.clone().any(is_common) {
            return Some(true);
        }
        let has_null = a.clone().any(|i| left.values().is_null(i))
            || b.clone().any(|j| right.values().is_null(j));
        (a.is_empty() || b.is_empty() || !has_null).then_some(false)
    });
    Ok(Arc::new(overlaps.collect::<BooleanArray>()))
}

fn reverse(values: &ArrayRef) -> Result<ArrayRef> {
    if is_text(values.data_type()) {
        let reversed = texts(values)?
            .iter()
            .map(|text| text.map(|text| text.chars().rev().collect::<String>()));
        return Ok(Arc::new(reversed.collect::<StringArray>()));
    }
    let lists = values.as_list::<i32>();
    let mut reversed = Lists::of(lists.len());
    for row in 0..lists.len() {
        let items = span(lists, row).rev().map(|item| (0, item));
        reversed.push(lists.is_valid(row).then_some(items));
    }
    reversed.gather(&[lists.values()], item_of(values.data_type())?)
}

/// The items of all arguments, one after the other; null if one of them is.
pub(crate) fn concat_lists(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = args.iter().map(|arg| arg.as_list::<i32>()).collect();
    let rows = lists.first().map_or(0, |list| list.len());
    let mut joined = Lists::of(rows);
    for row in 0..rows {
        let known = lists.iter().all(|list| list.is_valid(row));
        let items = lists
            .iter()
            .enumerate()
            .flat_map(|(number, list)| span(list, row).map(move |item| (number, item)));
        joined.push(known.then_some(items));
    }
    let sources: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
    joined.gather(&sources, item_of(args[0].data_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Int64Type;

    type Rows = Vec<Option<Vec<Option<i64>>>>;

    fn lists_of(rows: Rows) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
    }

    fn ints(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from(values))
    }

    fn rows(array: &ArrayRef) -> Rows {
        let lists = array.as_list::<i32>();
        let row = |list: ArrayRef| list.as_primitive::<Int64Type>().iter().collect();
        lists.iter().map(|list| list.map(row)).collect()
    }

    #[test]
    fn all_that_is_equal_is_removed_and_nulls_stay() {
        let lists = lists_of(vec![
            Some(vec![Some(5), None, Some(5), Some(1)]),
            None,
            Some(vec![Some(1)]),
        ]);
        let removed = remove(&lists, &ints(vec![Some(5), Some(5), None])).unwrap();
        assert_eq!(rows(&removed), [Some(vec![None, Some(1)]), None, None]);
    }

    #[test]
    fn an_item_is_put_anywhere() {
        let lists = lists_of(vec![Some(vec![Some(1), Some(2)]), None]);
        let items = ints(vec![Some(9), Some(9)]);
        for (wanted, expected) in [
            (1, vec![Some(9), Some(1), Some(2)]),
            (3, vec![Some(1), Some(2), Some(9)]),
            (5, vec![Some(1), Some(2), None, None, Some(9)]),
            (-1, vec![Some(1), Some(2), Some(9)]),
            (-3, vec![Some(9), Some(1), Some(2)]),
        ] {
            let made = insert(&lists, &items, |_, length| place(wanted, length).map(Some)).unwrap();
            assert_eq!(rows(&made), [Some(expected), None], "at {wanted}");
        }
        assert!(place(0, 2).is_err());
    }

    #[test]
    fn a_null_may_be_what_two_arrays_share() {
        let left = lists_of(vec![
            Some(vec![Some(1), None]),
            Some(vec![Some(1), None]),
            Some(vec![]),
            Some(vec![Some(1)]),
        ]);
        let right = lists_of(vec![
            Some(vec![Some(1)]),
            Some(vec![Some(2)]),
            Some(vec![None]),
            Some(vec![Some(2)]),
        ]);
        let found = overlap(&left, &right).unwrap();
        assert_eq!(
            found.as_boolean().iter().collect::<Vec<_>>(),
            [Some(true), None, Some(false), Some(false)]
        );
    }

    #[test]
    fn lists_are_joined_and_turned() {
        let lists = lists_of(vec![Some(vec![Some(1), None]), None]);
        let joined = concat_lists(&[Arc::clone(&lists), Arc::clone(&lists)]).unwrap();
        assert_eq!(
            rows(&joined),
            [Some(vec![Some(1), None, Some(1), None]), None]
        );
        assert_eq!(
            rows(&reverse(&lists).unwrap()),
            [Some(vec![None, Some(1)]), None]
        );
        assert_eq!(
            size(&lists)
                .unwrap()
                .as_primitive::<Int32Type>()
                .iter()
                .collect::<Vec<_>>(),
            [Some(2), None]
        );
    }
}
