//! Which causes the facts show. Pure: each rule is a function that finds its cause or none.

use headwater_core::Trigger;
use headwater_log::WatermarkPolicy;
use headwater_plan::Withheld;

use super::{
    cause::{Cause, Closing, Holder, IdleSource, NeededEvent, Raised},
    facts::{Activity, DiagnosisFacts, NextEnd, OperatorStanding, WatermarkStanding},
};

/// An epoch that has run for this long is a reason to wait.
const LONG_EPOCH_MILLIS: i64 = 10_000;

/// All causes, the most telling first.
pub(super) fn causes(facts: &DiagnosisFacts) -> Vec<Cause> {
    if let Some(cause) = not_running(facts) {
        return vec![cause];
    }
    let mut found: Vec<Cause> = [long_epoch(facts), rows_come_out(facts), exhausted(facts)]
        .into_iter()
        .flatten()
        .collect();
    let dropped = late(facts).or_else(|| nothing_passed(facts));
    found.extend(dropped);
    found.extend(held_back(facts));
    found.extend(not_closed(facts));
    found.extend(no_input(facts));
    found.extend(next_trigger(facts));
    found.extend(grows(facts));
    found
}

fn not_running(facts: &DiagnosisFacts) -> Option<Cause> {
    match &facts.activity {
        Activity::Failed { kind, message } => Some(Cause::Failed {
            kind: *kind,
            message: message.clone(),
            resumes_at: facts.has_checkpoint.then_some(facts.next_epoch),
        }),
        Activity::Stopped => Some(Cause::Stopped),
        Activity::Starting => Some(Cause::Starting),
        Activity::Waiting { .. } | Activity::Running { .. } => None,
    }
}

fn long_epoch(facts: &DiagnosisFacts) -> Option<Cause> {
    let Activity::Running {
        since_millis,
        phase,
        phase_since_millis,
    } = &facts.activity
    else {
        return None;
    };
    let for_millis = facts.asked_millis.saturating_sub(*since_millis);
    (for_millis >= LONG_EPOCH_MILLIS).then(|| Cause::LongEpoch {
        epoch: facts.next_epoch,
        for_millis,
        phase: phase.clone(),
        phase_for_millis: facts.asked_millis.saturating_sub(*phase_since_millis),
    })
}

/// What was read last has led to rows.
fn rows_come_out(facts: &DiagnosisFacts) -> Option<Cause> {
    let output = facts.last_output?;
    let is_recent = facts
        .last_input
        .is_none_or(|input| output.epoch >= input.epoch);
    is_recent.then_some(Cause::RowsComeOut {
        rows: output.rows,
        epoch: output.epoch,
        at_millis: output.at_millis,
    })
}

fn exhausted(facts: &DiagnosisFacts) -> Option<Cause> {
    let operator = facts.operators.iter().find(|it| it.is_exhausted)?;
    Some(Cause::LimitReached {
        operator: operator.id.clone(),
    })
}

/// All recent rows were late, or nine in ten, and nothing came out since.
fn late(facts: &DiagnosisFacts) -> Option<Cause> {
    let input = facts.last_input.filter(|input| input.rows_out == 0)?;
    let is_culprit = |it: &&OperatorStanding| {
        let late = it.recent.late;
        late > 0 && (it.recent.updated == 0 || late.saturating_mul(10) >= input.rows * 9)
    };
    let operator = facts.operators.iter().find(is_culprit)?;
    let recent = facts.watermarks.iter().filter_map(|it| it.recent);
    Some(Cause::Late {
        operator: operator.id.clone(),
        late: operator.recent.late,
        read: input.rows,
        watermark_millis: input.late_watermark_millis,
        newest_millis: recent.map(|(_, newest)| newest).max(),
        raised: raised(facts),
    })
}

