//! Lengths of time that are the same everywhere in the calendar, as durations.
//!
//! `t + INTERVAL 20 SECONDS` goes through the calendar row by row, zone included, because an interval may hold months
//! and days. One without them is as good as a duration, which is added to a whole column at once.

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::{
        DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
};

/// The same plan with durations in the place of intervals without months and days, where they are added to a time or
/// taken from it. Aggregations stay as they are: their states are found again by name.
pub(crate) fn intervals_as_durations(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        if matches!(node, LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let replaced = expr.transform_up(|expr| with_duration(expr, &schema))?;
            Ok(replaced.update_data(|expr| name.restore(expr)))
        })
    })
    .map(|plan| plan.data)
}

fn with_duration(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
        return Ok(Transformed::no(expr));
    };
    if let (Operator::Plus | Operator::Minus, Expr::Literal(value, metadata)) = (op, right.as_ref())
        && let Ok(DataType::Timestamp(unit, _)) = left.get_type(schema)
        && let Some(duration) = duration(value, unit)
    {
        let right = Box::new(Expr::Literal(duration, metadata.clone()));
        return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
            left,
            op,
            right,
        })));
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr {
        left,
        op,
        right,
    })))
}

/// The interval as a whole number of units, if it is the same everywhere in the calendar.
fn duration(interval: &ScalarValue, unit: TimeUnit) -> Option<ScalarValue> {
    let nanos = match interval {
        ScalarValue::IntervalMonthDayNano(Some(length))
            if (length.months, length.days) == (0, 0) =>
        {
            length.nanoseconds
        }
        ScalarValue::IntervalDayTime(Some(length)) if length.days == 0 => {
            i64::from(length.milliseconds) * 1_000_000
        }
        _ => return None,
    };
    let whole =
        |nanos_of_unit: i64| (nanos % nanos_of_unit == 0).then_some(Some(nanos / nanos_of_unit));
    Some(match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(whole(1_000_000_000)?),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(whole(1_000_000)?),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(whole(1_000)?),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(Some(nanos)),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        arrow::datatypes::{Field, IntervalMonthDayNano, Schema},
        logical_expr::{col, lit, table_scan},
    };

    use super::*;

    fn interval(months: i32, days: i32, nanos: i64) -> Expr {
        lit(ScalarValue::IntervalMonthDayNano(Some(
            IntervalMonthDayNano::new(months, days, nanos),
        )))
    }

    fn rewritten(unit: TimeUnit, length: Expr) -> String {
        let time = DataType::Timestamp(unit, Some("Europe/Paris".into()));
        let schema = Schema::new(vec![Field::new("t", time, true)]);
        let scan = table_scan(Some("s"), &schema, None).unwrap();
        let plan = scan
            .project(vec![col("t") + length])
            .unwrap()
            .build()
            .unwrap();
        let before = Arc::clone(plan.schema());
        let plan = intervals_as_durations(plan).unwrap();
        assert_eq!(plan.schema(), &before, "names and types stay");
        plan.display().to_string()
    }

    #[test]
    fn only_what_is_the_same_everywhere_in_the_calendar_becomes_a_duration() {
        let becomes_one = |unit, length| rewritten(unit, length).contains("Duration");
        assert!(becomes_one(TimeUnit::Microsecond, interval(0, 0, 20_000)));
        assert!(becomes_one(TimeUnit::Nanosecond, interval(0, 0, 1)));
        assert!(!becomes_one(TimeUnit::Microsecond, interval(0, 0, 1)));
        assert!(!becomes_one(TimeUnit::Microsecond, interval(0, 1, 0)));
        assert!(!becomes_one(TimeUnit::Microsecond, interval(1, 0, 0)));
    }
}
