//! How fast a query that is started again has its state back: a snapshot, if one was due, and the deltas since.

use std::sync::Arc;

use headwater_core::{Clock, Error, Options as StorageOptions, Result, Storage};
use headwater_log::store::{CountedStorage, counted_storage_for_url};

use super::{
    Finding, Measured, Options, Point, Target,
    totals::{Totals, stream},
};

/// Keys a second that must come back.
const LEAST: f64 = 2_000_000.0;

/// Epochs after the last key is there, and the keys that each of them changes: deltas to be applied.
const CHANGES: i64 = 20;
const CHANGED: i64 = 10_000;

/// A query started again on its checkpoint.
#[derive(Debug, Clone, Copy)]
struct Restored {
    keys: u64,
    /// From the start until an epoch with a row was committed.
    seconds: f64,
    snapshot_bytes: u64,
    delta_bytes: u64,
}

pub(super) fn measure(options: &Options, clock: &dyn Clock) -> Result<Measured> {
    let sizes: &[i64] = options.pick(&[1_000_000, 4_000_000, 10_000_000], &[2_000, 4_000]);
    let repeat = options.pick(3, 1);
    super::runtime()?.block_on(async {
        let mut restored = Vec::new();
        for keys in sizes {
            restored.push(restore(*keys, repeat, clock).await?);
        }
        Ok(judge(&restored))
    })
}

/// The median of several restarts on one checkpoint.
async fn restore(keys: i64, repeat: usize, clock: &dyn Clock) -> Result<Restored> {
    let folder = super::folder()?;
    let place = folder.path().to_string_lossy();
    let storage = Arc::new(counted_storage_for_url(&place, &StorageOptions::new())?);
    let stream = stream();
    let first = Totals::start(&stream, &storage).await?;
    first.fill(0, keys).await?;
    let changed = CHANGED.min(keys / CHANGES);
    for epoch in 0..CHANGES {
        first.touch(epoch * changed, changed, keys).await?;
    }
    first.stop().await?;

    let mut times = Vec::new();
    for _ in 0..repeat {
        let start = clock.monotonic();
        let again = Totals::start(&stream, &storage).await?;
        again.touch(0, 1, keys).await?;
        times.push((clock.monotonic() - start).as_secs_f64());
        let (held, _) = again.reported()?;
        again.stop().await?;
        if held != keys.unsigned_abs() {
            return Err(Error::internal(format!(
                "{held} keys came back, expected {keys}"
            )));
        }
    }
    Ok(Restored {
        keys: keys.unsigned_abs(),
        seconds: super::median(times),
        snapshot_bytes: bytes(&storage, ".snapshot").await?,
        delta_bytes: bytes(&storage, ".delta").await?,
    })
}

async fn bytes(storage: &CountedStorage, ending: &str) -> Result<u64> {
    let objects = storage.list("state").await?.into_iter();
    let of_kind = objects.filter(|object| object.path.ends_with(ending));
    Ok(of_kind.map(|object| object.size).sum())
}

fn judge(restored: &[Restored]) -> Measured {
    let points = restored.iter().map(|it| Point {
        curve: "restore",
        series: "count, sum and max by an i64 key".to_owned(),
        x: it.keys as f64,
        x_unit: "keys in state",
        y: it.seconds * 1_000.0,
        y_unit: "ms",
    });
    let mut measured = Measured {
        points: points.collect(),
        findings: Vec::new(),
    };
    for it in restored {
        let (keys, rate) = (it.keys, it.keys as f64 / it.seconds);
        let million = 1_000_000.0;
        measured.findings.extend([
            Finding::new(
                format!("keys restored a second, of {keys}"),
                rate / million,
                "million",
                Target::AtLeast(LEAST / million),
            ),
            Finding::new(
                format!("snapshot files beside {keys} keys"),
                it.snapshot_bytes as f64 / million,
                "MB",
                Target::Told,
            ),
            Finding::new(
                format!("delta files beside {keys} keys"),
                it.delta_bytes as f64 / million,
                "MB",
                Target::Told,
            ),
        ]);
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_keys_over_the_time_to_the_first_commit() {
        let restored = |keys, seconds| Restored {
            keys,
            seconds,
            snapshot_bytes: 1,
            delta_bytes: 1,
        };
        let measured = judge(&[restored(1_000_000, 0.5), restored(10_000_000, 5.1)]);
        assert_eq!(measured.points[0].y, 500.0);
        let met: Vec<_> = measured
            .findings
            .iter()
            .filter_map(Finding::is_met)
            .collect();
        assert_eq!(met, [true, false]);
    }
}
