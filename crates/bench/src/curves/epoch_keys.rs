//! Time per epoch against the keys in state, the epoch touching as many of them always.

use headwater_core::{Clock, Result};

use super::{Finding, Measured, Options, Point, Target};
use crate::state_size::{self, EpochCost, Operator};
use crate::verdict::spread;

/// How much slower the slowest size may be than the fastest.
const FLAT: f64 = 1.5;

pub(super) fn measure(options: &Options, clock: &dyn Clock) -> Result<Measured> {
    let sizes: &[i64] = options.pick(&[10_000, 100_000, 1_000_000, 10_000_000], &[2_000, 4_000]);
    let epochs = options.pick(200, 2);
    super::runtime()?.block_on(async {
        let mut costs = Vec::new();
        for operator in Operator::ALL {
            costs.extend(state_size::run(operator, sizes, epochs, clock).await?);
        }
        Ok(judge(&costs))
    })
}

fn judge(costs: &[EpochCost]) -> Measured {
    let mut measured = Measured::default();
    for costs in costs.chunk_by(|a, b| a.operator == b.operator) {
        measured.points.extend(costs.iter().map(|cost| Point {
            curve: "epoch-keys",
            series: cost.operator.clone(),
            x: cost.keys as f64,
            x_unit: "keys in state",
            y: cost.epoch_ms_p50,
            y_unit: "ms",
        }));
        let what = format!("{}: slowest size over fastest", costs[0].operator);
        let ratio = spread(costs.iter().map(|cost| cost.epoch_ms_p50));
        let finding = Finding::new(what, ratio, "×", Target::AtMost(FLAT));
        measured.findings.push(finding);
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(operator: &str, keys: i64, millis: f64) -> EpochCost {
        EpochCost {
            operator: operator.to_owned(),
            keys,
            state_rows: keys.unsigned_abs(),
            rows_per_epoch: 1_000,
            epochs: 10,
            epoch_ms_p50: millis,
            epoch_ms_p90: millis,
            checkpoint_bytes_per_epoch: 1,
        }
    }

    #[test]
    fn each_operator_is_judged_by_its_own_sizes() {
        let measured = judge(&[
            cost("join", 10, 2.0),
            cost("join", 100, 3.5),
            cost("dedup", 10, 9.0),
            cost("dedup", 100, 9.0),
        ]);
        assert_eq!(measured.points.len(), 4);
        let met: Vec<_> = measured.findings.iter().map(Finding::is_met).collect();
        assert_eq!(met, [Some(false), Some(true)]);
        assert!(measured.findings[0].what.starts_with("join"));
    }
}
