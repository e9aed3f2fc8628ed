//! Keeps the facts of a diagnosis up to date: once at the start, then after each epoch. Pure.

use headwater_core::{Offset, OutputMode, Trigger};
use headwater_log::{Planned, WatermarkPolicy, WatermarkRecord};
use headwater_plan::StreamingPlan;
use serde_json::Value;

use super::facts::{
    Activity, DiagnosisFacts, InputEpoch, NextEnd, OperatorStanding, OutputEpoch, RecentWork, Rise,
    SourceStanding, WatermarkStanding,
};
use crate::{progress::SourceFacts, tally::Tally};

/// Name of the metric of rows dropped as duplicates.
const DUPLICATES: &str = "numDroppedDuplicateRows";

/// What is known of a query that starts.
#[derive(Debug)]
pub(crate) struct AtStart<'a> {
    pub(crate) query: String,
    pub(crate) now_millis: i64,
    pub(crate) trigger: Trigger,
    pub(crate) mode: OutputMode,
    pub(crate) policy: WatermarkPolicy,
    pub(crate) no_data_epochs: bool,
    pub(crate) has_checkpoint: bool,
    pub(crate) next_epoch: u64,
    pub(crate) plan: &'a StreamingPlan,
    /// What reports call the sources.
    pub(crate) sources: Vec<String>,
    pub(crate) watermarks: &'a WatermarkRecord,
}

/// An epoch that has just been committed.
#[derive(Debug)]
pub(crate) struct EpochDone<'a> {
    pub(crate) planned: &'a Planned,
    /// When its trigger fired.
    pub(crate) began_millis: i64,
    pub(crate) tally: &'a Tally,
    /// The watermarks of the next epoch.
    pub(crate) watermarks: &'a WatermarkRecord,
    pub(crate) sources: &'a [SourceFacts],
}

fn shown(offset: Option<&Offset>) -> Value {
    offset.map_or(Value::Null, |offset| offset.0.clone())
}

impl DiagnosisFacts {
    /// Before the first trigger.
    pub(crate) fn at_start(start: AtStart<'_>) -> Self {
        let sources = start.sources.into_iter().map(|description| SourceStanding {
            description,
            ..SourceStanding::default()
        });
        let nodes = start.plan.watermark_nodes().iter();
        let watermarks = nodes.map(|node| WatermarkStanding {
            id: node.id.clone(),
            column: node.column.clone(),
            sources: node.sources.clone(),
            delay_millis: node.delay.0,
            ..WatermarkStanding::default()
        });
        let operators = start.plan.operators().iter();
        let operators = operators.map(|operator| OperatorStanding {
            id: operator.id.clone(),
            kind: operator.kind.clone(),
            withholds: operator.withholds,
            grows: operator.grows.clone(),
            rows: None,
            memory_bytes: 0,
            late_rows: 0,
            recent: RecentWork::default(),
            next: None,
            is_exhausted: false,
        });
        let mut facts = Self {
            query: start.query,
            asked_millis: start.now_millis,
            started_millis: start.now_millis,
            activity: Activity::Starting,
            trigger: start.trigger,
            next_tick_millis: None,
            mode: start.mode,
            watermark_policy: start.policy,
            no_data_epochs: start.no_data_epochs,
            has_checkpoint: start.has_checkpoint,
            next_epoch: start.next_epoch,
            epochs: 0,
            rows_read: 0,
            rows_out: 0,
            is_caught_up: false,
            watermark_millis: None,
            sources: sources.collect(),
            watermarks: watermarks.collect(),
            operators: operators.collect(),
            last_input: None,
            last_output: None,
        };
        facts.take_watermarks(start.watermarks);
        facts
    }

    /// A trigger fires.
    pub(crate) fn trigger_fired(&mut self, now: i64) {
        self.activity = Activity::Running {
            since_millis: now,
            phase: String::new(),
            phase_since_millis: now,
        };
    }

    /// The trigger at work begins a phase.
    pub(crate) fn phase_began(&mut self, name: &str, now: i64) {
        if let Activity::Running {
            phase,
            phase_since_millis,
            ..
        } = &mut self.activity
        {
            name.clone_into(phase);
            *phase_since_millis = now;
        }
    }

    /// A trigger found nothing to do.
    pub(crate) fn found_nothing(&mut self, now: i64) {
        self.is_caught_up = true;
        self.sources.iter_mut().for_each(|it| it.is_behind = false);
        self.activity = Activity::Waiting { since_millis: now };
    }

