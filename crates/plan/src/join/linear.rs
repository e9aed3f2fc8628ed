//! Expressions over times as sums: columns, each added or taken away, and a fixed length of time.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, IntervalUnit, TimeUnit},
    common::{DFSchema, ExprSchema, ScalarValue},
    logical_expr::{Cast, Expr, Operator, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
    prelude::Column,
};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A sum of timestamp columns, each with its sign, and microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Linear {
    /// Each column with `1` or `-1`.
    pub(super) terms: Vec<(Column, i8)>,
    pub(super) micros: i64,
    /// Whether days are part of `micros`, which are 24 hours long only where clocks are never changed.
    days: bool,
}

impl Linear {
    /// `left - right` with terms that cancel each other left out; `None` if it leaves the range of 64 bits.
    pub(super) fn minus(self, right: Self) -> Option<Self> {
        let right = Self {
            terms: right.terms.into_iter().map(|(c, s)| (c, -s)).collect(),
            micros: right.micros.checked_neg()?,
            days: right.days,
        };
        self.plus(right)
    }

    fn plus(mut self, right: Self) -> Option<Self> {
        for (column, sign) in right.terms {
            let opposite = self
                .terms
                .iter()
                .position(|(known, known_sign)| *known == column && *known_sign == -sign);
            match opposite {
                Some(position) => drop(self.terms.remove(position)),
                None => self.terms.push((column, sign)),
            }
        }
        self.micros = self.micros.checked_add(right.micros)?;
        self.days |= right.days;
        Some(self)
    }

    fn of_micros(micros: i64, days: bool) -> Self {
        Self {
            terms: Vec::new(),
            micros,
            days,
        }
    }
}

/// The sum that `expr` is; `None` if it is something else, or a sum whose value depends on the calendar: months, and
/// days in a time zone where clocks change.
pub(super) fn linear(expr: &Expr, schema: &DFSchema) -> Option<Linear> {
    let sum = sum(expr, schema)?;
    let zones_are_fixed = || {
        sum.terms.iter().all(|(column, _)| {
            schema.field_from_column(column).is_ok_and(|field| {
                matches!(field.data_type(), DataType::Timestamp(_, zone) if has_even_days(zone.as_deref()))
            })
        })
    };
    (!sum.days || zones_are_fixed()).then_some(sum)
}

fn sum(expr: &Expr, schema: &DFSchema) -> Option<Linear> {
    match expr {
        Expr::Alias(alias) => sum(&alias.expr, schema),
        Expr::Column(column) => {
            let field = schema.field_from_column(column).ok()?;
            matches!(field.data_type(), DataType::Timestamp(_, _)).then(|| Linear {
                terms: vec![(column.clone(), 1)],
                micros: 0,
                days: false,
            })
        }
        Expr::Literal(value, _) => length(value),
        Expr::Negative(inner) => Linear::of_micros(0, false).minus(sum(inner, schema)?),
        Expr::Cast(Cast { expr, field }) => {
            let inner = sum(expr, schema)?;
            keeps_time(expr, field.data_type(), schema).then_some(inner)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Plus => {
            sum(&binary.left, schema)?.plus(sum(&binary.right, schema)?)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Minus => {
            sum(&binary.left, schema)?.minus(sum(&binary.right, schema)?)
        }
        other => length(&constant(other)?),
    }
}

/// The value of an expression without columns.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    if expr.any_column_refs() || expr.is_volatile() {
        return None;
    }
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    match simplifier.simplify(expr.clone()) {
        Ok(Expr::Literal(value, _)) => Some(value),
        _ => None,
    }
}

/// A length of time that is the same everywhere in the calendar.
fn length(value: &ScalarValue) -> Option<Linear> {
    let whole = |nanos: i64| (nanos % 1_000 == 0).then_some(nanos / 1_000);
    let (days, micros) = match value {
        ScalarValue::IntervalMonthDayNano(Some(length)) if length.months == 0 => {
            (length.days, whole(length.nanoseconds)?)
        }
        ScalarValue::IntervalDayTime(Some(length)) => {
            (length.days, i64::from(length.milliseconds) * 1_000)
        }
        ScalarValue::DurationSecond(Some(seconds)) => (0, seconds.checked_mul(1_000_000)?),
        ScalarValue::DurationMillisecond(Some(millis)) => (0, millis.checked_mul(1_000)?),
        ScalarValue::DurationMicrosecond(Some(micros)) => (0, *micros),
        ScalarValue::DurationNanosecond(Some(nanos)) => (0, whole(*nanos)?),
        _ => return None,
    };
    let of_days = i64::from(days).checked_mul(MICROS_PER_DAY)?;
    Some(Linear::of_micros(of_days.checked_add(micros)?, days != 0))
}

/// Whether a cast of a sum changes only its type.
fn keeps_time(from: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    use datafusion::logical_expr::ExprSchemable;
    let Ok(from) = from.get_type(schema) else {
        return false;
    };
    match (&from, to) {
        (DataType::Timestamp(from, old_zone), DataType::Timestamp(to, new_zone)) => {
            // From a local time to an instant, or back, the zone is added or taken away.
            let same_clock = old_zone.is_some() == new_zone.is_some()
                || [old_zone, new_zone]
                    .into_iter()
                    .flatten()
                    .all(|zone: &Arc<str>| is_utc(zone));
            fineness(*from) <= fineness(*to) && same_clock
        }
        (DataType::Duration(from), DataType::Duration(to)) => fineness(*from) <= fineness(*to),
        (DataType::Duration(_), DataType::Interval(unit)) => *unit == IntervalUnit::MonthDayNano,
        (DataType::Interval(_), DataType::Interval(unit)) => *unit == IntervalUnit::MonthDayNano,
        _ => false,
    }
}

fn fineness(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Z" | "+00:00" | "+0000" | "Etc/UTC")
}

/// Whether every day of a zone has 24 hours.
fn has_even_days(zone: Option<&str>) -> bool {
    zone.is_none_or(|zone| is_utc(zone) || zone.starts_with(['+', '-']))
}
