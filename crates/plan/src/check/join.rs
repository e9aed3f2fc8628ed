//! Joins with a stream: which rows of which side can be kept.

use datafusion::{
    common::{JoinType, NullEquality},
    logical_expr::Join,
};
use headwater_core::{Error, Result};

use crate::{stream_table::reads_stream, streaming_plan::PlanSettings};

pub(super) fn check_join(join: &Join, settings: &PlanSettings) -> Result<()> {
    let (left, right) = (reads_stream(&join.left), reads_stream(&join.right));
    if left && right {
        if matches!(join.join_type, JoinType::LeftAnti | JoinType::RightAnti) {
            return Err(Error::invalid(
                "an anti join (EXCEPT, NOT EXISTS) of two streams gives out rows without a match, but any later row may \
                 be that match: put a table on the right",
            ));
        }
        return Err(Error::invalid(
            "a join of two streams is not supported yet: join a stream with a table",
        ));
    }
    let kept = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        JoinType::Full => false,
    };
    if !kept {
        return Err(Error::invalid(format!(
            "a {} join keeps rows of the table that no row of the stream has matched so far, and any later row may \
             match: put the stream on the kept side",
            join.join_type
        )));
    }
    if settings.strict_spark
        && join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::RightSemi)
    {
        return Err(Error::invalid(
            "INTERSECT with a stream is refused because Spark 4.3 refuses it: write a semi join, or turn strict Spark \
             compatibility off",
        ));
    }
    Ok(())
}