    /// An epoch is committed and published.
    pub(crate) fn epoch_done(&mut self, done: &EpochDone<'_>, now: i64) {
        let (planned, tally) = (done.planned, done.tally);
        let (rows, rows_out) = (tally.input_rows(), tally.output_rows());
        let epoch = planned.epoch.0;
        self.activity = Activity::Waiting { since_millis: now };
        self.is_caught_up = false;
        self.next_epoch = planned.epoch.next().0;
        self.epochs += 1;
        self.rows_read += rows;
        self.rows_out += rows_out;
        if rows > 0 {
            self.forget_recent();
            self.last_input = Some(InputEpoch {
                epoch,
                at_millis: done.began_millis,
                rows,
                late_watermark_millis: planned.watermark.previous.millis(),
                rows_out: 0,
            });
        }
        if let Some(input) = &mut self.last_input {
            input.rows_out += rows_out;
        }
        if rows_out > 0 {
            self.last_output = Some(OutputEpoch {
                epoch,
                at_millis: done.began_millis,
                rows: rows_out,
            });
        }
        self.take_sources(done);
        self.take_event_times(epoch, tally);
        self.take_watermarks(done.watermarks);
        self.take_operators(planned, tally);
    }

    fn forget_recent(&mut self) {
        for source in &mut self.sources {
            source.recent_rows = 0;
        }
        for watermark in &mut self.watermarks {
            watermark.recent = None;
            watermark.recent_rows = 0;
            watermark.recent_nulls = 0;
        }
        for operator in &mut self.operators {
            operator.recent = RecentWork::default();
        }
    }

    fn take_sources(&mut self, done: &EpochDone<'_>) {
        for (number, (source, seen)) in self.sources.iter_mut().zip(done.sources).enumerate() {
            let rows = done.tally.source_rows.get(&number).copied().unwrap_or(0);
            source.rows += rows;
            source.recent_rows += rows;
            if rows > 0 {
                source.last_rows_millis = Some(done.began_millis);
            }
            let (end, latest) = (seen.step.end(), seen.latest.as_ref());
            source.position = shown(end);
            source.latest = shown(latest.or(end));
            source.is_behind = latest.is_some() && latest != end;
        }
    }

    fn take_event_times(&mut self, epoch: u64, tally: &Tally) {
        for watermark in &mut self.watermarks {
            watermark.recent_nulls += tally.null_times.get(&watermark.id).copied().unwrap_or(0);
            let Some(times) = tally.event_times.get(&watermark.id) else {
                continue;
            };
            watermark.recent_rows += times.rows;
            let (first, last) = watermark.recent.unwrap_or((times.min.0, times.max.0));
            watermark.recent = Some((first.min(times.min.0), last.max(times.max.0)));
            if watermark
                .newest_millis
                .is_none_or(|newest| times.max.0 > newest)
            {
                watermark.rise = Some(Rise {
                    epoch,
                    before_millis: watermark.newest_millis,
                    mean_millis: times.mean().0,
                });
                watermark.newest_millis = Some(times.max.0);
            }
        }
    }

    fn take_watermarks(&mut self, record: &WatermarkRecord) {
        self.watermark_millis = (!self.watermarks.is_empty()).then(|| record.global.millis());
        for watermark in &mut self.watermarks {
            if let Some(node) = record.nodes.get(&watermark.id) {
                watermark.watermark_millis = node.watermark.millis();
            }
        }
    }

    fn take_operators(&mut self, planned: &Planned, tally: &Tally) {
        let global = planned.watermark.global.millis();
        for operator in &mut self.operators {
            if let Some(done) = tally.operators.get(&operator.id) {
                operator.rows = Some(done.total);
                operator.memory_bytes = done.memory_bytes;
                operator.late_rows += done.late;
                operator.recent.updated += done.updated;
                operator.recent.removed += done.removed;
                operator.recent.late += done.late;
            }
            let metrics = tally.metrics.get(&operator.id);
            let duplicates = metrics.and_then(|metrics| metrics.get(DUPLICATES));
            operator.recent.duplicates += duplicates.copied().unwrap_or(0);
            operator.next = tally.next_expiry.get(&operator.id).map(|next| NextEnd {
                at_millis: next.at_millis,
                needs_millis: next
                    .at_millis
                    .saturating_add(global.saturating_sub(next.watermark_millis)),
            });
            operator.is_exhausted |= tally.exhausted.contains(&operator.id);
        }
    }
}
