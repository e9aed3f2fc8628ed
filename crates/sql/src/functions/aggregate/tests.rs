//! Every aggregate of this crate: states of parts, merged in order, give what one pass over all rows gives.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, StructArray, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, EmitTo};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use proptest::prelude::*;

use super::*;

/// A row: its group and its values.
type Row = (usize, Option<i64>, Option<i8>, Option<bool>);

const GROUPS: usize = 3;

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let longs: Int64Array = rows.iter().map(|r| r.1).collect();
    let doubles: Float64Array = rows.iter().map(|r| r.2.map(special)).collect();
    let texts: StringArray = rows.iter().map(|r| r.1.map(|v| format!("t{v}"))).collect();
    let flags: BooleanArray = rows.iter().map(|r| r.3).collect();
    let doubles: ArrayRef = Arc::new(doubles);
    let longs: ArrayRef = Arc::new(longs);
    let DataType::Struct(fields) = struct_type() else {
        unreachable!("a struct")
    };
    let amounts: datafusion::arrow::array::Decimal128Array = rows
        .iter()
        .map(|r| r.1.map(|v| i128::from(v) * 37))
        .collect();
    let amounts = amounts
        .with_precision_and_scale(10, 2)
        .expect("a decimal type");
    let pairs = StructArray::new(fields, vec![Arc::clone(&doubles), Arc::clone(&longs)], None);
    vec![
        longs,
        doubles,
        Arc::new(texts),
        Arc::new(flags),
        Arc::new(pairs),
        Arc::new(amounts),
    ]
}

fn struct_type() -> DataType {
    let fields = [
        Field::new("d", DataType::Float64, true),
        Field::new("v", DataType::Int64, true),
    ];
    DataType::Struct(fields.into_iter().collect())
}

fn special(value: i8) -> f64 {
    match value {
        0 => f64::NAN,
        1 => f64::INFINITY,
        other => f64::from(other) / 4.0,
    }
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("v", DataType::Int64, true),
        Field::new("d", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("p", struct_type(), true),
        Field::new("x", DataType::Decimal128(10, 2), true),
    ])
}

fn aggregate(
    function: &Arc<AggregateUDF>,
    args: &[&str],
    ignore_nulls: bool,
) -> AggregateFunctionExpr {
    let schema = schema();
    let args = args
        .iter()
        .map(|name| -> Arc<dyn PhysicalExpr> {
            match schema.index_of(name) {
                Ok(index) => Arc::new(Column::new(name, index)),
                Err(_) => Arc::new(Literal::new(ScalarValue::Float64(name.parse().ok()))),
            }
        })
        .collect();
    let builder = AggregateExprBuilder::new(Arc::clone(function), args)
        .schema(Arc::new(schema))
        .alias("x");
    if ignore_nulls {
        builder.ignore_nulls()
    } else {
        builder
    }
    .build()
    .expect("the function takes the arguments")
}

fn arguments(aggregate: &AggregateFunctionExpr, rows: &[Row]) -> Vec<ArrayRef> {
    let batch = datafusion::arrow::array::RecordBatch::try_new(Arc::new(schema()), columns(rows))
        .expect("columns of rows");
    aggregate
        .expressions()
        .iter()
        .map(|e| {
            e.evaluate(&batch)
                .and_then(|v| v.into_array(rows.len()))
                .expect("an argument")
        })
        .collect()
}

fn accumulator(aggregate: &AggregateFunctionExpr) -> Box<dyn Accumulator> {
    aggregate.create_accumulator().expect("an accumulator")
}

/// The answer per group, each from one pass over its rows.
fn at_once(aggregate: &AggregateFunctionExpr, rows: &[Row]) -> Vec<ScalarValue> {
    (0..GROUPS)
        .map(|group| {
            let own: Vec<Row> = rows.iter().filter(|r| r.0 == group).copied().collect();
            let mut accumulator = accumulator(aggregate);
            accumulator
                .update_batch(&arguments(aggregate, &own))
                .expect("an update");
            let first = accumulator.evaluate().expect("a value");
            assert!(
                close(&first, &accumulator.evaluate().expect("a value")),
                "reading changed {}",
                aggregate.name()
            );
            first
        })
        .collect()
}

/// The answer per group from row accumulators whose states are merged.
fn in_parts(aggregate: &AggregateFunctionExpr, parts: &[&[Row]]) -> Vec<ScalarValue> {
    (0..GROUPS)
        .map(|group| {
            let mut whole = accumulator(aggregate);
            for part in parts {
                let own: Vec<Row> = part.iter().filter(|r| r.0 == group).copied().collect();
                let mut partial = accumulator(aggregate);
                partial
                    .update_batch(&arguments(aggregate, &own))
                    .expect("an update");
                let state = partial.state().expect("a state");
                let state: Vec<ArrayRef> = state
                    .iter()
                    .map(|s| s.to_array().expect("an array"))
                    .collect();
                whole.merge_batch(&state).expect("a merge");
            }
            whole.evaluate().expect("a value")
        })
        .collect()
}

