//! Makes the report of one epoch. Pure arithmetic; the phases' durations are measured by [`Phases`].

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use headwater_core::{
    Clock, Epoch, EventTime, Offset, QueryId, RunId, StreamingQueryProgress, Watermark,
    progress::{SinkProgress, SourceProgress, StateOperatorProgress},
};
use headwater_log::SourceStep;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    diagnose::DiagnosisFacts,
    tally::{EventTimes, Tally},
};

/// Measures how long the phases of a trigger take.
#[derive(Debug)]
pub(crate) struct Phases {
    clock: Arc<dyn Clock>,
    /// When the trigger began, milliseconds since 1970.
    began_millis: i64,
    /// Since when the trigger is at work.
    since: Duration,
    /// How long it was at work before.
    before: Duration,
    durations: BTreeMap<&'static str, Duration>,
    /// Whoever asks what the query is doing sees it here.
    facts: watch::Sender<DiagnosisFacts>,
    /// Another trigger is still at work, and it is that one which is shown.
    is_ahead: bool,
}

impl Phases {
    /// Starts to measure a trigger.
    pub(crate) fn begin(clock: Arc<dyn Clock>, facts: watch::Sender<DiagnosisFacts>) -> Self {
        let phases = Self {
            is_ahead: false,
            ..Self::begin_ahead(clock, facts)
        };
        phases.show();
        phases
    }

    /// Starts to measure a trigger while the one before is still at work.
    pub(crate) fn begin_ahead(clock: Arc<dyn Clock>, facts: watch::Sender<DiagnosisFacts>) -> Self {
        Self {
            began_millis: clock.now_millis(),
            since: clock.monotonic(),
            before: Duration::ZERO,
            durations: BTreeMap::new(),
            facts,
            is_ahead: true,
            clock,
        }
    }

    fn show(&self) {
        let fired = |facts: &mut DiagnosisFacts| facts.trigger_fired(self.began_millis);
        self.facts.send_modify(fired);
    }

    /// Measures no longer, until [`Self::resume`]; what has passed since the last phase ended was part of `phase`.
    pub(crate) fn set_aside(&mut self, phase: &'static str) {
        let now = self.clock.monotonic();
        let known: Duration = self.durations.values().sum();
        self.before += now.saturating_sub(self.since);
        self.add(phase, self.before.saturating_sub(known));
    }

    /// Goes on with a trigger that was [set aside](Self::set_aside), now as the one at work.
    pub(crate) fn resume(&mut self) {
        self.since = self.clock.monotonic();
        self.is_ahead = false;
        self.show();
    }

    /// When the trigger began, milliseconds since 1970.
    pub(crate) fn began_millis(&self) -> i64 {
        self.began_millis
    }

    /// Awaits `work` as (a part of) a phase.
    pub(crate) async fn time<T>(
        &mut self,
        phase: &'static str,
        work: impl Future<Output = T>,
    ) -> T {
        if !self.is_ahead {
            let now = self.clock.now_millis();
            self.facts
                .send_modify(|facts| facts.phase_began(phase, now));
        }
        let began = self.clock.monotonic();
        let done = work.await;
        *self.durations.entry(phase).or_default() += self.clock.monotonic().saturating_sub(began);
        done
    }

    /// Adds what (a part of) a phase took that went on beside others.
    pub(crate) fn add(&mut self, phase: &'static str, took: Duration) {
        *self.durations.entry(phase).or_default() += took;
    }

    /// The phases, and the trigger as a whole as `triggerExecution`.
    pub(crate) fn end(mut self) -> BTreeMap<&'static str, Duration> {
        self.durations.insert(
            TRIGGER_EXECUTION,
            self.before + self.clock.monotonic().saturating_sub(self.since),
        );
        self.durations
    }
}

/// The phase that is the whole trigger.
const TRIGGER_EXECUTION: &str = "triggerExecution";

/// One source in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct SourceFacts {
    /// What reports call it.
    pub(crate) description: String,
    /// What the epoch took from it.
    pub(crate) step: SourceStep,
    /// The newest position it knows of.
    pub(crate) latest: Option<Offset>,
    /// Further numbers of its own.
    pub(crate) metrics: BTreeMap<String, String>,
}

/// One stateful operator.
#[derive(Debug, Clone)]
pub(crate) struct OperatorFacts {
    /// Its id.
    pub(crate) id: String,
    /// What reports call it.
    pub(crate) name: String,
}

