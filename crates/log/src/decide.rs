//! What a restart does, and who won a race: pure functions over what was found.
//!
//! The invariant they rest on: plan n is created before epoch n runs, commit n after its state and output are durable,
//! plan n+1 after epoch n is published. So the newest plan is that of the newest commit, or of the epoch after it, and
//! anything else means that a file is missing.

use headwater_core::{CreateOutcome, Epoch, RunId};

use crate::{
    layout,
    record::{Committed, Planned},
};

/// A record as it was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored<T> {
    /// It can be read.
    Readable(T),
    /// It cannot, for this reason.
    Damaged(String),
}

/// What a restart finds in a checkpoint, after the run has registered itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryFacts {
    /// The run that asks.
    pub own_run: RunId,
    /// The run that registered last.
    pub newest_run: RunId,
    /// Records below this epoch may be missing.
    pub floor: Epoch,
    /// Epochs whose plan was listed, in order.
    pub plans: Vec<Epoch>,
    /// Epochs whose commit was listed, in order.
    pub commits: Vec<Epoch>,
    /// The last of `plans`.
    pub newest_plan: Option<Stored<Planned>>,
    /// The last of `commits`.
    pub newest_commit: Option<Stored<Committed>>,
}

/// Go on after a committed epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Resume {
    /// The epoch to plan next.
    pub next: Epoch,
    /// The plan of the newest epoch: where the sources stand.
    pub planned: Planned,
    /// Its commit: the state, and the parts to publish again before anything else, in case the last run did not
    /// get there.
    pub committed: Committed,
}

/// Run a planned epoch again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The plan to follow, as it is: offsets, watermarks, time.
    pub planned: Planned,
    /// The commit of the epoch before, with the state to start from; it is published already. `None` for the first
    /// epoch.
    pub previous: Option<Committed>,
}

/// What to do at a restart.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing was ever planned.
    Fresh,
    /// The newest epoch is committed.
    Resume(Box<Resume>),
    /// The newest epoch is planned and not committed.
    Replay(Box<Replay>),
    /// A run that started later owns the checkpoint.
    Fenced {
        /// That run.
        by: RunId,
    },
    /// A file is missing or cannot be read. Nothing may be written before a person has looked.
    Corrupt {
        /// The file, by its path in the checkpoint.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Decides what a restart does.
pub fn decide(facts: RecoveryFacts) -> Decision {
    match check(facts) {
        Ok(decision) | Err(decision) => decision,
    }
}

fn corrupt(file: String, why: impl Into<String>) -> Decision {
    let why = why.into();
    Decision::Corrupt { file, why }
}

/// `Err` is a decision not to go on.
fn check(facts: RecoveryFacts) -> Result<Decision, Decision> {
    if facts.newest_run != facts.own_run {
        return Err(Decision::Fenced {
            by: facts.newest_run,
        });
    }
    let newest_plan = newest(&facts.plans, facts.floor, layout::plan)?;
    let newest_commit = newest(&facts.commits, facts.floor, layout::commit)?;
    check_newest(newest_plan, newest_commit, facts.floor)?;
    let planned = readable(facts.newest_plan, newest_plan, layout::plan, |it| it.epoch)?;
    let committed = readable(facts.newest_commit, newest_commit, layout::commit, |it| {
        it.epoch
    })?;
    Ok(match (planned, committed) {
        (None, _) => Decision::Fresh,
        (Some(planned), Some(committed)) if planned.epoch == committed.epoch => {
            Decision::Resume(Box::new(Resume {
                next: committed.epoch.next(),
                planned,
                committed,
            }))
        }
        (Some(planned), previous) => Decision::Replay(Box::new(Replay { planned, previous })),
    })
}

/// Refuses combinations of newest plan and newest commit that no crash leaves behind.
fn check_newest(
    newest_plan: Option<Epoch>,
    newest_commit: Option<Epoch>,
    floor: Epoch,
) -> Result<(), Decision> {
    // The epoch of the floor was committed before anything below it was deleted.
    let after_commit = newest_commit.map_or(floor, Epoch::next);
    let has_lost_all = floor > Epoch::FIRST;
    match (newest_plan, newest_commit) {
        (None, None) if has_lost_all => Err(corrupt(
            layout::plan(floor),
            "it is missing, though garbage collection has left it",
        )),
        (Some(_), None) if has_lost_all => Err(corrupt(
            layout::commit(floor),
            "it is missing, though garbage collection has left it",
        )),
        (planned, Some(committed)) if planned < Some(committed) => Err(corrupt(
            layout::plan(planned.map_or(floor, Epoch::next)),
            format!("it is missing, though epoch {committed} is committed"),
        )),
        (Some(planned), _) if planned > after_commit => Err(corrupt(
            layout::commit(after_commit),
            format!("it is missing, though epoch {planned} is planned"),
        )),
        _ => Ok(()),
    }
}

/// The last epoch listed at or above the floor, if none between is missing. Files below the floor are remains of
/// garbage collection.
fn newest(
    epochs: &[Epoch],
    floor: Epoch,
    file: fn(Epoch) -> String,
) -> Result<Option<Epoch>, Decision> {
    let mut expected = floor;
    for &epoch in epochs.iter().filter(|epoch| **epoch >= floor) {
        if epoch != expected {
            return Err(corrupt(
                file(expected),
                format!("it is missing, though there is '{}'", file(epoch)),
            ));
        }
        expected = epoch.next();
    }
    Ok(expected.previous().filter(|epoch| *epoch >= floor))
}

/// The record of the epoch that was listed last, checked to be that.
fn readable<T>(
    found: Option<Stored<T>>,
    newest: Option<Epoch>,
    file: fn(Epoch) -> String,
    epoch_of: fn(&T) -> Epoch,
) -> Result<Option<T>, Decision> {
    let Some(epoch) = newest else {
        return Ok(None);
    };
    match found {
        None => Err(corrupt(file(epoch), "it was listed and cannot be found")),
        Some(Stored::Damaged(why)) => Err(corrupt(file(epoch), why)),
        Some(Stored::Readable(record)) if epoch_of(&record) != epoch => Err(corrupt(
            file(epoch),
            format!("it holds the record of epoch {}", epoch_of(&record)),
        )),
        Some(Stored::Readable(record)) => Ok(Some(record)),
    }
}

/// Who owns a record after a create-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// We created it.
    Won,
    /// It was there, but bears our own run: an earlier attempt of ours succeeded without our knowing.
    OursAlready,
    /// Another run created it: this run must stop.
    FencedBy(RunId),
}

/// Decides who owns a record. `existing` is the run that the record bears, if it was there already.
pub fn after_create(outcome: CreateOutcome, existing: RunId, own_run: RunId) -> Ownership {
    match outcome {
        CreateOutcome::Created => Ownership::Won,
        CreateOutcome::AlreadyExists if existing == own_run => Ownership::OursAlready,
        CreateOutcome::AlreadyExists => Ownership::FencedBy(existing),
    }
}

#[cfg(test)]
mod tests;
