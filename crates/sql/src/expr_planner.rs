//! Operators whose meaning in Spark depends on the types: `/`, `div`, `date + 1`, `xs[0]`, EXTRACT.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, binary_expr, cast, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::arithmetic::DIVIDE;
use crate::functions::datetime::is_fractional_field;
use crate::functions::scalar::{is_text, timestamp};
use crate::interval::MICROS_PER_DAY;

/// Plans operators by Spark's rules. It is asked before DataFusion's own planners.
#[derive(Debug)]
pub(crate) struct SparkExprPlanner {
    functions: Vec<Arc<ScalarUDF>>,
}

impl SparkExprPlanner {
    /// `functions` are those of this crate, by whose names calls are made.
    pub(crate) fn new(functions: Vec<Arc<ScalarUDF>>) -> Self {
        Self { functions }
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        match self.functions.iter().find(|f| f.name() == name) {
            Some(function) => Ok(function.call(args)),
            None => datafusion::common::internal_err!("function {name} is not registered"),
        }
    }

    /// The operator over two floats; DataFusion would compare a float with a decimal as decimals.
    fn with_doubles(
        &self,
        op: &BinaryOperator,
        left: Expr,
        right: Expr,
        schema: &DFSchema,
    ) -> Result<Expr> {
        if let Some(planned) = self.binary(op, &left, &right, schema)? {
            return Ok(planned);
        }
        match comparison(op).or_else(|| arithmetic(op)) {
            Some(op) => Ok(binary_expr(left, op, right)),
            None => plan_err!("operator {op} does not take {left} and {right}"),
        }
    }

    fn binary(
        &self,
        op: &BinaryOperator,
        left: &Expr,
        right: &Expr,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        let (l, r) = (left.get_type(schema)?, right.get_type(schema)?);
        let number = |t: &DataType| t.is_numeric() || *t == DataType::Null;
        if let Some((left, right)) = text_as_number(op, left, &l, right, &r) {
            let planned = self.binary(op, &left, &right, schema)?;
            return Ok(planned.or_else(|| Some(binary_expr(left, arithmetic(op)?, right))));
        }
        if l.is_decimal() && r.is_floating() && *op != BinaryOperator::MyIntegerDivide {
            return self
                .with_doubles(
                    op,
                    cast(left.clone(), DataType::Float64),
                    right.clone(),
                    schema,
                )
                .map(Some);
        }
        if l.is_floating() && r.is_decimal() && *op != BinaryOperator::MyIntegerDivide {
            return self
                .with_doubles(
                    op,
                    left.clone(),
                    cast(right.clone(), DataType::Float64),
                    schema,
                )
                .map(Some);
        }
        let planned = match op {
            BinaryOperator::Divide if number(&l) && number(&r) => {
                let exact = |t: &DataType| t.is_decimal() || t.is_integer() || *t == DataType::Null;
                if (l.is_decimal() || r.is_decimal()) && exact(&l) && exact(&r) {
                    return Ok(None);
                }
                self.call(DIVIDE, vec![left.clone(), right.clone()])?
            }
            BinaryOperator::MyIntegerDivide => {
                let long = |e: &Expr, t: &DataType| {
                    if *t == DataType::Int64 {
                        e.clone()
                    } else {
                        cast(e.clone(), DataType::Int64)
                    }
                };
                binary_expr(long(left, &l), Operator::Divide, long(right, &r))
            }
            BinaryOperator::Plus | BinaryOperator::Minus => {
                let shift = if *op == BinaryOperator::Plus {
                    "date_add"
                } else {
                    "date_sub"
                };
                match (&l, &r) {
                    // A date and hours are a timestamp.
                    (DataType::Date32, DataType::Interval(_)) if has_part_of_day(right) => {
                        let op = match op {
                            BinaryOperator::Plus => Operator::Plus,
                            _ => Operator::Minus,
                        };
                        binary_expr(cast(left.clone(), timestamp()), op, right.clone())
                    }
                    (DataType::Date32, days) if days.is_integer() => {
                        self.call(shift, vec![left.clone(), right.clone()])?
                    }
                    (days, DataType::Date32)
                        if days.is_integer() && *op == BinaryOperator::Plus =>
                    {
                        self.call(shift, vec![right.clone(), left.clone()])?
                    }
                    _ => return Ok(narrowed(op, left, &l, right, &r)),
                }
            }
            BinaryOperator::Multiply | BinaryOperator::Modulo => {
                return Ok(narrowed(op, left, &l, right, &r));
            }
            _ => match (comparison(op), flag_and_text(&l, &r)) {
                (Some(op), true) => binary_expr(flag(left, &l), op, flag(right, &r)),
                (Some(op), false) => match compared_durations(left, &l, right, &r) {
                    Some((left, right)) => binary_expr(left, op, right),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            },
        };
        Ok(Some(planned))
    }
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Spaceship => Operator::IsNotDistinctFrom,
        _ => return None,
    })
}

