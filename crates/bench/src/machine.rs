//! What a figure must be read together with: the memory that the process took and how fast the device syncs.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

use headwater_core::{Clock, Error, Result};

/// Files synced to learn the device's median.
const SYNCS: usize = 101;
/// A small record, as a plan or commit is.
const RECORD: [u8; 4_096] = [0x5a; 4_096];

/// Most resident memory, in bytes, since the process started or [`reset_peak_rss`] was called; none where the system
/// does not tell.
pub fn peak_rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

/// Lets [`peak_rss`] start anew from what is resident now. Where the system cannot, the peak of the queries before
/// stays in.
pub fn reset_peak_rss() {
    // 5 is what proc(5) calls resetting the peak resident set size.
    let _unsupported = fs::write("/proc/self/clear_refs", "5");
}

/// Median time that the device of `dir` takes to make a new file of 4 KiB durable: its bytes and its name.
///
/// # Errors
/// `Unavailable` if files cannot be written in `dir`.
pub fn median_sync(dir: &Path, clock: &dyn Clock) -> Result<Duration> {
    let probe = tempfile::Builder::new()
        .prefix("sync-")
        .tempdir_in(dir)
        .map_err(|e| cannot_sync(dir, e))?;
    let mut times = Vec::with_capacity(SYNCS);
    for i in 0..SYNCS {
        let start = clock.monotonic();
        sync_one(probe.path(), i).map_err(|e| cannot_sync(dir, e))?;
        times.push(clock.monotonic() - start);
    }
    times.sort();
    Ok(times[SYNCS / 2])
}

fn sync_one(dir: &Path, i: usize) -> std::io::Result<()> {
    let mut file = File::create(dir.join(i.to_string()))?;
    file.write_all(&RECORD)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

fn cannot_sync(dir: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot measure syncs in {}", dir.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_has_taken_memory() {
        assert!(peak_rss().unwrap() > 1_000_000);
    }

    #[test]
    fn syncs_leave_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        median_sync(dir.path(), &headwater_core::SystemClock::default()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
