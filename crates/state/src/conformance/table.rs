//! Versions of a store read as tables: each must show what the model says, and the changes between two versions must
//! lead from the one to the other.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMillisecondType},
};
use headwater_core::{Epoch, Result, Storage};

use super::checkpoint::OPERATOR;
use crate::{KeyIndexFactory, StateManifest, StateTable, StoreKind, StoreLayout, Version};

/// The rows of a version by their values, which differ from row to row: when each expires, and whether it is marked.
pub(super) type Content = BTreeMap<i64, (Option<i64>, bool)>;

/// What is to be read, and what it must show.
pub(super) struct Expected<'a> {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) layout: StoreLayout,
    pub(super) index: Arc<dyn KeyIndexFactory>,
    /// Oldest first; before the first epoch comes a version without anything.
    pub(super) versions: Vec<(StateManifest, Content)>,
    /// The key of each value.
    pub(super) key_of: &'a dyn Fn(i64) -> u16,
}

pub(super) async fn check(expected: Expected<'_>) -> Result<()> {
    let (layout, storage) = (&expected.layout, &expected.storage);
    let versions: Vec<(Version, &Content)> = expected.versions[1..]
        .iter()
        .enumerate()
        .map(|(epoch, (manifest, content))| {
            let version = Version {
                epoch: Epoch(epoch as u64),
                manifest: Arc::new(manifest.clone()),
            };
            (version, content)
        })
        .collect();
    let Some((newest, _)) = versions.last() else {
        return Ok(());
    };
    let table = StateTable::open(
        Arc::clone(storage),
        OPERATOR,
        &layout.name,
        newest,
        std::slice::from_ref(layout),
        Arc::clone(&expected.index),
    )
    .await?;
    for (version, content) in &versions {
        let mut shown = Content::new();
        for partition in 0..table.partitions(version) {
            for rows in table.rows(version, partition).await? {
                shown.extend(rows_of(&rows));
            }
        }
        assert_eq!(&shown, *content, "version {}", version.epoch);
    }
    let all: Vec<Version> = versions
        .iter()
        .map(|(version, _)| version.clone())
        .collect();
    let middle = all.len() / 2;
    let starts = [(None, 0), (Some(&versions[middle]), middle + 1)];
    for (start, first) in starts {
        let mut content = start.map_or_else(Content::new, |(_, content)| (*content).clone());
        let from = start.map(|(version, _)| version);
        let changes = table.changes(from, &all[first..]).await?;
        let mut changes = changes.iter().peekable();
        for (version, expected_content) in &versions[first..] {
            let epoch = version.epoch.0 as i64;
            let is_of_epoch =
                |rows: &RecordBatch| rows.column(0).as_primitive::<Int64Type>().value(0) == epoch;
            while let Some(rows) = changes.next_if(|rows| is_of_epoch(rows)) {
                apply(&mut content, rows, layout.kind, expected.key_of);
            }
            assert_eq!(
                &content, *expected_content,
                "changes up to {}",
                version.epoch
            );
        }
        assert!(
            changes.next().is_none(),
            "changes of epochs that were not asked for"
        );
    }
    Ok(())
}

fn rows_of(rows: &RecordBatch) -> Vec<(i64, (Option<i64>, bool))> {
    let column = |name: &str| rows.column_by_name(name);
    let values = column("value")
        .expect("a value")
        .as_primitive::<Int64Type>();
    let expiry = column("expiry").expect("an expiry");
    let expiry = expiry.as_primitive::<TimestampMillisecondType>();
    let marked = column("marked").map(|marked| marked.as_boolean());
    let shown = (0..rows.num_rows()).map(|row| {
        let expiry = expiry.is_valid(row).then(|| expiry.value(row));
        let is_marked = marked.is_some_and(|marked| marked.value(row));
        (values.value(row), (expiry, is_marked))
    });
    shown.collect()
}

fn apply(content: &mut Content, rows: &RecordBatch, kind: StoreKind, key_of: &dyn Fn(i64) -> u16) {
    let changes = rows.column(1).as_string::<i32>();
    for (change, (value, row)) in changes.iter().zip(rows_of(rows)) {
        match change {
            Some("insert") => {
                assert!(content.insert(value, row).is_none(), "{value} was there");
            }
            Some("upsert") if kind == StoreKind::Rows => {
                assert!(
                    content.insert(value, row).is_some(),
                    "{value} was not there"
                );
            }
            Some("upsert") => {
                content.retain(|other, _| key_of(*other) != key_of(value));
                content.insert(value, row);
            }
            Some("delete") => {
                assert_eq!(content.remove(&value), Some(row), "{value} goes as it was");
            }
            other => assert_eq!(other, None, "unknown change"),
        }
    }
}
