//! An epoch that is begun while the one before is committed.
//!
//! When the rows of an epoch have been worked on, what is left of it is waiting: for its commit record, for the sink to
//! publish. If it is certain that another epoch follows at once, that one is planned then and its rows are worked on
//! meanwhile, until something of it would become durable: that waits for its plan to be recorded, as ever
//! ([`crate::held_back`]), and its plan is recorded by the next step, after the epoch before is published. So a restart
//! sees what it would see without all this. If the epoch before cannot be committed, the driver is not asked any more
//! and what was begun is gone with it; state that it has changed is in no place that a restart looks at.

use std::sync::Arc;

use headwater_core::{Result, Trigger};
use headwater_log::Planned;
use headwater_ops::runtime::PlanRecorded;
use tokio::sync::watch;
use tracing::{Instrument, Span};

use crate::{
    commit::{Execution, Stage},
    driver::{Driver, NextEpoch, epoch_span},
    progress::Phases,
};

/// An epoch whose plan is not recorded yet and whose rows are worked on.
pub(crate) struct Begun {
    planned: Planned,
    execution: Execution,
    recorded: watch::Sender<bool>,
    phases: Phases,
    span: Span,
}

impl Begun {
    /// The step that began it ends.
    pub(crate) fn set_aside(&mut self) {
        self.phases.set_aside("addBatch");
    }

    /// The next step takes it over.
    pub(crate) fn resume(mut self) -> (Planned, Stage, Phases, Span) {
        self.phases.resume();
        let stage = Stage::Begun(self.execution, self.recorded);
        (self.planned, stage, self.phases, self.span)
    }
}

/// What decides whether an epoch may be begun before the one before is committed.
#[derive(Debug, Clone, Copy)]
struct BeginFacts {
    trigger: Trigger,
    /// That rows are read and worked on may be seen from outside: the plan has to be durable before.
    records_first: bool,
    /// The plan reads tables, and finds in them what the epochs before have published.
    reads_tables: bool,
}

/// Whether it may, if all sources say what comes next.
fn may_begin(facts: &BeginFacts) -> bool {
    follows_at_once(facts.trigger) && !facts.records_first && !facts.reads_tables
}

/// Whether an epoch follows the one before without a pause, and takes what sources offer of themselves.
pub(crate) fn follows_at_once(trigger: Trigger) -> bool {
    match trigger {
        Trigger::Default | Trigger::AvailableNow => true,
        Trigger::ProcessingTime(interval) => interval.is_zero(),
        Trigger::Once => false,
    }
}

impl Driver {
    /// Begins the epoch after the one that this driver stands behind, if it may; its span is inside `around`. What
    /// fails here fails again when the next step does it, and is said there.
    pub(crate) async fn begin_next(&mut self, around: &Span) -> Option<Begun> {
        match self.try_to_begin(around).await {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(%error, "could not begin the next epoch");
                None
            }
        }
    }

    async fn try_to_begin(&mut self, around: &Span) -> Result<Option<Begun>> {
        let facts = BeginFacts {
            trigger: self.trigger,
            records_first: self.records_first(),
            reads_tables: self.plan.reads_tables(),
        };
        // A source that cannot say what comes next may have more than it knows of, and is asked after the epoch, as ever:
        // were the next one begun with what others have, it would have to wait for as long as they have any.
        if !may_begin(&facts) || !self.knows_what_comes_next().await {
            return Ok(None);
        }
        let mut phases = Phases::begin_ahead(Arc::clone(&self.clock), self.facts.clone());
        let next = self.next_epoch(phases.began_millis(), &mut phases).await?;
        let NextEpoch::Planned {
            planned,
            stage: Stage::New,
        } = next
        else {
            return Ok(None);
        };
        if !planned.has_data {
            return Ok(None);
        }
        let span = epoch_span(around, &planned, false);
        let (recorded, when_recorded) = PlanRecorded::when();
        let execution = self
            .execute(&planned, Some(when_recorded), &mut phases)
            .instrument(span.clone())
            .await?;
        Ok(Some(Begun {
            planned,
            execution,
            recorded,
            phases,
            span,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_epoch_is_begun_early_only_where_nobody_can_tell() {
        let every = |millis| Trigger::ProcessingTime(Duration::from_millis(millis));
        let may = BeginFacts {
            trigger: Trigger::Default,
            records_first: false,
            reads_tables: false,
        };
        for (trigger, expected) in [
            (Trigger::Default, true),
            (Trigger::AvailableNow, true),
            (every(0), true),
            (every(1), false),
            (Trigger::Once, false),
        ] {
            let facts = BeginFacts { trigger, ..may };
            assert_eq!(may_begin(&facts), expected, "{facts:?}");
        }
        for facts in [
            BeginFacts {
                records_first: true,
                ..may
            },
            BeginFacts {
                reads_tables: true,
                ..may
            },
        ] {
            assert!(!may_begin(&facts), "{facts:?}");
        }
    }
}
