//! The tumbling query of the benchmark over a data set, until everything in it is answered.

use std::{path::Path, sync::Arc};

use headwater_core::{Clock, Options, Result};
use headwater_log::store::{CountedStorage, Counters, MemoryStorage, counted_storage_for_url};

use crate::{
    nexmark::{self, Stores},
    queries::{self, Query},
};

/// Where the checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// On the local disk, synced.
    Durable,
    /// In memory: gone with the process.
    InMemory,
}

/// How to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) checkpoint: Checkpoint,
    pub(super) files_per_trigger: u32,
    /// Partitions of everything; as many as there are processors if none is given.
    pub(super) partitions: Option<usize>,
}

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    pub(super) seconds: f64,
    pub(super) rows: u64,
    pub(super) epochs: u64,
}

/// Runs it; the result goes to Parquet files in a temporary folder.
pub(super) async fn run(data: &Path, setup: Setup, clock: &dyn Clock) -> Result<Ran> {
    let query: Query = queries::select(&["tumbling".to_owned()])?[0];
    let folder = super::folder()?;
    let out = folder.path().join("out");
    let durable = |name: &str| -> Result<Arc<CountedStorage>> {
        let place = folder.path().join(name);
        let storage = counted_storage_for_url(&place.to_string_lossy(), &Options::new())?;
        Ok(Arc::new(storage))
    };
    let stores = Stores {
        checkpoint: match setup.checkpoint {
            Checkpoint::Durable => durable("checkpoint")?,
            Checkpoint::InMemory => {
                let memory = Arc::new(MemoryStorage::new());
                Arc::new(CountedStorage::new(memory, Arc::new(Counters::default())))
            }
        },
        out: durable("out")?,
    };
    let session = nexmark::session(setup.partitions)?;
    for table in query.inputs {
        nexmark::register(&session, data, *table, setup.files_per_trigger)?;
    }
    let start = clock.monotonic();
    let frame = nexmark::frame(&session, &query).await?;
    let running = nexmark::write(frame, &query, &stores, &out).await?;
    running.await_termination().await?;
    let seconds = (clock.monotonic() - start).as_secs_f64();
    let epochs = running.recent_progress();
    Ok(Ran {
        seconds,
        rows: epochs.iter().map(|epoch| epoch.num_input_rows).sum(),
        epochs: epochs.len() as u64,
    })
}