/// Everything a report is made of.
#[derive(Debug)]
pub(crate) struct EpochFacts<'a> {
    /// The query.
    pub(crate) id: QueryId,
    /// Its run.
    pub(crate) run: RunId,
    /// Its name.
    pub(crate) name: Option<&'a str>,
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// When the trigger began, milliseconds since 1970.
    pub(crate) began_millis: i64,
    /// When the trigger before began; none for the first of a run.
    pub(crate) previous_millis: Option<i64>,
    /// Durations by phase, from [`Phases::end`].
    pub(crate) durations: BTreeMap<&'static str, Duration>,
    /// The watermark in force; none for a query without one.
    pub(crate) watermark: Option<Watermark>,
    /// What the partitions reported.
    pub(crate) tally: &'a Tally,
    /// The operators, nearest the sink first.
    pub(crate) operators: &'a [OperatorFacts],
    /// Partitions of the state.
    pub(crate) partitions: usize,
    /// The sources, by number.
    pub(crate) sources: &'a [SourceFacts],
    /// What reports call the sink.
    pub(crate) sink: String,
    /// What reports call the sink of late rows.
    pub(crate) late_sink: Option<String>,
}

/// A time as reports show it.
pub(crate) fn timestamp(millis: i64) -> String {
    EventTime(millis).to_string()
}

