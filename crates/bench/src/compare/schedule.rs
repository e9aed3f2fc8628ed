//! Who runs, in which order: the engines take turns, so that a slow hour of the machine is slow for all of them.

use std::{fmt, str::FromStr};

use headwater_core::Error;

use super::targets::{Comparison, Figure};

/// A state store of Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the heap, with deltas in files.
    Hdfs,
    /// RocksDB, with a changelog.
    RocksDb,
}

impl Store {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hdfs, Self::RocksDb];

    /// Its name on the command line, and at the end of the engine's name in a measurement.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hdfs => "hdfs",
            Self::RocksDb => "rocksdb",
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Store {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|store| store.name() == name);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "{name} is no state store of Spark: use hdfs or rocksdb"
            ))
        })
    }
}

/// Who answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Headwater, in epochs.
    Headwater,
    /// DataFusion, as one batch.
    Batch,
    /// Spark Structured Streaming with a store.
    Spark(Store),
}

impl Engine {
    /// The engine that a measurement names, if it is one of these.
    pub fn of(name: &str) -> Option<Self> {
        if name.starts_with("headwater-") {
            Some(Self::Headwater)
        } else if name.starts_with("datafusion-") {
            Some(Self::Batch)
        } else {
            let (spark, store) = name.rsplit_once('-')?;
            let store = store.parse().ok()?;
            spark.starts_with("spark-").then_some(Self::Spark(store))
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headwater => f.write_str("headwater"),
            Self::Batch => f.write_str("batch"),
            Self::Spark(store) => write!(f, "Spark ({store})"),
        }
    }
}

/// The engines that a comparison asks for. A batch has no triggers.
pub fn engines(comparison: &Comparison, stores: &[Store]) -> Vec<Engine> {
    let mut engines = vec![Engine::Headwater];
    if comparison.figure == Figure::Throughput {
        engines.push(Engine::Batch);
    }
    engines.extend(stores.iter().map(|store| Engine::Spark(*store)));
    engines
}

/// The order of the runs: every engine once, and again, until each has had as many as it should.
pub fn turns(engines: &[Engine], repeat: usize, spark_repeat: usize) -> Vec<Engine> {
    let wanted = |engine: &Engine| match engine {
        Engine::Spark(_) => spark_repeat,
        Engine::Headwater | Engine::Batch => repeat,
    };
    (0..repeat.max(spark_repeat))
        .flat_map(|round| {
            let due = engines.iter().filter(move |engine| round < wanted(engine));
            due.copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::targets::COMPARISONS,
        Engine::{Batch, Headwater, Spark},
        Store::{Hdfs, RocksDb},
        *,
    };

    #[test]
    fn engines_take_turns() {
        let all = [Headwater, Batch, Spark(Hdfs), Spark(RocksDb)];
        assert_eq!(
            turns(&all, 3, 1),
            [
                Headwater,
                Batch,
                Spark(Hdfs),
                Spark(RocksDb),
                Headwater,
                Batch,
                Headwater,
                Batch
            ]
        );
        assert_eq!(turns(&all[..2], 1, 5), [Headwater, Batch]);
        assert_eq!(
            turns(&[Headwater, Spark(Hdfs)], 1, 2),
            [Headwater, Spark(Hdfs), Spark(Hdfs)]
        );
    }

    #[test]
    fn only_throughput_is_compared_with_the_batch() {
        for comparison in COMPARISONS {
            let engines = engines(&comparison, &[Hdfs]);
            assert_eq!(
                engines.contains(&Batch),
                comparison.figure == Figure::Throughput
            );
            assert_eq!(engines.first(), Some(&Headwater));
            assert_eq!(engines.last(), Some(&Spark(Hdfs)));
        }
    }

    #[test]
    fn engines_are_known_by_the_names_in_their_measurements() {
        assert_eq!(Engine::of("headwater-0.1.0"), Some(Headwater));
        assert_eq!(Engine::of("datafusion-55.2.0-batch"), Some(Batch));
        assert_eq!(Engine::of("spark-4.3.0-rocksdb"), Some(Spark(RocksDb)));
        assert_eq!(Engine::of("spark-4.3.0-other"), None);
        assert_eq!(Engine::of("other-hdfs"), None);
    }
}
