//! What the SQL front end asks of the streaming planner.

use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
};
use headwater_core::Delay;
use headwater_plan::is_streaming;
use headwater_sql::{StreamingHooks, WatermarkDelay};

/// A month of a delay counts as this many days.
const DAYS_PER_MONTH: i64 = 31;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Turns the clause `WATERMARK … DELAY OF …` into a node of the streaming planner. On a static table it means
/// nothing, but for the column that it may add.
#[derive(Debug)]
pub(crate) struct Hooks;

impl StreamingHooks for Hooks {
    fn watermark(
        &self,
        input: LogicalPlan,
        column: Expr,
        delay: WatermarkDelay,
    ) -> Result<LogicalPlan> {
        if !is_streaming(&input) {
            return with_column(input, column);
        }
        let months = i64::from(delay.months)
            .checked_mul(DAYS_PER_MONTH)
            .and_then(|days| days.checked_mul(MILLIS_PER_DAY));
        let millis = months.and_then(|months| months.checked_add(delay.micros.div_euclid(1_000)));
        let Some(millis) = millis else {
            return Err(DataFusionError::Plan(
                "the delay of the watermark is out of range: write a shorter one".to_owned(),
            ));
        };
        headwater_plan::watermark_node(input, column, Delay(millis))
    }
}

fn with_column(input: LogicalPlan, column: Expr) -> Result<LogicalPlan> {
    if !matches!(column, Expr::Alias(_)) {
        return Ok(input);
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = columns.chain([column]).collect();
    LogicalPlanBuilder::from(input).project(columns)?.build()
}
