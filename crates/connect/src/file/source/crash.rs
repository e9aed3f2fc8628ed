//! The list of files read on a machine whose power fails at every durable step in turn: no file is read twice and none
//! is left out, even though the query's log keeps no more than it must: the newest acknowledged plan and those after.

use std::{fs, sync::Arc};

use headwater_core::{
    Admission, Discovery, Increment, OffsetRange, Options, Result, Source, SourceContext,
    clock::ManualClock,
};
use headwater_log::store::{Loss, SimMachine};
use tempfile::TempDir;

use super::splits;
use crate::file::{FileFormat, FileSourceProvider};

/// More than are merged into one object.
const FILES: usize = 36;

/// One process: goes on after the newest plan until all files were taken, or until the power fails.
async fn process(
    provider: &FileSourceProvider,
    machine: &SimMachine,
    plans: &mut Vec<OffsetRange>,
    taken: &mut Vec<String>,
) -> Result<()> {
    let source = provider
        .start(SourceContext {
            source_id: 0,
            storage: Arc::new(machine.storage("checkpoint/sources/0")),
            clock: Arc::new(ManualClock::at(0)),
        })
        .await?;
    for plan in plans.iter() {
        source.resume(plan).await?;
    }
    for plan in plans.iter() {
        source.acknowledge(plan).await?;
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
        plans.drain(..plans.len() - 1);
    }
    source.ledger.finish().await
}

#[tokio::test]
async fn a_crash_at_any_step_reads_no_file_twice_and_leaves_none_out() {
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
    process(&provider, &machine, &mut plans, &mut taken)
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
        let _ = process(&provider, &machine, &mut plans, &mut taken).await;
        let machine = machine.reopen(loss);
        process(&provider, &machine, &mut plans, &mut taken)
            .await
            .unwrap_or_else(|error| panic!("after a crash at step {step}, {loss:?}: {error}"));
        taken.sort();
        assert_eq!(taken, expected, "crash at step {step}, {loss:?}");
    }
}
