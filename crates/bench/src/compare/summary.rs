//! What follows from the measurements of a comparison: medians, ratios, and whether the targets are met.

use super::{
    schedule::{Engine, Store},
    targets::{Comparison, Figure},
};
use crate::report::Measurement;

/// Whether the targets of a comparison are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of them, with the right answer.
    Met,
    /// One is not, or the answers differ.
    Missed,
    /// None is known to be missed, but not everything was measured.
    Unknown,
}

/// Whether headwater and Spark gave the same number of rows out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowsOut {
    /// Both gave so many, in every run.
    Agree(u64),
    /// The numbers of headwater and of Spark, each without repetition.
    Differ(Vec<u64>, Vec<u64>),
    /// One of them did not run, or the rows are not kept.
    Unknown,
}

/// A comparison after all of its runs.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What was compared.
    pub comparison: Comparison,
    /// Headwater's median, in the unit of the comparison's figure.
    pub headwater: Option<f64>,
    /// The median of Spark with its better store, and which that is.
    pub spark: Option<(f64, Store)>,
    /// How many times better than that headwater is.
    pub times_spark: Option<f64>,
    /// The median of the batch.
    pub batch: Option<f64>,
    /// Headwater's throughput over the batch's.
    pub of_batch: Option<f64>,
    /// Whether the answers agree.
    pub rows_out: RowsOut,
}

impl Summary {
    /// Sums up the measurements of one comparison.
    pub fn of(comparison: &Comparison, measurements: &[Measurement]) -> Self {
        let figures = |engine: Engine| {
            let own = measurements
                .iter()
                .filter(move |m| Engine::of(&m.engine) == Some(engine));
            median(own.filter_map(|m| figure(comparison.figure, m)).collect())
        };
        let better = |a: f64, b: f64| times_better(comparison.figure, a, b);
        let headwater = figures(Engine::Headwater);
        let batch = figures(Engine::Batch);
        let spark = Store::ALL
            .into_iter()
            .filter_map(|store| Some((figures(Engine::Spark(store))?, store)))
            .reduce(|best, next| {
                if better(next.0, best.0) > 1.0 {
                    next
                } else {
                    best
                }
            });
        Self {
            comparison: *comparison,
            headwater,
            spark,
            times_spark: headwater
                .zip(spark)
                .map(|(ours, (its, _))| better(ours, its)),
            batch,
            of_batch: headwater.zip(batch).map(|(ours, its)| better(ours, its)),
            rows_out: rows_out(measurements),
        }
    }

    /// Whether the targets are met.
    pub fn verdict(&self) -> Verdict {
        if matches!(self.rows_out, RowsOut::Differ(..)) && !self.comparison.order_decides {
            return Verdict::Missed;
        }
        let pairs = [
            (self.comparison.times_spark, self.times_spark),
            (self.comparison.of_batch, self.of_batch),
        ];
        let mut verdict = Verdict::Met;
        for (target, ratio) in pairs {
            match (target, ratio) {
                (Some(target), Some(ratio)) if ratio < target => return Verdict::Missed,
                (Some(_), None) => verdict = Verdict::Unknown,
                _ => {}
            }
        }
        verdict
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(values[middle - 1], upper)
    })
}

fn figure(figure: Figure, measurement: &Measurement) -> Option<f64> {
    match figure {
        Figure::Throughput => Some(measurement.rows_per_s as f64),
        Figure::TriggerTime => measurement.trigger_ms_p50,
    }
}

/// How many times better `a` is than `b`: more rows in the same time, or less time for a trigger.
fn times_better(figure: Figure, a: f64, b: f64) -> f64 {
    match figure {
        Figure::Throughput => a / b,
        Figure::TriggerTime => b / a,
    }
}

