//! Messages as rows: the columns that every topic has, built one by one.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, Int32Array, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
        RecordBatchOptions, StringArray, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use headwater_core::{Error, Result};
use rdkafka::{
    Timestamp,
    message::{Headers, Message},
};

use super::positions::TopicPartition;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// A batch is passed on when keys and values have grown to this: what follows finds it in the processor's cache.
const BATCH_BYTES: usize = 1 << 20;

/// The columns of the source, as Spark has them: all may be null, as far as types go.
pub(crate) fn schema(with_headers: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("timestamp", time, true),
        Field::new("timestampType", DataType::Int32, true),
    ];
    if with_headers {
        let header = DataType::Struct(header_fields());
        let item = Field::new_list_field(header, true);
        fields.push(Field::new("headers", DataType::List(Arc::new(item)), true));
    }
    Arc::new(Schema::new(fields))
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ])
}

/// One wanted column. What is the same for all rows of a partition is made at the end.
#[derive(Debug)]
enum Column {
    Key(BinaryBuilder),
    Value(BinaryBuilder),
    Topic,
    Partition,
    Offset(Int64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampType(Int32Builder),
    Headers(Box<ListBuilder<StructBuilder>>),
}

/// Rows of one partition that are becoming a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    partition: TopicPartition,
    columns: Vec<Column>,
    rows: usize,
    /// Of keys and values, wanted or not.
    bytes: usize,
}

