//! Golden values, and that equal keys share a group however an array holds them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
        FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, LargeListArray, LargeStringArray, ListArray, NullArray,
        RunArray, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, UInt64Array, UnionArray,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{DataType, Field, Fields, Int8Type, Int32Type, IntervalMonthDayNano, UnionFields},
};
use proptest::prelude::*;

use super::*;

fn groups(columns: &[ArrayRef]) -> Vec<u16> {
    let rows = columns.first().map_or(1, |column| column.len());
    key_groups(columns, rows).unwrap()
}

fn of<A: Array + 'static>(array: A) -> Vec<u16> {
    groups(&[Arc::new(array)])
}

/// If this test fails, existing checkpoints can no longer be read with another number of partitions: do not change
/// the values.
#[test]
fn groups_of_keys_never_change() {
    let month = IntervalMonthDayNano::new(1, 2, 3);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        Some(vec![]),
        None,
    ]);
    let structs = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef,
        ),
    ]);
    let long = "a text of more than two hundred and forty bytes ".repeat(6);
    let found: Vec<(&str, Vec<u16>)> = vec![
        ("no column", groups(&[])),
        ("null", of(NullArray::new(1))),
        ("boolean", of(BooleanArray::from(vec![false, true]))),
        (
            "integer",
            of(Int64Array::from(vec![0, 1, -1, i64::MAX, i64::MIN])),
        ),
        ("big integer", of(UInt64Array::from(vec![u64::MAX]))),
        (
            "float",
            of(Float64Array::from(vec![0.0, 1.5, f64::NAN, f64::INFINITY])),
        ),
        (
            "text",
            of(StringArray::from(vec!["", "a", "headwater", &long])),
        ),
        (
            "decimal",
            of(Decimal128Array::from(vec![12345])
                .with_precision_and_scale(10, 2)
                .unwrap()),
        ),
        ("date", of(Date32Array::from(vec![20_000]))),
        (
            "timestamp",
            of(TimestampMicrosecondArray::from(vec![1_700_000_000_000_000])),
        ),
        ("interval", of(IntervalMonthDayNanoArray::from(vec![month]))),
        ("list", of(list)),
        ("struct", of(structs)),
        (
            "two columns",
            groups(&[
                Arc::new(TimestampMicrosecondArray::from(vec![60_000_000])),
                Arc::new(StringArray::from(vec!["host"])),
            ]),
        ),
    ];
    let golden: Vec<(&str, Vec<u16>)> = vec![
        ("no column", vec![859]),
        ("null", vec![180]),
        ("boolean", vec![378, 56]),
        ("integer", vec![79, 259, 422, 521, 217]),
        ("big integer", vec![666]),
        ("float", vec![242, 270, 392, 257]),
        ("text", vec![226, 158, 794, 394]),
        ("decimal", vec![132]),
        ("date", vec![729]),
        ("timestamp", vec![829]),
        ("interval", vec![105]),
        ("list", vec![416, 47, 180]),
        ("struct", vec![160, 283]),
        ("two columns", vec![641]),
    ];
    assert_eq!(found, golden);
}

#[test]
fn text_hashes_alike_in_every_array() {
    let texts = vec![
        Some("alpha"),
        None,
        Some(""),
        Some("a text that does not fit into a view"),
        Some("alpha"),
    ];
    let plain = of(StringArray::from(texts.clone()));
    assert_eq!(plain[0], plain[4]);
    assert_eq!(of(LargeStringArray::from(texts.clone())), plain);
    assert_eq!(of(StringViewArray::from(texts.clone())), plain);
    assert_eq!(
        of(texts.iter().copied().collect::<DictionaryArray<Int8Type>>()),
        plain
    );
    let bytes = texts
        .iter()
        .map(|text| text.map(str::as_bytes))
        .collect::<BinaryArray>();
    assert_eq!(of(bytes), plain);
    // A slice hashes as the rows it shows.
    assert_eq!(
        of(StringArray::from(texts.clone()).slice(1, 3)),
        plain[1..4]
    );
    let sliced = texts
        .iter()
        .copied()
        .collect::<DictionaryArray<Int8Type>>()
        .slice(2, 3);
    assert_eq!(of(sliced), plain[2..5]);
    // A dictionary may hold null as a value.
    let values = Arc::new(StringArray::from(vec![None, Some("alpha")]));
    let keys = Int8Array::from(vec![Some(1), Some(0), None]);
    let holed = of(DictionaryArray::new(keys, values));
    assert_eq!(holed, [plain[0], plain[1], plain[1]]);
    assert_eq!(
        of(DictionaryArray::<Int8Type>::from_iter([None::<&str>])),
        [plain[1]]
    );
    let fixed = FixedSizeBinaryArray::try_from_iter(["alpha"].into_iter()).unwrap();
    assert_eq!(of(fixed), [plain[0]]);
}

#[test]
fn runs_hash_as_their_values() {
    let values = StringArray::from(vec!["a", "b"]);
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 5]), &values).unwrap();
    let plain = of(StringArray::from(vec!["a", "a", "b", "b", "b"]));
    assert_eq!(of(runs.slice(1, 3)), plain[1..4]);
    assert_eq!(of(runs), plain);
}