/// The answer per group from grouped accumulators whose states are merged, the last part first turned into states.
fn in_grouped_parts(aggregate: &Arc<AggregateFunctionExpr>, parts: &[&[Row]]) -> Vec<ScalarValue> {
    let make = || {
        if aggregate.groups_accumulator_supported() {
            return aggregate
                .create_groups_accumulator()
                .expect("an accumulator");
        }
        let aggregate = Arc::clone(aggregate);
        Box::new(GroupsAccumulatorAdapter::new(move || {
            aggregate.create_accumulator()
        }))
    };
    let mut whole = make();
    for (i, part) in parts.iter().enumerate() {
        let groups: Vec<usize> = part.iter().map(|r| r.0).collect();
        let args = arguments(aggregate, part);
        if i + 1 == parts.len() && aggregate.groups_accumulator_supported() {
            let states = make().convert_to_state(&args, None).expect("states");
            whole
                .merge_batch(&states, &groups, GROUPS)
                .expect("a merge");
            continue;
        }
        let mut partial = make();
        partial
            .update_batch(&args, &groups, None, GROUPS)
            .expect("an update");
        // Emitted in two pieces, as a spilling aggregation does.
        let first = partial.state(EmitTo::First(1)).expect("a state");
        whole.merge_batch(&first, &[0], GROUPS).expect("a merge");
        let rest = partial.state(EmitTo::All).expect("a state");
        whole.merge_batch(&rest, &[1, 2], GROUPS).expect("a merge");
    }
    let values = whole.evaluate(EmitTo::All).expect("values");
    (0..GROUPS)
        .map(|g| ScalarValue::try_from_array(&values, g).expect("a value"))
        .collect()
}

fn close(a: &ScalarValue, b: &ScalarValue) -> bool {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            (a.is_nan() && b.is_nan())
                || a == b
                || (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0)
        }
        _ => a == b,
    }
}

fn assert_close(name: &str, expected: &[ScalarValue], found: &[ScalarValue]) {
    let same = expected.iter().zip(found).all(|(a, b)| close(a, b));
    assert!(same, "{name}: expected {expected:?}, found {found:?}");
}

/// Every aggregate with arguments it takes.
fn cases() -> Vec<(Arc<AggregateUDF>, Vec<&'static str>, bool)> {
    let mut cases = vec![
        (checked_sum_udaf(), vec!["v"], false),
        (count_if::count_if_udaf(), vec!["b"], false),
        (avg_udaf(), vec!["x"], false),
        (mode::mode_udaf(), vec!["s"], false),
        (mode::mode_udaf(), vec!["v", "b"], false),
        (percentile::percentile_udaf(), vec!["d", "0.3"], false),
        (
            percentile::percentile_approx_udaf(),
            vec!["v", "0.5"],
            false,
        ),
    ];
    for by in [extremum_by::max_by_udaf(), extremum_by::min_by_udaf()] {
        cases.push((Arc::clone(&by), vec!["s", "v"], false));
        cases.push((by, vec!["v", "d"], false));
    }
    for extremum in [max_udaf(), min_udaf()] {
        cases.push((Arc::clone(&extremum), vec!["d"], false));
        cases.push((extremum, vec!["p"], false));
    }
    for end in [first_last::first_udaf(), first_last::last_udaf()] {
        cases.push((Arc::clone(&end), vec!["v"], false));
        cases.push((end, vec!["s"], true));
    }
    cases
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop::option::weighted(0.8, -3i64..4);
    let double = prop::option::weighted(0.8, 0i8..6);
    prop::collection::vec((0..GROUPS, value, double, any::<Option<bool>>()), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merged_parts_give_the_answer_of_the_whole(rows in rows(), cuts in prop::collection::vec(0usize..25, 2)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(rows.len())).collect();
        cuts.sort_unstable();
        let parts = [&rows[..cuts[0]], &rows[cuts[0]..cuts[1]], &rows[cuts[1]..]];
        for (function, args, ignore_nulls) in cases() {
            let aggregate = Arc::new(aggregate(&function, &args, ignore_nulls));
            let expected = at_once(&aggregate, &rows);
            assert_close(function.name(), &expected, &in_parts(&aggregate, &parts));
            assert_close(function.name(), &expected, &in_grouped_parts(&aggregate, &parts));
        }
    }

    #[test]
    fn what_claims_not_to_depend_on_the_order_does_not(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cut in 0usize..25,
    ) {
        let (head, tail) = shuffled.split_at(cut.min(rows.len()));
        for (function, args, ignore_nulls) in cases() {
            if function.order_sensitivity() != AggregateOrderSensitivity::Insensitive {
                continue;
            }
            let aggregate = Arc::new(aggregate(&function, &args, ignore_nulls));
            let expected = at_once(&aggregate, &rows);
            assert_close(function.name(), &expected, &at_once(&aggregate, &shuffled));
            assert_close(function.name(), &expected, &in_grouped_parts(&aggregate, &[tail, head]));
        }
    }

    #[test]
    fn moments_do_not_depend_on_the_split(values in prop::collection::vec(-100i64..100, 1..40), cut in 0usize..40) {
        let rows: Vec<Row> = values.iter().map(|v| (0, Some(*v), i8::try_from(*v).ok().map(|v| v.clamp(2, 100)), None)).collect();
        let (head, tail) = rows.split_at(cut.min(rows.len()));
        for function in [moments::skewness_udaf(), moments::kurtosis_udaf()] {
            let aggregate = Arc::new(aggregate(&function, &["d"], false));
            let expected = at_once(&aggregate, &rows);
            assert_close(function.name(), &expected, &in_parts(&aggregate, &[head, tail]));
            assert_close(function.name(), &expected, &in_grouped_parts(&aggregate, &[head, tail]));
        }
    }
}

