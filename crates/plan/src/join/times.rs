//! When rows of either side of a join are late, and when no match for a stored row can come any more.
//!
//! A row of one side is done with once the watermark has passed every time at which a row of the *other* side could
//! still match it: the other side must have a watermark, and the condition must say how much later its time can be.
//! As recorded, an inner join removes rows only of a side that has a watermark itself.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, JoinSide, Result},
    logical_expr::{BinaryExpr, Expr, Join, JoinType, Operator},
    prelude::Column,
};

use super::{
    condition::conditions,
    time_range::{TimeRange, time_ranges},
};
use crate::time_column::{TimeForm, TimeMark, time_marks};

/// A column that tells the time of a row, and how long after that time something happens to it, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    pub(crate) column: Column,
    pub(crate) extra_micros: i64,
}

/// Where the expiry of the stored rows that can match a row of the other side lies, relative to that row's time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Near {
    /// The time of the other side's row.
    pub(crate) other: Column,
    /// From here on, in microseconds after that time.
    pub(crate) from_micros: i64,
    /// Up to here; `None`: as late as may be.
    pub(crate) to_micros: Option<i64>,
}

/// What event time does to one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SideTimes {
    /// A row is late when the watermark has reached this.
    pub(crate) late: Option<Spot>,
    /// A stored row is removed when the watermark has reached this.
    pub(crate) expires: Option<Spot>,
    /// Which stored rows can match, by their expiry.
    pub(crate) near: Option<Near>,
}

/// What event time does to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinTimes {
    pub(crate) left: SideTimes,
    pub(crate) right: SideTimes,
    /// How much further the rows that come out may lie behind the watermark than those that come in, in microseconds.
    pub(crate) lag_micros: i64,
    /// Why rows of a side are kept for ever, if they are.
    pub(crate) kept: [Option<Kept>; 2],
}

/// Why rows of a side are never removed from state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Matches may come at any time.
    OtherHasNoWatermark,
    /// As recorded, though it could be otherwise.
    HasNoWatermark,
    /// The condition does not say how much later a match can be.
    NoBound,
    /// As recorded: a least number that the condition asks of the side itself counts as a least time.
    LeastNumber,
}

/// One way to tell that a row of `this` side is done with.
struct Link {
    this: usize,
    other: usize,
    extra_micros: i64,
    /// How far before its window's end the event time of a row may lie, where rows go by window.
    window_micros: i64,
    near: Option<(i64, Option<i64>)>,
}

/// The columns of one side.
struct Side {
    schema: DFSchemaRef,
    marks: Vec<Option<TimeMark>>,
}

impl Side {
    fn index(&self, column: &Column) -> Option<usize> {
        self.schema.index_of_column(column).ok()
    }

    fn spot(&self, index: usize, extra_micros: i64) -> Spot {
        let (qualifier, field) = self.schema.qualified_field(index);
        Spot {
            column: Column::new(qualifier.cloned(), field.name()),
            extra_micros,
        }
    }

    fn mark(&self, index: usize) -> Option<TimeMark> {
        self.marks.get(index).copied().flatten()
    }

    fn has_watermark(&self) -> bool {
        self.marks.iter().any(Option::is_some)
    }

    /// When a row with an event time is late: the time itself, or the end of its window.
    fn late(&self, index: usize) -> Option<Spot> {
        let mark = self.mark(index)?;
        Some(self.spot(index, mark.extra_micros()))
    }

    fn is_window(&self, index: usize) -> bool {
        let mark = self.mark(index);
        mark.is_some_and(|mark| matches!(mark.form, TimeForm::Window(_)))
    }

    /// How far before the end of a window its rows may lie, in microseconds.
    fn length_of_window(&self, index: usize) -> i64 {
        match self.mark(index).map(|mark| mark.form) {
            Some(TimeForm::Window(Some(size))) => size,
            _ => 0,
        }
    }

    /// How far the event times of stored rows may lie behind the watermark, in microseconds.
    fn lag(&self, link: Option<&Link>) -> i64 {
        let Some(link) = link else {
            return 0;
        };
        let has_times = self
            .marks
            .iter()
            .flatten()
            .any(|mark| mark.form == TimeForm::Time);
        let in_window = match has_times {
            true => link.window_micros,
            false => 0,
        };
        link.extra_micros.max(in_window).max(0)
    }

