//! One table of the events as a source. The offset is the number of whole seconds since the first event.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Offset, OffsetRange, Options, Result, Source,
    SourceContext, SourceProvider, Split,
};
use nexmark::{
    EventGenerator,
    config::{NexmarkConfig, RateShape},
    event::{Event, EventType},
};

use super::tables::{Rows, Table};
use crate::{
    counting::{count_of, counts_of, discovered, numbers_of, splits_of},
    rate::{partitions, positive},
    seconds::Seconds,
};

const OWNER: &str = "source 'nexmark'";
const KNOWN_OPTIONS: &[&str] = &[
    "table",
    "eventsPerSecond",
    "startTimestamp",
    "maxEventsPerTrigger",
    "numPartitions",
];
/// Rows in one batch. Making one up takes a while, and a task gives way to others after so many batches: smaller ones keep
/// the process answering.
const BATCH_ROWS: usize = 2048;
/// Each group of so many events begins with the person, then come the auctions, then the bids.
const GROUP: u64 = 50;

/// The `nexmark` source: the columns of its table, see [`Table::schema`]. Events come in the order of their times, a
/// millisecond fine.
#[derive(Debug, Clone)]
pub struct NexmarkSourceProvider {
    table: Table,
    events_per_second: u64,
    start_millis: Option<i64>,
    events_per_trigger: Option<u64>,
    partitions: Option<usize>,
}

impl NexmarkSourceProvider {
    /// Options: `table` (`bid`, `auction` or `person`), `eventsPerSecond` (of all three tables together, default 1000),
    /// `startTimestamp` (of the first event, milliseconds since 1970; default: when the query starts for the first
    /// time. Of a moment that is past, the events since then are there at once), `maxEventsPerTrigger` (of all tables, in
    /// whole seconds and at least one; default: no limit), `numPartitions` (default: as many as the query has tasks).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown option, a missing table or a value out of range.
    pub fn try_new(options: &Options) -> Result<Self> {
        options.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        let start_millis = options.parse::<i64>("startTimestamp")?;
        if start_millis.is_some_and(|millis| millis < 0) {
            return Err(Error::invalid(
                "option 'startTimestamp' cannot be negative: write milliseconds since 1970",
            ));
        }
        Ok(Self {
            table: table(options.get("table"))?,
            events_per_second: positive(options, "eventsPerSecond")?.unwrap_or(1000),
            start_millis,
            events_per_trigger: positive(options, "maxEventsPerTrigger")?,
            partitions: partitions(options)?,
        })
    }

    /// How many rows the table has by the end of a second.
    fn rows_by(&self, second: u64) -> Result<u64> {
        let events = second.checked_mul(self.events_per_second);
        // Numbers of rows and events are signed 64-bit integers in the rows.
        let events = events.filter(|events| i64::try_from(*events).is_ok());
        let events = events.ok_or_else(|| {
            Error::invalid(format!(
                "{OWNER} has run out of events after {second} seconds at {} events a second: lower eventsPerSecond",
                self.events_per_second
            ))
        })?;
        Ok(rows_before(self.table, events))
    }

    /// The last second of an epoch that begins after `start`.
    fn limited(&self, start: u64, passed: u64, admission: Admission) -> u64 {
        match (admission, self.events_per_trigger) {
            (Admission::Configured, Some(events)) => {
                let seconds = (events / self.events_per_second).max(1);
                passed.min(start.saturating_add(seconds))
            }
            _ => passed,
        }
    }
}

fn table(name: Option<&str>) -> Result<Table> {
    let tables = || Table::ALL.map(Table::name).join(", ");
    let Some(name) = name else {
        return Err(Error::invalid(format!(
            "{OWNER} needs the option 'table': write one of {}",
            tables()
        )));
    };
    let found = Table::ALL
        .into_iter()
        .find(|table| table.name().eq_ignore_ascii_case(name.trim()));
    found.ok_or_else(|| {
        Error::invalid(format!(
            "option 'table' cannot be '{name}': write one of {}",
            tables()
        ))
    })
}

/// Where the rows of a table lie in each group of events.
fn places(table: Table) -> Range<u64> {
    match table {
        Table::Person => 0..1,
        Table::Auction => 1..4,
        Table::Bid => 4..GROUP,
    }
}

/// How many of the first `events` events are rows of this table.
fn rows_before(table: Table, events: u64) -> u64 {
    let places = places(table);
    let in_group = places.end - places.start;
    let of_last = (events % GROUP).saturating_sub(places.start).min(in_group);
    events / GROUP * in_group + of_last
}

