//! The crash sweep of the local disk storage: at every step, with every kind of loss, what was acknowledged is there,
//! and nothing is ever seen in part but what nobody looks for.

use std::collections::BTreeSet;

use headwater_core::{CreateOutcome, Payload, Prepared, Result, Storage};

use super::*;
use crate::store::{STAGING, conformance::storage_conformance};

/// What a program was told before the machine crashed.
#[derive(Debug, Default)]
struct Acknowledged {
    created: BTreeSet<usize>,
    own: BTreeSet<usize>,
    replaced: usize,
    prepared: Vec<Prepared>,
    published: usize,
}

const ROUNDS: usize = 3;

fn content(of: &str, n: usize) -> Bytes {
    format!("{of} {n}, some more bytes").into()
}

/// Writes everything there is to write, noting what was acknowledged.
async fn program(storage: &SimStorage, acknowledged: &mut Acknowledged) -> Result<()> {
    for n in 0..ROUNDS {
        storage
            .create(&format!("log/{n}"), content("record", n))
            .await?;
        acknowledged.created.insert(n);
        let mut pieces = Payload::new();
        pieces.push(content("own", n));
        pieces.push(content("more", n));
        storage.create_own(&format!("own/{n}"), pieces).await?;
        acknowledged.own.insert(n);
        storage.replace("latest", content("latest", n)).await?;
        acknowledged.replaced = n + 1;
        let mut parts = Vec::new();
        for partition in 0..2 {
            let path = format!("out/k={n}/{partition}.parquet");
            let mut write = storage.prepare(&path, &format!("{n}-run")).await?;
            write.write(content("part", n)).await?;
            parts.push(write.finish().await?);
        }
        acknowledged.prepared.extend(parts.clone());
        storage.publish(&parts).await?;
        acknowledged.published += parts.len();
    }
    Ok(())
}

/// Why the machine after the crash is not what it should be.
async fn violation(machine: &SimMachine, acknowledged: &Acknowledged) -> Option<String> {
    let storage = machine.storage("disk");
    for (path, bytes) in machine.files("disk") {
        let is_hidden = path.starts_with(STAGING);
        let is_whole = (0..ROUNDS).any(|n| {
            ["record", "latest", "part"]
                .iter()
                .any(|of| content(of, n) == bytes)
        });
        let is_own = path.starts_with("own/");
        if !is_hidden && !is_own && !is_whole {
            return Some(format!("'{path}' is visible in part"));
        }
    }
    for n in &acknowledged.created {
        let found = storage.read(&format!("log/{n}")).await;
        if found.ok().flatten() != Some(content("record", *n)) {
            return Some(format!("record {n} was created and is lost"));
        }
    }
    for n in &acknowledged.own {
        let found = storage.read(&format!("own/{n}")).await;
        let whole = [content("own", *n), content("more", *n)].concat();
        if found.ok().flatten() != Some(whole.into()) {
            return Some(format!("own object {n} was created and is lost"));
        }
    }
    if acknowledged.replaced > 0 {
        // The next one may have arrived without being acknowledged.
        let found = storage.read("latest").await.ok().flatten();
        let n = acknowledged.replaced;
        if found != Some(content("latest", n - 1)) && found != Some(content("latest", n)) {
            return Some(format!("replacement {n} is lost: {found:?}"));
        }
    }
    for (at, part) in acknowledged.prepared.iter().enumerate() {
        if at < acknowledged.published {
            let found = storage.read(&part.path).await.ok().flatten();
            if found.map(|bytes| crc32fast::hash(&bytes)) != Some(part.crc32) {
                return Some(format!("'{}' was published and is lost", part.path));
            }
        }
        // Published or not, it can be published again.
        if let Err(error) = storage.publish(std::slice::from_ref(part)).await {
            return Some(format!("'{}' was prepared and is lost: {error}", part.path));
        }
        let found = storage.read(&part.path).await.ok().flatten();
        if found.map(|bytes| crc32fast::hash(&bytes)) != Some(part.crc32) {
            return Some(format!(
                "'{}' holds other bytes than were prepared",
                part.path
            ));
        }
    }
    None
}

