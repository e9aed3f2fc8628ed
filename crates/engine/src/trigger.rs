//! When an epoch runs, and which kind. Pure: facts in, decision out; nothing here waits or reads a clock.

use std::time::Duration;

use headwater_core::{Trigger, Watermark};

/// What is known when a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriggerFacts {
    /// The query's trigger.
    pub trigger: Trigger,
    /// Epochs that this run has committed, a replayed one included.
    pub epochs_run: u64,
    /// A source offers an increment, be it an empty one.
    pub new_data: bool,
    /// An epoch without data is due: see [`no_data_epoch_is_due`] and [`timer_is_due`].
    pub no_data_due: bool,
}

/// What to do about a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochDecision {
    /// Run an epoch over the sources' increments.
    RunData,
    /// Run an epoch without input: the watermark has risen and an operator waits for it.
    RunNoData,
    /// Nothing to do now.
    Idle,
    /// The trigger has done what it promises: the query ends.
    Finished,
}

/// Decides what a trigger does.
pub fn decide_epoch(facts: &TriggerFacts) -> EpochDecision {
    match facts.trigger {
        // One epoch, whatever it was; never one without data.
        Trigger::Once if facts.epochs_run == 0 && facts.new_data => EpochDecision::RunData,
        Trigger::Once => EpochDecision::Finished,
        _ if facts.new_data => EpochDecision::RunData,
        _ if facts.no_data_due => EpochDecision::RunNoData,
        Trigger::AvailableNow => EpochDecision::Finished,
        Trigger::Default | Trigger::ProcessingTime(_) => EpochDecision::Idle,
    }
}

/// Whether an epoch without data is due: some operator `wanted` it, and the watermark has risen since the last epoch
/// of this run. After a restart there is no such epoch (`last` is `None`), and nothing is due until new data comes.
pub fn no_data_epoch_is_due(
    enabled: bool,
    wanted: bool,
    last: Option<Watermark>,
    now: Watermark,
) -> bool {
    enabled && wanted && last.is_some_and(|last| now > last)
}

/// What is known of the timers that follow the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTimer {
    /// There is none.
    None,
    /// An earlier run may have set some.
    Unknown,
    /// The earliest is due then, in milliseconds since 1970; not later.
    At(i64),
}

/// Whether an epoch runs for timers that follow the clock. As recorded of Spark, one runs at `every_trigger` after the
/// first epoch of a run; otherwise when a timer is due, and once after a restart to learn when that is.
pub fn timer_is_due(
    enabled: bool,
    every_trigger: bool,
    epochs_run: u64,
    next: NextTimer,
    now: i64,
) -> bool {
    let due = match next {
        _ if every_trigger => epochs_run > 0,
        NextTimer::None => false,
        NextTimer::Unknown => true,
        NextTimer::At(at) => at <= now,
    };
    enabled && due
}

/// The next tick of a trigger after `now` (milliseconds since 1970): the first multiple of the interval that is still
/// to come, so that ticks missed by a long epoch are skipped. `None`: there is no need to wait.
pub fn next_tick(trigger: Trigger, now: i64) -> Option<i64> {
    let Trigger::ProcessingTime(interval) = trigger else {
        return None;
    };
    let interval = whole_millis(interval)?;
    let next = now.div_euclid(interval).saturating_add(1);
    Some(next.saturating_mul(interval))
}

/// The interval in milliseconds, at least one; none for an interval of zero, which means "at once".
fn whole_millis(interval: Duration) -> Option<i64> {
    if interval.is_zero() {
        return None;
    }
    Some(
        i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1),
    )
}

#[cfg(test)]
mod tests {
    use headwater_core::{Delay, EventTime};

    use super::*;

    #[test]
    fn a_trigger_decides_by_its_kind_and_the_facts() {
        use EpochDecision::{Finished, Idle, RunData, RunNoData};
        let every = Trigger::processing_time(Duration::from_secs(1));
        for (trigger, epochs_run, new_data, no_data_due, expected) in [
            (Trigger::Default, 0, true, false, RunData),
            (Trigger::Default, 3, true, true, RunData),
            (Trigger::Default, 3, false, true, RunNoData),
            (Trigger::Default, 3, false, false, Idle),
            (every, 3, false, true, RunNoData),
            (every, 0, false, false, Idle),
            (Trigger::AvailableNow, 0, false, false, Finished),
            (Trigger::AvailableNow, 2, true, true, RunData),
            (Trigger::AvailableNow, 2, false, true, RunNoData),
            (Trigger::Once, 0, true, false, RunData),
            (Trigger::Once, 0, false, false, Finished),
            (Trigger::Once, 1, true, true, Finished),
            (Trigger::Once, 1, false, true, Finished),
        ] {
            let facts = TriggerFacts {
                trigger,
                epochs_run,
                new_data,
                no_data_due,
            };
            assert_eq!(decide_epoch(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn an_epoch_without_data_is_due_once_the_watermark_rose_in_this_run() {
        let start = Watermark::START;
        let risen = start.advanced(EventTime(1), Delay(0));
        assert!(no_data_epoch_is_due(true, true, Some(start), risen));
        assert!(!no_data_epoch_is_due(true, true, Some(risen), risen));
        assert!(!no_data_epoch_is_due(true, false, Some(start), risen));
        assert!(!no_data_epoch_is_due(false, true, Some(start), risen));
        assert!(
            !no_data_epoch_is_due(true, true, None, risen),
            "not after a restart"
        );
    }

    #[test]
    fn an_epoch_runs_when_a_timer_is_due_or_unknown_or_at_every_trigger() {
        for (every_trigger, epochs_run, next, now, expected) in [
            (false, 1, NextTimer::None, 5, false),
            (false, 0, NextTimer::Unknown, 5, true),
            (false, 1, NextTimer::At(5), 4, false),
            (false, 1, NextTimer::At(5), 5, true),
            (true, 0, NextTimer::At(5), 5, false),
            (true, 1, NextTimer::None, 5, true),
        ] {
            let due = |enabled| timer_is_due(enabled, every_trigger, epochs_run, next, now);
            assert_eq!(due(true), expected, "{every_trigger} {epochs_run} {next:?}");
            assert!(!due(false));
        }
    }

    #[test]
    fn ticks_are_multiples_of_the_interval_and_missed_ones_are_skipped() {
        let every = |millis| Trigger::processing_time(Duration::from_millis(millis));
        for (trigger, now, expected) in [
            (every(1_000), 0, Some(1_000)),
            (every(1_000), 999, Some(1_000)),
            (every(1_000), 1_000, Some(2_000)),
            (every(1_000), 4_700, Some(5_000)),
            (every(1_000), -1, Some(0)),
            (every(0), 5, None),
            (
                Trigger::processing_time(Duration::from_micros(1)),
                5,
                Some(6),
            ),
            (Trigger::Default, 5, None),
            (Trigger::AvailableNow, 5, None),
        ] {
            assert_eq!(next_tick(trigger, now), expected, "{trigger:?} at {now}");
        }
    }
}
