//! LIMIT over a stream.

use std::sync::Arc;

use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{EmptyRelation, Expr, Extension, Limit, LogicalPlan},
};
use headwater_core::OutputMode;
use headwater_ops::limit::Counting;
use serde_json::json;

use super::{Place, Rewriter};
use crate::{
    check::aggregates_stream, nodes::limit::StreamLimitNode, streaming_plan::OperatorInfo,
};

impl Rewriter {
    pub(super) fn limit(&mut self, limit: Limit, place: &Place) -> Result<LogicalPlan> {
        let fetch = match limit.fetch.as_deref() {
            None => return self.rewrite(Arc::unwrap_or_clone(limit.input), place),
            Some(Expr::Literal(value, _)) => match value {
                ScalarValue::Int64(Some(rows)) => u64::try_from(*rows).ok(),
                ScalarValue::UInt64(Some(rows)) => Some(*rows),
                ScalarValue::Int32(Some(rows)) => u64::try_from(*rows).ok(),
                value if value.is_null() => {
                    return self.rewrite(Arc::unwrap_or_clone(limit.input), place);
                }
                _ => None,
            },
            Some(_) => None,
        };
        let fetch = fetch.ok_or_else(|| {
            DataFusionError::Plan("LIMIT over a stream must be a number of rows".to_owned())
        })?;
        if fetch == 0 {
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::clone(limit.input.schema()),
            }));
        }
        let counting = if self.mode == OutputMode::Complete && aggregates_stream(&limit.input) {
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
                    grows: Vec::new(),
                });
                place.below_stateful()
            }
        };
        let input = self.rewrite(Arc::unwrap_or_clone(limit.input), &below)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(StreamLimitNode {
                input,
                fetch,
                counting,
            }),
        }))
    }
}
