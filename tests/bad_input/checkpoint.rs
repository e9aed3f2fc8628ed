//! Every file of a checkpoint, damaged or lost.
//!
//! Each file in turn has a byte flipped, or is gone. Either the query stops and names it, and with the file as it was
//! goes on; or it can do without, and the answer is right all the same. Which files it may do without is listed here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use headwater::prelude::ErrorKind;

use super::shop::{Format, Shop, assert_says};

/// Files of the first run: enough for deltas to be merged.
const FIRST: usize = 36;

/// A file's kind: its folder in the checkpoint, and for state what sort of file it is.
fn kind_of(path: &str) -> String {
    let folder = path.split('/').next().unwrap_or(path).to_owned();
    match path.rsplit_once('.') {
        Some((_, ending)) if folder == "state" => format!("state {ending}"),
        _ => folder,
    }
}

/// What became of each kind of file: those without which the query stopped, and those it could do without.
#[derive(Debug, Default)]
struct Found {
    stopped: BTreeMap<String, usize>,
    unneeded: BTreeMap<String, usize>,
}

/// Mistreats each file of the checkpoint in turn. Input must be left for the query, so that it reads its state.
async fn mistreat(shop: &Shop, found: &mut Found, how: fn(&Path)) {
    let saved = shop.save();
    let checkpoint = shop.at("checkpoint");
    let files: Vec<PathBuf> = saved
        .keys()
        .filter(|path| path.starts_with(&checkpoint))
        .filter(|path| !path.to_string_lossy().contains("staging"))
        .cloned()
        .collect();
    for file in at_both_ends(files, &checkpoint) {
        let name = file.strip_prefix(&checkpoint).expect("it is in there");
        let name = name.to_str().expect("UTF-8").to_owned();
        how(&file);
        match shop.run().await {
            Ok(()) => {
                *found.unneeded.entry(kind_of(&name)).or_default() += 1;
                shop.assert_completes().await;
                shop.restore(&saved);
            }
            Err(error) => {
                *found.stopped.entry(kind_of(&name)).or_default() += 1;
                // The list of files read knows which numbers are lost, and not in how many files they were. That the
                // newest commit is lost, only the output folder knows.
                let is_known_by_the_sink =
                    error.to_string().contains("has lost its newest records");
                let word = match name.split('/').next() {
                    Some("sources") => "files",
                    Some("commits") if is_known_by_the_sink => "/out, where all epochs",
                    // Without its floor, the log seems to have a gap where it was cleaned up.
                    Some("floor") => "plans/00000000000000000000",
                    _ => &name,
                };
                assert_says(&error, &[word]);
                assert_eq!(error.kind(), ErrorKind::Data, "{error}");
                println!("{error}");
                let last_commit = |files: &BTreeMap<PathBuf, Vec<u8>>| {
                    let commits = checkpoint.join("commits");
                    let commits = files.keys().filter(|path| path.starts_with(&commits));
                    commits.cloned().next_back()
                };
                let committed = last_commit(&shop.save());
                assert!(committed <= last_commit(&saved), "nothing is committed");
                fs::write(&file, &saved[&file]).expect("put back");
                shop.assert_completes().await;
                shop.restore(&saved);
            }
        }
    }
}

/// Of the many files of one kind, the first and the last ones.
fn at_both_ends(files: Vec<PathBuf>, checkpoint: &Path) -> Vec<PathBuf> {
    let kind = |file: &PathBuf| {
        let name = file.strip_prefix(checkpoint).expect("it is in there");
        kind_of(name.to_str().expect("UTF-8"))
    };
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        kinds.entry(kind(&file)).or_default().push(file);
    }
    let ends = |mut files: Vec<PathBuf>| {
        if files.len() > 6 {
            files.drain(3..files.len() - 3);
        }
        files
    };
    kinds.into_values().flat_map(ends).collect()
}

/// A query after its first run, whose state lies in merged deltas and others.
async fn with_merged_deltas() -> Shop {
    // Deltas are merged, and give way to snapshots, beside the epochs: what the newest commit needs is a matter of time.
    for _ in 0..20 {
        let shop = Shop::new(FIRST + 4, Format::Parquet);
        shop.write_input(0..FIRST);
        shop.run().await.expect("a first run");
        let commits = fs::read_dir(shop.at("checkpoint").join("commits")).expect("commits");
        let newest = commits.map(|entry| entry.expect("an entry").path()).max();
        let record = fs::read(newest.expect("a commit")).expect("it is there");
        let record = String::from_utf8_lossy(&record);
        if [".merged\"", ".delta\""]
            .iter()
            .all(|sort| record.contains(sort))
        {
            return shop;
        }
    }
    panic!("in twenty runs no newest commit needed merged deltas");
}

/// Checkpoints with every kind of file in them, each with input left to take.
async fn mistreat_all(how: fn(&Path)) -> Found {
    let mut found = Found::default();
    let mut shop = with_merged_deltas().await;
    let all = shop.files.len();
    shop.ends.push(FIRST);
    let saved = shop.save();
    shop.write_input(FIRST..all);
    mistreat(&shop, &mut found, how).await;

    // State that was dealt out anew is written as a whole.
    shop.restore(&saved);
    for file in FIRST + 1..all {
        fs::remove_file(shop.input(file)).expect("it was there");
    }
    shop.partitions = 3;
    shop.run().await.expect("a second run");
    shop.ends.push(FIRST + 1);
    shop.write_input(FIRST + 1..all);
    mistreat(&shop, &mut found, how).await;
    println!("{found:#?}");
    found
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).expect("it is there");
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("it can be written");
}

fn lose(file: &Path) {
    fs::remove_file(file).expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_file_of_a_checkpoint_is_named_or_does_no_harm() {
    let found = mistreat_all(flip_a_byte).await;
    for kind in [
        "metadata",
        "plans",
        "commits",
        "state delta",
        "state merged",
        "state snapshot",
        "sources",
    ] {
        assert!(found.stopped.contains_key(kind), "{kind}: {found:?}");
    }
    // Damage in what a restart does not read does no harm: old commits, state that was merged since.
    for kind in ["metadata", "plans", "state snapshot", "sources"] {
        assert!(!found.unneeded.contains_key(kind), "{kind}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_missing_file_of_a_checkpoint_is_named_or_does_no_harm() {
    let found = mistreat_all(lose).await;
    for kind in [
        "metadata",
        "plans",
        "commits",
        "state delta",
        "state merged",
        "state snapshot",
    ] {
        assert!(found.stopped.contains_key(kind), "{kind}: {found:?}");
    }
    // A newest commit of an epoch that published nothing is not missed: the epoch runs again.
    for kind in ["metadata", "plans", "state snapshot"] {
        assert!(!found.unneeded.contains_key(kind), "{kind}: {found:?}");
    }
}
