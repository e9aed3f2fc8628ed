//! Bytes of memory and of checkpoint for each key of a query that keeps count, sum and max over an i64 key.

use std::{sync::Arc, time::Duration};

use headwater_core::{Clock, Error, Options as StorageOptions, Result, Storage};
use headwater_log::store::{CountedStorage, counted_storage_for_url};
use serde::{Deserialize, Serialize};

use super::{
    Finding, Measured, Options, Point, Target,
    part::Part,
    process::resident,
    totals::{Totals, stream},
};

/// Bytes of memory that a key may take, the index included.
const MOST_BYTES: f64 = 100.0;

/// How far what is reported may be from what is resident.
const AGREE: f64 = 1.25;

/// Keys of the epoch before the first look at the memory: everything that a query needs at all is there then.
const WARM: i64 = 1_000;

/// Epochs whose checkpoint is weighed, and the keys that each of them changes.
const CHANGES: i64 = 10;
const CHANGED: i64 = 100_000;

/// How often and how long apart the memory is looked at: a snapshot that is being written holds memory for a while.
const LOOKS: u32 = 100;
const APART: Duration = Duration::from_millis(100);

/// What so many keys take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct MemoryUse {
    /// Keys in state.
    keys: u64,
    /// What the process has taken for them: the least that was resident after, less what was before.
    resident_bytes: u64,
    /// What the query says that they take.
    reported_bytes: u64,
    /// Keys changed afterwards.
    changed_keys: u64,
    /// Bytes of the deltas of these changes.
    delta_bytes: u64,
    /// All that was written to the checkpoint meanwhile: records, snapshots and merged deltas too.
    written_bytes: u64,
}

pub(super) fn measure(options: &Options, _clock: &dyn Clock) -> Result<Measured> {
    let sizes: &[i64] = options.pick(&[100_000, 1_000_000, 10_000_000], &[2_000, 4_000]);
    let smoke = options.smoke;
    let uses = sizes
        .iter()
        .map(|keys| Part::Memory { keys: *keys, smoke }.ask());
    Ok(judge(&uses.collect::<Result<Vec<_>>>()?))
}

/// Fills a state, looks at the memory, then changes some keys and weighs what that writes.
pub(super) async fn use_of(keys: i64, smoke: bool, clock: &dyn Clock) -> Result<MemoryUse> {
    let folder = super::folder()?;
    let place = folder.path().to_string_lossy();
    let storage = Arc::new(counted_storage_for_url(&place, &StorageOptions::new())?);
    let totals = Totals::start(&stream(), &storage).await?;
    totals.touch(0, WARM, keys).await?;
    let before = resident("self")?.written;
    totals.fill(WARM, keys).await?;
    let (held, reported_bytes) = totals.reported()?;
    if held != keys.unsigned_abs() {
        return Err(Error::internal(format!(
            "{held} keys are in state, expected {keys}"
        )));
    }
    let mut after = u64::MAX;
    for _ in 0..if smoke { 1 } else { LOOKS } {
        after = after.min(resident("self")?.written);
        let pause = if smoke { Duration::ZERO } else { APART };
        let until = clock.now_millis() + pause.as_millis() as i64;
        clock.sleep_until(until).await;
    }

    let known: Vec<String> = deltas(&storage)
        .await?
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let written = storage.counts();
    let changed = CHANGED.min(keys / CHANGES);
    let mut weighed = 0;
    for epoch in 0..CHANGES {
        totals.touch(epoch * changed, changed, keys).await?;
        // Before the next upkeep merges or replaces it.
        let new = deltas(&storage)
            .await?
            .into_iter()
            .filter(|(path, _)| !known.contains(path));
        weighed = weighed.max(new.map(|(_, bytes)| bytes).sum::<u64>());
    }
    let written_bytes = storage.counts().since(&written).bytes_written;
    totals.stop().await?;
    Ok(MemoryUse {
        keys: held,
        resident_bytes: after.saturating_sub(before),
        reported_bytes,
        changed_keys: (CHANGES * changed).unsigned_abs(),
        delta_bytes: weighed,
        written_bytes,
    })
}

/// The deltas in a checkpoint, by path and size.
async fn deltas(storage: &CountedStorage) -> Result<Vec<(String, u64)>> {
    let objects = storage.list("state").await?.into_iter();
    let deltas = objects.filter(|object| object.path.ends_with(".delta"));
    Ok(deltas.map(|object| (object.path, object.size)).collect())
}

/// A figure of a key.
type BytesOf = fn(&MemoryUse) -> f64;

fn judge(uses: &[MemoryUse]) -> Measured {
    let mut measured = Measured::default();
    let series: [(&str, BytesOf); 3] = [
        ("resident memory", |it| {
            it.resident_bytes as f64 / it.keys as f64
        }),
        ("reported memory", |it| {
            it.reported_bytes as f64 / it.keys as f64
        }),
        ("delta of a changed key", |it| {
            it.delta_bytes as f64 / it.changed_keys as f64
        }),
    ];
    for (name, bytes) in series {
        measured.points.extend(uses.iter().map(|it| Point {
            curve: "memory",
            series: name.to_owned(),
            x: it.keys as f64,
            x_unit: "keys in state",
            y: bytes(it),
            y_unit: "bytes a key",
        }));
    }
    let Some(last) = uses.last() else {
        return measured;
    };
    let [resident, reported, delta] = series.map(|(_, bytes)| bytes(last));
    let keys = last.keys;
    let apart = (resident / reported).max(reported / resident);
    let written = last.written_bytes as f64 / last.changed_keys as f64;
    measured.findings = vec![
        Finding::new(
            format!("resident memory of a key, of {keys}"),
            resident,
            "bytes",
            Target::AtMost(MOST_BYTES),
        ),
        Finding::new(
            format!("reported memory of a key, of {keys}"),
            reported,
            "bytes",
            Target::AtMost(MOST_BYTES),
        ),
        Finding::new(
            "resident and reported memory apart by",
            apart,
            "×",
            Target::AtMost(AGREE),
        ),
        Finding::new("delta of a changed key", delta, "bytes", Target::Told),
        Finding::new(
            "all that is written for a changed key",
            written,
            "bytes",
            Target::Told,
        ),
    ];
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_size_is_held_against_the_target() {
        let small = MemoryUse {
            keys: 1_000,
            resident_bytes: 900_000,
            reported_bytes: 90_000,
            changed_keys: 100,
            delta_bytes: 4_000,
            written_bytes: 8_000,
        };
        let large = MemoryUse {
            keys: 10_000,
            resident_bytes: 950_000,
            reported_bytes: 1_100_000,
            ..small
        };
        let measured = judge(&[small, large]);
        assert_eq!(measured.points.len(), 6);
        let met: Vec<_> = measured.findings.iter().map(Finding::is_met).collect();
        assert_eq!(met, [Some(true), Some(false), Some(true), None, None]);
        assert_eq!(measured.findings[3].measured, 40.0);
        assert_eq!(judge(&[]), Measured::default());
    }
}
