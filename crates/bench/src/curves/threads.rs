//! One thread and two: tumbling windows, each in a process of its own.
//!
//! Beside them two such processes of one thread run at the same time. They share nothing but the machine, so what they
//! reach is what it has to give: two processors are rarely twice as fast as one.

use std::{path::Path, thread};

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
    let files_per_trigger = options.pick(4, 1);
    let process = |threads| ask(&data, threads, files_per_trigger);
    let [mut one, mut two, mut side_by_side] = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        one.push(process(1)?);
        two.push(process(2)?);
        side_by_side.push(at_once(|| process(1))?);
    }
    Ok(judge(median(one), median(two), median(side_by_side)))
}

/// Seconds that a process of so many threads measures.
fn ask(data: &Path, threads: usize, files_per_trigger: u32) -> Result<f64> {
    let part = Part::Threads {
        data: data.to_owned(),
        threads,
        files_per_trigger,
    };
    part.ask()
}

/// Seconds that the slower of two takes when both run at the same time.
fn at_once(process: impl Fn() -> Result<f64> + Sync) -> Result<f64> {
    thread::scope(|scope| {
        let other = scope.spawn(&process);
        let mine = process();
        let other = other
            .join()
            .map_err(|_| Error::internal("a measurement panicked"))?;
        Ok(mine?.max(other?))
    })
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

/// Judges seconds: those of one thread, of two, and of the slower of two processes of one thread each.
fn judge(one: f64, two: f64, side_by_side: f64) -> Measured {
    let point = |series: &str, threads, y| Point {
        curve: "threads",
        series: series.to_owned(),
        x: threads,
        x_unit: "worker threads",
        y,
        y_unit: "s",
    };
    let for_one_answer = side_by_side / 2.0;
    Measured {
        points: vec![
            point("tumbling", 1.0, one),
            point("tumbling", 2.0, two),
            point("two processes that share nothing", 1.0, one),
            point("two processes that share nothing", 2.0, for_one_answer),
        ],
        findings: vec![
            Finding::new(
                "speed-up of tumbling from 1 thread to 2",
                one / two,
                "×",
                Target::AtLeast(LEAST),
            ),
            Finding::new(
                "speed-up of two processes that share nothing, as far as the machine goes",
                one / for_one_answer,
                "×",
                Target::Told,
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_up_is_the_time_of_one_over_that_of_two() {
        let measured = judge(1.8, 1.0, 2.0);
        assert_eq!(measured.findings[0].is_met(), Some(true));
        assert_eq!(judge(1.6, 1.0, 2.0).findings[0].is_met(), Some(false));
        assert_eq!(measured.points[1].x, 2.0);
    }

    #[test]
    fn two_processes_give_two_answers_in_the_time_of_the_slower_one() {
        let machine = &judge(1.8, 1.0, 2.0).findings[1];
        assert_eq!((machine.measured, machine.is_met()), (1.8, None));
        let turn = std::sync::Mutex::new(vec![1.5, 2.0]);
        let slower = at_once(|| Ok(turn.lock().unwrap().pop().unwrap()));
        assert_eq!(slower.unwrap(), 2.0);
        let failed = at_once(|| Err(Error::internal("no answer")));
        assert!(failed.unwrap_err().message().contains("no answer"));
    }
}