#[test]
fn functions_say_whether_they_depend_on_the_order_of_rows() {
    let dependent: Vec<String> = functions()
        .iter()
        .filter(|function| function.order_sensitivity() != AggregateOrderSensitivity::Insensitive)
        .map(|function| function.name().to_owned())
        .collect();
    // The last is an estimate from a set, which does not depend on the order either, but DataFusion's is silent.
    assert_eq!(
        dependent,
        [
            "max_by",
            "min_by",
            "first",
            "last",
            "string_agg",
            "approx_distinct"
        ]
    );
}

fn answer(function: &Arc<AggregateUDF>, values: Vec<ArrayRef>, args: &[&str]) -> ScalarValue {
    let aggregate = aggregate(function, args, false);
    let mut accumulator = accumulator(&aggregate);
    accumulator.update_batch(&values).expect("an update");
    accumulator.evaluate().expect("a value")
}

#[test]
fn moments_are_those_of_spark() {
    // Distances from the mean 4: -3, -2, 0, 5; the sums of their powers: 38, 90, 722.
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 4.0, 9.0]));
    let skewness = answer(&moments::skewness_udaf(), vec![Arc::clone(&values)], &["d"]);
    let kurtosis = answer(&moments::kurtosis_udaf(), vec![values], &["d"]);
    assert!(
        close(&skewness, &ScalarValue::from(180.0 / 38f64.powf(1.5))),
        "{skewness}"
    );
    assert!(close(&kurtosis, &ScalarValue::from(-1.0)), "{kurtosis}");
}

#[test]
fn a_sum_outside_bigint_fails() {
    let aggregate = aggregate(&checked_sum_udaf(), &["v"], false);
    let mut accumulator = accumulator(&aggregate);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    let error = accumulator
        .update_batch(&[values])
        .expect_err("overflow")
        .to_string();
    assert!(error.contains("ARITHMETIC_OVERFLOW"), "{error}");
    let mut groups = aggregate
        .create_groups_accumulator()
        .expect("an accumulator");
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, -1, 1]));
    groups
        .update_batch(&[Arc::clone(&values)], &[0, 1, 0], None, 2)
        .expect("no overflow");
    let overflow = take(&values, &UInt32Array::from(vec![0]), None).expect("a row");
    assert!(groups.merge_batch(&[overflow], &[0], 2).is_err());
}

#[test]
fn nan_is_the_greatest_double() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, 1.0]));
    let max = answer(&max_udaf(), vec![Arc::clone(&values)], &["d"]);
    assert!(
        matches!(max, ScalarValue::Float64(Some(v)) if v.is_nan()),
        "{max}"
    );
    assert_eq!(
        answer(&min_udaf(), vec![values], &["d"]),
        ScalarValue::from(1.0)
    );
}

#[test]
fn percentiles_interpolate_or_pick() {
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0]));
    let half: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 4]));
    let exact = answer(
        &percentile::percentile_udaf(),
        vec![doubles, Arc::clone(&half)],
        &["d", "0.5"],
    );
    assert_eq!(exact, ScalarValue::from(2.5));
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![4, 3, 2, 1]));
    let picked = answer(
        &percentile::percentile_approx_udaf(),
        vec![longs, half],
        &["v", "0.5"],
    );
    assert_eq!(picked, ScalarValue::from(2i64));
}
