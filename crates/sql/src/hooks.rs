//! What the SQL front end asks of the streaming planner.
//!
//! This crate knows the text, not the plan nodes: whoever configures a session says what becomes of a watermark.

use std::fmt::Debug;

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// How late rows may be, as written behind `DELAY OF INTERVAL`. Never negative.
pub type WatermarkDelay = crate::interval::CalendarInterval;

/// Makes the plan nodes that only streams have.
pub trait StreamingHooks: Send + Sync + Debug {
    /// Marks `column` of `input` as the event time. `column` is a column of `input` and a timestamp or a window;
    /// months of the delay count 31 days each. The result has the schema of `input`.
    ///
    /// # Errors
    /// When the input cannot have a watermark there.
    fn watermark(
        &self,
        input: LogicalPlan,
        column: Expr,
        delay: WatermarkDelay,
    ) -> Result<LogicalPlan>;
}

/// Drops watermarks: for plans over tables that are complete.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchHooks;

impl StreamingHooks for BatchHooks {
    fn watermark(
        &self,
        input: LogicalPlan,
        _column: Expr,
        _delay: WatermarkDelay,
    ) -> Result<LogicalPlan> {
        Ok(input)
    }
}
