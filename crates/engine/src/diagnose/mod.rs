//! Why nothing comes out of a query: facts in, causes out.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `facts` | what is known of a running query |
//! | `record` | how each epoch adds to it |
//! | `rules` | which causes the facts show |
//! | `cause`, `sentence` | a cause as data and as a sentence |

mod cause;
mod facts;
pub(crate) mod record;
mod rules;
mod sentence;
mod shown;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::shown::{counted, rows, span, time};
pub use self::{
    cause::{Cause, Closing, Holder, IdleSource, NeededEvent, Raised},
    facts::{
        Activity, DiagnosisFacts, InputEpoch, NextEnd, OperatorStanding, OutputEpoch, RecentWork,
        Rise, SourceStanding, WatermarkStanding,
    },
};
use crate::trigger::next_tick;

/// Why nothing comes out of a query, and everything that this was concluded from. `Display` tells it in plain sentences;
/// as data it goes through serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Causes, the most telling first.
    pub causes: Vec<Cause>,
    /// What is known of the query.
    pub facts: DiagnosisFacts,
}

/// Names the causes that `facts` show.
pub fn diagnose(facts: DiagnosisFacts) -> Diagnosis {
    Diagnosis {
        causes: rules::causes(&facts),
        facts,
    }
}

/// The causes as of `now`, milliseconds since 1970.
pub(crate) fn diagnose_at(mut facts: DiagnosisFacts, now: i64) -> Diagnosis {
    facts.asked_millis = now;
    facts.next_tick_millis = next_tick(facts.trigger, now);
    diagnose(facts)
}

impl Diagnosis {
    /// The most telling cause, in one line.
    pub fn summary(&self) -> String {
        match self.causes.first() {
            // Messages of errors may have several lines.
            Some(cause) => cause.to_string().replace(['\r', '\n'], " "),
            None => self.activity(),
        }
    }

    fn activity(&self) -> String {
        let since = |millis: i64| span(self.facts.asked_millis.saturating_sub(millis));
        match &self.facts.activity {
            Activity::Starting => "starting".to_owned(),
            Activity::Waiting { since_millis } => {
                format!("waiting for {}", since(*since_millis))
            }
            Activity::Running { since_millis, .. } => format!(
                "epoch {} has been running for {}",
                self.facts.next_epoch,
                since(*since_millis)
            ),
            Activity::Stopped => "ended".to_owned(),
            Activity::Failed { .. } => "failed".to_owned(),
        }
    }
}

impl fmt::Display for Diagnosis {
    /// A line on the query, one for each cause, then one for each source, watermark and operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.facts;
        writeln!(
            f,
            "{} at {}: {}; {} since {}, {} read, {} out",
            facts.query,
            time(facts.asked_millis),
            self.activity(),
            counted(facts.epochs, "epoch"),
            time(facts.started_millis),
            rows(facts.rows_read),
            rows(facts.rows_out)
        )?;
        for cause in &self.causes {
            writeln!(f, "- {cause}")?;
        }
        for source in &facts.sources {
            write!(f, "source {}: {}", source.description, rows(source.rows))?;
            if let Some(last) = source.last_rows_millis {
                write!(f, ", the last at {}", time(last))?;
            }
            match source.is_behind {
                true => writeln!(
                    f,
                    "; stands at {}, there is more up to {}",
                    source.position, source.latest
                )?,
                false => writeln!(f, "; nothing more was there")?,
            }
        }
        for watermark in &facts.watermarks {
            write!(
                f,
                "watermark on {}: {}, ",
                facts.name_of(watermark),
                time(watermark.watermark_millis)
            )?;
            match watermark.newest_millis {
                Some(newest) => writeln!(
                    f,
                    "{} behind the newest event time {}",
                    span(watermark.delay_millis),
                    time(newest)
                )?,
                None => writeln!(f, "no row in this run")?,
            }
        }
        for operator in &facts.operators {
            self.operator(operator, f)?;
        }
        Ok(())
    }
}

impl Diagnosis {
    fn operator(&self, operator: &OperatorStanding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state of {}: ", operator.id)?;
        match operator.rows {
            None => write!(f, "not known before the first epoch")?,
            Some(held) => write!(f, "{}", rows(held))?,
        }
        if operator.late_rows > 0 {
            write!(
                f,
                ", {} dropped as late in this run, {} recently",
                rows(operator.late_rows),
                operator.recent.late
            )?;
        }
        match operator.next {
            Some(next) => writeln!(
                f,
                ", the first goes when the watermark reaches {}",
                time(next.needs_millis)
            ),
            None => writeln!(f),
        }
    }
}
