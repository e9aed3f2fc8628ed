//! Reading every file of a checkpoint.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
};

use futures::{StreamExt, TryStreamExt, stream};
use headwater_connect::kept;
use headwater_core::{Condition, Epoch, Result};
use headwater_log::{
    LogReader,
    layout::{self, CheckpointFile},
    survey::Listed,
};

use super::findings::{Verification, needed_state, unneeded, what};
use crate::state_reader::manifest_of;

/// Files read at the same time.
const PARALLEL_READS: usize = 8;

/// Looks once and, if something is wrong, once more: a query that runs meanwhile deletes what it does not need any more.
pub(super) async fn verify(log: &LogReader) -> Result<Verification> {
    let first = look(log).await?;
    match first.is_whole() {
        true => Ok(first),
        false => Ok(first.confirmed_by(look(log).await?)),
    }
}

async fn look(log: &LogReader) -> Result<Verification> {
    let mut found = Verification::default();
    let listed = log.listed().await?;
    missing_records(log, &listed, &mut found).await?;
    records(log, &listed, &mut found).await?;
    state(log, &listed, &mut found).await?;
    of_sources(log, &mut found).await?;
    others(log, &listed, &mut found).await?;
    found.sort();
    Ok(found)
}

async fn missing_records(log: &LogReader, listed: &Listed, found: &mut Verification) -> Result<()> {
    for missing in listed.missing() {
        // One that was written between two listings is no gap.
        let is_there = log.storage().read(&missing.path).await?.is_some();
        if !is_there {
            found.found(&missing.path, what(&missing.path), Condition::Missing);
            if let Some(damage) = found.damaged.last_mut() {
                damage.why = missing.why;
            }
        }
    }
    Ok(())
}

/// All records that are kept.
async fn records(log: &LogReader, listed: &Listed, found: &mut Verification) -> Result<()> {
    let kept = |epochs: &[Epoch], path: fn(Epoch) -> String| -> Vec<String> {
        let kept = epochs.iter().filter(|epoch| listed.is_kept(**epoch));
        kept.map(|epoch| path(*epoch)).collect()
    };
    let floors = log.storage().list(layout::FLOOR).await?;
    let mut paths: Vec<String> = listed
        .metadata
        .then(|| layout::METADATA.to_owned())
        .into_iter()
        .collect();
    let runs = listed.runs.iter();
    paths.extend(runs.map(|number| layout::numbered(layout::RUNS, *number)));
    paths.extend(kept(&listed.plans, layout::plan));
    paths.extend(kept(&listed.commits, layout::commit));
    paths.extend(floors.into_iter().map(|floor| floor.path));
    let checked = parallel(paths, |path| async move {
        let condition = log.check(&path).await?;
        Ok((path, condition))
    });
    for (path, condition) in checked.await? {
        if let Some(condition) = condition {
            found.found(&path, what(&path), condition);
        }
    }
    Ok(())
}

/// All state files that commits name; and those that none does.
async fn state(log: &LogReader, listed: &Listed, found: &mut Verification) -> Result<()> {
    let kept = listed
        .commits
        .iter()
        .filter(|epoch| listed.is_kept(**epoch));
    let commits = parallel(kept.copied().collect(), |epoch| async move {
        // One that cannot be read has been told of.
        Ok((epoch, log.commit(epoch).await.ok().flatten()))
    });
    let mut manifests = BTreeMap::new();
    for (epoch, committed) in commits.await? {
        let Some(committed) = committed else {
            continue;
        };
        match manifest_of(&committed.state) {
            Ok(manifest) => {
                manifests.insert(epoch, manifest);
            }
            Err(error) => {
                let path = layout::commit(epoch);
                let why = format!("what it says of the state cannot be read: {error}");
                found.found(&path, what(&path), Condition::Damaged(why));
            }
        }
    }
    // Listed after the commits that name them, so whatever they name is there.
    let files = log.storage().list(layout::STATE).await?;
    let sizes: HashMap<&str, u64> = files.iter().map(|it| (it.path.as_str(), it.size)).collect();
    let needed = needed_state(&manifests);
    let sizes = &sizes;
    let checked = parallel(needed.values().collect(), |needed| async move {
        let path = &needed.file.path;
        let condition = match sizes.get(path.as_str()) {
            None => Condition::Missing,
            size => {
                let storage = log.storage().as_ref();
                needed.file.check(storage, size.copied()).await?
            }
        };
        Ok((needed, condition))
    });
    for (needed, condition) in checked.await? {
        found.found(&needed.file.path, needed.what(), condition);
    }
    let newest = listed.commits.last().copied();
    for file in files.iter().filter(|file| !needed.contains_key(&file.path)) {
        if let Some(note) = unneeded(&file.path, newest) {
            found.note(&file.path, note);
        }
    }
    Ok(())
}

/// What sources keep for themselves.
async fn of_sources(log: &LogReader, found: &mut Verification) -> Result<()> {
    let mut by_source: BTreeMap<usize, Vec<(String, String)>> = BTreeMap::new();
    for object in log.storage().list(layout::SOURCES).await? {
        if let CheckpointFile::OfSource { source, path } = CheckpointFile::at(&object.path) {
            by_source
                .entry(source)
                .or_default()
                .push((object.path, path));
        }
    }
    for (source, objects) in by_source {
        let gap = kept::missing(objects.iter().map(|(_, path)| path.as_str()));
        if let Some((path, why)) = gap {
            let path = format!("{}/{path}", layout::source(source));
            found.found(&path, what(&path), Condition::Damaged(why));
        }
        let read = parallel(objects, |(full, path)| async move {
            let bytes = log.storage().read(&full).await?;
            Ok((full, path, bytes))
        });
        for (full, path, bytes) in read.await? {
            match bytes.map(|bytes| kept::condition(&path, &bytes)) {
                // Merged with its neighbours meanwhile.
                None => {}
                Some(Some(condition)) => found.found(&full, what(&full), condition),
                Some(None) => found.note(&full, "only its source knows what it is: not checked"),
            }
        }
    }
    Ok(())
}

/// Files that are part of nothing.
async fn others(log: &LogReader, listed: &Listed, found: &mut Verification) -> Result<()> {
    for object in log.storage().list("").await? {
        let path = &object.path;
        match CheckpointFile::at(path) {
            CheckpointFile::Plan(epoch) | CheckpointFile::Commit(epoch)
                if !listed.is_kept(epoch) =>
            {
                found.note(
                    path,
                    "it is below the floor: garbage collection has left it to be deleted",
                );
            }
            CheckpointFile::OfSink => {
                found.note(path, "only its sink knows what it is: not checked");
            }
            CheckpointFile::Unknown => found.note(path, "it is no file of a checkpoint"),
            _ => {}
        }
    }
    Ok(())
}

/// Does something with each of many things, a few at a time, in order.
async fn parallel<T, Done, R>(things: Vec<T>, each: impl Fn(T) -> Done) -> Result<Vec<R>>
where
    Done: Future<Output = Result<R>>,
{
    stream::iter(things)
        .map(each)
        .buffered(PARALLEL_READS)
        .try_collect()
        .await
}
