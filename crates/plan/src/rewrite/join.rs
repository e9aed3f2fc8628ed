//! Joins of two streams.

use std::sync::Arc;

use datafusion::{
    common::{Result, tree_node::TreeNode, tree_node::TreeNodeRecursion},
    logical_expr::{
        Expr, ExprSchemable, Extension, Join, JoinType, LogicalPlan, utils::split_conjunction,
    },
};
use serde_json::json;

use super::{Place, Rewriter, below::below, late::Lateness};
use crate::{
    join::{JoinTimes, SideTimes},
    nodes::stream_join::{StreamJoin, StreamJoinNode},
    streaming_plan::{OperatorInfo, Withheld},
};

impl Rewriter {
    pub(super) fn stream_join(&mut self, join: Join, place: &Place) -> Result<LogicalPlan> {
        let id = place.id("join");
        let position = self.found.operators.len();
        let below = place.below_stateful();
        // A right semi join runs as a left one; its user still calls the sides as they were.
        let is_swapped = join.join_type == JoinType::RightSemi;
        let join = kept_side_left(Join {
            left: Arc::new(self.rewrite(Arc::unwrap_or_clone(join.left), &below.branch(0))?),
            right: Arc::new(self.rewrite(Arc::unwrap_or_clone(join.right), &below.branch(1))?),
            ..join
        })?;
        let times = JoinTimes::of(&join, self.strict_spark)?;
        let names = if is_swapped {
            ["right", "left"]
        } else {
            ["left", "right"]
        };
        let [left, right] = [(join.left, &times.left), (join.right, &times.right)];
        let join = Join {
            left: self.side(left, &id, names[0])?,
            right: self.side(right, &id, names[1])?,
            ..join
        };
        let info = OperatorInfo {
            id: id.clone(),
            kind: "join".to_owned(),
            progress_name: "symmetricHashJoin".to_owned(),
            fingerprint: fingerprint(&join, &times)?,
            wants_no_data_epoch: times.evicts(),
            follows_clock: false,
            stores: Vec::new(),
            withholds: match join.join_type {
                JoinType::Left | JoinType::Right | JoinType::Full => Withheld::UnmatchedRows,
                _ => Withheld::Nothing,
            },
            grows: times.grows(),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        let node = StreamJoinNode::try_new(
            Arc::unwrap_or_clone(join.left),
            Arc::unwrap_or_clone(join.right),
            StreamJoin {
                join_type: join.join_type,
                keys: join.on,
                null_equality: join.null_equality,
                filter: join.filter,
                id,
                times: [times.left, times.right],
                lag_micros: times.lag_micros,
            },
        )?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    /// One input of a join without late rows.
    fn side(
        &mut self,
        (input, times): (Arc<LogicalPlan>, &SideTimes),
        operator: &str,
        side: &'static str,
    ) -> Result<Arc<LogicalPlan>> {
        let Some(late) = &times.late else {
            return Ok(input);
        };
        let late = Lateness {
            operator,
            side: Some(side),
            time: Expr::Column(late.column.clone()),
            extra_micros: late.extra_micros,
            window: None,
        };
        let input = Arc::unwrap_or_clone(input);
        Ok(Arc::new(self.without_late_rows(input, late)?))
    }
}

/// A right semi join as the left one that it is with its inputs exchanged.
fn kept_side_left(join: Join) -> Result<Join> {
    if join.join_type != JoinType::RightSemi {
        return Ok(join);
    }
    Ok(Join {
        left: join.right,
        right: join.left,
        on: join.on.into_iter().map(|(l, r)| (r, l)).collect(),
        join_type: JoinType::LeftSemi,
        ..join
    })
}

/// What must not change between two starts, but for the stored columns: see [`add_stored_columns`].
///
/// The whole condition belongs to it, and so do the filters on each side: conditions are pushed from one to the other,
/// and rows that one of them removed are not in state.
fn fingerprint(join: &Join, times: &JoinTimes) -> Result<serde_json::Value> {
    let keys = join
        .on
        .iter()
        .map(|(left, right)| {
            let data_type = left.get_type(join.left.schema())?;
            let names = (left.schema_name(), right.schema_name());
            Ok(format!("{} = {}: {data_type}", names.0, names.1))
        })
        .collect::<Result<Vec<_>>>()?;
    let expiry = [&times.left, &times.right].map(|side| {
        let spot = side.expires.as_ref()?;
        Some(format!("{} + {} us", spot.column.name, spot.extra_micros))
    });
    let condition = join.filter.iter().flat_map(split_conjunction);
    let mut condition: Vec<String> = condition.map(ToString::to_string).collect();
    condition.sort();
    let left = below(&join.left)?;
    let right = below(&join.right)?;
    Ok(json!({
        "type": join.join_type.to_string(),
        "keys": keys,
        "expiry": expiry,
        "condition": condition,
        "where": { "left": left.filters, "right": right.filters },
        "windows": { "left": left.windows, "right": right.windows },
    }))
}

/// Adds the columns that each join stores to its fingerprint. They are known once columns that nobody needs are gone.
pub(crate) fn add_stored_columns(plan: &LogicalPlan, operators: &mut [OperatorInfo]) -> Result<()> {
    plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(join) = extension.node.as_any().downcast_ref::<StreamJoinNode>()
            && let Some(info) = operators.iter_mut().find(|info| info.id == join.id)
        {
            for (name, input) in [("left", &join.left), ("right", &join.right)] {
                let columns = input.schema().fields().iter();
                let columns: Vec<String> = columns
                    .map(|field| format!("{}: {}", field.name(), field.data_type()))
                    .collect();
                info.fingerprint[name] = json!(columns);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
