//! `rate`: so many rows a second of the query's clock.
//!
//! The offset is the number of whole seconds since the query's first start, which is kept in the checkpoint: a
//! restarted query goes on as if it had never stopped and reads what came meanwhile.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Offset, OffsetRange, Options, Result, Source,
    SourceContext, SourceProvider, Split, options,
};

use super::rows::{RateRows, schema};
use crate::{
    counting::{count_of, counts_of, discovered},
    seconds::Seconds,
};

const OWNER: &str = "source 'rate'";
const KNOWN_OPTIONS: &[&str] = &["rowsPerSecond", "rampUpTime", "numPartitions"];

/// The `rate` source: columns `timestamp` and `value`.
#[derive(Debug, Clone)]
pub struct RateSourceProvider {
    rows_per_second: u64,
    ramp_up_seconds: u64,
    partitions: Option<usize>,
}

impl RateSourceProvider {
    /// Options: `rowsPerSecond` (default 1), `rampUpTime` (an interval, or a number of seconds, until that speed is
    /// reached; default 0), `numPartitions` (default: as many as the query has tasks).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown option or a value out of range.
    pub fn try_new(options: &Options) -> Result<Self> {
        options.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        Ok(Self {
            rows_per_second: positive(options, "rowsPerSecond")?.unwrap_or(1),
            ramp_up_seconds: ramp_up_seconds(options)?,
            partitions: partitions(options)?,
        })
    }

    /// How many values there are by the end of a second; the first `ramp_up_seconds` grow in even steps.
    fn values_by(&self, seconds: u64) -> Option<u64> {
        let step = self.rows_per_second / self.ramp_up_seconds.checked_add(1)?;
        let ramped = u128::from(seconds.min(self.ramp_up_seconds));
        let steady = u128::from(seconds.saturating_sub(self.ramp_up_seconds));
        let values = u128::from(step)
            .checked_mul(ramped * (ramped + 1) / 2)?
            .checked_add(steady.checked_mul(u128::from(self.rows_per_second))?)?;
        // Values are signed 64-bit integers in the rows.
        i64::try_from(values).ok()?.try_into().ok()
    }
}

/// A whole number above 0.
pub(crate) fn positive(options: &Options, name: &str) -> Result<Option<u64>> {
    match options.parse::<u64>(name)? {
        Some(0) => Err(Error::invalid(format!(
            "option '{name}' cannot be 0: write a number above 0"
        ))),
        value => Ok(value),
    }
}

pub(crate) fn partitions(options: &Options) -> Result<Option<usize>> {
    let partitions = positive(options, "numPartitions")?;
    Ok(partitions.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
}

fn ramp_up_seconds(options: &Options) -> Result<u64> {
    let Some(text) = options.get("rampUpTime") else {
        return Ok(0);
    };
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Ok(seconds);
    }
    let wrong = |error: Error| error.context(format!("option 'rampUpTime' cannot be '{text}'"));
    Ok(options::parse_duration(text).map_err(wrong)?.as_secs())
}

#[async_trait]
impl SourceProvider for RateSourceProvider {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn identity(&self) -> String {
        // The pace decides which values an offset stands for.
        format!(
            "rate rowsPerSecond={} rampUpTime={}s",
            self.rows_per_second, self.ramp_up_seconds
        )
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        let seconds = Seconds::since_first_start(OWNER, context).await?;
        Ok(Arc::new(RateSource {
            pace: self.clone(),
            seconds,
        }))
    }
}

#[derive(Debug)]
struct RateSource {
    pace: RateSourceProvider,
    seconds: Seconds,
}

impl RateSource {
    fn values_by(&self, seconds: u64) -> Result<u64> {
        self.pace.values_by(seconds).ok_or_else(|| {
            Error::invalid(format!(
                "{OWNER} has run out of values after {seconds} seconds at {} rows a second: lower rowsPerSecond",
                self.pace.rows_per_second
            ))
        })
    }
}

