//! One thread and two: tumbling windows, each in a process of its own.

use std::path::Path;

use headwater_core::{Clock, Error, Result};

use super::{
    Finding, Measured, Options, Point, Target, median,
    part::Part,
    tumbling::{self, Checkpoint, Setup},
};

/// How many times as fast two threads must be.
const LEAST: f64 = 1.7;

pub(super) fn measure(options: &Options, _clock: &dyn Clock) -> Result<Measured> {
    let (data, _folder) = options.data_set()?;
    let rounds = options.pick(7, 1);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (threads, seconds) in (1..).zip(&mut seconds) {
            let part = Part::Threads {
                data: data.clone(),
                threads,
                files_per_trigger: options.pick(4, 1),
            };
            seconds.push(part.ask()?);
        }
    }
    Ok(judge(seconds.map(median)))
}

/// Seconds that the query takes on so many worker threads with as many partitions.
pub(super) fn run(
    data: &Path,
    threads: usize,
    files_per_trigger: u32,
    clock: &dyn Clock,
) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = runtime
        .map_err(|e| Error::unavailable("cannot start the worker threads").with_source(e))?;
    let setup = Setup {
        checkpoint: Checkpoint::Durable,
        files_per_trigger,
        partitions: Some(threads),
    };
    Ok(runtime.block_on(tumbling::run(data, setup, clock))?.seconds)
}

fn judge([one, two]: [f64; 2]) -> Measured {
    let point = |threads, y| Point {
        curve: "threads",
        series: "tumbling".to_owned(),
        x: threads,
        x_unit: "worker threads",
        y,
        y_unit: "s",
    };
    Measured {
        points: vec![point(1.0, one), point(2.0, two)],
        findings: vec![Finding::new(
            "speed-up of tumbling from 1 thread to 2",
            one / two,
            "×",
            Target::AtLeast(LEAST),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_up_is_the_time_of_one_over_that_of_two() {
        let measured = judge([1.8, 1.0]);
        assert_eq!(measured.findings[0].is_met(), Some(true));
        assert_eq!(judge([1.6, 1.0]).findings[0].is_met(), Some(false));
        assert_eq!(measured.points[1].x, 2.0);
    }
}
