//! SQL text of Spark-flavoured streaming queries, turned into DataFusion logical plans.
//!
//! ```text
//!  text ─► tokens ─► statement ─► statement ─► LogicalPlan
//!       (dialect)  (tokens:     (rewrite:    (DataFusion's planner with our
//!                   WATERMARK)   Spark words)  relation, type and operator planners)
//! ```
//!
//! What the text means is here: the grammar that streams add to SQL, Spark's functions with ANSI rules, and the names
//! of columns. What a plan *does* over a stream is not: a watermark becomes what the [`StreamingHooks`] make of it, and
//! [`window`] is a function that the streaming planner rewrites.
//!
//! ```
//! use std::sync::Arc;
//! use datafusion::execution::SessionStateBuilder;
//! use datafusion::prelude::SessionContext;
//! use headwater_sql::{BatchHooks, SqlFrontEnd};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let front_end = SqlFrontEnd::new(Arc::new(BatchHooks));
//! let state = front_end.configure(SessionStateBuilder::new().with_default_features()).build();
//! let plan = front_end.plan(&state, "SELECT window(TIMESTAMP'2024-01-01 00:00:07', '5 seconds').end AS e").await?;
//! let rows = SessionContext::new_with_state(state).execute_logical_plan(plan).await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```

mod analyzer;
mod ansi_aggregates;
mod as_of;
mod calls;
mod checked;
mod coercion;
mod dialect;
mod expr_planner;
mod front_end;
mod functions;
mod generators;
mod guarded;
mod hooks;
mod interval;
mod joins;
mod lambdas;
mod lateral_aliases;
mod markers;
mod message;
mod names;
mod parser;
mod relation;
mod rewrite;
mod session_gap;
mod spelling;
pub mod statement;
mod stream_columns;
mod tokens;
mod types;
mod using;
mod window_refs;
mod window_spec;
mod windowing;
mod windowing_sessions;

pub use analyzer::SparkSemantics;
pub use ansi_aggregates::AnsiAggregates;
pub use as_of::{AS_OF, as_of, as_of_udf, as_of_within, within_micros};
pub use checked::{checked_arithmetic, checked_expression};
pub use coercion::SparkCoercion;
pub use dialect::SparkDialect;
pub use front_end::SqlFrontEnd;
pub use functions::aggregate::checked_sum_udaf;
pub use functions::current_time::{CurrentTime, current_time};
pub use guarded::{GuardedProjections, guarded_rules};
pub use hooks::{BatchHooks, StreamingHooks, WatermarkDelay};
pub use interval::{CalendarInterval, MICROS_PER_DAY};
pub use markers::{
    Gap, WindowExpr, session_window, session_window_udf, window, window_time, window_time_udf,
    window_udf,
};
pub use message::{Names, SqlText, has_place, no_place, plain_message};
pub use parser::{parse, parse_expr};
pub use session_gap::{constant_gap, constant_micros, gap_micros};
pub use stream_columns::shown_type;
pub use window_spec::WindowSpec;
pub use windowing::{WINDOW_END_FUNCTION, WINDOW_START_FUNCTION};