#[async_trait]
impl Source for RateSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn description(&self) -> String {
        format!(
            "RateSource[rowsPerSecond={}, rampUpTimeSeconds={}, numPartitions={}]",
            self.pace.rows_per_second,
            self.pace.ramp_up_seconds,
            self.pace
                .partitions
                .map_or_else(|| "default".to_owned(), |n| n.to_string())
        )
    }

    async fn discover(&self, start: Option<&Offset>, _admission: Admission) -> Result<Discovery> {
        let start = count_of(OWNER, start)?;
        let end = self.seconds.passed().max(start);
        self.values_by(end)?;
        self.seconds.offer(end);
        Ok(discovered(start, end))
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        let seconds = counts_of(OWNER, range)?;
        let values = self.values_by(seconds.start)?..self.values_by(seconds.end)?;
        let start_millis = self.seconds.millis_at(seconds.start);
        let span_millis = self
            .seconds
            .millis_at(seconds.end)
            .saturating_sub(start_millis);
        RateRows::of_epoch(values, start_millis, span_millis)
            .splits(self.pace.partitions.unwrap_or(parallelism))
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        RateRows::open(split, projection)
    }

    async fn resume(&self, range: &OffsetRange) -> Result<()> {
        self.seconds.resume(counts_of(OWNER, range)?.end);
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        self.seconds.freeze();
        Ok(())
    }

    async fn changed(&self) {
        self.seconds.next().await;
    }

    async fn latest(&self) -> Option<Offset> {
        Some(Offset::count(self.seconds.now()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use headwater_core::clock::ManualClock;

    use super::*;
    use crate::test_support::{end_of, range, read_rate, source_context_at};

    const T0: i64 = 1_000_000_000_000;

    fn provider(options: &[(&str, &str)]) -> RateSourceProvider {
        let options: Options = options.iter().copied().collect();
        RateSourceProvider::try_new(&options).expect("valid options")
    }

    #[test]
    fn ramp_up_grows_in_even_steps_to_the_full_rate() {
        let pace = provider(&[("rowsPerSecond", "10"), ("rampUpTime", "4s")]);
        let values: Vec<_> = (0..=6).map_while(|s| pace.values_by(s)).collect();
        assert_eq!(values, [0, 2, 6, 12, 20, 30, 40]);
        assert_eq!(provider(&[("rampUpTime", "1 minute")]).ramp_up_seconds, 60);
        let fast = provider(&[("rowsPerSecond", "9223372036854775807")]);
        assert!(fast.values_by(1).is_some());
        assert_eq!(fast.values_by(2), None, "beyond 64 bits");
    }

    #[tokio::test]
    async fn rows_are_a_function_of_the_seconds_whatever_the_partitions() {
        let (context, clock) = source_context_at(T0);
        let source = provider(&[("rowsPerSecond", "4")])
            .create(context)
            .await
            .expect("created");
        assert_eq!(end_of(&source, None).await, None);
        clock.advance(2_500);
        assert_eq!(end_of(&source, None).await, Some(2));
        let expected: Vec<(i64, i64)> = (0..8).map(|v| ((T0 + v * 250) * 1000, v)).collect();
        for partitions in [1, 3, 100] {
            assert_eq!(
                read_rate(&source, &range(0, 2), partitions).await,
                expected,
                "{partitions}"
            );
        }
        assert_eq!(read_rate(&source, &range(1, 2), 2).await, expected[4..]);
    }

    #[tokio::test]
    async fn a_restart_goes_on_from_the_first_start() {
        let (context, clock) = source_context_at(T0);
        let pace = provider(&[]);
        pace.create(context.clone()).await.expect("created");
        clock.advance(10_000);
        let restarted = pace.create(context).await.expect("created");
        assert_eq!(end_of(&restarted, Some(3)).await, Some(10));
        let rows = read_rate(&restarted, &range(3, 4), 1).await;
        assert_eq!(rows, [((T0 + 3_000) * 1000, 3)]);
    }

    #[tokio::test]
    async fn changed_waits_for_the_next_second_and_a_freeze_ends_it() {
        let (context, clock) = source_context_at(T0);
        let source = provider(&[]).create(context).await.expect("created");
        let mut changed = source.changed();
        clock.advance(999);
        assert!((&mut changed).now_or_never().is_none());
        clock.advance(1);
        assert!((&mut changed).now_or_never().is_some());
        source.freeze().await.expect("frozen");
        clock.advance(5_000);
        assert_eq!(end_of(&source, None).await, Some(1));
        assert!(source.changed().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_clock_set_back_takes_no_rows_away() {
        let (context, _clock) = source_context_at(T0);
        provider(&[])
            .create(context.clone())
            .await
            .expect("created");
        let back = SourceContext {
            clock: Arc::new(ManualClock::at(T0 - 60_000)),
            ..context
        };
        let source = provider(&[]).create(back).await.expect("created");
        source.resume(&range(0, 5)).await.expect("noted");
        assert_eq!(end_of(&source, Some(5)).await, None);
        assert_eq!(source.latest().await, Some(Offset::count(5)));
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for (name, value) in [
            ("rowsPerSecond", "0"),
            ("rowsPerSecond", "many"),
            ("rampUpTime", "soon"),
            ("numPartitions", "-1"),
            ("rowPerSecond", "1"),
        ] {
            let options: Options = [(name, value)].into_iter().collect();
            let error = RateSourceProvider::try_new(&options).expect_err(value);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
