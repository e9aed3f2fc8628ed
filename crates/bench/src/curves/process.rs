//! What the system knows of a process: memory, processor time.

use std::{fs, time::Duration};

use headwater_core::{Error, Result};

/// Clock ticks in a second, by which `/proc` counts processor time: 100 on every Linux.
const TICKS: u32 = 100;

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    /// All of it, files that are mapped (the program itself) included.
    pub(super) all: u64,
    /// What the process has written: heap and stacks.
    pub(super) written: u64,
}

/// The resident memory of a process; `self` names this one.
pub(super) fn resident(process: &str) -> Result<Resident> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).map_err(|e| no_proc(&path, e))?;
    parse_status(&text)
        .ok_or_else(|| Error::data(format!("{path} does not tell VmRSS and RssAnon")))
}

/// Processor time that a process has used so far, of its own and in the kernel.
pub(super) fn cpu_time(process: &str) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).map_err(|e| no_proc(&path, e))?;
    parse_stat(&text).ok_or_else(|| Error::data(format!("{path} does not tell utime and stime")))
}

fn no_proc(path: &str, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot read {path}: this curve needs Linux")).with_source(error)
}

fn parse_status(text: &str) -> Option<Resident> {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1_024)
    };
    Some(Resident {
        all: field("VmRSS:")?,
        written: field("RssAnon:")?,
    })
}

fn parse_stat(text: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; what follows it is numbers, the state being the first.
    let (_, numbers) = text.rsplit_once(')')?;
    let mut fields = numbers.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    let ticks = next()? + next()?;
    Some(Duration::from_secs(1) * ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 10 20 30 40 150 25 0 0 20 0 4";
        assert_eq!(parse_stat(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\ta\nVmRSS:\t    2000 kB\nRssAnon:\t    1500 kB\n";
        let expected = Resident {
            all: 2_048_000,
            written: 1_536_000,
        };
        assert_eq!(parse_status(status), Some(expected));
        assert_eq!(parse_status("VmRSS: 1 kB"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_has_used_a_processor() {
        let memory = resident("self").unwrap();
        assert!(memory.written > 0 && memory.all >= memory.written);
        cpu_time("self").unwrap();
    }
}
