//! Arbitrary state over streams: which time its timers can follow, and in which modes it runs.

use headwater_core::{Error, OutputMode, Result};
use headwater_ops::processor::{Call, TimeMode};

use super::{chain::check_above_aggregation, internal};
use crate::{
    nodes::processor::ProcessorNode, stream_table::reads_stream, streaming_plan::PlanSettings,
    time_column::time_marks,
};

pub(super) fn check_processor(node: &ProcessorNode, settings: &PlanSettings) -> Result<()> {
    let call = &node.call;
    let what = format!("{}('{}')", call.call.name(), call.name);
    if settings.mode == OutputMode::Complete || call.output_mode == Some(OutputMode::Complete) {
        return Err(Error::invalid(format!(
            "{what} is not possible in complete mode, which would need every row that it ever gave out: use append or \
             update mode",
        )));
    }
    if let Some(mode) = call.output_mode.filter(|mode| *mode != settings.mode) {
        return Err(Error::invalid(format!(
            "{what} is declared for {mode} mode and the query runs in {} mode: write output_mode({mode}), or declare \
             it for {}",
            settings.mode, settings.mode
        )));
    }
    if settings.strict_spark && call.call == Call::MapGroups && settings.mode == OutputMode::Append
    {
        return Err(Error::invalid(format!(
            "{what} is refused in append mode because Spark 4.3 refuses it: use update mode, use \
             flat_map_groups_with_state, or turn strict Spark compatibility off"
        )));
    }
    check_above_aggregation(&what, &node.input, settings.mode)?;
    if node
        .initial
        .as_ref()
        .is_some_and(|(plan, _)| reads_stream(plan))
    {
        return Err(Error::invalid(format!(
            "the initial state of {what} reads a stream: it must be a static table",
        )));
    }
    check_time(node, settings, &what)
}

fn check_time(node: &ProcessorNode, settings: &PlanSettings, what: &str) -> Result<()> {
    let marks = time_marks(&node.input).map_err(internal)?;
    let has_time = marks.iter().any(Option::is_some);
    if node.call.time_mode == TimeMode::EventTime && !has_time {
        return Err(Error::invalid(format!(
            "{what} follows event time, and its input has no column with a watermark: put with_watermark(time, delay) \
             before group_by_key, or use TimeMode::ProcessingTime",
        )));
    }
    if let Some(column) = node.call.event_time.as_ref().filter(|_| !has_time) {
        return Err(Error::invalid(format!(
            "column '{column}' of the output of {what} cannot carry event time, because its input has no column with a \
             watermark: put with_watermark(time, delay) before group_by_key",
        )));
    }
    let with_ttl = node.spec.variables.iter().find(|v| v.ttl_millis.is_some());
    if let Some(variable) = with_ttl
        && settings.strict_spark
        && node.call.time_mode != TimeMode::ProcessingTime
    {
        return Err(Error::invalid(format!(
            "state '{}' of {what} has a time to live, which Spark 4.3 takes with processing time only: use \
             TimeMode::ProcessingTime, or turn strict Spark compatibility off",
            variable.name
        )));
    }
    Ok(())
}
