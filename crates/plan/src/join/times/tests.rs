use datafusion::{
    arrow::datatypes::{DataType, Field, Schema, TimeUnit},
    common::ScalarValue,
    logical_expr::{LogicalPlan, LogicalPlanBuilder, binary_expr, col, lit, table_scan},
};

use super::*;
use crate::{join::condition::with_keys, with_watermark};

/// `l(lt, lk)` or `r(rt, rk)`, with a watermark or without.
fn side(name: &str, watermark: bool) -> LogicalPlan {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new(format!("{name}t"), time, true),
        Field::new(format!("{name}k"), DataType::Utf8, true),
    ]);
    let scan = table_scan(Some(name), &schema, None)
        .unwrap()
        .build()
        .unwrap();
    match watermark {
        true => with_watermark(scan, &format!("{name}t"), "5 seconds").unwrap(),
        false => scan,
    }
}

fn join_of(left: LogicalPlan, right: LogicalPlan, kind: JoinType, on: Vec<Expr>) -> Join {
    let plan = LogicalPlanBuilder::from(left)
        .join_on(right, kind, on)
        .unwrap()
        .build()
        .unwrap();
    let LogicalPlan::Join(join) = plan else {
        panic!("{plan}")
    };
    with_keys(join).unwrap()
}

fn seconds(count: i64) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, count * 1_000_000_000))
}

fn key() -> Expr {
    col("lk").eq(col("rk"))
}

/// `rt` from `lt` to ten seconds later.
fn within_ten() -> Vec<Expr> {
    vec![
        key(),
        col("rt").gt_eq(col("lt")),
        col("rt").lt_eq(col("lt") + seconds(10)),
    ]
}

fn times(marks: (bool, bool), kind: JoinType, on: Vec<Expr>) -> JoinTimes {
    let join = join_of(side("l", marks.0), side("r", marks.1), kind, on);
    JoinTimes::of(&join, false).unwrap()
}

fn spot(spot: &Option<Spot>) -> Option<(&str, i64)> {
    let spot = spot.as_ref()?;
    Some((spot.column.name(), spot.extra_micros))
}

#[test]
fn a_range_bounds_both_sides() {
    let times = times((true, true), JoinType::Inner, within_ten());
    assert_eq!(spot(&times.left.expires), Some(("lt", 10_001_000)));
    assert_eq!(spot(&times.right.expires), Some(("rt", 1_000)));
    assert_eq!(spot(&times.left.late), Some(("lt", 0)));
    assert_eq!(spot(&times.right.late), Some(("rt", 0)));
    assert_eq!(times.lag_micros, 10_001_000);
    assert_eq!(times.kept, [None, None]);
}

#[test]
fn what_a_row_can_match_expires_near_it() {
    let times = times((true, true), JoinType::Inner, within_ten());
    let near = times.left.near.unwrap();
    assert_eq!(
        (near.other.name(), near.from_micros, near.to_micros),
        ("rt", 1_000, Some(10_001_000)),
        "left rows from ten seconds before the right one to the same time, which expire 10.001 s after theirs"
    );
    let near = times.right.near.unwrap();
    assert_eq!(
        (near.other.name(), near.from_micros, near.to_micros),
        ("lt", 1_000, Some(10_001_000))
    );
}

#[test]
fn equal_event_times_expire_with_the_watermark() {
    let on = vec![key(), col("lt").eq(col("rt"))];
    let times = times((true, true), JoinType::Full, on);
    assert_eq!(spot(&times.left.expires), Some(("lt", 0)));
    assert_eq!(spot(&times.right.expires), Some(("rt", 0)));
    assert_eq!(times.lag_micros, 0);
}

#[test]
fn an_open_range_bounds_one_side() {
    let on = vec![key(), col("rt").lt_eq(col("lt") + seconds(10))];
    let times = times((true, true), JoinType::Inner, on);
    assert_eq!(spot(&times.left.expires), Some(("lt", 10_001_000)));
    assert_eq!(times.right.expires, None);
    assert_eq!(times.kept, [None, Some(Kept::NoBound)]);
    assert_eq!(
        spot(&times.right.late),
        Some(("rt", 0)),
        "late all the same"
    );
}

#[test]
fn an_inner_join_keeps_a_side_without_a_watermark_as_recorded() {
    let of_right = times((false, true), JoinType::Inner, within_ten());
    assert_eq!(
        of_right.kept,
        [Some(Kept::HasNoWatermark), Some(Kept::OtherHasNoWatermark)]
    );
    assert!(!of_right.evicts());
    assert_eq!(of_right.left.late, None);
    assert_eq!(spot(&of_right.right.late), Some(("rt", 0)));
}

#[test]
fn an_outer_join_removes_what_provably_has_no_match() {
    let of_right = times((false, true), JoinType::Left, within_ten());
    assert_eq!(spot(&of_right.left.expires), Some(("lt", 10_001_000)));
    assert_eq!(of_right.kept, [None, Some(Kept::OtherHasNoWatermark)]);
    let of_left = times((true, false), JoinType::Left, within_ten());
    assert_eq!(of_left.kept[0], Some(Kept::OtherHasNoWatermark));
}

#[test]
fn without_a_time_in_the_condition_nothing_expires() {
    let times = times((true, true), JoinType::Inner, vec![key()]);
    assert_eq!(times.kept, [Some(Kept::NoBound), Some(Kept::NoBound)]);
    assert_eq!(spot(&times.left.late), Some(("lt", 0)));
    assert!(
        times.grows()[0].contains("right.time <= left.time"),
        "{:?}",
        times.grows()
    );
}

#[test]
fn a_range_of_columns_without_a_watermark_proves_nothing() {
    let extra = LogicalPlanBuilder::from(side("r", true))
        .project(vec![
            col("rt"),
            col("rk"),
            (col("rt") + seconds(0)).alias("other"),
        ])
        .unwrap()
        .build()
        .unwrap();
    let on = vec![key(), col("other").lt_eq(col("lt") + seconds(10))];
    let join = join_of(side("l", true), extra, JoinType::Left, on);
    let times = JoinTimes::of(&join, false).unwrap();
    assert_eq!(times.kept[0], Some(Kept::NoBound));
}

#[test]
fn a_null_safe_equality_becomes_keys_that_are_never_null() {
    let on = vec![binary_expr(
        col("lk"),
        Operator::IsNotDistinctFrom,
        col("rk"),
    )];
    let join = join_of(side("l", true), side("r", true), JoinType::Inner, on);
    assert!(join.filter.is_none());
    let names: Vec<String> = join.on.iter().map(|(left, _)| left.to_string()).collect();
    assert_eq!(names, ["coalesce(l.lk, Utf8(\"\"))", "l.lk IS NULL"]);
}

#[test]
fn strictly_a_semi_join_removes_no_rows_of_a_side_without_a_watermark() {
    let join = join_of(
        side("l", false),
        side("r", true),
        JoinType::LeftSemi,
        within_ten(),
    );
    assert_eq!(JoinTimes::of(&join, false).unwrap().kept[0], None);
    let strict = JoinTimes::of(&join, true).unwrap().kept[0];
    assert_eq!(strict, Some(Kept::HasNoWatermark));
}