/// Rows per second; zero where no time has passed or none is known.
fn rate(rows: u64, time: Option<Duration>) -> f64 {
    match time {
        #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
        Some(time) if !time.is_zero() => rows as f64 / time.as_secs_f64(),
        _ => 0.0,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn shown(offset: Option<&Offset>) -> Value {
    offset.map_or(Value::Null, |offset| offset.0.clone())
}

/// The report of an epoch.
pub(crate) fn report(facts: EpochFacts<'_>) -> StreamingQueryProgress {
    let trigger = facts.durations.get(TRIGGER_EXECUTION).copied();
    let since_previous = facts.previous_millis.map(|previous| {
        let passed = facts.began_millis.saturating_sub(previous);
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    });
    let sources = facts
        .sources
        .iter()
        .enumerate()
        .map(|(number, source)| {
            let rows = facts.tally.source_rows.get(&number).copied().unwrap_or(0);
            let end = source.step.end();
            let start = match source.step.range() {
                Some(range) => range.start.as_ref(),
                None => end,
            };
            SourceProgress {
                description: source.description.clone(),
                start_offset: shown(start),
                end_offset: shown(end),
                latest_offset: shown(source.latest.as_ref().or(end)),
                num_input_rows: rows,
                input_rows_per_second: rate(rows, since_previous),
                processed_rows_per_second: rate(rows, trigger),
                metrics: source.metrics.clone(),
            }
        })
        .collect();
    let input_rows = facts.tally.input_rows();
    StreamingQueryProgress {
        id: facts.id,
        run_id: facts.run,
        name: facts.name.map(str::to_owned),
        timestamp: timestamp(facts.began_millis),
        batch_id: facts.epoch.0,
        batch_duration: trigger.map_or(0, millis),
        num_input_rows: input_rows,
        input_rows_per_second: rate(input_rows, since_previous),
        processed_rows_per_second: rate(input_rows, trigger),
        duration_ms: facts
            .durations
            .iter()
            .map(|(phase, duration)| ((*phase).to_owned(), millis(*duration)))
            .collect(),
        event_time: event_time(facts.watermark, facts.tally),
        state_operators: state_operators(&facts),
        sources,
        sink: SinkProgress {
            description: facts.sink,
            num_output_rows: facts.tally.output_rows(),
        },
        late_sink: facts.late_sink.map(|description| SinkProgress {
            description,
            num_output_rows: facts.tally.late_rows(),
        }),
    }
}

/// `watermark` for every query that has one; the others where event times were seen, over all watermark nodes.
fn event_time(watermark: Option<Watermark>, tally: &Tally) -> BTreeMap<String, String> {
    let Some(watermark) = watermark else {
        return BTreeMap::new();
    };
    let mut shown = BTreeMap::from([("watermark".to_owned(), watermark.to_string())]);
    if let Some(seen) = tally
        .event_times
        .values()
        .copied()
        .reduce(EventTimes::merged)
    {
        shown.insert("min".to_owned(), seen.min.to_string());
        shown.insert("max".to_owned(), seen.max.to_string());
        shown.insert("avg".to_owned(), seen.mean().to_string());
    }
    shown
}

fn state_operators(facts: &EpochFacts<'_>) -> Vec<StateOperatorProgress> {
    facts
        .operators
        .iter()
        .map(|operator| {
            let done = facts
                .tally
                .operators
                .get(&operator.id)
                .copied()
                .unwrap_or_default();
            StateOperatorProgress {
                operator_name: operator.name.clone(),
                num_rows_total: done.total,
                num_rows_updated: done.updated,
                num_rows_removed: done.removed,
                num_rows_dropped_by_watermark: done.late,
                memory_used_bytes: done.memory_bytes,
                num_shuffle_partitions: facts.partitions as u64,
                custom_metrics: facts
                    .tally
                    .metrics
                    .get(&operator.id)
                    .cloned()
                    .unwrap_or_default(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use headwater_core::{Delay, clock::ManualClock};
    use headwater_ops::report::Report;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_trigger_that_is_set_aside_is_not_at_work() {
        let clock = Arc::new(ManualClock::at(1_000));
        let at_start = crate::diagnose::tests::facts();
        let facts = watch::Sender::new(at_start.clone());
        let mut phases = Phases::begin_ahead(Arc::clone(&clock) as _, facts.clone());
        let time = |phases: &mut Phases, phase, millis| {
            let timed = phases.time(phase, async { clock.advance(millis) });
            timed.now_or_never().unwrap();
        };
        time(&mut phases, "queryPlanning", 3);
        clock.advance(10);
        phases.set_aside("addBatch");
        assert_eq!(*facts.borrow(), at_start, "another trigger is shown");
        clock.advance(1_000);
        phases.resume();
        assert_ne!(*facts.borrow(), at_start);
        time(&mut phases, "addBatch", 5);
        time(&mut phases, "publish", 2);
        assert_eq!(phases.began_millis(), 1_000);
        let millis: Vec<(&str, u128)> = phases
            .end()
            .into_iter()
            .map(|(phase, took)| (phase, took.as_millis()))
            .collect();
        assert_eq!(
            millis,
            [
                ("addBatch", 15),
                ("publish", 2),
                ("queryPlanning", 3),
                ("triggerExecution", 20),
            ]
        );
    }

    fn sources() -> [SourceFacts; 1] {
        [SourceFacts {
            description: "Memory[events]".to_owned(),
            step: SourceStep::Idle {
                at: Some(Offset::count(4)),
            },
            latest: None,
            metrics: BTreeMap::new(),
        }]
    }

    fn facts<'a>(
        tally: &'a Tally,
        operators: &'a [OperatorFacts],
        sources: &'a [SourceFacts],
    ) -> EpochFacts<'a> {
        EpochFacts {
            id: QueryId(Uuid::nil()),
            run: RunId(Uuid::nil()),
            name: Some("q"),
            epoch: Epoch(3),
            began_millis: 1_000_000_000_000,
            previous_millis: Some(999_999_998_000),
            durations: BTreeMap::from([
                ("addBatch", Duration::from_millis(400)),
                (TRIGGER_EXECUTION, Duration::from_millis(500)),
            ]),
            watermark: Some(Watermark::START.advanced(EventTime(25_000), Delay(0))),
            tally,
            operators,
            partitions: 2,
            sources,
            sink: "Noop".to_owned(),
            late_sink: None,
        }
    }

    #[test]
    fn rates_are_rows_over_the_time_between_triggers_and_over_the_trigger() {
        let mut tally = Tally::default();
        let sources = sources();
        tally.add(Report::SourceRows {
            source_id: 0,
            rows: 100,
        });
        let progress = report(facts(&tally, &[], &sources));
        assert_eq!(progress.timestamp, "2001-09-09T01:46:40.000Z");
        assert!((progress.input_rows_per_second - 50.0).abs() < 1e-9);
        assert!((progress.processed_rows_per_second - 200.0).abs() < 1e-9);
        assert_eq!(progress.batch_duration, 500);
        assert_eq!(progress.duration_ms["addBatch"], 400);
    }

    #[test]
    fn a_first_trigger_has_no_arrival_rate() {
        let tally = Tally::default();
        let sources = sources();
        let first = EpochFacts {
            previous_millis: None,
            ..facts(&tally, &[], &sources)
        };
        assert!(report(first).input_rows_per_second.abs() < f64::EPSILON);
    }

    #[test]
    fn a_source_without_news_stands_where_it_stood() {
        let tally = Tally::default();
        let sources = sources();
        let progress = report(facts(&tally, &[], &sources));
        assert_eq!(progress.sources[0].start_offset, Value::from(4));
        assert_eq!(progress.sources[0].end_offset, Value::from(4));
        assert_eq!(progress.sources[0].latest_offset, Value::from(4));
    }

    #[test]
    fn event_time_is_empty_without_a_watermark_and_has_the_watermark_always() {
        let tally = Tally::default();
        let sources = sources();
        let progress = report(facts(&tally, &[], &sources));
        assert_eq!(progress.event_time["watermark"], "1970-01-01T00:00:25.000Z");
        assert!(!progress.event_time.contains_key("max"));
        let without = EpochFacts {
            watermark: None,
            ..facts(&tally, &[], &sources)
        };
        assert!(report(without).event_time.is_empty());
    }

    #[test]
    fn operators_come_in_the_plan_s_order_even_if_they_reported_nothing() {
        let mut tally = Tally::default();
        let sources = sources();
        tally.add(Report::State {
            operator: "b".to_owned(),
            total: 9,
            updated: 1,
            removed: 0,
            memory_bytes: 10,
        });
        let operators = ["a", "b"].map(|id| OperatorFacts {
            id: id.to_owned(),
            name: format!("store-{id}"),
        });
        let progress = report(facts(&tally, &operators, &sources));
        let totals: Vec<_> = progress
            .state_operators
            .iter()
            .map(|operator| (operator.operator_name.as_str(), operator.num_rows_total))
            .collect();
        assert_eq!(totals, [("store-a", 0), ("store-b", 9)]);
    }
}