    fn first_late(&self) -> Option<Spot> {
        (0..self.marks.len()).find_map(|index| self.late(index))
    }
}

impl JoinTimes {
    /// What event time does to a join of two streams whose equalities are keys. With `strict_spark` it does nothing
    /// where Spark removes no rows although it could.
    pub(crate) fn of(join: &Join, strict_spark: bool) -> Result<Self> {
        let sides = [&join.left, &join.right].map(|input| -> Result<Side> {
            Ok(Side {
                schema: Arc::clone(input.schema()),
                marks: time_marks(input)?,
            })
        });
        let [left, right] = sides;
        let (left, right) = (left?, right?);
        let ranges = time_ranges(
            join.on
                .iter()
                .map(equality)
                .chain(conditions(join))
                .collect::<Vec<_>>()
                .iter(),
            &left.schema,
            &right.schema,
        );
        let windows = equal_windows(join, &left, &right);
        let found = [
            links(&left, &right, &ranges, &windows, JoinSide::Left),
            links(&right, &left, &ranges, &windows, JoinSide::Right),
        ];
        let own = match join.join_type {
            JoinType::Inner => true,
            JoinType::LeftSemi | JoinType::RightSemi => strict_spark,
            _ => false,
        };
        let numbers = |side: &Side| strict_spark && has_least_number(&conditions(join), side);
        let (left_link, left_kept) = choose(&left, &right, &found[0], own, numbers(&left));
        let (right_link, right_kept) = choose(&right, &left, &found[1], own, numbers(&right));
        Ok(Self {
            lag_micros: left.lag(left_link).max(right.lag(right_link)),
            left: side_times(&left, &right, left_link, right_link),
            right: side_times(&right, &left, right_link, left_link),
            kept: [left_kept, right_kept],
        })
    }

    /// Why state grows without bound, for each side that does.
    pub(crate) fn grows(&self) -> Vec<String> {
        let names = [("left", "right"), ("right", "left")];
        let sides = self.kept.iter().zip(names);
        sides
            .filter_map(|(kept, (this, other))| {
                let reason = kept.as_ref()?.explain(this, other);
                Some(format!(
                    "rows of the {this} stream are kept for ever: {reason}"
                ))
            })
            .collect()
    }

    /// Whether the watermark ever removes a row.
    pub(crate) fn evicts(&self) -> bool {
        self.left.expires.is_some() || self.right.expires.is_some()
    }
}

fn equality((left, right): &(Expr, Expr)) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(
        Box::new(left.clone()),
        Operator::Eq,
        Box::new(right.clone()),
    ))
}

/// Keys that are windows over event time on at least one side.
fn equal_windows(join: &Join, left: &Side, right: &Side) -> Vec<(usize, usize)> {
    let columns = join.on.iter().filter_map(|key| match key {
        (Expr::Column(l), Expr::Column(r)) => left.index(l).zip(right.index(r)),
        _ => None,
    });
    columns
        .filter(|(l, r)| left.is_window(*l) || right.is_window(*r))
        .collect()
}

/// What belongs to the left and the right side as belonging to `side` and the other one.
fn seen_from<T>(side: JoinSide, (left, right): (T, T)) -> (T, T) {
    match side {
        JoinSide::Right => (right, left),
        _ => (left, right),
    }
}

/// All ways to tell that a row of `this` side is done with.
fn links(
    this: &Side,
    other: &Side,
    ranges: &[TimeRange],
    windows: &[(usize, usize)],
    side: JoinSide,
) -> Vec<Link> {
    let by_window = windows.iter().map(|pair| {
        let (this_column, other) = seen_from(side, *pair);
        Link {
            this: this_column,
            other,
            extra_micros: 0,
            window_micros: this.length_of_window(this_column),
            near: None,
        }
    });
    let by_range = ranges.iter().filter_map(|range| {
        let (mine, theirs) = seen_from(side, (&range.left, &range.right));
        let bounds = (range.right_minus_left, range.left_minus_right);
        let (later, earlier) = seen_from(side, bounds);
        let later = later?;
        let extra_micros = later.reach_micros();
        let from = extra_micros.saturating_sub(later.micros);
        let to = earlier.map(|bound| bound.micros.saturating_add(extra_micros));
        Some(Link {
            this: this.index(mine)?,
            other: other.index(theirs)?,
            extra_micros,
            window_micros: 0,
            near: Some((from, to)),
        })
    });
    by_window.chain(by_range).collect()
}