fn arithmetic(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    })
}

/// A text that is computed with becomes a number: BIGINT beside a whole number, else DOUBLE.
fn text_as_number(
    op: &BinaryOperator,
    left: &Expr,
    l: &DataType,
    right: &Expr,
    r: &DataType,
) -> Option<(Expr, Expr)> {
    arithmetic(op)?;
    let number = |other: &DataType| match other {
        other if other.is_integer() => Some(DataType::Int64),
        other if other.is_numeric() => Some(DataType::Float64),
        _ => None,
    };
    match (is_text(l), is_text(r)) {
        (true, false) => Some((cast(left.clone(), number(r)?), right.clone())),
        (false, true) => Some((left.clone(), cast(right.clone(), number(l)?))),
        _ => None,
    }
}

/// Whether a constant interval has hours, minutes or seconds.
fn has_part_of_day(interval: &Expr) -> bool {
    matches!(interval, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)
        if interval.nanoseconds != 0)
}

/// A constant interval of days and less, in microseconds.
fn duration(interval: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = interval else {
        return None;
    };
    let days = i64::from(interval.days).checked_mul(MICROS_PER_DAY)?;
    let micros = days.checked_add(interval.nanoseconds / 1_000)?;
    (interval.months == 0).then(|| lit(ScalarValue::DurationMicrosecond(Some(micros))))
}

/// `end - start > INTERVAL 1 DAY`: the difference of two times has no days, only microseconds.
fn compared_durations(
    left: &Expr,
    l: &DataType,
    right: &Expr,
    r: &DataType,
) -> Option<(Expr, Expr)> {
    let micros = DataType::Duration(TimeUnit::Microsecond);
    match (l, r) {
        (DataType::Duration(_), DataType::Interval(_)) => {
            Some((cast(left.clone(), micros), duration(right)?))
        }
        (DataType::Interval(_), DataType::Duration(_)) => {
            Some((duration(left)?, cast(right.clone(), micros)))
        }
        _ => None,
    }
}

/// `flag = 'true'` compares flags.
fn flag_and_text(left: &DataType, right: &DataType) -> bool {
    matches!((left, right), (DataType::Boolean, other) | (other, DataType::Boolean) if is_text(other))
}

fn flag(expr: &Expr, data_type: &DataType) -> Expr {
    match data_type {
        DataType::Boolean => expr.clone(),
        _ => cast(expr.clone(), DataType::Boolean),
    }
}

/// `int_column + 1` is an INT in Spark, where DataFusion's literal would make it a BIGINT that overflows later.
fn narrowed(
    op: &BinaryOperator,
    left: &Expr,
    l: &DataType,
    right: &Expr,
    r: &DataType,
) -> Option<Expr> {
    let op = match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    };
    let small = |t: &DataType| matches!(t, DataType::Int8 | DataType::Int16 | DataType::Int32);
    let int = |e: &Expr| match e {
        Expr::Literal(ScalarValue::Int64(Some(v)), _) => i32::try_from(*v).ok().map(lit),
        _ => None,
    };
    match (int(left), int(right)) {
        (None, Some(right)) if small(l) => Some(binary_expr(left.clone(), op, right)),
        (Some(left), None) if small(r) => Some(binary_expr(left, op, right.clone())),
        _ => None,
    }
}

impl ExprPlanner for SparkExprPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        Ok(
            match self.binary(&expr.op, &expr.left, &expr.right, schema)? {
                Some(planned) => PlannerResult::Planned(planned),
                None => PlannerResult::Original(expr),
            },
        )
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let whole = match args.first() {
            Some(Expr::Literal(ScalarValue::Utf8(Some(field)), _)) => !is_fractional_field(field),
            _ => false,
        };
        let part = self.call("date_part", args)?;
        Ok(PlannerResult::Planned(if whole {
            cast(part, DataType::Int32)
        } else {
            part
        }))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = access;
        let planned = match (&field_access, expr.get_type(schema)?) {
            (GetFieldAccess::ListIndex { key }, DataType::Map(_, _)) => {
                self.call("element_at", vec![expr, key.as_ref().clone()])?
            }
            (GetFieldAccess::ListIndex { key }, DataType::List(_) | DataType::LargeList(_)) => {
                self.call("__subscript", vec![expr, key.as_ref().clone()])?
            }
            (GetFieldAccess::NamedStructField { name }, DataType::Struct(_)) => {
                get_field(expr, name.to_string())
            }
            _ => {
                return Ok(PlannerResult::Original(RawFieldAccessExpr {
                    field_access,
                    expr,
                }));
            }
        };
        Ok(PlannerResult::Planned(planned))
    }
}