/// Crashes at every step; gives the first broken promise.
async fn sweep(lie: fn(&str) -> bool) -> Option<String> {
    let whole = SimMachine::new();
    let mut all = Acknowledged::default();
    program(&whole.storage("disk"), &mut all)
        .await
        .expect("nothing fails");
    let steps = whole.steps();
    assert!(steps.len() > 40, "{steps:#?}");
    for step in 0..=steps.len() {
        for loss in [Loss::Nothing, Loss::Unsynced]
            .into_iter()
            .chain((0..8).map(Loss::Some))
        {
            let machine = SimMachine::new();
            machine.skip_syncs(lie);
            machine.crash_at(step);
            let mut acknowledged = Acknowledged::default();
            let outcome = program(&machine.storage("disk"), &mut acknowledged).await;
            assert_eq!(outcome.is_err(), step < steps.len());
            if let Some(found) = violation(&machine.reopen(loss), &acknowledged).await {
                let name = steps.get(step).map_or("the end", String::as_str);
                return Some(format!("crash at step {step} ({name}), {loss:?}: {found}"));
            }
        }
    }
    None
}

#[tokio::test]
async fn no_crash_takes_back_what_was_acknowledged() {
    assert_eq!(sweep(|_| false).await, None);
}

#[tokio::test]
async fn the_sweep_notices_each_sync_that_is_left_out() {
    type Lie = fn(&str) -> bool;
    let lies: [(&str, Lie); 8] = [
        ("bytes of records", |step| {
            step.starts_with("sync file") && step.contains("/tmp-")
        }),
        ("bytes of parts", |step| {
            step.starts_with("sync file") && step.contains("-run.")
        }),
        ("bytes of own objects", |step| {
            step.starts_with("sync file") && step.contains("/own/")
        }),
        ("names of records", |step| step == "sync folder disk/log"),
        ("names of own objects", |step| {
            step == "sync folder disk/own"
        }),
        ("names of hidden parts", |step| {
            step.starts_with("sync folder") && step.ends_with("/staging")
        }),
        ("names of published parts", |step| {
            step.starts_with("sync folder disk/out/")
        }),
        ("names of folders", |step| step == "sync folder disk/out"),
    ];
    for (what, lie) in lies {
        assert!(
            sweep(lie).await.is_some(),
            "nobody misses the sync of {what}"
        );
    }
}

#[tokio::test]
async fn sim_storage_conforms() {
    storage_conformance(Arc::new(SimMachine::new().storage("checkpoint"))).await;
}

#[tokio::test]
async fn a_crash_fails_its_step_and_everything_after() {
    let machine = SimMachine::new();
    let storage = machine.storage("a");
    storage.create("x", "1".into()).await.unwrap();
    machine.crash_at(machine.steps().len() + 2);
    let error = storage.create("y", "2".into()).await.expect_err("crashes");
    assert!(
        error.to_string().contains("simulated crash at step"),
        "{error}"
    );
    assert!(
        machine.storage("b").read("x").await.is_err(),
        "other disks too"
    );
    assert_eq!(
        machine.crashed().as_deref(),
        error.to_string().split("sim:a: ").nth(1)
    );
    let after = machine.reopen(Loss::Unsynced).storage("a");
    assert_eq!(after.read("x").await.unwrap(), Some("1".into()));
    let outcome = after.create("y", "3".into()).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Created);
}

#[tokio::test]
async fn a_deletion_may_come_back_but_nothing_else_changes() {
    let machine = SimMachine::new();
    let storage = machine.storage("a");
    for path in ["x", "y"] {
        storage.create(path, path.into()).await.unwrap();
    }
    storage.delete(&["x".to_owned()]).await.unwrap();
    assert_eq!(storage.read("x").await.unwrap(), None);
    let after = machine.reopen(Loss::Unsynced);
    assert_eq!(after.files("a").len(), 2);
    assert_eq!(machine.reopen(Loss::Nothing).files("a").len(), 1);
}
