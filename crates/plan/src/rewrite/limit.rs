//! LIMIT over a stream.

use std::sync::Arc;

use datafusion::{
    common::{
        DataFusionError, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{EmptyRelation, Expr, Extension, Limit, LogicalPlan},
};
use headwater_core::OutputMode;
use headwater_ops::limit::Counting;
use serde_json::json;

use super::{Place, Rewriter};
use crate::{
    check::aggregates_stream,
    nodes::limit::StreamLimitNode,
    streaming_plan::{OperatorInfo, Withheld},
};

impl Rewriter {
    pub(super) fn limit(&mut self, limit: Limit, place: &Place) -> Result<LogicalPlan> {
        let Some(fetch) = fetched(&limit)? else {
            return self.rewrite(Arc::unwrap_or_clone(limit.input), place);
        };
        // One after the other they let through what the smallest does, in one operator.
        let (input, below) = without_limits(Arc::unwrap_or_clone(limit.input))?;
        let fetch = below.map_or(fetch, |below| below.min(fetch));
        if fetch == 0 {
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::clone(input.schema()),
            }));
        }
        let counting = if self.mode == OutputMode::Complete && aggregates_stream(&input) {
            Counting::Epoch
        } else {
            Counting::Lifetime(place.id("limit"))
        };
        let below = match &counting {
            Counting::Epoch => place.clone(),
            Counting::Lifetime(id) => {
                self.found.operators.push(OperatorInfo {
                    id: id.clone(),
                    kind: "limit".to_owned(),
                    progress_name: "globalLimit".to_owned(),
                    fingerprint: json!({ "rows": fetch }),
                    wants_no_data_epoch: false,
                    follows_clock: false,
                    stores: Vec::new(),
                    withholds: Withheld::Nothing,
                    grows: Vec::new(),
                });
                place.below_stateful()
            }
        };
        let input = self.rewrite(input, &below)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(StreamLimitNode {
                input,
                fetch,
                counting,
            }),
        }))
    }
}

/// The number of rows that a LIMIT lets through; `None` if that is all.
fn fetched(limit: &Limit) -> Result<Option<u64>> {
    let fetch = match limit.fetch.as_deref() {
        None => return Ok(None),
        Some(Expr::Literal(value, _)) => match value {
            ScalarValue::Int64(Some(rows)) => u64::try_from(*rows).ok(),
            ScalarValue::UInt64(Some(rows)) => Some(*rows),
            ScalarValue::Int32(Some(rows)) => u64::try_from(*rows).ok(),
            value if value.is_null() => return Ok(None),
            _ => None,
        },
        Some(_) => None,
    };
    let wrong = "LIMIT over a stream must be a number of rows";
    fetch
        .map(Some)
        .ok_or_else(|| DataFusionError::Plan(wrong.to_owned()))
}

/// `plan` without the LIMITs that nothing but projections and names stand above, and the smallest of those.
fn without_limits(plan: LogicalPlan) -> Result<(LogicalPlan, Option<u64>)> {
    match plan {
        LogicalPlan::Limit(limit) if limit.skip.is_none() => {
            let fetch = fetched(&limit)?;
            let (input, below) = without_limits(Arc::unwrap_or_clone(limit.input))?;
            Ok((input, fetch.into_iter().chain(below).min()))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            let mut found = None;
            let plan = plan.map_children(|input| {
                let (input, below) = without_limits(input)?;
                found = below;
                Ok(Transformed::yes(input))
            })?;
            Ok((plan.data, found))
        }
        other => Ok((other, None)),
    }
}
