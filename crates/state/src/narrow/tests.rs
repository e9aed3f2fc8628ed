//! Any column of any type survives being written and read; what should need few bytes does.

use arrow::{
    array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int16Array, Int32Array,
        Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
    },
    compute::{cast, concat_batches},
    datatypes::{SchemaRef, TimeUnit},
};
use headwater_core::ErrorKind;
use proptest::prelude::*;

use super::*;
use crate::stream::{Columns, read_batches, read_columns, write_streams};

/// Every type that can be narrowed, and some that cannot.
fn types() -> Vec<DataType> {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let mut types = vec![
        T::Int32,
        T::UInt32,
        T::Date32,
        T::Time32(Second),
        T::Time32(Millisecond),
        T::Decimal32(9, 2),
        T::Interval(IntervalUnit::YearMonth),
        T::Int64,
        T::UInt64,
        T::Date64,
        T::Time64(Microsecond),
        T::Time64(Nanosecond),
        T::Decimal64(18, -3),
        T::Decimal128(38, 10),
        T::Int8,
        T::UInt16,
        T::Float64,
        T::Utf8,
        T::Utf8View,
        T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)),
    ];
    for unit in [Second, Millisecond, Microsecond, Nanosecond] {
        types.push(T::Duration(unit));
        for zone in [
            None,
            Some("UTC"),
            Some("+02:00"),
            Some("Europe/Berlin"),
            Some("a \"b\""),
        ] {
            types.push(T::Timestamp(unit, zone.map(Into::into)));
        }
    }
    types
}

/// A column of these values, each cut to the width of the type.
fn column(data_type: &DataType, values: &[i128], nulls: &[bool]) -> ArrayRef {
    fn natives<T>(values: &[i128], cut: impl Fn(i128) -> T) -> Buffer
    where
        T: ArrowNativeType,
    {
        Buffer::from_vec(values.iter().map(|value| cut(*value)).collect::<Vec<T>>())
    }
    let buffer = match native(data_type).map(|native| (native, data_type)) {
        Some((Native::I32, _)) => natives(values, |value| value as i32),
        Some((Native::I64, _)) => natives(values, |value| value as i64),
        Some((Native::I128, _)) => natives(values, |value| value),
        None if matches!(data_type, DataType::Timestamp(_, _)) => {
            natives(values, |value| value as i64)
        }
        None => {
            let ints = values.iter().zip(nulls);
            let ints = ints.map(|(value, null)| (!null).then_some(*value as i8));
            let ints: ArrayRef = Arc::new(ints.collect::<arrow::array::Int8Array>());
            if let DataType::Dictionary(_, values) = data_type {
                return cast(&cast(&ints, values).unwrap(), data_type).unwrap();
            }
            // What does not fit becomes null.
            return cast(&ints, data_type).unwrap();
        }
    };
    let valid = NullBuffer::from(nulls.iter().map(|null| !null).collect::<Vec<_>>());
    array(data_type, values.len(), buffer, Some(valid)).unwrap()
}

/// How the values of a column lie.
#[derive(Debug, Clone)]
enum Shape {
    Equal,
    CountsUp,
    /// At most this far apart.
    Within(u64),
}

fn values(shape: &Shape, start: i128, rows: usize, seed: u64) -> Vec<i128> {
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let value = |row: usize| match shape {
        Shape::Equal => start,
        Shape::CountsUp => start.wrapping_add(row as i128),
        Shape::Within(span) => start.wrapping_add(i128::from(random() % span.saturating_add(1))),
    };
    (0..rows).map(value).collect()
}

fn shapes() -> impl Strategy<Value = Shape> {
    let spans = [
        1u64,
        255,
        256,
        65_535,
        65_536,
        u32::MAX.into(),
        1 << 32,
        u64::MAX,
    ];
    prop_oneof![
        Just(Shape::Equal),
        Just(Shape::CountsUp),
        proptest::sample::select(spans.to_vec()).prop_map(Shape::Within),
    ]
}

fn starts() -> impl Strategy<Value = i128> {
    let limits = [
        0,
        i64::MIN.into(),
        i128::from(i64::MAX) - 300,
        i64::MAX.into(),
        i32::MAX.into(),
        i32::MIN.into(),
        i128::MIN,
        i128::MAX,
    ];
    prop_oneof![
        proptest::sample::select(limits.to_vec()),
        any::<i64>().prop_map(i128::from),
    ]
}