impl Rows {
    /// Rows with the columns of [`schema`] that `projection` lists; `None` means all.
    ///
    /// # Errors
    /// `Internal` for a column that there is not.
    pub(crate) fn new(
        schema: &SchemaRef,
        projection: Option<&[usize]>,
        partition: TopicPartition,
    ) -> Result<Self> {
        let wanted: Vec<usize> = match projection {
            Some(columns) => columns.to_vec(),
            None => (0..schema.fields().len()).collect(),
        };
        let column = |column: &usize| {
            Ok(match column {
                0 => Column::Key(BinaryBuilder::new()),
                1 => Column::Value(BinaryBuilder::new()),
                2 => Column::Topic,
                3 => Column::Partition,
                4 => Column::Offset(Int64Builder::new()),
                5 => Column::Timestamp(TimestampMicrosecondBuilder::new()),
                6 => Column::TimestampType(Int32Builder::new()),
                7 => Column::Headers(Box::new(ListBuilder::new(StructBuilder::from_fields(
                    header_fields(),
                    0,
                )))),
                other => return Err(Error::internal(format!("a topic has no column {other}"))),
            })
        };
        Ok(Self {
            columns: wanted.iter().map(column).collect::<Result<_>>()?,
            schema: Arc::new(schema.project(&wanted)?),
            partition,
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, message: &impl Message) {
        self.rows += 1;
        let weight = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        self.bytes += weight(message.key()) + weight(message.payload());
        for column in &mut self.columns {
            match column {
                Column::Key(builder) => builder.append_option(message.key()),
                Column::Value(builder) => builder.append_option(message.payload()),
                Column::Topic | Column::Partition => {}
                Column::Offset(builder) => builder.append_value(message.offset()),
                Column::Timestamp(builder) => {
                    let micros = message
                        .timestamp()
                        .to_millis()
                        .map(|ms| ms.saturating_mul(1000));
                    builder.append_option(micros);
                }
                Column::TimestampType(builder) => builder.append_value(match message.timestamp() {
                    Timestamp::NotAvailable => -1,
                    Timestamp::CreateTime(_) => 0,
                    Timestamp::LogAppendTime(_) => 1,
                }),
                Column::Headers(builder) => push_headers(builder, message),
            }
        }
    }

    /// Whether it is time to pass the rows on.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Bytes of their keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows so far as a batch; none remain.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let columns = self.columns.iter_mut();
        let columns: Vec<ArrayRef> = columns
            .map(|column| column.finish(&self.partition, rows))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

impl Column {
    fn finish(&mut self, partition: &TopicPartition, rows: usize) -> ArrayRef {
        match self {
            // The next batch will be much like this one: growing step by step would copy it again and again.
            Self::Key(builder) | Self::Value(builder) => {
                let room = BinaryBuilder::with_capacity(rows, builder.values_slice().len());
                Arc::new(std::mem::replace(builder, room).finish())
            }
            Self::Topic => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                partition.topic.as_ref(),
                rows,
            ))),
            Self::Partition => Arc::new(Int32Array::from_value(partition.partition, rows)),
            Self::Offset(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Self::TimestampType(builder) => Arc::new(builder.finish()),
            Self::Headers(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The headers of a message in their order; null where it has none, as in Spark.
fn push_headers(builder: &mut ListBuilder<StructBuilder>, message: &impl Message) {
    let headers = message.headers().filter(|headers| headers.count() > 0);
    let is_there = headers.is_some();
    for header in headers.iter().flat_map(|headers| headers.iter()) {
        let fields = builder.values();
        if let Some(key) = fields.field_builder::<StringBuilder>(0) {
            key.append_value(header.key);
        }
        if let Some(value) = fields.field_builder::<BinaryBuilder>(1) {
            value.append_option(header.value);
        }
        fields.append(true);
    }
    builder.append(is_there);
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Array, AsArray},
        datatypes::{Int64Type, TimestampMicrosecondType},
        util::pretty::pretty_format_batches,
    };
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    fn message(offset: i64, key: Option<&str>, value: Option<&str>) -> OwnedMessage {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "h",
                value: Some("1"),
            })
            .insert(Header::<&[u8]> {
                key: "g",
                value: None,
            });
        OwnedMessage::new(
            bytes(value),
            bytes(key),
            "t".to_owned(),
            Timestamp::CreateTime(1_500),
            3,
            offset,
            (offset % 2 == 0).then_some(headers),
        )
    }

    fn rows(projection: Option<&[usize]>) -> Rows {
        let partition = TopicPartition::new(&Arc::from("t"), 3);
        let mut rows = Rows::new(&schema(true), projection, partition).expect("columns");
        rows.push(&message(4, Some("k"), None));
        rows.push(&message(5, None, Some("value")));
        rows
    }

    #[test]
    fn messages_become_rows_with_the_columns_of_spark() {
        let mut rows = rows(None);
        assert_eq!((rows.len(), rows.bytes()), (2, 6));
        let batch = rows.take().expect("a batch");
        let table = pretty_format_batches(&[batch]).expect("shown").to_string();
        let expected = "\
+-----+------------+-------+-----------+--------+--------------------------+---------------+--------------------------------------+
| key | value      | topic | partition | offset | timestamp                | timestampType | headers                              |
+-----+------------+-------+-----------+--------+--------------------------+---------------+--------------------------------------+
| 6b  |            | t     | 3         | 4      | 1970-01-01T00:00:01.500Z | 0             | [{key: h, value: 31}, {key: g, value: }] |
|     | 76616c7565 | t     | 3         | 5      | 1970-01-01T00:00:01.500Z | 0             |                                      |
+-----+------------+-------+-----------+--------+--------------------------+---------------+--------------------------------------+";
        let squeeze = |text: &str| text.replace(['-', ' '], "");
        assert_eq!(squeeze(&table), squeeze(expected));
        assert_eq!(rows.take().expect("empty").num_rows(), 0);
    }

    #[test]
    fn only_wanted_columns_are_made() {
        let batch = rows(Some(&[4, 5])).take().expect("a batch");
        assert_eq!(batch.num_columns(), 2);
        assert_eq!(
            batch.column(0).as_primitive::<Int64Type>().values(),
            &[4, 5]
        );
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values(), &[1_500_000, 1_500_000]);
        let batch = rows(Some(&[])).take().expect("a batch");
        assert_eq!((batch.num_columns(), batch.num_rows()), (0, 2));
        assert_eq!(schema(false).fields().len(), 7);
    }

    #[test]
    fn a_batch_is_full_by_rows_or_bytes() {
        let mut rows = rows(Some(&[1]));
        assert!(!rows.is_full());
        let long = "x".repeat(BATCH_BYTES);
        rows.push(&message(6, None, Some(&long)));
        assert!(rows.is_full());
        assert_eq!(rows.take().expect("a batch").column(0).len(), 3);
        assert!(!rows.is_full());
        for offset in 0..BATCH_ROWS {
            rows.push(&message(offset as i64, None, None));
        }
        assert!(rows.is_full());
    }
}
