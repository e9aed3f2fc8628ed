//! The queries of the recorded scenarios that call code: which names they call, and how. The record has them as Python
//! text only, so they are written out here by the scenario's name.

use datafusion::{functions_aggregate::expr_fn::count, prelude::lit};
use headwater::{DataFrame, OutputMode, Session, StatefulOptions, processor::TimeMode};
use headwater_core::{Error, Result};

/// A query over the stream `events`, grouped by its column `k`.
struct Program {
    /// Delay of a watermark on the column `ts`, if there is one.
    watermark: Option<&'static str>,
    name: &'static str,
    is_processor: bool,
    time_mode: TimeMode,
    /// The mode that the code is declared for.
    mode: OutputMode,
    /// Whether the rows that come out are counted by `n`.
    then_count: bool,
}

const GROUPS: Program = Program {
    watermark: None,
    name: "running_count",
    is_processor: false,
    time_mode: TimeMode::None,
    mode: OutputMode::Update,
    then_count: false,
};

const EVENT_TIMEOUT: Program = Program {
    watermark: Some("0 seconds"),
    name: "event_timeout",
    time_mode: TimeMode::EventTime,
    ..GROUPS
};

const TRANSFORM: Program = Program {
    name: "value_count",
    is_processor: true,
    ..GROUPS
};

fn program(scenario: &str) -> Option<Program> {
    Some(match scenario {
        "apply_running_count_update" => GROUPS,
        "apply_running_count_append" | "apply_mode_mismatch_rejected" => Program {
            mode: OutputMode::Append,
            ..GROUPS
        },
        "apply_complete_rejected" => Program {
            mode: OutputMode::Complete,
            ..GROUPS
        },
        "apply_then_aggregate_rejected" => Program {
            then_count: true,
            ..GROUPS
        },
        "apply_three_then_remove" => Program {
            name: "three_then_remove",
            mode: OutputMode::Append,
            ..GROUPS
        },
        "apply_event_timeout_at"
        | "apply_event_timeout_1ms_after"
        | "apply_event_timeout_and_data_same_batch" => EVENT_TIMEOUT,
        "apply_event_timeout_update" | "restart_apply_event_timeout" => Program {
            watermark: Some("5 seconds"),
            ..EVENT_TIMEOUT
        },
        "apply_event_timeout_no_watermark_rejected" => Program {
            watermark: None,
            ..EVENT_TIMEOUT
        },
        "apply_event_timeout_before_watermark_fails" => Program {
            name: "timeout_before_watermark",
            ..EVENT_TIMEOUT
        },
        "apply_processing_timeout" => Program {
            name: "processing_timeout",
            time_mode: TimeMode::ProcessingTime,
            ..GROUPS
        },
        "tws_value_state_count" | "restart_tws_value_state" | "tws_default_store_rejected" => {
            TRANSFORM
        }
        "tws_value_state_append" => Program {
            mode: OutputMode::Append,
            ..TRANSFORM
        },
        "tws_event_timer" => Program {
            watermark: Some("0 seconds"),
            name: "event_timer",
            time_mode: TimeMode::EventTime,
            ..TRANSFORM
        },
        "tws_value_ttl" => Program {
            name: "value_ttl",
            time_mode: TimeMode::ProcessingTime,
            ..TRANSFORM
        },
        _ => return None,
    })
}

/// Whether the query of this scenario is written out here.
pub fn is_program(scenario: &str) -> bool {
    program(scenario).is_some()
}

/// The frame of a scenario, in a session that has the processors of this folder.
///
/// # Errors
/// `Data` if the scenario's query is not written out here, `Invalid` if a call is refused.
pub async fn build(session: &Session, scenario: &str) -> Result<DataFrame> {
    let Some(program) = program(scenario) else {
        return Err(Error::data(format!(
            "the scenario '{scenario}' has neither SQL nor calls, and its query is not written out by name"
        )));
    };
    let mut events = session.table("events").await?;
    if let Some(delay) = program.watermark {
        events = events.with_watermark("ts", delay)?;
    }
    let grouped = events.group_by_key(["k"])?;
    let options = StatefulOptions::new(program.time_mode).output_mode(program.mode);
    let result = match program.is_processor {
        true => grouped.transform_with_state(program.name, options)?,
        false => grouped.flat_map_groups_with_state(program.name, options)?,
    };
    match program.then_count {
        true => result.group_by(["n"])?.agg([count(lit(1)).alias("c")]),
        false => Ok(result),
    }
}
