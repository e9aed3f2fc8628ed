//! The list of files read on a machine whose power fails at every durable step in turn: no file is read twice and none
//! is left out, even though the query's log keeps no more plans than the source was told it would, be they one.

use std::{fs, num::NonZeroU64, sync::Arc};

use headwater_core::{
    Admission, Discovery, Increment, OffsetRange, Options, Result, Source, SourceContext,
    clock::ManualClock,
};
use headwater_log::store::{Loss, SimMachine};
use tempfile::TempDir;

use super::{seen_log::SeenLog, splits};
use crate::file::{FileFormat, FileSourceProvider};

/// More than are merged into one object.
const FILES: usize = 36;

/// One process: goes on after the newest plan until all files were taken, or until the power fails. The log keeps
/// `retained` plans and one that is not acknowledged.
async fn process(
    provider: &FileSourceProvider,
    machine: &SimMachine,
    retained: NonZeroU64,
    plans: &mut Vec<OffsetRange>,
    taken: &mut Vec<String>,
) -> Result<()> {
    let source = provider
        .start(SourceContext {
            source_id: 0,
            storage: Arc::new(machine.storage("checkpoint/sources/0")),
            clock: Arc::new(ManualClock::at(0)),
            retained,
        })
        .await?;
    for plan in plans.iter() {
        source.resume(plan).await?;
    }
    if let Some(newest) = plans.last() {
        source.acknowledge(newest).await?;
    }
    loop {
        let start = plans.last().map(|plan| plan.end.clone());
        let found = source
            .discover(start.as_ref(), Admission::Configured)
            .await?;
        let Discovery::Increment(Increment { end, detail }) = found else {
            break;
        };
        let plan = OffsetRange { start, end, detail };
        let (_, files) = splits::files(&plan)?;
        taken.extend(files.into_iter().map(|file| file.path));
        plans.push(plan.clone());
        source.acknowledge(&plan).await?;
        let kept = usize::try_from(retained.get()).expect("a few");
        plans.drain(..plans.len().saturating_sub(kept));
    }
    source.ledger.finish().await
}

async fn sweep(retained: u64) {
    let retained = NonZeroU64::new(retained).expect("more than none");
    let folder = TempDir::new().expect("a folder");
    let mut expected = Vec::new();
    for number in 0..FILES {
        let name = format!("{number:03}.txt");
        fs::write(folder.path().join(&name), "x\n").expect("a file");
        expected.push(name);
    }
    let one_by_one: Options = [("maxFilesPerTrigger", "1")].into_iter().collect();
    let path = folder.path().to_str().expect("UTF-8");
    let provider =
        FileSourceProvider::try_new(FileFormat::Text, None, path, one_by_one).expect("a provider");
    let machine = SimMachine::new();
    let (mut plans, mut taken) = (Vec::new(), Vec::new());
    process(&provider, &machine, retained, &mut plans, &mut taken)
        .await
        .expect("nothing fails");
    let steps = machine.steps().len();
    for step in 0..steps {
        let loss = if step % 2 == 0 {
            Loss::Unsynced
        } else {
            Loss::Some(step as u64)
        };
        let machine = SimMachine::new();
        machine.crash_at(step);
        let (mut plans, mut taken) = (Vec::new(), Vec::new());
        // The power may fail behind the last epoch, which no one waits for.
        let _ = process(&provider, &machine, retained, &mut plans, &mut taken).await;
        let mut machine = machine.reopen(loss);
        // What a restart knows from plans must be in the list before they go: two more, the first of which dies too.
        for run in 0..2 {
            if run == 0 {
                machine.crash_at(step % 5);
            }
            let ended = process(&provider, &machine, retained, &mut plans, &mut taken).await;
            if run == 1 {
                ended.unwrap_or_else(|error| {
                    panic!("after a crash at step {step}, {loss:?}: {error}")
                });
            }
            machine = machine.reopen(loss);
        }
        taken.sort();
        assert_eq!(taken, expected, "crash at step {step}, {loss:?}");
        let storage = machine.storage("checkpoint/sources/0");
        let (_, names) = SeenLog::open(Arc::new(storage)).await.expect("the list");
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names, expected,
            "listed after a crash at step {step}, {loss:?}"
        );
    }
}

#[tokio::test]
async fn a_crash_at_any_step_reads_no_file_twice_and_leaves_none_out() {
    sweep(1).await;
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_plans_of_whatever_is_not_listed() {
    for retained in [2, 5, 8, 40] {
        sweep(retained).await;
    }
}