/// The input that the watermark follows: the one whose own is nearest to it.
fn raised(facts: &DiagnosisFacts) -> Option<Raised> {
    let seen = facts
        .watermarks
        .iter()
        .filter(|it| it.newest_millis.is_some());
    let leads = match facts.watermark_policy {
        WatermarkPolicy::Min => seen.min_by_key(|it| it.watermark_millis),
        WatermarkPolicy::Max => seen.max_by_key(|it| it.watermark_millis),
    }?;
    let (newest, rise) = (leads.newest_millis?, leads.rise?);
    let ahead = newest.saturating_sub(facts.asked_millis);
    Some(Raised {
        input: facts.name_of(leads),
        newest_millis: newest,
        epoch: rise.epoch,
        before_millis: rise.before_millis,
        mean_millis: rise.mean_millis,
        ahead_millis: (ahead > 0).then_some(ahead),
    })
}

/// Rows were read, none came out, and that is not for the watermark.
fn nothing_passed(facts: &DiagnosisFacts) -> Option<Cause> {
    let input = facts.last_input.filter(|input| input.rows_out == 0)?;
    let operators = &facts.operators;
    if operators
        .iter()
        .any(|it| it.is_exhausted || it.recent.late > 0)
    {
        return None;
    }
    let nulls = facts.watermarks.iter();
    if let Some(without) = nulls
        .filter(|it| it.recent_rows == 0)
        .find(|it| it.recent_nulls > 0)
    {
        return Some(Cause::NoEventTimes {
            input: facts.name_of(without),
            rows: without.recent_nulls,
        });
    }
    let did_nothing = |it: &OperatorStanding| it.recent.updated == 0;
    let duplicates = operators
        .iter()
        .find(|it| it.recent.duplicates > 0 && did_nothing(it));
    if let Some(operator) = duplicates {
        return Some(Cause::Duplicates {
            operator: operator.id.clone(),
            rows: operator.recent.duplicates,
        });
    }
    // The one that rows reach first. User code may well leave state as it is.
    if operators
        .iter()
        .all(|it| did_nothing(it) && it.recent.removed == 0 && is_of_ours(it))
    {
        return Some(Cause::Filtered {
            read: input.rows,
            before: operators.last().map(|it| it.id.clone()),
        });
    }
    let last = operators.first()?;
    let gave = match last.withholds {
        Withheld::Nothing => last.recent.updated > 0,
        _ => last.recent.removed > 0,
    };
    match last.kind.as_str() {
        "join" if last.withholds == Withheld::Nothing && gave => Some(Cause::NoMatch {
            operator: last.id.clone(),
            held: last.rows.unwrap_or(0),
        }),
        "join" | "limit" => None,
        _ if is_of_ours(last) && gave => Some(Cause::FilteredBehind {
            operator: last.id.clone(),
        }),
        _ => None,
    }
}

/// Whether what an operator does with a row is known, which it is not of user code.
fn is_of_ours(operator: &OperatorStanding) -> bool {
    let kind = operator.kind.as_str();
    matches!(kind, "aggregate" | "session" | "join" | "limit") || kind.starts_with("dedup")
}

/// Of several inputs the slowest ones, if some operator waits for the watermark.
fn held_back(facts: &DiagnosisFacts) -> Option<Cause> {
    if facts.watermark_policy != WatermarkPolicy::Min {
        return None;
    }
    let watermark = facts.watermark_millis?;
    if !facts.operators.iter().any(|it| waits(it, watermark)) {
        return None;
    }
    let lowest = facts
        .watermarks
        .iter()
        .map(|it| it.watermark_millis)
        .min()?;
    let (slow, others): (Vec<&WatermarkStanding>, Vec<_>) = facts
        .watermarks
        .iter()
        .partition(|it| it.watermark_millis == lowest);
    let without = others.iter().map(|it| it.watermark_millis).min()?;
    // After a restart all inputs may be behind a watermark that was reached before.
    if without <= watermark {
        return None;
    }
    let by = slow.into_iter().map(|it| Holder {
        input: facts.name_of(it),
        watermark_millis: it.watermark_millis.max(watermark),
        newest_millis: it.newest_millis,
    });
    Some(Cause::HeldBack {
        by: by.collect(),
        watermark_millis: watermark,
        without_millis: without,
    })
}

/// Whether an operator holds something that the watermark has yet to pass.
fn waits(operator: &OperatorStanding, watermark: i64) -> bool {
    operator.withholds != Withheld::Nothing
        && operator
            .next
            .is_some_and(|next| next.needs_millis > watermark)
}

