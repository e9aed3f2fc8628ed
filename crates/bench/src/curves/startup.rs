//! The command from its start to its first commit, and what it takes while it waits.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use headwater_core::{Clock, Error, Result};
use headwater_log::layout;

use super::{
    Finding, Measured, Options, Point, Target, median,
    process::{cpu_time, resident},
};
use crate::child::{self, Running};

/// Milliseconds from the start of the process to the first commit.
const MOST_MILLIS: f64 = 150.0;
/// Of one processor, while there is nothing to do.
const MOST_CPU_PERCENT: f64 = 0.5;
/// Resident memory while there is nothing to do, in MB.
const MOST_MEGABYTES: f64 = 60.0;

/// How often the commit is looked for: the error of a start.
const LOOK: Duration = Duration::from_micros(500);
/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A window by a key over a folder of JSON files, into Parquet files.
const PIPELINE: &str = "\
CREATE STREAM requests (
    time TIMESTAMP, host STRING, bytes BIGINT,
    WATERMARK FOR time AS time - INTERVAL 5 SECONDS
) USING json OPTIONS ('path' '${INPUT}');
CREATE SINK loads USING parquet OPTIONS ('path' '${OUTPUT}');
CREATE STREAMING QUERY loads AS
INSERT INTO loads
SELECT window.start AS start, host, count(*) AS requests, sum(bytes) AS bytes
FROM requests GROUP BY window(time, '10 seconds'), host;
";

const ROWS: &str = "\
{\"time\":\"2025-01-01T00:00:01Z\",\"host\":\"a\",\"bytes\":10}
{\"time\":\"2025-01-01T00:00:02Z\",\"host\":\"b\",\"bytes\":20}
{\"time\":\"2025-01-01T00:00:30Z\",\"host\":\"a\",\"bytes\":30}
";

/// A start, and the wait behind it.
#[derive(Debug, Clone, Copy)]
struct Started {
    first_commit_millis: f64,
    /// Processor time used until then.
    cpu_millis: f64,
    /// Of one processor, while it waited.
    idle_cpu_percent: f64,
    idle_bytes: u64,
}

pub(super) fn measure(options: &Options, clock: &dyn Clock) -> Result<Measured> {
    let command = match &options.headwater {
        Some(command) => command.clone(),
        None => child::beside_this("headwater")?,
    };
    let wait = options.pick(Duration::from_secs(4), Duration::from_millis(20));
    let mut started = Vec::new();
    for _ in 0..options.pick(9, 1) {
        started.push(start(&command, wait, clock)?);
    }
    Ok(judge(&started))
}

fn start(command: &Path, wait: Duration, clock: &dyn Clock) -> Result<Started> {
    let folder = super::folder()?;
    let file = folder.path().join("loads.sql");
    let input = folder.path().join("in");
    let commit = folder
        .path()
        .join("checkpoints/loads")
        .join(layout::commit(headwater_core::Epoch::FIRST));
    let cannot = |e| Error::unavailable("cannot write the pipeline").with_source(e);
    fs::create_dir(&input).map_err(cannot)?;
    fs::write(input.join("requests.json"), ROWS).map_err(cannot)?;
    fs::write(&file, PIPELINE).map_err(cannot)?;
    let set = |name: &str, place: &Path| format!("{name}={}", place.display());

    let begun = clock.monotonic();
    let mut program = Command::new(command);
    program
        .arg("run")
        .arg(&file)
        .args(["--set", &set("INPUT", &input)])
        .args(["--set", &set("OUTPUT", &folder.path().join("out"))])
        .arg("--checkpoint")
        .arg(folder.path().join("checkpoints"))
        .args(["--progress", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = Running::start(&mut program)?;
    let process = child.0.id().to_string();
    while !commit.is_file() {
        child.expect_alive("its first commit")?;
        if clock.monotonic() - begun > PATIENCE {
            return Err(Error::unavailable(format!(
                "{} has not committed within {} s",
                command.display(),
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(LOOK);
    }
    let first_commit = clock.monotonic() - begun;
    let used = cpu_time(&process)?;

    // What follows the first commit: windows that close, records that are cleaned up.
    thread::sleep(wait / 4);
    let (since, used_before) = (clock.monotonic(), cpu_time(&process)?);
    thread::sleep(wait);
    let idle = (cpu_time(&process)? - used_before).as_secs_f64();
    let waited = (clock.monotonic() - since).as_secs_f64();
    Ok(Started {
        first_commit_millis: first_commit.as_secs_f64() * 1_000.0,
        cpu_millis: used.as_secs_f64() * 1_000.0,
        idle_cpu_percent: idle / waited * 100.0,
        idle_bytes: resident(&process)?.all,
    })
}

fn judge(started: &[Started]) -> Measured {
    let points = (1..).zip(started).map(|(run, it)| Point {
        curve: "startup",
        series: "process start to first commit".to_owned(),
        x: f64::from(run),
        x_unit: "run",
        y: it.first_commit_millis,
        y_unit: "ms",
    });
    let of = |figure: fn(&Started) -> f64| median(started.iter().map(figure).collect());
    Measured {
        points: points.collect(),
        findings: vec![
            Finding::new(
                "process start to first commit, median",
                of(|it| it.first_commit_millis),
                "ms",
                Target::AtMost(MOST_MILLIS),
            ),
            Finding::new(
                "processor time until then",
                of(|it| it.cpu_millis),
                "ms",
                Target::Told,
            ),
            Finding::new(
                "processor time while waiting",
                of(|it| it.idle_cpu_percent),
                "%",
                Target::AtMost(MOST_CPU_PERCENT),
            ),
            Finding::new(
                "resident memory while waiting",
                of(|it| it.idle_bytes as f64 / 1e6),
                "MB",
                Target::AtMost(MOST_MEGABYTES),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_held_against_the_targets() {
        let run = |first_commit_millis| Started {
            first_commit_millis,
            cpu_millis: 90.0,
            idle_cpu_percent: 0.0,
            idle_bytes: 61_000_000,
        };
        let measured = judge(&[run(900.0), run(140.0), run(130.0)]);
        assert_eq!(measured.points.len(), 3);
        let met: Vec<_> = measured.findings.iter().map(Finding::is_met).collect();
        assert_eq!(met, [Some(true), None, Some(true), Some(false)]);
    }
}
