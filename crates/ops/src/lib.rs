//! Streaming operators as DataFusion execution plans, one per file.
//!
//! A plan is made once and **bound** to each epoch ([`binding::EpochBinding`]): scans get their splits, stateful
//! operators the versions they read and write and the watermarks in force. A bound plan is bounded, holds plain
//! descriptors only, and finds its services (sources, state, sink) in the task context
//! ([`runtime::EpochRuntime`]). What an operator has to tell the driver travels as rows of the plan's root
//! ([`report::Report`]).

mod beside;
mod column_use;
mod node;
mod order_of_rows;
mod origin;
#[cfg(test)]
mod partial_step;

pub mod accumulate;
pub mod aggregate;
pub mod as_of;
pub mod binding;
pub mod dedup;
pub mod distinct;
pub mod epoch_time;
pub mod event_time;
pub mod exchange;
pub mod expiry;
pub mod join;
pub mod key_index;
pub mod late;
pub mod limit;
pub mod normal_float;
pub mod processor;
pub mod read_ahead;
pub mod report;
pub mod runtime;
pub mod scan;
pub mod session;
pub mod sink;
pub mod state_provider;
pub mod stores;
pub mod table;
pub mod text_views;
pub mod window;
mod work_sharing;

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

pub use key_index::key_index_factory;

/// The node as something that is bound to an epoch, if it is one of ours that needs it.
fn as_bindable(node: &Arc<dyn ExecutionPlan>) -> Option<&dyn binding::BindEpoch> {
    macro_rules! one_of {
        ($($kind:ty),+ $(,)?) => {
            $(if let Some(node) = node.downcast_ref::<$kind>() {
                return Some(node);
            })+
        };
    }
    one_of!(
        scan::SourceScanExec,
        work_sharing::WorkSharingExec,
        epoch_time::EpochTimeExec,
        window::AssignSlicesExec,
        late::LateFilterExec,
        aggregate::StatefulAggregateExec,
        dedup::DedupExec,
        session::SessionAggregateExec,
        processor::ProcessorExec,
        limit::StreamLimitExec,
        join::StreamJoinExec,
        sink::SinkExec,
    );
    None
}
