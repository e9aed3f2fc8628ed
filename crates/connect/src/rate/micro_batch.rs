//! `rate-micro-batch`: so many rows an epoch, however fast epochs follow one another.
//!
//! Its time is made up too: all rows of an epoch have one timestamp, which advances by a fixed step per epoch. The
//! clock plays no part, so two runs over the same epochs give the same rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Increment, Offset, OffsetRange, Options, Result,
    Source, SourceContext, SourceProvider, Split,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    per_second::{partitions, positive},
    rows::{RateRows, schema},
};

const OWNER: &str = "source 'rate-micro-batch'";
const KNOWN_OPTIONS: &[&str] = &[
    "rowsPerBatch",
    "numPartitions",
    "startTimestamp",
    "advanceMillisPerBatch",
];

/// The `rate-micro-batch` source: columns `timestamp` and `value`.
#[derive(Debug, Clone)]
pub struct RateMicroBatchSourceProvider {
    rows_per_batch: u64,
    partitions: Option<usize>,
    start_millis: i64,
    advance_millis: i64,
}

impl RateMicroBatchSourceProvider {
    /// Options: `rowsPerBatch` (rows of each epoch, required), `numPartitions` (default: as many as the query has
    /// tasks), `startTimestamp` (of the first epoch, milliseconds since 1970, default 0), `advanceMillisPerBatch`
    /// (default 1000).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown or missing option or a value out of range.
    pub fn try_new(options: &Options) -> Result<Self> {
        options.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        let not_negative = |name: &str| match options.parse::<i64>(name)? {
            Some(value) if value < 0 => Err(Error::invalid(format!(
                "option '{name}' cannot be '{value}': write 0 or more milliseconds"
            ))),
            value => Ok(value),
        };
        Ok(Self {
            rows_per_batch: positive(options, "rowsPerBatch")?.ok_or_else(|| {
                Error::invalid(format!(
                    "{OWNER} needs the option 'rowsPerBatch': write how many rows an epoch gets"
                ))
            })?,
            partitions: partitions(options)?,
            start_millis: not_negative("startTimestamp")?.unwrap_or(0),
            advance_millis: not_negative("advanceMillisPerBatch")?.unwrap_or(1000),
        })
    }
}

#[async_trait]
impl SourceProvider for RateMicroBatchSourceProvider {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn identity(&self) -> String {
        // The pace may change at a restart: offsets hold values and times themselves.
        "rate-micro-batch".to_owned()
    }

    async fn create(&self, _context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(RateMicroBatchSource {
            pace: self.clone(),
            limit: Mutex::new(Limit::None),
        }))
    }
}

/// A position: the next value and the timestamp of the epoch that will hold it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Position {
    offset: u64,
    timestamp: i64,
}

impl Position {
    fn of(offset: &Offset) -> Result<Self> {
        serde_json::from_value(offset.0.clone()).map_err(|error| {
            Error::data(format!(
                "{OWNER} cannot read from offset {offset}: expected offset and timestamp"
            ))
            .with_source(error)
        })
    }
}

/// Whether the source still grows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    None,
    /// Frozen before anything was asked for: the next step is the last one.
    OneStep,
    /// Nothing beyond this value.
    At(u64),
}

#[derive(Debug)]
struct RateMicroBatchSource {
    pace: RateMicroBatchSourceProvider,
    // Locked to copy or replace a number.
    limit: Mutex<Limit>,
}

impl RateMicroBatchSource {
    fn start(&self, start: Option<&Offset>) -> Result<Position> {
        start.map_or(
            Ok(Position {
                offset: 0,
                timestamp: self.pace.start_millis,
            }),
            Position::of,
        )
    }
}