fn schema_of(columns: &[ArrayRef]) -> SchemaRef {
    let fields = columns.iter().enumerate().map(|(at, column)| {
        // The metadata of a query's fields is not taken for that of narrow columns.
        let metadata = [(TYPE, "Int64"), (BASE, "7"), (STEP, "1")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Field::new(format!("c{at}"), column.data_type().clone(), true)
            .with_metadata(metadata.into())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batches as they come back, and the bytes of the streams.
fn written_and_read(schema: &SchemaRef, batches: &[RecordBatch]) -> (Vec<RecordBatch>, usize) {
    let streams = write_streams(batches.iter()).unwrap();
    let (mut found, mut size) = (vec![], 0);
    for stream in streams {
        let bytes = stream.into_bytes();
        size += bytes.len();
        let columns = read_columns(Columns::Narrow, &bytes).unwrap();
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        assert_eq!(types(&columns), types(schema));
        found.extend(read_batches(schema, Columns::Narrow, None, &bytes).unwrap());
    }
    (found, size)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_column_comes_back_as_it_was(
        shape in shapes(),
        start in starts(),
        rows in prop_oneof![Just(0usize), 1usize..40, 200usize..1_500],
        sliced in 0usize..70,
        nulls in prop_oneof![Just(0.0), Just(0.1), Just(1.0)],
        seed in any::<u64>(),
        batches in 1usize..4,
    ) {
        let all = rows + 2 * sliced;
        let nulls: Vec<bool> = values(&Shape::Within(999), 0, all, seed ^ 0xf00)
            .into_iter()
            .map(|value| (value as f64) < nulls * 1_000.0)
            .collect();
        let values = values(&shape, start, all, seed);
        let columns: Vec<ArrayRef> = types()
            .iter()
            .map(|data_type| column(data_type, &values, &nulls).slice(sliced, rows))
            .collect();
        let (plain, with_dictionaries): (Vec<_>, Vec<_>) = columns
            .into_iter()
            .partition(|column| !matches!(column.data_type(), DataType::Dictionary(_, _)));
        for columns in [plain.clone(), [plain, with_dictionaries].concat()] {
            let schema = schema_of(&columns);
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
            let batches = vec![batch; batches];
            let (found, _) = written_and_read(&schema, &batches);
            let all = concat_batches(&schema, &batches).unwrap();
            prop_assert_eq!(concat_batches(&schema, &found).unwrap(), all);
        }
    }
}

#[track_caller]
fn check(column: ArrayRef, expected: &DataType) {
    let schema = schema_of(&[Arc::clone(&column)]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let narrow = narrow_batch(&batch).unwrap();
    assert_eq!(narrow.column(0).data_type(), expected);
    let (found, _) = written_and_read(&schema, std::slice::from_ref(&batch));
    assert_eq!(found, [batch]);
}

#[test]
fn columns_are_as_narrow_as_their_values_lie_close() {
    use DataType::{Null, UInt8, UInt16, UInt32};
    let ints = |step: i64| Int64Array::from_iter_values((0..1_000).map(|i| 1 - i * step));
    check(Arc::new(ints(0)), &Null);
    check(Arc::new(ints(1)), &UInt16);
    check(Arc::new(ints(65)), &UInt16);
    check(Arc::new(ints(66)), &UInt32);
    check(Arc::new(ints(5_000_000)), &DataType::Int64);
    let numbers = UInt64Array::from_iter_values(u64::MAX - 999..=u64::MAX);
    check(Arc::new(numbers), &Null);
    let times = (0..1_000).map(|i| 1_795_305_600_000_000 + i * 977);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    check(Arc::new(times), &UInt32);
    let dates: Date32Array = (0..1_000)
        .map(|i| (i % 5 != 0).then_some(i % 200))
        .collect();
    check(Arc::new(dates), &UInt8);
    check(Arc::new(Int32Array::new_null(1_000)), &Null);
    let extremes = [i64::MIN, i64::MAX, 0, -1].repeat(100);
    check(Arc::new(Int64Array::from(extremes)), &DataType::Int64);
    let sums = Decimal128Array::from_iter_values((0..1_000).map(|i| i128::MIN + i * 1_000));
    check(Arc::new(sums), &UInt32);
}

#[test]
fn what_cannot_be_narrowed_or_is_not_worth_it_stays() {
    let few = Int64Array::from_iter_values(0..10);
    check(Arc::new(few), &DataType::Int64);
    for column in [
        Arc::new(Int16Array::from(vec![1; 1_000])) as ArrayRef,
        Arc::new(BooleanArray::from(vec![true; 1_000])),
        Arc::new(Float64Array::from(vec![1.0; 1_000])),
        Arc::new(StringArray::from(vec!["x"; 1_000])),
        Arc::new(StringViewArray::from(vec!["x"; 1_000])),
    ] {
        let data_type = column.data_type().clone();
        check(column, &data_type);
    }
}

#[test]
fn a_narrow_column_is_never_larger() {
    for rows in [1, 10, 23, 24, 30, 47, 48, 100, 1_000] {
        for span in [1, 2, 300, 70_000] {
            let column = Int64Array::from_iter_values((0..rows).map(|i| (i % 7) * span));
            let column: ArrayRef = Arc::new(column);
            let schema = schema_of(&[Arc::clone(&column)]);
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
            let (_, size) = written_and_read(&schema, std::slice::from_ref(&batch));
            let wide = wide_size(&batch);
            assert!(
                size <= wide,
                "{rows} rows of span {span}: {size} bytes, {wide} before"
            );
        }
    }
}

/// The bytes of a stream of this batch as it is.
fn wide_size(batch: &RecordBatch) -> usize {
    let bare = bare_batch(batch).unwrap();
    let mut bytes = Vec::new();
    let schema = bare.schema();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&bare).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes.len()
}

#[test]
fn metadata_that_does_not_fit_is_bad_data() {
    let null: ArrayRef = Arc::new(NullArray::new(3));
    let bytes: ArrayRef = Arc::new(arrow::array::UInt8Array::from(vec![1, 2, 3]));
    let long: ArrayRef = Arc::new(NullArray::new(MOST_WITHOUT_BYTES + 1));
    let cases = [
        (&null, &[(TYPE, "Utf8")][..], "a type that cannot be: Utf8"),
        (
            &null,
            &[(TYPE, "Nonsense")],
            "a type that cannot be: Nonsense",
        ),
        (&bytes, &[(TYPE, "Int64")], "its base is missing"),
        (
            &bytes,
            &[(TYPE, "Int64"), (BASE, "x")],
            "its base is no integer: x",
        ),
        (
            &bytes,
            &[(TYPE, "Int32"), (BASE, "3000000000")],
            "its base is no integer",
        ),
        (
            &long,
            &[(TYPE, "Int64")],
            "1048577 rows cannot go without bytes",
        ),
    ];
    for (column, metadata, expected) in cases {
        let metadata = metadata.iter();
        let metadata = metadata.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let field = Field::new("c", column.data_type().clone(), true);
        let error = widen(&field.with_metadata(metadata.collect()), column).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(expected), "{error}");
    }
}
