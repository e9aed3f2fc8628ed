//! What the condition of a join says about the distance of two times: `left - right` lies in a range.
//!
//! Pure: expressions in, ranges out. Comparisons may be written either way round, with lengths of time added or taken
//! away on either side, as `BETWEEN` or as a comparison of the difference itself.

use datafusion::{
    common::DFSchema,
    logical_expr::{Between, BinaryExpr, Expr, Operator},
    prelude::Column,
};

use super::linear::{Linear, linear};

/// How far one time may lie from another, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) micros: i64,
    pub(crate) tie: Tie,
}

/// What the condition says of two times that lie exactly at the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    /// They match, and so may times within the bound: `<=`.
    Matches,
    /// They do not: `<`.
    Differs,
    /// They match and no others do: `=`.
    Only,
}

impl Bound {
    /// How much later than the bounded time state may go, in microseconds, once the watermark has come there. As
    /// recorded: an inclusive bound waits a millisecond longer than a strict one, an equality does not.
    pub(crate) fn reach_micros(self) -> i64 {
        match self.tie {
            Tie::Matches => self.micros.saturating_add(1_000),
            Tie::Differs | Tie::Only => self.micros,
        }
    }

    /// Whether this upper bound leaves less room than `other`.
    fn is_below(self, other: Self) -> bool {
        let rank = |bound: Self| (bound.micros, bound.tie == Tie::Matches);
        rank(self) < rank(other)
    }

    fn negated(self) -> Self {
        Self {
            micros: self.micros.saturating_neg(),
            ..self
        }
    }
}

/// Bounds of the difference of two columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) left: Column,
    pub(crate) right: Column,
    /// The most that `left - right` can be.
    pub(crate) left_minus_right: Option<Bound>,
    /// The most that `right - left` can be.
    pub(crate) right_minus_left: Option<Bound>,
}

/// The ranges that follow from `conjuncts`, all of which hold, for each pair of a column of the left input and one of
/// the right, in the order in which the condition names them.
pub(crate) fn time_ranges<'a>(
    conjuncts: impl IntoIterator<Item = &'a Expr>,
    left: &DFSchema,
    right: &DFSchema,
) -> Vec<TimeRange> {
    let Ok(both) = left.join(right) else {
        return Vec::new();
    };
    let mut ranges: Vec<TimeRange> = Vec::new();
    for conjunct in conjuncts {
        for (difference, operator) in comparisons(conjunct, &both) {
            let Some(found) = range(difference, operator, left, right) else {
                continue;
            };
            let known = ranges
                .iter_mut()
                .find(|range| range.left == found.left && range.right == found.right);
            match known {
                Some(known) => {
                    tighten(&mut known.left_minus_right, found.left_minus_right);
                    tighten(&mut known.right_minus_left, found.right_minus_left);
                }
                None => ranges.push(found),
            }
        }
    }
    ranges
}

fn tighten(known: &mut Option<Bound>, found: Option<Bound>) {
    if let Some(found) = found
        && known.is_none_or(|known| found.is_below(known))
    {
        *known = Some(found);
    }
}

/// The comparisons that `conjunct` is, as `difference operator 0`.
fn comparisons(conjunct: &Expr, schema: &DFSchema) -> Vec<(Linear, Operator)> {
    let compare = |left: &Expr, operator: Operator, right: &Expr| {
        let difference = linear(left, schema)?.minus(linear(right, schema)?)?;
        Some((difference, operator))
    };
    let found = match conjunct {
        Expr::Alias(alias) => return comparisons(&alias.expr, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => [compare(left, *op, right), None],
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) => [
            compare(expr, Operator::GtEq, low),
            compare(expr, Operator::LtEq, high),
        ],
        Expr::Not(inner) => match inner.as_ref() {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                [op.negate().and_then(|op| compare(left, op, right)), None]
            }
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    found.into_iter().flatten().collect()
}

/// `difference operator 0` as a range, if the difference is that of one column of each side.
fn range(
    difference: Linear,
    operator: Operator,
    left: &DFSchema,
    right: &DFSchema,
) -> Option<TimeRange> {
    let [(first, first_sign), (second, second_sign)] = difference.terms.as_slice() else {
        return None;
    };
    if first_sign == second_sign {
        return None;
    }
    let (plus, minus) = match first_sign {
        1 => (first, second),
        _ => (second, first),
    };
    // plus - minus + micros (operator) 0
    let distance = difference.micros.checked_neg()?;
    let bound = |tie| {
        Some(Bound {
            micros: distance,
            tie,
        })
    };
    let (most, least) = match operator {
        Operator::Lt => (bound(Tie::Differs), None),
        Operator::LtEq => (bound(Tie::Matches), None),
        Operator::Gt => (None, bound(Tie::Differs)),
        Operator::GtEq => (None, bound(Tie::Matches)),
        Operator::Eq => (bound(Tie::Only), bound(Tie::Only)),
        _ => return None,
    };
    let opposite = least.map(Bound::negated);
    if left.has_column(plus) && right.has_column(minus) {
        Some(TimeRange {
            left: plus.clone(),
            right: minus.clone(),
            left_minus_right: most,
            right_minus_left: opposite,
        })
    } else if right.has_column(plus) && left.has_column(minus) {
        Some(TimeRange {
            left: minus.clone(),
            right: plus.clone(),
            left_minus_right: opposite,
            right_minus_left: most,
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
