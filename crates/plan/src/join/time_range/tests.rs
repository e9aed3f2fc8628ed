use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit},
    common::{DFSchema, ScalarValue},
    logical_expr::{Expr, cast, col, lit, not},
};

use super::*;

fn side(name: &str, columns: &[(&str, DataType)]) -> DFSchema {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    DFSchema::try_from_qualified_schema(name, &Schema::new(fields)).unwrap()
}

fn micros(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Arc::from))
}

fn left() -> DFSchema {
    side(
        "l",
        &[
            ("t", micros(Some("UTC"))),
            ("u", micros(Some("UTC"))),
            ("paris", micros(Some("Europe/Paris"))),
            (
                "coarse",
                DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
            ),
            ("n", DataType::Int64),
        ],
    )
}

fn right() -> DFSchema {
    side("r", &[("t", micros(Some("UTC"))), ("n", DataType::Int64)])
}

fn length(months: i32, days: i32, seconds: i64) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(
        IntervalMonthDayNano::new(months, days, seconds * 1_000_000_000),
    )))
}

fn seconds(count: i64) -> Expr {
    length(0, 0, count)
}

/// The bounds of `l.t - r.t` and `r.t - l.t` in seconds, as text: `<=10`, `<10`, `=10` or nothing.
fn bounds(conjuncts: &[Expr]) -> (String, String) {
    let ranges = time_ranges(conjuncts, &left(), &right());
    let text = |bound: Option<Bound>| {
        bound.map_or(String::new(), |bound| {
            let sign = match bound.tie {
                Tie::Matches => "<=",
                Tie::Differs => "<",
                Tie::Only => "=",
            };
            format!("{sign}{}", bound.micros as f64 / 1e6)
        })
    };
    match ranges.as_slice() {
        [] => (String::new(), String::new()),
        [range] => {
            assert_eq!(range.right, Column::from_qualified_name("r.t"));
            (text(range.left_minus_right), text(range.right_minus_left))
        }
        more => panic!("{more:?}"),
    }
}

#[track_caller]
fn check(conjuncts: &[Expr], left_minus_right: &str, right_minus_left: &str) {
    let (most, least) = bounds(conjuncts);
    assert_eq!(
        (most.as_str(), least.as_str()),
        (left_minus_right, right_minus_left),
        "{conjuncts:?}"
    );
}

#[test]
fn comparisons_are_read_either_way_round() {
    let (l, r) = (|| col("l.t"), || col("r.t"));
    check(&[r().gt_eq(l())], "<=0", "");
    check(&[l().lt_eq(r())], "<=0", "");
    check(&[r().lt(l())], "", "<0");
    check(&[l().gt(r())], "", "<0");
    check(&[r().lt_eq(l() + seconds(10))], "", "<=10");
    check(&[(l() + seconds(10)).gt_eq(r())], "", "<=10");
    check(&[(r() - seconds(10)).lt(l())], "", "<10");
    check(&[l().gt(r() - seconds(10))], "", "<10");
    check(&[l().lt(r() + seconds(3))], "<3", "");
    check(&[seconds(3) + r()], "", "");
    check(&[l().lt(seconds(3) + r())], "<3", "");
}

#[test]
fn lengths_of_time_add_up_on_both_sides() {
    let (l, r) = (|| col("l.t"), || col("r.t"));
    check(
        &[(r() - seconds(1) + seconds(4)).lt_eq(l() + length(0, 1, 0) - seconds(2))],
        "",
        "<=86395",
    );
    check(&[(r() - l()).lt(seconds(7))], "", "<7");
    check(&[(l() - r()).lt(seconds(7))], "<7", "");
    check(
        &[(r() - l()).lt(lit(ScalarValue::DurationMillisecond(Some(1_500))))],
        "",
        "<1.5",
    );
    check(
        &[Expr::Negative(Box::new(seconds(5))).lt_eq(r() - l())],
        "<=5",
        "",
    );
}