/// What each operator gives out next, the earliest first.
fn not_closed(facts: &DiagnosisFacts) -> Vec<Cause> {
    let Some(watermark) = facts.watermark_millis else {
        return Vec::new();
    };
    let mut waiting: Vec<(&OperatorStanding, NextEnd, Closing)> = facts
        .operators
        .iter()
        .filter_map(|operator| {
            let next = operator.next?;
            Some((operator, next, closing(operator.withholds, next)?))
        })
        .collect();
    waiting.sort_by_key(|(_, next, _)| next.needs_millis);
    let causes = waiting.into_iter().map(|(operator, next, closing)| {
        let operator = operator.id.clone();
        match next.needs_millis > watermark {
            true => Cause::NotClosed {
                operator,
                next: closing,
                needs_millis: next.needs_millis,
                watermark_millis: watermark,
                events: needed_events(facts, next.needs_millis),
            },
            false => Cause::Due {
                operator,
                next: closing,
                waits_for_rows: !facts.no_data_epochs || facts.trigger == Trigger::Once,
            },
        }
    });
    causes.collect()
}

fn closing(withholds: Withheld, next: NextEnd) -> Option<Closing> {
    let at_millis = next.at_millis;
    Some(match withholds {
        Withheld::Nothing => return None,
        Withheld::Windows(length) => Closing::Window {
            start_millis: at_millis.saturating_sub(length),
            end_millis: at_millis,
        },
        Withheld::Times => Closing::Time { at_millis },
        Withheld::Sessions => Closing::Session {
            end_millis: at_millis,
        },
        Withheld::UnmatchedRows => Closing::UnmatchedRow { at_millis },
        Withheld::Timers => Closing::Timer { at_millis },
    })
}

/// The event times that raise the watermark to `needs`: from every input that is behind, or from the one that is nearest
/// if the fastest decides.
fn needed_events(facts: &DiagnosisFacts, needs: i64) -> Vec<NeededEvent> {
    let behind = facts
        .watermarks
        .iter()
        .filter(|it| it.watermark_millis < needs);
    let behind: Vec<&WatermarkStanding> = match facts.watermark_policy {
        WatermarkPolicy::Min => behind.collect(),
        WatermarkPolicy::Max => behind
            .max_by_key(|it| it.watermark_millis)
            .into_iter()
            .collect(),
    };
    let events = behind.into_iter().map(|it| NeededEvent {
        input: facts.name_of(it),
        from_millis: needs.saturating_add(it.delay_millis),
        newest_millis: it.newest_millis,
    });
    events.collect()
}

/// The sources that had nothing for the last trigger, or for the last epoch that read rows at all.
fn no_input(facts: &DiagnosisFacts) -> Option<Cause> {
    let is_idle = |recent_rows: u64| facts.is_caught_up || recent_rows == 0;
    let idle = facts
        .sources
        .iter()
        .filter(|it| !it.is_behind && is_idle(it.recent_rows));
    let sources: Vec<IdleSource> = idle
        .map(|source| IdleSource {
            description: source.description.clone(),
            since_millis: source.last_rows_millis,
            started_millis: facts.started_millis,
        })
        .collect();
    let is_known = facts.is_caught_up || facts.epochs > 0;
    (is_known && !sources.is_empty()).then_some(Cause::NoInput {
        all: sources.len() == facts.sources.len(),
        sources,
    })
}

fn next_trigger(facts: &DiagnosisFacts) -> Option<Cause> {
    if !matches!(facts.activity, Activity::Waiting { .. }) {
        return None;
    }
    let at_millis = facts.next_tick_millis?;
    Some(Cause::NextTrigger {
        at_millis,
        in_millis: at_millis.saturating_sub(facts.asked_millis),
    })
}

fn grows(facts: &DiagnosisFacts) -> Vec<Cause> {
    let operators = facts.operators.iter();
    let reasons = operators.flat_map(|operator| {
        operator.grows.iter().map(|reason| Cause::Grows {
            operator: operator.id.clone(),
            reason: reason.clone(),
        })
    });
    reasons.collect()
}