#[test]
fn integers_hash_alike_in_every_width() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(100), None]));
    let plain = groups(std::slice::from_ref(&numbers));
    use DataType::*;
    for narrow in [Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64] {
        assert_eq!(
            groups(&[cast(&numbers, &narrow).unwrap()]),
            plain,
            "{narrow}"
        );
    }
}

#[test]
fn zeros_of_either_sign_and_all_nan_are_one_key() {
    let odd = f64::from_bits(0x7ff8_0000_0000_0001);
    let found = of(Float64Array::from(vec![
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        odd,
    ]));
    assert_eq!(found[0], found[1]);
    assert_eq!(found[2..], [found[2]; 3]);
    assert_eq!(
        of(Float32Array::from(vec![-0.0, f32::NAN])),
        [found[0], found[2]]
    );
}

#[test]
fn lists_hash_alike_in_every_layout() {
    let lists = [
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
        Some(vec![Some(2), Some(3)]),
    ];
    let plain = ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone());
    let groups_of_plain = of(plain.clone());
    assert_eq!(
        of(LargeListArray::from_iter_primitive::<Int32Type, _, _>(
            lists
        )),
        groups_of_plain
    );
    assert_eq!(of(plain.slice(2, 2)), groups_of_plain[2..]);
    let field = Arc::new(Field::new_list_field(DataType::Int32, true));
    let plain: ArrayRef = Arc::new(plain);
    for other in [
        DataType::ListView(Arc::clone(&field)),
        DataType::LargeListView(field),
    ] {
        assert_eq!(
            groups(&[cast(&plain, &other).unwrap()]),
            groups_of_plain,
            "{other}"
        );
    }
    // What a null list points at does not matter.
    let field = Arc::new(Field::new_list_field(DataType::Int32, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2]));
    let items = Arc::new(Int32Array::from(vec![8, 9]));
    let hidden = ListArray::new(field, offsets, items, Some(vec![false].into()));
    assert_eq!(of(hidden), [groups_of_plain[2]]);
}

#[test]
fn unions_hash_the_value_they_show() {
    let fields = [(0, DataType::Int32), (1, DataType::Utf8)];
    let fields: UnionFields = fields
        .into_iter()
        .map(|(id, data_type)| (id, Arc::new(Field::new(format!("f{id}"), data_type, true))))
        .collect();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![7, 0, 7])),
        Arc::new(StringArray::from(vec!["", "seven", ""])),
    ];
    let union = UnionArray::try_new(fields, vec![0, 1, 0].into(), None, children).unwrap();
    let found = of(union);
    assert_eq!(found[0], found[2]);
    assert_ne!(found[0], found[1]);
}

#[test]
fn kinds_and_places_of_values_count() {
    let micros = of(TimestampMicrosecondArray::from(vec![
        1, 2, 3, 4, 5, 6, 7, 8,
    ]));
    assert_ne!(
        micros,
        of(TimestampMillisecondArray::from(vec![
            1, 2, 3, 4, 5, 6, 7, 8
        ]))
    );
    let (a, b): (ArrayRef, ArrayRef) = (
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(Int32Array::from(vec![4, 5, 6])),
    );
    assert_ne!(
        groups(&[Arc::clone(&a), Arc::clone(&b)]),
        groups(&[Arc::clone(&b), Arc::clone(&a)])
    );
    let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
    assert_ne!(
        of(StructArray::new(fields, vec![Arc::clone(&a)], None)),
        groups(&[a])
    );
}

#[test]
fn columns_of_other_lengths_are_refused() {
    let error = key_groups(&[Arc::new(Int32Array::from(vec![1]))], 2).unwrap_err();
    assert_eq!(error.to_string(), "a key column has 1 rows, expected 2");
}

proptest! {
    #[test]
    fn partitions_own_contiguous_ranges_of_nearly_equal_size(partitions in 1..2_000u32) {
        let owners: Vec<u32> = (0..KEY_GROUPS).map(|group| partition_of(group, partitions)).collect();
        prop_assert!(owners.is_sorted());
        prop_assert!(owners.iter().all(|owner| *owner < partitions));
        let sizes: Vec<usize> = owners.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
        let (min, max) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        prop_assert!(max - min <= 1);
        prop_assert_eq!(sizes.len() as u32, partitions.min(KEY_GROUPS.into()));
    }
}

#[test]
fn partitions_overlap_where_they_share_a_group() {
    assert!(overlap((0, 1), (2, 3)));
    assert!(overlap((0, 2), (1, 3)));
    assert!(!overlap((0, 2), (2, 3)));
    assert!(!overlap((1, 2), (0, 2)));
}

#[test]
fn groups_are_used_evenly() {
    let groups = of(Int64Array::from_iter_values(0..102_400));
    let mut counts = vec![0; usize::from(KEY_GROUPS)];
    for group in groups {
        counts[usize::from(group)] += 1;
    }
    assert!(
        counts.iter().all(|count| (50..160).contains(count)),
        "{counts:?}"
    );
}
