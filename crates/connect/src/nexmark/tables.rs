//! The three Nexmark tables as Arrow: their columns, and the builder that collects generated events into batches.
//!
//! Columns are nullable, as in the files people have. Times are microseconds since 1970 in UTC; the generator's
//! own resolution is a millisecond.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater_core::Result;
use nexmark::event::{Auction, Bid, Event, Person};

/// One of the tables that the events go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Bids on auctions: 46 of 50 events.
    Bid,
    /// Auctions opened: 3 of 50 events.
    Auction,
    /// People who registered: 1 of 50 events.
    Person,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 3] = [Self::Bid, Self::Auction, Self::Person];

    /// The table's name in SQL, and its folder's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Auction => "auction",
            Self::Person => "person",
        }
    }

    /// The columns, in the order in which the files have them.
    pub fn schema(self) -> SchemaRef {
        let columns: &[(&str, Column)] = match self {
            Self::Bid => &[
                ("auction", Column::Int),
                ("bidder", Column::Int),
                ("price", Column::Int),
                ("channel", Column::Text),
                ("url", Column::Text),
                ("date_time", Column::Time),
                ("extra", Column::Text),
            ],
            Self::Auction => &[
                ("id", Column::Int),
                ("initial_bid", Column::Int),
                ("reserve", Column::Int),
                ("seller", Column::Int),
                ("category", Column::Int),
                ("item_name", Column::Text),
                ("description", Column::Text),
                ("extra", Column::Text),
                ("date_time", Column::Time),
                ("expires", Column::Time),
            ],
            Self::Person => &[
                ("id", Column::Int),
                ("name", Column::Text),
                ("email_address", Column::Text),
                ("credit_card", Column::Text),
                ("city", Column::Text),
                ("state", Column::Text),
                ("extra", Column::Text),
                ("date_time", Column::Time),
            ],
        };
        let fields = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

enum Column {
    Int,
    Text,
    Time,
}

impl Column {
    fn data_type(&self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Text => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// The table that an event belongs to.
pub fn table_of(event: &Event) -> Table {
    match event {
        Event::Bid(_) => Table::Bid,
        Event::Auction(_) => Table::Auction,
        Event::Person(_) => Table::Person,
    }
}

/// Collects the events of one table. Columns of a kind keep their order among themselves, so that a row is three
/// short lists: its integers, its texts, its times.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    ints: Vec<Int64Builder>,
    texts: Vec<StringBuilder>,
    times: Vec<TimestampMicrosecondBuilder>,
}

impl Rows {
    /// No rows yet of `table`.
    pub fn new(table: Table) -> Self {
        let schema = table.schema();
        let (mut ints, mut texts, mut times) = (vec![], vec![], vec![]);
        for field in schema.fields() {
            match field.data_type() {
                DataType::Int64 => ints.push(Int64Builder::new()),
                DataType::Utf8 => texts.push(StringBuilder::new()),
                time => times.push(TimestampMicrosecondBuilder::new().with_data_type(time.clone())),
            }
        }
        Self {
            schema,
            ints,
            texts,
            times,
        }
    }

    /// Rows collected since the last [`Self::finish`].
    pub fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        self.ints.first().map_or(0, ArrayBuilder::len)
    }

    /// Whether there is nothing to finish.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an event, which must be one of this table: see [`table_of`].
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Bid(bid) => self.push_bid(bid),
            Event::Auction(auction) => self.push_auction(auction),
            Event::Person(person) => self.push_person(person),
        }
    }

    fn push_bid(&mut self, bid: &Bid) {
        self.row(
            [bid.auction, bid.bidder, bid.price],
            [&bid.channel, &bid.url, &bid.extra],
            [bid.date_time],
        );
    }

    fn push_auction(&mut self, auction: &Auction) {
        self.row(
            [
                auction.id,
                auction.initial_bid,
                auction.reserve,
                auction.seller,
                auction.category,
            ],
            [&auction.item_name, &auction.description, &auction.extra],
            [auction.date_time, auction.expires],
        );
    }

    fn push_person(&mut self, person: &Person) {
        self.row(
            [person.id],
            [
                &person.name,
                &person.email_address,
                &person.credit_card,
                &person.city,
                &person.state,
                &person.extra,
            ],
            [person.date_time],
        );
    }

    fn row<const I: usize, const T: usize, const M: usize>(
        &mut self,
        ints: [usize; I],
        texts: [&String; T],
        millis: [u64; M],
    ) {
        for (builder, value) in self.ints.iter_mut().zip(ints) {
            builder.append_value(value as i64);
        }
        for (builder, value) in self.texts.iter_mut().zip(texts) {
            builder.append_value(value);
        }
        for (builder, value) in self.times.iter_mut().zip(millis) {
            builder.append_value(value as i64 * 1_000);
        }
    }

    /// The rows collected so far as one batch; the next push starts a new one.
    ///
    /// # Errors
    /// `Data` if columns differ in length, which means that an event of another table was pushed.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let (mut ints, mut texts, mut times) = (
            self.ints.iter_mut(),
            self.texts.iter_mut(),
            self.times.iter_mut(),
        );
        let columns = self.schema.fields().iter().filter_map(|field| {
            Some(match field.data_type() {
                DataType::Int64 => Arc::new(ints.next()?.finish()) as ArrayRef,
                DataType::Utf8 => Arc::new(texts.next()?.finish()),
                _ => Arc::new(times.next()?.finish()),
            })
        });
        let columns = columns.collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
