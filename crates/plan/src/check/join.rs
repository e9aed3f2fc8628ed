//! Joins with a stream: which rows of which side can be kept.

use datafusion::{
    common::{
        JoinType, NullEquality,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Distinct, Join, LogicalPlan},
};
use headwater_core::{Error, OutputMode, Result};

use super::{aggregates_stream, internal};
use crate::{
    join::{JoinTimes, Kept, is_stream_join},
    nodes::as_of_join::AsOfJoinNode,
    stream_table::reads_stream,
    streaming_plan::PlanSettings,
};

pub(super) fn check_join(join: &Join, settings: &PlanSettings) -> Result<()> {
    if is_stream_join(join) {
        return check_kind(join, settings);
    }
    let left = reads_stream(&join.left);
    let kept = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !left,
        JoinType::Full => false,
    };
    if !kept {
        return Err(Error::invalid(format!(
            "a {} join keeps rows of the table that no row of the stream has matched so far, and any later row may \
             match: put the stream on the kept side",
            join.join_type
        )));
    }
    if join.null_equality == NullEquality::NullEqualsNull {
        check_set_operation(join, settings)?;
    }
    Ok(())
}

/// `INTERSECT` and `EXCEPT`, which are planned as joins in which NULL equals NULL.
fn check_set_operation(join: &Join, settings: &PlanSettings) -> Result<()> {
    let LogicalPlan::Distinct(Distinct::All(rows)) = join.left.as_ref() else {
        return Err(Error::invalid(
            "EXCEPT ALL and INTERSECT ALL take away as many rows as the table has of each, which an epoch cannot know \
             of the epochs before it: write EXCEPT, or a join",
        ));
    };
    let is_intersection = matches!(join.join_type, JoinType::LeftSemi | JoinType::RightSemi);
    if settings.strict_spark && settings.mode == OutputMode::Complete && !aggregates_stream(rows) {
        return Err(Error::invalid(
            "EXCEPT in complete mode is refused because Spark 4.3 refuses it: use update mode, or turn strict Spark \
             compatibility off",
        ));
    }
    if settings.strict_spark && is_intersection {
        return Err(Error::invalid(
            "INTERSECT with a stream is refused because Spark 4.3 refuses it: write a semi join, or turn strict Spark \
             compatibility off",
        ));
    }
    Ok(())
}

/// The nearest row of a stream may be one that has yet to come.
pub(super) fn check_as_of(join: &AsOfJoinNode) -> Result<()> {
    if reads_stream(&join.right) {
        return Err(Error::invalid(
            "the right side of an AS OF join is a stream, whose nearest row may be one that has yet to come: put a \
             table there, or join the streams by a range of their event times and take the nearest with \
             last_value(… ORDER BY …) per row of the left",
        ));
    }
    Ok(())
}

/// Which joins of two streams there are, by their kind and the output mode alone.
fn check_kind(join: &Join, settings: &PlanSettings) -> Result<()> {
    let kind = join.join_type;
    match kind {
        JoinType::LeftAnti | JoinType::RightAnti => {
            return Err(Error::invalid(
                "an anti join (EXCEPT, NOT EXISTS) of two streams gives out rows without a match, but any later row may \
                 be that match: put a table on the right",
            ));
        }
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(Error::invalid(
                "IN and EXISTS over two streams are possible only as a semi join: write LEFT SEMI JOIN",
            ));
        }
        _ => {}
    }
    match settings.mode {
        OutputMode::Append => Ok(()),
        OutputMode::Complete => Err(Error::invalid(
            "complete mode gives out the whole result each time, but the pairs of a join of two streams are given out \
             once and not kept: use append mode, or update mode for an inner or semi join",
        )),
        OutputMode::Update
            if !matches!(
                kind,
                JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi
            ) =>
        {
            Err(Error::invalid(format!(
                "a {kind} join of two streams gives out final rows only: use append mode"
            )))
        }
        OutputMode::Update if aggregates_stream(&join.left) || aggregates_stream(&join.right) => {
            Err(Error::invalid(
                "in update mode an aggregation gives a group out again whenever it changes, and a join of two streams \
                 would take each of them for a row of its own: use append mode",
            ))
        }
        OutputMode::Update => Ok(()),
    }
}

/// Refuses joins of two streams that would need to look at every pair, or could never tell that a row has no match.
/// Equalities are keys by now.
pub(crate) fn check_joins(plan: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    let mut refusal = Ok(());
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && is_stream_join(join)
        {
            refusal = check_condition(join, settings.strict_spark);
        }
        Ok(if refusal.is_err() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(internal)?;
    refusal
}

fn check_condition(join: &Join, strict_spark: bool) -> Result<()> {
    if join.on.is_empty() {
        return Err(Error::invalid(
            "a join of two streams needs an equality of the two sides to find matches by: add one such as \
             left.key = right.key to the condition",
        ));
    }
    let times = JoinTimes::of(join, strict_spark).map_err(internal)?;
    let (left, right) = match join.join_type {
        JoinType::Left | JoinType::LeftSemi => (true, false),
        JoinType::Right | JoinType::RightSemi => (false, true),
        JoinType::Full => (true, true),
        _ => (false, false),
    };
    // As recorded, one bound is enough for a full join: rows of the side without one match for ever, and never come out
    // alone.
    let is_half_bound = matches!(
        times.kept,
        [None, Some(Kept::NoBound)] | [Some(Kept::NoBound), None]
    );
    if strict_spark && join.join_type == JoinType::Full && is_half_bound {
        return Ok(());
    }
    let sides = [(left, "left", "right"), (right, "right", "left")];
    for ((is_kept, this, other), kept) in sides.into_iter().zip(times.kept) {
        if let Some(reason) = kept.filter(|kept| is_kept && !kept.is_allowed()) {
            return Err(Error::invalid(format!(
                "a {} join of two streams must know when a row of the {this} stream can find no match any more: {}",
                join.join_type,
                reason.explain(this, other)
            )));
        }
    }
    Ok(())
}
