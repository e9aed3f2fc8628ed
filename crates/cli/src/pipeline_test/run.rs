//! One query of a pipeline, run epoch by epoch.

use std::{sync::Arc, time::Duration};

use headwater::{
    Epoch, LateRows, OutputMode, PipelineQuery, Result, Trigger,
    connect::memory::MemorySink,
    engine::{Driver, Step},
};

use super::{
    answer::{Answer, EpochRows},
    clock::VirtualClock,
};

/// When epochs run: the first at `start` (milliseconds since 1970), each later one a step after the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timetable {
    pub(crate) start: i64,
    pub(crate) step: Duration,
}

impl Timetable {
    /// When an epoch runs.
    fn of(self, epoch: u64) -> i64 {
        let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
        let after = self.step.saturating_mul(epoch).as_millis();
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.start.saturating_add(after)
    }
}

/// The query's name for its late rows.
pub(crate) fn late_name(query: &str) -> String {
    format!("{query}.late")
}

/// Runs a query over all that its streams hold, an epoch for each of their blocks and then as long as it has something
/// to do without. First what came out, then, if it has a sink of late rows, what that received.
///
/// # Errors
/// Whatever the query fails of.
pub(crate) async fn run(
    query: &PipelineQuery,
    clock: &VirtualClock,
    timetable: Timetable,
) -> Result<Vec<Answer>> {
    let sink = MemorySink::new(query.name());
    let late = query
        .late_rows_sink()
        .map(|_| MemorySink::new(late_name(query.name())));
    let mut writer = query
        .frame()
        .clone()
        .write_stream()
        .query_name(query.name())
        .output_mode(query.output_mode())
        .trigger(Trigger::AvailableNow)
        .sink(Arc::new(sink.provider()));
    if let Some(late) = &late {
        writer = writer.late_rows_to(LateRows::sink(Arc::new(late.provider())));
    }
    clock.set(timetable.of(0));
    let mut driver = Box::pin(Driver::start(writer.into_spec(None)?)).await?;
    let mut epochs = Vec::new();
    loop {
        clock.set(timetable.of(epochs.len() as u64));
        match Box::pin(driver.step()).await? {
            Step::Ran(progress) => {
                let sources = &progress.sources;
                let has_input = sources.iter().any(|it| it.start_offset != it.end_offset);
                epochs.push((progress.batch_id, has_input));
            }
            // Everything there is was there from the start.
            Step::Idle | Step::Finished => break,
        }
    }
    driver.shut_down().await;
    let mut answers = vec![answer(&sink, query.output_mode(), &epochs)];
    answers.extend(late.map(|late| answer(&late, OutputMode::Append, &epochs)));
    Ok(answers)
}

fn answer(sink: &MemorySink, mode: OutputMode, epochs: &[(u64, bool)]) -> Answer {
    let rows = epochs.iter().map(|(epoch, has_input)| EpochRows {
        epoch: *epoch,
        has_input: *has_input,
        rows: sink.rows_of(Epoch(*epoch)).unwrap_or_default(),
    });
    Answer {
        name: sink.name().to_owned(),
        mode,
        // It was made when the query started.
        schema: sink
            .schema()
            .unwrap_or_else(|| Arc::new(headwater::prelude::Schema::empty())),
        epochs: rows.collect(),
    }
}
