//! Functions called as plans call them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionContext, col};

/// Makes `expr` over a column `v` of `messages`.
pub(super) fn evaluate(messages: ArrayRef, expr: Expr) -> Result<ArrayRef> {
    let batch = RecordBatch::try_from_iter_with_nullable([("v", messages, true)])?;
    let schema = DFSchema::try_from(batch.schema())?;
    let planned: Arc<dyn PhysicalExpr> =
        SessionContext::new().create_physical_expr(expr, &schema)?;
    planned.evaluate(&batch)?.into_array(batch.num_rows())
}

/// The same, over texts.
pub(super) fn over_texts(
    texts: Vec<Option<&str>>,
    expr: impl FnOnce(Expr) -> Expr,
) -> Result<ArrayRef> {
    evaluate(Arc::new(StringArray::from(texts)), expr(col("v")))
}
