//! What it costs that nothing is lost: tumbling windows over 460,000 rows an epoch, with a checkpoint on the disk and
//! with one in memory.

use headwater_core::{Clock, Error, Result};

use super::{
    Finding, Measured, Options, Point, Target, median,
    tumbling::{self, Checkpoint, Ran, Setup},
};

/// How much longer a run with a durable checkpoint may take.
const MOST: f64 = 0.10;

pub(super) fn measure(options: &Options, clock: &dyn Clock) -> Result<Measured> {
    let (data, _folder) = options.data_set()?;
    let rounds = options.pick(9, 1);
    super::runtime()?.block_on(async {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        // The first round fills the system's cache of the files.
        for round in 0..=rounds {
            for (checkpoint, runs) in [
                (Checkpoint::Durable, &mut with),
                (Checkpoint::InMemory, &mut without),
            ] {
                let setup = Setup {
                    checkpoint,
                    files_per_trigger: 1,
                    partitions: None,
                };
                let ran = tumbling::run(&data, setup, clock).await?;
                if round > 0 {
                    runs.push(ran);
                }
            }
        }
        judge(&with, &without)
    })
}

/// Per epoch, so that a data set of another size gives the same.
fn millis(runs: &[Ran]) -> f64 {
    let per_epoch = |ran: &Ran| ran.seconds * 1_000.0 / ran.epochs.max(1) as f64;
    median(runs.iter().map(per_epoch).collect())
}

fn judge(with: &[Ran], without: &[Ran]) -> Result<Measured> {
    let Some(any) = with.first() else {
        return Err(Error::internal("no run to judge"));
    };
    let rows = any.rows as f64 / any.epochs.max(1) as f64;
    let point = |series: &str, y| Point {
        curve: "durability",
        series: series.to_owned(),
        x: rows,
        x_unit: "rows an epoch",
        y,
        y_unit: "ms an epoch",
    };
    let (with, without) = (millis(with), millis(without));
    let cost = (with / without - 1.0) * 100.0;
    Ok(Measured {
        points: vec![
            point("checkpoint on disk", with),
            point("checkpoint in memory", without),
        ],
        findings: vec![Finding::new(
            format!("cost of a durable checkpoint at {rows:.0} rows an epoch"),
            cost,
            "%",
            Target::AtMost(MOST * 100.0),
        )],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_compares_medians_of_an_epoch() {
        let run = |seconds| Ran {
            seconds,
            rows: 9_200_000,
            epochs: 20,
        };
        let with = [run(1.15), run(1.10), run(9.0)];
        let without = [run(1.0), run(1.0), run(0.1)];
        let measured = judge(&with, &without).unwrap();
        let cost = &measured.findings[0];
        assert!((cost.measured - 15.0).abs() < 1e-6, "{cost:?}");
        assert_eq!(cost.is_met(), Some(false));
        assert_eq!(measured.points[0].x, 460_000.0);
        assert!(judge(&[], &without).is_err());
    }
}
