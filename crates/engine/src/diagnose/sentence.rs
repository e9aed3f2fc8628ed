//! Causes as sentences: lower-case, without a full stop, so that they stand in a list or a status line.

use std::fmt;

use headwater_core::ErrorKind;

use super::{
    cause::{Cause, Closing, Holder, IdleSource, NeededEvent, Raised},
    shown::{listed, rows, span, time},
};

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Window {
                start_millis,
                end_millis,
            } => write!(
                f,
                "the window {} – {}",
                time(start_millis),
                time(end_millis)
            ),
            Self::Time { at_millis } => write!(f, "the group of {}", time(at_millis)),
            Self::Session { end_millis } => {
                write!(
                    f,
                    "the first session, which ends at {} or later,",
                    time(end_millis)
                )
            }
            Self::UnmatchedRow { at_millis } => write!(
                f,
                "the first row without a match, which is kept until {},",
                time(at_millis)
            ),
            Self::Timer { at_millis } => {
                write!(f, "the first timer, due at {} or later,", time(at_millis))
            }
        }
    }
}

impl Closing {
    /// What happens to it when the watermark has passed it.
    fn verb(self) -> &'static str {
        match self {
            Self::Window { .. } => "closes",
            Self::Time { .. } | Self::Session { .. } | Self::UnmatchedRow { .. } => "comes out",
            Self::Timer { .. } => "fires",
        }
    }
}

impl fmt::Display for NeededEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must reach {}", self.input, time(self.from_millis))?;
        match self.newest_millis {
            None => write!(f, " (no row so far)"),
            Some(newest) => write!(
                f,
                " (the newest so far is {}, {} to go)",
                time(newest),
                span(self.from_millis.saturating_sub(newest))
            ),
        }
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it follows {}, whose newest event time {} came in epoch {}",
            self.input,
            time(self.newest_millis),
            self.epoch
        )?;
        match self.before_millis {
            Some(before) => write!(f, " (the newest before was {})", time(before))?,
            None => write!(f, " (the mean of its rows was {})", time(self.mean_millis))?,
        }
        match self.ahead_millis {
            None => Ok(()),
            Some(ahead) => write!(f, " and lies {} in the future", span(ahead)),
        }
    }
}

/// What a phase of a trigger does.
fn phase_text(phase: &str) -> &str {
    match phase {
        "latestOffset" => "asking the sources for new rows",
        "walCommit" => "writing the plan record",
        "getBatch" => "dividing the input",
        "queryPlanning" => "planning",
        "addBatch" => "reading, computing and preparing the output",
        "commitOffsets" => "writing the commit record",
        "publish" => "publishing to the sink",
        "" => "beginning",
        other => other,
    }
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "change the query or the setting that it names",
        ErrorKind::Unavailable => "the cause may pass, but nothing is tried again by itself",
        ErrorKind::Data => "input or stored bytes are not what they claim to be",
        ErrorKind::Fenced => "another run has taken over the checkpoint: leave it to that one",
        ErrorKind::Internal => "this is a defect of headwater: please report it",
    }
}

fn holders(by: &[Holder], without: i64) -> String {
    let named = by.iter().map(|holder| match holder.newest_millis {
        None => format!("{} has given no row in this run", holder.input),
        Some(newest) => format!(
            "{} is {} behind, its newest event time is {}",
            holder.input,
            span(without.saturating_sub(holder.watermark_millis)),
            time(newest)
        ),
    });
    listed(&named.collect::<Vec<_>>())
}

