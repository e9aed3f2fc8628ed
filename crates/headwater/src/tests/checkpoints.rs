//! Checkpoints, looked at and verified: of every kind of operator, damaged in every file, and while the query runs.

use headwater_core::Storage;
use serde_json::json;

use super::{
    log,
    world::{Query, Row, World},
};
use crate::{CheckpointReader, EpochState, prelude::*};

fn feed(world: &World, logs: &[Row]) -> Result<()> {
    world.logs.add_batch(super::rows(logs)).map(drop)
}

async fn checkpoint_of(world: &World) -> Result<CheckpointReader> {
    world
        .session()
        .await?
        .read_checkpoint_in(world.storage())
        .await
}

/// A query that ran over the log, row by row.
async fn after(world: &World, query: Query, mode: OutputMode) -> Result<()> {
    let (query, _) = world.start(query, mode).await?;
    let other = [(5, "a", 1), (8, "b", 2), (70, "c", 3)];
    for (number, row) in log().into_iter().enumerate() {
        feed(world, &[row])?;
        if let Some(other) = other.get(number) {
            world.other.add_batch(super::rows(&[*other]))?;
        }
        query.process_all_available().await?;
    }
    query.stop().await
}

const COUNTS: &str =
    "SELECT host, count(*) AS n, count(DISTINCT status) AS d FROM logs GROUP BY host";

const WINDOWS: &str = "SELECT window.start AS start, host, count(*) AS n FROM l GROUP BY window(time, '10 seconds'), host";

