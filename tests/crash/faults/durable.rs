//! Faults in what is durable when, and for how long.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use headwater::{Result as Outcome, Storage, core::CreateOutcome};
use headwater_log::{
    layout,
    store::{Loss, SimMachine},
};

use super::{Checkpoint, assert_noticed, is_in, windows, windows_without_power};
use crate::crash::{
    bend::{Bend, BentStorage},
    pipeline::{Query, Tamper},
    report::say,
    sweep::growing,
    two_runs,
};

/// Syncs whose name holds this do nothing.
struct SkippedSync(&'static str);

impl Tamper for SkippedSync {
    fn machine(&self, machine: &SimMachine) {
        let name = self.0;
        machine.skip_syncs(move |step| step.contains(name));
    }
}

#[test]
fn a_skipped_sync_of_a_record_s_bytes_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync file checkpoint"),
        &["is damaged", "has no header"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_plans_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/plans"),
        &["is missing"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_commits_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/commits"),
        &["is there twice", "is missing"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_state_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/state/aggregate-0"),
        &["the file is missing"],
    );
}

#[test]
fn a_skipped_sync_of_an_output_file_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync file output"),
        &["is no whole file", "cannot be published", "should have"],
    );
}

#[test]
fn a_skipped_sync_of_the_output_folder_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder output"),
        &["is missing", "cannot be published"],
    );
}

/// The plan of an epoch is written after it ran, just before its commit.
#[derive(Debug, Clone, Default)]
struct LatePlan {
    held: Arc<Mutex<Option<(String, Bytes)>>>,
}

#[async_trait]
impl Bend for LatePlan {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if is_in(layout::PLANS, path) {
            *lock() = Some((path.to_owned(), bytes));
            return Ok(CreateOutcome::Created);
        }
        let held = lock().take_if(|_| is_in(layout::COMMITS, path));
        if let Some((plan, bytes)) = held {
            storage.create(&plan, bytes).await?;
        }
        storage.create(path, bytes).await
    }
}

/// Each process has a memory of its own.
struct LatePlans;

impl Tamper for LatePlans {
    fn checkpoint(&self, checkpoint: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(checkpoint, LatePlan::default())
    }
}

#[test]
fn a_plan_that_is_written_after_the_epoch_ran_is_noticed() {
    let mut case = growing(Query::Update);
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, LatePlans, &["with different rows"]);
}

/// Deletes one state file more than is garbage: the newest.
#[derive(Debug, Clone)]
struct GreedyCollector;

#[async_trait]
impl Bend for GreedyCollector {
    async fn delete(&self, storage: &dyn Storage, paths: &[String]) -> Outcome<()> {
        let mut paths = paths.to_vec();
        if paths.iter().any(|path| is_in(layout::COMMITS, path)) {
            let state = storage.list(layout::STATE).await?;
            paths.extend(state.into_iter().next_back().map(|newest| newest.path));
        }
        storage.delete(&paths).await
    }
}

#[test]
fn a_collector_that_takes_a_file_too_many_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(GreedyCollector),
        &["the file is missing"],
    );
}

/// A record that is there already is written over.
#[derive(Debug, Clone)]
struct NotExclusive;

#[async_trait]
impl Bend for NotExclusive {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        storage.replace(path, bytes).await?;
        Ok(CreateOutcome::Created)
    }
}

#[test]
fn a_commit_that_can_be_written_over_is_noticed() {
    let wrong = two_runs::every_order(&Checkpoint(NotExclusive)).expect_err("nobody is fenced");
    say(&format!("noticed: {wrong}"));
    assert!(wrong.contains("is there twice"), "{wrong}");
}