/// The way to use, and why there is none. One by a column with a watermark of its own is better.
fn choose<'a>(
    this: &Side,
    other: &Side,
    links: &'a [Link],
    own_watermark: bool,
    least_number: bool,
) -> (Option<&'a Link>, Option<Kept>) {
    if !other.has_watermark() {
        return (None, Some(Kept::OtherHasNoWatermark));
    }
    let mut possible = links
        .iter()
        .filter(|link| other.mark(link.other).is_some())
        .peekable();
    let first = possible.peek().copied();
    let best = possible
        .find(|link| this.mark(link.this).is_some())
        .or(first);
    let kept = match best {
        None => Some(Kept::NoBound),
        Some(_) if own_watermark && !this.has_watermark() => Some(Kept::HasNoWatermark),
        Some(_) if least_number => Some(Kept::LeastNumber),
        Some(_) => None,
    };
    (best.filter(|_| kept.is_none()), kept)
}

/// Whether one of `conditions` asks for a number of `side` above a constant.
fn has_least_number(conditions: &[Expr], side: &Side) -> bool {
    let is_number = |expr: &Expr| match expr {
        Expr::Column(column) => {
            let field = side.index(column).map(|index| side.schema.field(index));
            field.is_some_and(|field| field.data_type().is_numeric())
        }
        _ => false,
    };
    let is_least =
        |least: &Expr, expr: &Expr| matches!(least, Expr::Literal(..)) && is_number(expr);
    conditions.iter().any(|condition| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Gt | Operator::GtEq => is_least(right, left),
            Operator::Lt | Operator::LtEq => is_least(left, right),
            _ => false,
        },
        Expr::Between(between) => !between.negated && is_least(&between.low, &between.expr),
        _ => false,
    })
}

fn side_times(
    this: &Side,
    other: &Side,
    link: Option<&Link>,
    others_link: Option<&Link>,
) -> SideTimes {
    // The other side's rows are removed because rows of this side that are late by this very column never come.
    let late = others_link
        .and_then(|link| this.late(link.other))
        .or_else(|| link.and_then(|link| this.late(link.this)))
        .or_else(|| this.first_late());
    SideTimes {
        late,
        expires: link.map(|link| this.spot(link.this, link.extra_micros)),
        near: link.and_then(|link| {
            let (from_micros, to_micros) = link.near?;
            Some(Near {
                other: other.spot(link.other, 0).column,
                from_micros,
                to_micros,
            })
        }),
    }
}

impl Kept {
    /// Whether rows of the side may be kept for ever even if they wait to come out without a match, as recorded.
    pub(crate) fn is_allowed(self) -> bool {
        matches!(self, Self::HasNoWatermark | Self::LeastNumber)
    }

    /// The reason in words, with what to write instead. `this` and `other` are `left` and `right`, or the reverse.
    pub(crate) fn explain(self, this: &str, other: &str) -> impl fmt::Display {
        match self {
            Self::OtherHasNoWatermark => format!(
                "rows of the {other} stream may come at any time, because it has no watermark: add one there, and to \
                 the condition a bound of its event time"
            ),
            Self::HasNoWatermark => format!("the {this} stream has no watermark: add one"),
            Self::LeastNumber => format!(
                "as in Spark 4.3, which takes the least number that the condition asks of the {this} stream for a time: \
                 turn strict Spark compatibility off"
            ),
            Self::NoBound => format!(
                "the condition does not say how much later than a row of the {this} stream its match in the {other} \
                 stream can be: add a bound such as {other}.time <= {this}.time + INTERVAL '1 hour', or an equality of \
                 event times or of windows over them"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
