//! Whether keys are equal, many at a time, in agreement with their hashes.
//!
//! As in [`crate::hash`], NULL equals NULL, zeros of either sign are equal, and so are all NaN, at any depth.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, make_array, make_comparator},
    buffer::BooleanBuffer,
    compute::{SortOptions, kernels::cmp::not_distinct},
    datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type},
};
use headwater_core::Result;

/// For each row whether it is the same in all columns of `left` and `right`, which have the same types and `rows` rows.
pub(super) fn rows_equal(
    left: &[ArrayRef],
    right: &[ArrayRef],
    rows: usize,
) -> Result<BooleanBuffer> {
    let mut equal = BooleanBuffer::new_set(rows);
    for (left, right) in left.iter().zip(right) {
        equal = &equal & &values_equal(left, right)?;
    }
    Ok(equal)
}

fn values_equal(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanBuffer> {
    let (left, right) = (canonical(left)?, canonical(right)?);
    if has_kernel(left.data_type()) {
        let (equal, _) = not_distinct(&left, &right)?.into_parts();
        return Ok(equal);
    }
    let compare = make_comparator(&left, &right, SortOptions::default())?;
    Ok(BooleanBuffer::collect_bool(left.len(), |row| {
        compare(row, row).is_eq()
    }))
}

/// Whether Arrow compares such arrays as a whole.
fn has_kernel(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => {
            has_kernel(values) && !matches!(values.as_ref(), DataType::Dictionary(_, _))
        }
        DataType::RunEndEncoded(_, _) => false,
        other => !other.is_nested(),
    }
}

/// The same values, with one zero and one NaN: Arrow tells them apart by their bits.
fn canonical(array: &ArrayRef) -> Result<ArrayRef> {
    if !holds_floats(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    match array.data_type() {
        DataType::Float16 => Ok(floats::<Float16Type>(array, |v| match v.is_nan() {
            true => F16::NAN,
            false => v + F16::ZERO,
        })),
        DataType::Float32 => Ok(floats::<Float32Type>(array, |v| match v.is_nan() {
            true => f32::NAN,
            false => v + 0.0,
        })),
        DataType::Float64 => Ok(floats::<Float64Type>(array, |v| match v.is_nan() {
            true => f64::NAN,
            false => v + 0.0,
        })),
        _ => {
            let data = array.to_data();
            let children = data.child_data().iter().map(|child| {
                let child = canonical(&make_array(child.clone()))?;
                Ok(child.to_data())
            });
            let children = children.collect::<Result<_>>()?;
            Ok(make_array(
                data.into_builder().child_data(children).build()?,
            ))
        }
    }
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

fn floats<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    one_of_them: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, T>(one_of_them))
}

fn holds_floats(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => holds_floats(values),
        T::List(field)
        | T::LargeList(field)
        | T::ListView(field)
        | T::LargeListView(field)
        | T::FixedSizeList(field, _)
        | T::Map(field, _)
        | T::RunEndEncoded(_, field) => holds_floats(field.data_type()),
        T::Struct(fields) => fields.iter().any(|field| holds_floats(field.data_type())),
        T::Union(fields, _) => fields
            .iter()
            .any(|(_, field)| holds_floats(field.data_type())),
        other => other.is_floating(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            DictionaryArray, Float32Array, Float64Array, Int32Array, ListArray, StringArray,
            StructArray,
        },
        datatypes::{Field, Int32Type},
    };

    use super::*;
    use crate::hash::row_hashes;

    /// Compares each value with each other one, and with what the hash says.
    #[track_caller]
    fn check(values: ArrayRef, same: &[(u32, u32)]) {
        let rows = values.len() as u32;
        let pairs: Vec<_> = (0..rows)
            .flat_map(|l| (0..rows).map(move |r| (l, r)))
            .collect();
        let take = |rows: Vec<u32>| {
            let rows = arrow::array::UInt32Array::from(rows);
            arrow::compute::take(&values, &rows, None).unwrap()
        };
        let left = take(pairs.iter().map(|(l, _)| *l).collect());
        let right = take(pairs.iter().map(|(_, r)| *r).collect());
        let equal = rows_equal(&[Arc::clone(&left)], &[Arc::clone(&right)], pairs.len()).unwrap();
        let left = row_hashes(&[left], pairs.len()).unwrap();
        let right = row_hashes(&[right], pairs.len()).unwrap();
        for (at, (l, r)) in pairs.into_iter().enumerate() {
            let expected = l == r || same.contains(&(l, r)) || same.contains(&(r, l));
            assert_eq!(equal.value(at), expected, "{l} and {r} of {values:?}");
            assert_eq!(left[at] == right[at], expected, "hashes of {l} and {r}");
        }
    }

    const FLOATS: [Option<f64>; 7] = [
        Some(0.0),
        Some(-0.0),
        Some(f64::NAN),
        Some(-f64::NAN),
        None,
        Some(f64::INFINITY),
        Some(1.5),
    ];
    const SAME: [(u32, u32); 2] = [(0, 1), (2, 3)];

    #[test]
    fn equality_agrees_with_hashes_for_floats_at_any_depth() {
        let floats: ArrayRef = Arc::new(Float64Array::from(FLOATS.to_vec()));
        check(Arc::clone(&floats), &SAME);
        let narrow = FLOATS.iter().map(|f| f.map(|f| f as f32));
        check(Arc::new(narrow.collect::<Float32Array>()), &SAME);
        let half = arrow::compute::cast(&floats, &DataType::Float16).unwrap();
        check(half, &SAME);
        let field = Arc::new(Field::new("f", DataType::Float64, true));
        let fields = vec![Arc::clone(&field)].into();
        check(
            Arc::new(StructArray::new(fields, vec![Arc::clone(&floats)], None)),
            &SAME,
        );
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![1; FLOATS.len()]);
        let lists = ListArray::new(field, offsets, Arc::clone(&floats), None);
        check(Arc::new(lists.clone()), &SAME);
        check(Arc::new(lists.slice(1, 5)), &[(1, 2)]);
        let keys = Int32Array::from_iter_values(0..FLOATS.len() as i32);
        check(
            Arc::new(DictionaryArray::new(keys, floats)),
            &[(0, 1), (2, 3)],
        );
    }

    #[test]
    fn nulls_and_texts_are_equal_to_themselves() {
        let texts = StringArray::from(vec![Some("a"), None, Some("b"), Some("")]);
        check(Arc::new(texts), &[]);
        let texts: DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("b")].into_iter().collect();
        check(Arc::new(texts), &[]);
        let lists = vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(1)]),
        ];
        check(
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
            &[],
        );
    }
}