#[tokio::test]
async fn a_checkpoint_of_every_kind_of_operator_is_whole() -> Result<()> {
    let sessions = "SELECT session_window.start AS start, host, count(*) AS n FROM l GROUP BY \
        session_window(time, '5 seconds'), host";
    let join = "SELECT l.host, l.status, r.status AS other FROM l LEFT JOIN r ON l.host = r.host AND \
        r.time >= l.time AND r.time <= l.time + INTERVAL '20 seconds'";
    let by_host = Query::Frame(|logs| logs.drop_duplicates(&["host"]));
    let within = Query::Frame(|logs| {
        logs.with_watermark("time", "10 seconds")?
            .drop_duplicates_within_watermark(&["host"])
    });
    for (query, mode, operator) in [
        (Query::Sql("SELECT host FROM logs"), OutputMode::Append, ""),
        (Query::Sql(COUNTS), OutputMode::Complete, "aggregate-0"),
        (Query::Sql(WINDOWS), OutputMode::Append, "aggregate-0"),
        (Query::Sql(sessions), OutputMode::Append, "session-0"),
        (Query::Sql(join), OutputMode::Append, "join-0"),
        (by_host, OutputMode::Append, "dedup-0"),
        (within, OutputMode::Append, "dedup-0"),
        (
            Query::Sql("SELECT * FROM logs LIMIT 3"),
            OutputMode::Append,
            "limit-0",
        ),
    ] {
        let world = World::new();
        after(&world, query, mode).await?;
        let reader = checkpoint_of(&world).await?;
        let verified = reader.verify().await?;
        assert_eq!(verified.damaged, [], "{operator}");
        assert_eq!(verified.notes, [], "{operator}");
        let files = world.checkpoint.list("").await?;
        assert_eq!(verified.files, files.len() as u64, "{operator}");
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        assert_eq!(verified.bytes, bytes, "{operator}");
        let overview = reader.overview(None).await?;
        let operators: Vec<&str> = overview
            .operators
            .iter()
            .map(|it| it.operator.as_str())
            .collect();
        assert_eq!(operators.concat(), operator);
        assert!(overview.damaged.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn the_overview_tells_what_epochs_did() -> Result<()> {
    let world = World::new();
    after(&world, Query::Sql(WINDOWS), OutputMode::Append).await?;
    let reader = checkpoint_of(&world).await?;
    let overview = reader.overview(None).await?;
    let query = overview.query.as_ref().expect("it can be read");
    assert_eq!(query.layout_version, Some(1));
    assert_eq!(query.sources, ["memory logs"]);
    assert_eq!(
        (query.output_mode.as_str(), query.partitions),
        ("append", 2)
    );
    assert_eq!(overview.runs.len(), 1);
    let newest = overview.epochs.last().expect("epochs");
    assert_eq!(Some(newest.epoch), overview.last_committed);
    assert_eq!(newest.state, EpochState::Committed);
    let first = &overview.epochs[0];
    assert_eq!(
        (first.epoch, first.state, first.has_data),
        (0, EpochState::Published, Some(true))
    );
    assert_eq!((first.rows_in, first.rows_out), (Some(1), Some(0)));
    assert_eq!(
        (&first.sources[0].from, &first.sources[0].to),
        (&json!(null), &json!(1))
    );
    assert_eq!(first.watermark, None);
    assert!(first.state_files == 1 && first.state_bytes > 0);
    // The last row lets the watermark rise, and an epoch without data closes what it passed.
    assert_eq!(newest.has_data, Some(false));
    assert!(!newest.sources[0].reads && newest.sources[0].to == json!(5));
    assert_eq!(
        newest.watermark.as_deref(),
        Some("1970-01-01T00:00:50.000Z")
    );
    let operator = &overview.operators[0];
    assert_eq!(operator.version, overview.last_committed);
    assert_eq!(operator.rows.values().sum::<u64>(), 1);
    assert_eq!(
        operator.files,
        operator.deltas + usize::from(operator.snapshot.is_some())
    );
    let last = reader.overview(Some(2)).await?;
    let epochs: Vec<u64> = last.epochs.iter().map(|it| it.epoch).collect();
    assert_eq!(epochs, [newest.epoch - 1, newest.epoch]);
    Ok(())
}

/// What a test does to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    Cut,
    Append,
    Delete,
}

impl Harm {
    const ALL: [Self; 6] = [
        Self::FlipFirst,
        Self::FlipMiddle,
        Self::FlipLast,
        Self::Cut,
        Self::Append,
        Self::Delete,
    ];

    /// The file afterwards; none if it is deleted.
    fn done_to(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        let last = bytes.len() - 1;
        match self {
            Self::FlipFirst => bytes[0] ^= 1,
            Self::FlipMiddle => bytes[last / 2] ^= 1,
            Self::FlipLast => bytes[last] ^= 1,
            Self::Cut => bytes.truncate(last),
            Self::Append => bytes.push(0),
            Self::Delete => return None,
        }
        Some(bytes)
    }
}

#[tokio::test]
async fn whatever_is_done_to_a_file_it_is_named() -> Result<()> {
    let mut world = World::new();
    world.settings.min_batches_to_retain = 3;
    after(&world, Query::Sql(COUNTS), OutputMode::Complete).await?;
    let reader = checkpoint_of(&world).await?;
    let whole = reader.verify().await?;
    assert!(whole.is_whole(), "{whole:?}");
    let overview = reader.overview(None).await?;
    assert!(overview.first_kept > 0, "garbage was collected");
    let newest = overview.last_committed.expect("committed");
    let storage = world.storage();
    let files = storage.list("").await?;
    let mut kinds = std::collections::BTreeSet::new();
    for file in &files {
        let path = &file.path;
        if whole.notes.iter().any(|note| note.path == *path) {
            continue;
        }
        kinds.insert(path.split('/').next().expect("a folder"));
        let bytes = storage.read(path).await?.expect("it was listed");
        for harm in Harm::ALL {
            match harm.done_to(&bytes) {
                Some(damaged) => storage.replace(path, damaged.into()).await?,
                None => storage.delete(std::slice::from_ref(path)).await?,
            }
            let found = reader.verify().await?;
            let is_gone = matches!(harm, Harm::Delete);
            let named: Vec<&str> = found.damaged.iter().map(|it| it.path.as_str()).collect();
            match (path.split('/').next(), is_gone) {
                // The last trace of the newest commit: it looks as if the epoch had not ended.
                (Some("commits"), true) if path.ends_with(&format!("{newest:020}")) => {}
                (Some("runs"), true) => assert_eq!(named, ["runs"]),
                // Then what garbage collection deleted is missing.
                (Some("floor"), true) => assert!(
                    named[0].starts_with("commits/") && found.damaged[0].why.contains("floor"),
                    "{found:?}"
                ),
                _ => {
                    assert_eq!(named, [path.as_str()], "{harm:?}: {found:?}");
                    let damage = &found.damaged[0];
                    assert_eq!(damage.is_missing, is_gone, "{harm:?}: {damage:?}");
                    assert!(!damage.what.contains("unknown"), "{damage:?}");
                }
            }
            // What can be read is shown all the same.
            reader.overview(None).await?;
            storage.replace(path, bytes.clone()).await?;
        }
    }
    let all = ["commits", "floor", "metadata", "plans", "runs", "state"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    assert!(reader.verify().await?.is_whole());
    Ok(())
}

#[tokio::test]
async fn what_is_not_needed_is_noted_and_harms_nobody() -> Result<()> {
    let world = World::new();
    after(&world, Query::Sql(COUNTS), OutputMode::Complete).await?;
    let storage = world.storage();
    let other = "state/aggregate-0/00000000000000000001-00000000000000000000000000000000-0.delta";
    for path in ["notes.txt", other, "sink/x", "sources/0/x"] {
        storage.create(path, vec![1].into()).await?;
    }
    let found = checkpoint_of(&world).await?.verify().await?;
    assert!(found.is_whole(), "{found:?}");
    let noted: Vec<&str> = found.notes.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(noted, ["notes.txt", "sink/x", "sources/0/x", other]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_runs_and_deletes_meanwhile_is_whole() -> Result<()> {
    let mut world = World::new();
    world.settings.min_batches_to_retain = 1;
    let (query, _) = world
        .start(Query::Sql(COUNTS), OutputMode::Complete)
        .await?;
    feed(&world, &[(0, "a", 1)])?;
    query.process_all_available().await?;
    let reader = checkpoint_of(&world).await?;
    let logs = world.logs.clone();
    let running = query.clone();
    let writer = tokio::spawn(async move {
        for row in 1..150 {
            logs.add_batch(super::rows(&[(row, "a", row)]))?;
            running.process_all_available().await?;
        }
        Ok::<_, Error>(())
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let found = reader.verify().await?;
        assert_eq!(found.damaged, [], "look {looks}");
        let overview = reader.overview(Some(3)).await?;
        assert_eq!(overview.damaged, []);
        looks += 1;
        tokio::task::yield_now().await;
    }
    writer.await.expect("no panic")?;
    query.stop().await?;
    assert!(reader.verify().await?.is_whole());
    Ok(())
}

#[tokio::test]
async fn what_is_no_checkpoint_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = Session::new();
    let error = session.read_checkpoint(folder.path()).await;
    let error = error.expect_err("nothing is there");
    assert!(
        error.message().contains("there is no checkpoint in"),
        "{error}"
    );
}
