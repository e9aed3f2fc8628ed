//! LIMIT and OFFSET over streams.

use datafusion::logical_expr::{Expr, Limit};
use headwater_core::{Error, OutputMode, Result};

use crate::streaming_plan::PlanSettings;

pub(super) fn check_limit(limit: &Limit, settings: &PlanSettings) -> Result<()> {
    let skips = limit
        .skip
        .as_deref()
        .is_some_and(|skip| !matches!(skip, Expr::Literal(value, _) if is_zero(value)));
    if skips {
        return Err(Error::invalid(
            "OFFSET over a stream is not supported: leave the rows out where the result is read",
        ));
    }
    if settings.mode == OutputMode::Update {
        return Err(Error::invalid(
            "LIMIT is not possible in update mode, where a row may be given out again: use append or complete mode",
        ));
    }
    Ok(())
}

fn is_zero(value: &datafusion::common::ScalarValue) -> bool {
    value.is_null() || value.to_string() == "0"
}