#[async_trait]
impl Source for RateMicroBatchSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn description(&self) -> String {
        format!(
            "RateMicroBatchSource[rowsPerBatch={}, startTimestamp={}, advanceMillisPerBatch={}]",
            self.pace.rows_per_batch, self.pace.start_millis, self.pace.advance_millis
        )
    }

    async fn discover(&self, start: Option<&Offset>, _admission: Admission) -> Result<Discovery> {
        let start = self.start(start)?;
        let next = start
            .offset
            .checked_add(self.pace.rows_per_batch)
            .filter(|next| i64::try_from(*next).is_ok())
            .ok_or_else(|| {
                Error::invalid(format!("{OWNER} has run out of values: start a new query"))
            })?;
        let mut limit = self.limit.lock();
        match *limit {
            Limit::At(last) if start.offset >= last => return Ok(Discovery::Nothing),
            Limit::OneStep => *limit = Limit::At(next),
            Limit::None | Limit::At(_) => {}
        }
        let end = Position {
            offset: next,
            timestamp: start.timestamp.saturating_add(self.pace.advance_millis),
        };
        Ok(Discovery::Increment(Increment {
            end: Offset(serde_json::to_value(end)?),
            detail: Value::Null,
        }))
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        let start = self.start(range.start.as_ref())?;
        let end = Position::of(&range.end)?;
        if start.offset > end.offset {
            return Err(Error::data(format!(
                "{OWNER} cannot read backwards from offset {} to {}",
                start.offset, end.offset
            )));
        }
        RateRows::of_epoch(start.offset..end.offset, start.timestamp, 0)
            .splits(self.pace.partitions.unwrap_or(parallelism))
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        RateRows::open(split, projection)
    }

    async fn freeze(&self) -> Result<()> {
        let mut limit = self.limit.lock();
        if *limit == Limit::None {
            *limit = Limit::OneStep;
        }
        Ok(())
    }

    async fn changed(&self) {
        // There is always a next epoch, until the source is frozen and its last step was offered.
        if matches!(*self.limit.lock(), Limit::None | Limit::OneStep) {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::test_support::{read_rate, source_context};

    async fn source(options: &[(&str, &str)]) -> Arc<dyn Source> {
        let options: Options = options.iter().copied().collect();
        let provider = RateMicroBatchSourceProvider::try_new(&options).expect("valid options");
        provider.create(source_context()).await.expect("created")
    }

    async fn next(source: &Arc<dyn Source>, start: Option<Offset>) -> Option<OffsetRange> {
        match source.discover(start.as_ref(), Admission::All).await {
            Ok(Discovery::Increment(step)) => Some(OffsetRange {
                start,
                end: step.end,
                detail: step.detail,
            }),
            Ok(Discovery::Nothing) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn each_epoch_has_its_rows_and_one_timestamp() {
        let source = source(&[
            ("rowsPerBatch", "3"),
            ("startTimestamp", "1000"),
            ("advanceMillisPerBatch", "50"),
        ])
        .await;
        let first = next(&source, None).await.expect("always more");
        assert_eq!(
            first.end.0,
            serde_json::json!({"offset": 3, "timestamp": 1050})
        );
        let rows = read_rate(&source, &first, 2).await;
        assert_eq!(rows, [(1_000_000, 0), (1_000_000, 1), (1_000_000, 2)]);
        let second = next(&source, Some(first.end)).await.expect("always more");
        let rows = read_rate(&source, &second, 7).await;
        assert_eq!(rows, [(1_050_000, 3), (1_050_000, 4), (1_050_000, 5)]);
    }

    #[tokio::test]
    async fn frozen_it_gives_one_more_epoch() {
        let source = source(&[("rowsPerBatch", "3")]).await;
        assert!(source.changed().now_or_never().is_some());
        source.freeze().await.expect("frozen");
        let last = next(&source, None).await.expect("one more");
        assert_eq!(next(&source, Some(last.end)).await, None);
        assert!(source.changed().now_or_never().is_none());
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for options in [
            &[][..],
            &[("rowsPerBatch", "0")],
            &[("rowsPerBatch", "1"), ("advanceMillisPerBatch", "-1")],
            &[("rowsPerBatch", "1"), ("rampUpTime", "1s")],
        ] {
            let named = options.last().map_or("rowsPerBatch", |(name, _)| *name);
            let options: Options = options.iter().copied().collect();
            let error = RateMicroBatchSourceProvider::try_new(&options).expect_err("refused");
            assert!(error.message().contains(named), "{error}");
        }
    }
}
