//! What the next epoch will probably read, found out and read while the present one ends.
//!
//! No row depends on it: the next epoch is discovered and planned as if it did not exist, and uses of it what turned
//! out to be the same. Whether that one is begun early may depend on it. So nothing of it is recorded, and a restart
//! knows nothing of it.

use std::sync::Arc;

use datafusion::{
    common::runtime::SpawnedTask, execution::memory_pool::MemoryPool, physical_plan::ExecutionPlan,
};
use headwater_core::{OffsetRange, Result, Source, Split, Trigger};
use headwater_log::SourceStep;
use headwater_ops::read_ahead::{ReadAhead, ScansEnd};

use crate::{
    begun::follows_at_once,
    discover::{self, RunningSource},
    driver::Driver,
    settings::Settings,
};

/// A guess about the next epoch.
#[derive(Debug)]
pub(crate) struct Guess {
    /// By source number; `None` where nothing is known to wait.
    ranges: Vec<Option<OffsetRange>>,
    splits: Vec<Vec<Split>>,
    rows: ReadAhead,
}

/// A guess that is being made, or was made; given up when it is dropped.
#[derive(Debug)]
pub(crate) enum Guessing {
    Running(SpawnedTask<Option<Guess>>),
    Made(Guess),
}

impl Guessing {
    /// The guess, as soon as it is made; none if nothing is known of the next epoch.
    async fn made(self) -> Option<Guess> {
        match self {
            // A task that panicked has guessed nothing.
            Self::Running(task) => task.join().await.ok().flatten(),
            Self::Made(guess) => Some(guess),
        }
    }
}

/// Everything that a guess is made from.
struct Basis {
    /// The plan of the present epoch.
    plan: Arc<dyn ExecutionPlan>,
    scans_end: Arc<ScansEnd>,
    /// The sources, standing where the present epoch ends.
    sources: Vec<RunningSource>,
    partitions: usize,
    limit: usize,
    pool: Arc<dyn MemoryPool>,
}

/// Whether the next epoch is to be read ahead.
fn is_wanted(trigger: Trigger, settings: &Settings) -> bool {
    follows_at_once(trigger) && settings.read_ahead_bytes > 0
}

/// What an epoch reads: the splits, and what was read of them ahead.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) splits: Vec<Vec<Split>>,
    pub(crate) ahead: ReadAhead,
}

/// The guess as far as it is what an epoch takes: the splits of the sources that were guessed right, and their rows.
fn fitting(guess: Guess, taken: &[Option<&OffsetRange>]) -> (Vec<Option<Vec<Split>>>, ReadAhead) {
    let guessed = guess.ranges.iter().zip(guess.splits).zip(taken).enumerate();
    let splits = guessed
        .map(|(source_id, ((range, splits), taken))| {
            let is_right = range.is_some() && range.as_ref() == *taken;
            if !is_right {
                guess.rows.forget(source_id);
            }
            is_right.then_some(splits)
        })
        .collect();
    (splits, guess.rows)
}

impl Driver {
    /// Finds out what an epoch reads; what was guessed before need not be found out again.
    pub(crate) async fn reads(&mut self, steps: &[SourceStep]) -> Result<Reads> {
        let ranges = discover::ranges(steps);
        let guess = self.guess().await;
        let (known, ahead) = match guess {
            Some(guess) => fitting(guess, &ranges),
            None => (vec![None; ranges.len()], ReadAhead::default()),
        };
        let unknown: Vec<Option<&OffsetRange>> = ranges
            .into_iter()
            .zip(&known)
            .map(|(range, known)| range.filter(|_| known.is_none()))
            .collect();
        let found = discover::split(&self.sources, &unknown, self.partitions).await?;
        let splits = known.into_iter().zip(found);
        Ok(Reads {
            splits: splits
                .map(|(known, found)| known.unwrap_or(found))
                .collect(),
            ahead,
        })
    }

    async fn guess(&mut self) -> Option<Guess> {
        self.guessing.take()?.made().await
    }

    /// Whether each source has said what it will offer next. To be asked when the present epoch has read its rows.
    pub(crate) async fn knows_what_comes_next(&mut self) -> bool {
        let Some(guess) = self.guess().await else {
            return false;
        };
        let is_told_by_all = guess.ranges.iter().all(Option::is_some);
        self.guessing = Some(Guessing::Made(guess));
        is_told_by_all
    }

    /// Begins to guess what comes after an epoch that is about to run `plan`, as soon as it has read its rows.
    pub(crate) fn guess_next(
        &self,
        steps: &[SourceStep],
        plan: &Arc<dyn ExecutionPlan>,
        scans_end: &Arc<ScansEnd>,
        pool: &Arc<dyn MemoryPool>,
    ) -> Option<Guessing> {
        if !is_wanted(self.trigger, &self.settings) {
            return None;
        }
        let sources = self.sources.iter().zip(steps);
        let basis = Basis {
            plan: Arc::clone(plan),
            scans_end: Arc::clone(scans_end),
            sources: sources
                .map(|(running, step)| RunningSource {
                    source: Arc::clone(&running.source),
                    position: step.end().cloned(),
                })
                .collect(),
            partitions: self.partitions,
            limit: self.settings.read_ahead_bytes,
            pool: Arc::clone(pool),
        };
        Some(Guessing::Running(SpawnedTask::spawn(async move {
            basis.scans_end.all().await;
            match guess(&basis).await {
                Ok(guess) => guess,
                Err(error) => {
                    // If it is still so then, the next epoch will say it.
                    tracing::debug!(%error, "could not read ahead");
                    None
                }
            }
        })))
    }
}

async fn guess(basis: &Basis) -> Result<Option<Guess>> {
    let ranges: Vec<Option<OffsetRange>> = basis.sources.iter().map(peek).collect();
    if ranges.iter().all(Option::is_none) {
        return Ok(None);
    }
    let taken: Vec<Option<&OffsetRange>> = ranges.iter().map(Option::as_ref).collect();
    let splits = discover::split(&basis.sources, &taken, basis.partitions).await?;
    let sources: Vec<Arc<dyn Source>> = basis
        .sources
        .iter()
        .map(|running| Arc::clone(&running.source))
        .collect();
    let rows = ReadAhead::begin(&basis.plan, &sources, &splits, basis.limit, &basis.pool);
    Ok(Some(Guess {
        ranges,
        splits,
        rows,
    }))
}

fn peek(running: &RunningSource) -> Option<OffsetRange> {
    let start = running.position.as_ref()?;
    if !running.source.is_replayable() {
        return None;
    }
    let increment = running.source.peek(start)?;
    Some(OffsetRange {
        start: Some(start.clone()),
        end: increment.end,
        detail: increment.detail,
    })
}
