//! From a logical plan over unbounded tables to a tree of operators: check → rewrite → lower → explain.
//!
//! [`plan_stream`] takes a DataFusion logical plan whose leaves include [`StreamTable`]s and gives a
//! [`StreamingPlan`]: made once, bound to each epoch. What cannot run in the wanted output mode is refused here, with
//! what to write instead.

mod as_of;
mod check;
mod explain;
mod finished_table;
mod fixed_lengths;
mod join;
mod late_schema;
mod lower;
mod nodes;
mod normal_float;
mod optimize;
mod processing_time;
mod rewrite;
mod session_expr;
mod session_udf;
mod stream_table;
mod streaming_plan;
mod summary;
mod tables;
mod time_column;
mod window_expr;

pub use finished_table::FinishedTable;
pub use lower::StreamingNodePlanner;
pub use nodes::dedup::{drop_duplicates, drop_duplicates_within_watermark};
pub use nodes::processor::{ProcessorCall, call_processor, processor_input};
pub use nodes::watermark::{watermark_node, with_watermark};
pub use stream_table::{StreamTable, is_streaming};
pub use streaming_plan::{
    OperatorInfo, PlanSettings, StreamingPlan, WatermarkNodeInfo, Withheld, plan_stream,
};
pub use window_expr::batch_windows;