fn idle(sources: &[IdleSource]) -> String {
    let named = sources.iter().map(|source| match source.since_millis {
        Some(since) => format!("{} since {}", source.description, time(since)),
        None => format!(
            "{} since the query started at {}",
            source.description,
            time(source.started_millis)
        ),
    });
    listed(&named.collect::<Vec<_>>())
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed {
                kind,
                message,
                resumes_at,
            } => {
                write!(f, "the query has failed: {message} ({}", remedy(*kind))?;
                match (kind, resumes_at) {
                    (ErrorKind::Fenced, _) => write!(f, ")"),
                    (_, Some(epoch)) => write!(
                        f,
                        "; started again on its checkpoint, the query goes on with epoch {epoch} and loses nothing)"
                    ),
                    (_, None) => {
                        write!(f, "; without a checkpoint, a restart begins from scratch)")
                    }
                }
            }
            Self::Stopped => write!(f, "the query has ended"),
            Self::Starting => write!(f, "the query is starting"),
            Self::LongEpoch {
                epoch,
                for_millis,
                phase,
                phase_for_millis,
            } => write!(
                f,
                "epoch {epoch} has been running for {}, for {} of it {}",
                span(*for_millis),
                span(*phase_for_millis),
                phase_text(phase)
            ),
            Self::RowsComeOut {
                rows: count,
                epoch,
                at_millis,
            } => write!(
                f,
                "rows do come out: {} in epoch {epoch} at {}",
                rows(*count),
                time(*at_millis)
            ),
            Self::LimitReached { operator } => write!(
                f,
                "the LIMIT {operator} has let all of its rows through: no other will ever come out"
            ),
            Self::Late {
                operator,
                late,
                read,
                watermark_millis,
                newest_millis,
                raised,
            } => {
                write!(
                    f,
                    "{operator} dropped {} as late of {read} read: the watermark was {}",
                    rows(*late),
                    time(*watermark_millis)
                )?;
                if let Some(newest) = newest_millis {
                    write!(f, ", their newest event time {}", time(*newest))?;
                }
                match raised {
                    None => Ok(()),
                    Some(raised) => write!(f, "; {raised}"),
                }
            }
            Self::NoEventTimes { input, rows: count } => write!(
                f,
                "the event time {input} was null in all of the last {}",
                rows(*count)
            ),
            Self::Duplicates {
                operator,
                rows: count,
            } => write!(
                f,
                "{operator} dropped all of the last {} as duplicates",
                rows(*count)
            ),
            Self::Filtered { read, before } => write!(
                f,
                "none of the last {} read got past the conditions of the query to {}",
                rows(*read),
                before.as_deref().unwrap_or("the sink")
            ),
            Self::FilteredBehind { operator } => write!(
                f,
                "{operator} gave out rows, but none got past the conditions behind it to the sink"
            ),
            Self::NoMatch { operator, held } => write!(
                f,
                "no recent row of {operator} found a match; it holds {}",
                rows(*held)
            ),
            Self::HeldBack {
                by,
                watermark_millis,
                without_millis,
            } => write!(
                f,
                "the slowest input holds the watermark at {}: {}; without it, the watermark would be {}",
                time(*watermark_millis),
                holders(by, *without_millis),
                time(*without_millis)
            ),
            Self::NotClosed {
                operator,
                next,
                needs_millis,
                watermark_millis,
                events,
            } => {
                let events: Vec<String> = events.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{next} of {operator} {} when the watermark, now {}, reaches {}: {}",
                    next.verb(),
                    time(*watermark_millis),
                    time(*needs_millis),
                    listed(&events)
                )
            }
            Self::Due {
                operator,
                next,
                waits_for_rows,
            } => {
                write!(f, "the watermark has passed {next} of {operator}, ")?;
                match waits_for_rows {
                    true => write!(
                        f,
                        "and it comes out with the next rows: there are no epochs without data"
                    ),
                    false => write!(f, "and it comes out with the next epoch"),
                }
            }
            Self::NoInput { sources, all } => match all {
                true => write!(f, "no new input: nothing from {}", idle(sources)),
                false => write!(f, "nothing new from {}", idle(sources)),
            },
            Self::NextTrigger {
                at_millis,
                in_millis,
            } => write!(
                f,
                "the trigger fires next at {}, in {}",
                time(*at_millis),
                span(*in_millis)
            ),
            Self::Grows { operator, reason } => {
                write!(f, "the state of {operator} grows without bound: {reason}")
            }
        }
    }
}