/// The number of the event that is row `row` of its table.
fn event_of(table: Table, row: u64) -> u64 {
    let places = places(table);
    let in_group = places.end - places.start;
    row / in_group * GROUP + places.start + row % in_group
}

#[async_trait]
impl SourceProvider for NexmarkSourceProvider {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn identity(&self) -> String {
        // The pace decides which events an offset stands for.
        let start = self.start_millis.map_or_else(
            || "first start".to_owned(),
            |start_millis| start_millis.to_string(),
        );
        format!(
            "nexmark table={} eventsPerSecond={} startTimestamp={start}",
            self.table, self.events_per_second
        )
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        let seconds = match self.start_millis {
            Some(start_millis) => Seconds::since(start_millis, context.clock),
            None => Seconds::since_first_start(OWNER, context).await?,
        };
        Ok(Arc::new(NexmarkSource {
            pace: self.clone(),
            seconds,
        }))
    }
}

#[derive(Debug)]
struct NexmarkSource {
    pace: NexmarkSourceProvider,
    seconds: Seconds,
}

#[async_trait]
impl Source for NexmarkSource {
    fn schema(&self) -> SchemaRef {
        self.pace.schema()
    }

    fn description(&self) -> String {
        format!(
            "NexmarkSource[table={}, eventsPerSecond={}]",
            self.pace.table, self.pace.events_per_second
        )
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let start = count_of(OWNER, start)?;
        let passed = self.seconds.passed().max(start);
        let end = self.pace.limited(start, passed, admission);
        self.pace.rows_by(end)?;
        self.seconds.offer(end);
        Ok(discovered(start, end))
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>> {
        let seconds = counts_of(OWNER, range)?;
        let rows = self.pace.rows_by(seconds.start)?..self.pace.rows_by(seconds.end)?;
        splits_of(rows, self.pace.partitions.unwrap_or(parallelism))
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let rows = numbers_of(OWNER, split)?;
        let projection = projection.map(<[usize]>::to_vec);
        let events = Events::new(&self.pace, self.seconds.millis_at(0), rows);
        let batches = stream::iter(events).map(move |batch| match &projection {
            Some(columns) => Ok(batch?.project(columns)?),
            None => batch,
        });
        Ok(batches.boxed())
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

/// The batches of a range of rows.
struct Events {
    table: Table,
    generator: EventGenerator,
    rows: Range<u64>,
    collected: Rows,
    start_millis: u64,
    events_per_second: u64,
}

impl Events {
    fn new(pace: &NexmarkSourceProvider, start_millis: i64, rows: Range<u64>) -> Self {
        let start_millis = u64::try_from(start_millis).unwrap_or(0);
        let rate = usize::try_from(pace.events_per_second).unwrap_or(usize::MAX);
        let config = NexmarkConfig {
            base_time: start_millis,
            rate_shape: RateShape::Square,
            first_rate: rate,
            next_rate: rate,
            ..NexmarkConfig::default()
        };
        let kind = match pace.table {
            Table::Person => EventType::Person,
            Table::Auction => EventType::Auction,
            Table::Bid => EventType::Bid,
        };
        let generator = EventGenerator::new(config)
            .with_type_filter(kind)
            .with_offset(rows.start);
        Self {
            table: pace.table,
            generator,
            rows,
            collected: Rows::new(pace.table),
            start_millis,
            events_per_second: pace.events_per_second,
        }
    }

    /// When the event of a row happened. The generator's own times are rounded to single precision.
    fn millis_of(&self, row: u64) -> u64 {
        let event = u128::from(event_of(self.table, row));
        let millis = event * 1000 / u128::from(self.events_per_second);
        self.start_millis
            .saturating_add(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl Iterator for Events {
    type Item = Result<arrow::array::RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.rows.start;
        let until = self.rows.end.min(first.saturating_add(BATCH_ROWS as u64));
        if first >= until {
            return None;
        }
        for row in first..until {
            let mut event = self.generator.next()?;
            happened_at(&mut event, self.millis_of(row));
            self.collected.push(&event);
        }
        self.rows.start = until;
        Some(self.collected.finish())
    }
}

/// Moves an event in time; an auction is open as long as it was to be.
fn happened_at(event: &mut Event, millis: u64) {
    match event {
        Event::Person(person) => person.date_time = millis,
        Event::Bid(bid) => bid.date_time = millis,
        Event::Auction(auction) => {
            let open = auction.expires.saturating_sub(auction.date_time);
            auction.date_time = millis;
            auction.expires = millis.saturating_add(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::AsArray,
        datatypes::{Int64Type, TimestampMicrosecondType},
    };

    use super::*;
    use crate::test_support::{end_of, range, read, source_context_at};

    const T0: i64 = 1_000_000_000_000;

    fn provider(options: &[(&str, &str)]) -> NexmarkSourceProvider {
        let options: Options = options.iter().copied().collect();
        NexmarkSourceProvider::try_new(&options).expect("valid options")
    }

    #[test]
    fn rows_and_events_are_counted_alike() {
        for table in Table::ALL {
            for row in 0..200 {
                let event = event_of(table, row);
                assert_eq!(rows_before(table, event), row, "{table} {row}");
                assert_eq!(rows_before(table, event + 1), row + 1, "{table} {row}");
            }
        }
        let all = |events| {
            Table::ALL
                .map(|table| rows_before(table, events))
                .iter()
                .sum::<u64>()
        };
        assert!((0..200).all(|events| all(events) == events));
    }

    #[tokio::test]
    async fn rows_are_those_of_the_seconds_whatever_the_partitions() {
        for (table, time, expected) in [("bid", 5, 184), ("auction", 8, 12), ("person", 7, 4)] {
            let (context, clock) = source_context_at(T0);
            let source = provider(&[("table", table), ("eventsPerSecond", "100")]);
            let source = source.create(context).await.expect("created");
            assert_eq!(end_of(&source, None).await, None);
            clock.advance(2_999);
            assert_eq!(end_of(&source, None).await, Some(2));
            let whole = read(&source, &range(0, 2), 1).await;
            let rows: usize = whole.iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(rows, expected, "{table}");
            let times = whole[0]
                .column(time)
                .as_primitive::<TimestampMicrosecondType>();
            let millis: Vec<i64> = times.values().iter().map(|micros| micros / 1000).collect();
            assert!(millis.is_sorted(), "{table}");
            assert!(millis[0] >= T0 && millis[rows - 1] < T0 + 2_000, "{table}");
            let pieces = read(&source, &range(0, 2), 3).await;
            let one = |batches: &[_]| arrow::compute::concat_batches(&source.schema(), batches);
            assert_eq!(
                one(&whole).expect("rows"),
                one(&pieces).expect("rows"),
                "{table}"
            );
        }
    }

    #[tokio::test]
    async fn bids_are_on_auctions_that_are_open_by_then() {
        let (context, clock) = source_context_at(T0);
        let bids = provider(&[("table", "bid")]).create(context.clone()).await;
        let auctions = provider(&[("table", "auction")]).create(context).await;
        clock.advance(10_000);
        let ids = async |source: Result<Arc<dyn Source>>| {
            let batches = read(&source.expect("created"), &range(0, 10), 1).await;
            let column = batches[0].column(0).as_primitive::<Int64Type>();
            column.values().to_vec()
        };
        let (bids, auctions) = (ids(bids).await, ids(auctions).await);
        let known = bids.iter().filter(|auction| auctions.contains(auction));
        assert!(
            known.count() * 10 > bids.len() * 9,
            "most bids are on known auctions"
        );
    }

    #[tokio::test]
    async fn an_epoch_is_limited_and_a_start_in_the_past_is_there_at_once() {
        let (context, _) = source_context_at(T0);
        let start = (T0 - 60_000).to_string();
        let source = provider(&[
            ("table", "bid"),
            ("startTimestamp", &start),
            ("maxEventsPerTrigger", "2500"),
        ]);
        let source = source.create(context).await.expect("created");
        assert_eq!(end_of(&source, None).await, Some(2));
        assert_eq!(end_of(&source, Some(59)).await, Some(60));
        let all = source.discover(None, Admission::All).await.expect("found");
        assert!(matches!(all, Discovery::Increment(step) if step.end == Offset::count(60)));
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for (name, value) in [
            ("table", "bids"),
            ("eventsPerSecond", "0"),
            ("startTimestamp", "-1"),
            ("maxEventsPerTrigger", "few"),
            ("rowsPerSecond", "1"),
        ] {
            let options: Options = [("table", "bid"), (name, value)].into_iter().collect();
            let error = NexmarkSourceProvider::try_new(&options).expect_err(value);
            assert!(error.message().contains(name), "{error}");
        }
        let error = NexmarkSourceProvider::try_new(&Options::new()).expect_err("no table");
        assert!(error.message().contains("bid, auction, person"), "{error}");
    }
}