#[test]
fn between_and_not_are_comparisons() {
    let (l, r) = (|| col("l.t"), || col("r.t"));
    let within = r().between(l() - seconds(5), l() + seconds(8));
    check(&[within], "<=5", "<=8");
    check(&[r().not_between(l(), l() + seconds(8))], "", "");
    check(&[not(r().gt(l() + seconds(8)))], "", "<=8");
    check(&[not(r().lt_eq(l()))], "<0", "");
}

#[test]
fn the_tightest_of_several_bounds_counts() {
    let (l, r) = (|| col("l.t"), || col("r.t"));
    check(
        &[
            r().lt_eq(l() + seconds(10)),
            r().lt(l() + seconds(10)),
            r().lt_eq(l() + seconds(12)),
            r().gt(l() - seconds(1)),
            r().gt_eq(l() - seconds(4)),
        ],
        "<1",
        "<10",
    );
    check(
        &[r().eq(l() + seconds(2)), r().lt_eq(l() + seconds(2))],
        "=-2",
        "=2",
    );
    check(&[l().eq(r())], "=0", "=0");
}

#[test]
fn each_pair_of_columns_has_a_range_of_its_own() {
    let found = time_ranges(
        &[
            col("r.t").lt(col("l.t")),
            col("r.t").gt(col("l.u") - seconds(9)),
        ],
        &left(),
        &right(),
    );
    let names: Vec<&str> = found.iter().map(|range| range.left.name()).collect();
    assert_eq!(names, ["t", "u"]);
    assert_eq!(found[0].left_minus_right, None);
    assert_eq!(found[1].right_minus_left, None);
}

#[test]
fn what_is_no_distance_of_two_times_says_nothing() {
    let (l, r) = (|| col("l.t"), || col("r.t"));
    check(&[col("l.n").lt(col("r.n"))], "", "");
    check(&[l().lt(l() + seconds(1))], "", "");
    check(&[r().not_eq(l())], "", "");
    check(&[r().lt(l()).or(r().gt(l()))], "", "");
    check(&[r().lt(l() + length(1, 0, 0))], "", "");
    check(&[(r() + l()).lt(seconds(1))], "", "");
    let nanos = lit(ScalarValue::IntervalMonthDayNano(Some(
        IntervalMonthDayNano::new(0, 0, 1),
    )));
    check(&[r().lt(l() + nanos)], "", "");
    check(
        &[r().lt(l() + seconds(i64::MAX / 1_000_000_000))],
        "",
        "<9223372036",
    );
}

#[test]
fn days_have_24_hours_only_where_clocks_are_never_changed() {
    let ranges = |days, hours: i64| {
        let least = col("l.paris") + length(0, days, hours * 3_600);
        time_ranges(&[col("r.t").lt(least)], &left(), &right()).len()
    };
    assert_eq!((ranges(1, 0), ranges(0, 24)), (0, 1));
}

#[test]
fn casts_count_only_if_they_keep_the_time() {
    let to = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Arc::from));
    let found = |target: DataType, column: &str| {
        time_ranges(
            &[col("r.t").lt(cast(col(column), target))],
            &left(),
            &right(),
        )
        .len()
    };
    let utc = Some("UTC");
    assert_eq!(found(to(TimeUnit::Microsecond, utc), "l.coarse"), 1);
    assert_eq!(found(to(TimeUnit::Microsecond, Some("+00:00")), "l.t"), 1);
    assert_eq!(found(to(TimeUnit::Microsecond, None), "l.t"), 1);
    assert_eq!(found(to(TimeUnit::Microsecond, utc), "l.paris"), 1);
    assert_eq!(found(to(TimeUnit::Second, utc), "l.t"), 0);
    assert_eq!(found(to(TimeUnit::Microsecond, None), "l.paris"), 0);
}

#[test]
fn an_inclusive_bound_reaches_a_millisecond_further() {
    let reach = |tie| {
        Bound {
            micros: 10_000,
            tie,
        }
        .reach_micros()
    };
    assert_eq!(reach(Tie::Matches), 11_000);
    assert_eq!((reach(Tie::Differs), reach(Tie::Only)), (10_000, 10_000));
}