fn rows_out(measurements: &[Measurement]) -> RowsOut {
    let numbers = |is_own: fn(Engine) -> bool| {
        let own = measurements
            .iter()
            .filter(|m| Engine::of(&m.engine).is_some_and(is_own));
        let mut numbers: Vec<u64> = own.filter_map(|m| m.rows_out).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let ours = numbers(|engine| engine == Engine::Headwater);
    let spark = numbers(|engine| matches!(engine, Engine::Spark(_)));
    match (ours.as_slice(), spark.as_slice()) {
        ([], _) | (_, []) => RowsOut::Unknown,
        ([a], [b]) if a == b => RowsOut::Agree(*a),
        _ => RowsOut::Differ(ours, spark),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::targets::COMPARISONS, *};

    fn run(engine: &str, rows_per_s: u64, rows_out: Option<u64>) -> Measurement {
        Measurement {
            engine: engine.to_owned(),
            rows_per_s,
            // The faster the throughput, the shorter the trigger.
            trigger_ms_p50: Some(1_000.0 / rows_per_s as f64),
            rows_out,
            ..Measurement::default()
        }
    }

    fn comparison(name: &str) -> Comparison {
        COMPARISONS.into_iter().find(|c| c.name == name).unwrap()
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    #[test]
    fn the_better_store_counts_whichever_it_is() {
        for (hdfs, rocksdb, best) in [
            (100, 80, (100.0, Store::Hdfs)),
            (80, 100, (100.0, Store::RocksDb)),
        ] {
            let summary = Summary::of(
                &comparison("tumbling"),
                &[
                    run("headwater-0", 900, Some(7)),
                    run("spark-4-hdfs", hdfs, Some(7)),
                    run("headwater-0", 1_300, Some(7)),
                    run("spark-4-rocksdb", rocksdb, Some(7)),
                    run("datafusion-0-batch", 1_500, Some(8)),
                    run("headwater-0", 1_200, Some(7)),
                ],
            );
            assert_eq!(summary.headwater, Some(1_200.0));
            assert_eq!(summary.spark, Some(best));
            assert_eq!(summary.times_spark, Some(12.0));
            assert_eq!(summary.of_batch, Some(0.8));
            assert_eq!(summary.rows_out, RowsOut::Agree(7));
            assert_eq!(summary.verdict(), Verdict::Met);
        }
    }

    #[test]
    fn of_triggers_the_shorter_is_better() {
        let summary = Summary::of(
            &comparison("small"),
            &[
                run("headwater-0", 500, Some(7)),
                run("spark-4-hdfs", 5, Some(7)),
                run("spark-4-rocksdb", 4, Some(7)),
            ],
        );
        assert_eq!(summary.headwater, Some(2.0));
        assert_eq!(summary.spark, Some((200.0, Store::Hdfs)));
        assert_eq!(summary.times_spark, Some(100.0));
        assert_eq!(summary.verdict(), Verdict::Met);
    }

    #[test]
    fn each_target_must_be_met_and_measured() {
        let verdict = |ours, spark: Option<u64>, batch: Option<u64>| {
            let mut runs = vec![run("headwater-0", ours, None)];
            runs.extend(spark.map(|rows| run("spark-4-hdfs", rows, None)));
            runs.extend(batch.map(|rows| run("datafusion-0-batch", rows, None)));
            Summary::of(&comparison("complete"), &runs).verdict()
        };
        assert_eq!(verdict(100, Some(10), Some(166)), Verdict::Met);
        assert_eq!(verdict(100, Some(11), Some(100)), Verdict::Missed);
        assert_eq!(verdict(100, Some(10), Some(200)), Verdict::Missed);
        assert_eq!(verdict(100, None, Some(166)), Verdict::Unknown);
        assert_eq!(verdict(100, None, Some(200)), Verdict::Missed);
        assert_eq!(
            Summary::of(&comparison("complete"), &[]).verdict(),
            Verdict::Unknown
        );
    }

    #[test]
    fn a_wrong_answer_is_worth_nothing_unless_order_decides() {
        let runs = [
            run("headwater-0", 10_000, Some(8)),
            run("headwater-0", 10_000, Some(7)),
            run("spark-4-hdfs", 1, Some(7)),
            run("datafusion-0-batch", 1, Some(9)),
        ];
        let summary = Summary::of(&comparison("join"), &runs);
        assert_eq!(summary.rows_out, RowsOut::Differ(vec![7, 8], vec![7]));
        assert_eq!(summary.verdict(), Verdict::Missed);
        assert_eq!(
            Summary::of(&comparison("dedup"), &runs).verdict(),
            Verdict::Met
        );
    }
}
