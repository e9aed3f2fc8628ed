//! The rows of a batch as messages: bytes are lent from the batch's columns, nothing is copied.

use std::ops::Range;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Int32Array, LargeBinaryArray,
        LargeStringArray, RecordBatch, StringArray, StringViewArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Int32Type},
};
use headwater_core::{Error, Result};
use rdkafka::message::{Header, OwnedHeaders};

use super::columns::{Columns, Topic, header_field, topic_fault};

/// A batch whose rows are messages.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    rows: usize,
    value: Bytes,
    key: Option<Bytes>,
    headers: Option<Headers>,
    partition: Option<Int32Array>,
    topic: TopicOf<'a>,
}

#[derive(Debug)]
enum TopicOf<'a> {
    Fixed(&'a str),
    Column(Bytes),
}

/// One row.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    /// Where the partitioner does not choose.
    pub(super) partition: Option<i32>,
    pub(super) key: Option<&'a [u8]>,
    /// `None` deletes the key in a compacted topic.
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
}

impl<'a> Messages<'a> {
    /// Takes the columns of a batch whose schema [`Columns::of`] has checked.
    pub(super) fn of(batch: &RecordBatch, columns: &'a Columns) -> Result<Self> {
        let bytes = |column: usize| Bytes::of(batch.column(column));
        Ok(Self {
            rows: batch.num_rows(),
            value: bytes(columns.value)?,
            key: columns.key.map(bytes).transpose()?,
            headers: match columns.headers {
                Some(column) => Some(Headers::of(batch.column(column))?),
                None => None,
            },
            partition: match columns.partition {
                Some(column) => Some(integers(batch.column(column))?),
                None => None,
            },
            topic: match &columns.topic {
                Topic::Fixed(topic) => TopicOf::Fixed(topic),
                Topic::Column(column) => TopicOf::Column(bytes(*column)?),
            },
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// One row as a message.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`] if the row cannot be one: the message goes after the row's name.
    pub(super) fn get(&self, row: usize) -> Result<Message<'_>> {
        let topic = match &self.topic {
            TopicOf::Fixed(topic) => topic,
            TopicOf::Column(column) => topic_of(column.get(row))?,
        };
        let partition = self.partition.as_ref();
        let partition = partition.filter(|column| column.is_valid(row));
        let partition = partition.map(|column| column.value(row));
        if let Some(negative) = partition.filter(|partition| *partition < 0) {
            return Err(Error::data(format!(
                "has the partition {negative}: partitions are counted from 0; write NULL to let the key choose"
            )));
        }
        Ok(Message {
            topic,
            partition,
            key: self.key.as_ref().and_then(|column| column.get(row)),
            value: self.value.get(row),
            headers: match &self.headers {
                Some(headers) => headers.get(row)?,
                None => None,
            },
        })
    }
}

fn topic_of(name: Option<&[u8]>) -> Result<&str> {
    let name = name.ok_or_else(|| {
        Error::data("has no topic: filter such rows, or give the sink the option 'topic', which wins over the column")
    })?;
    let name = std::str::from_utf8(name)
        .map_err(|error| Error::data("has a topic that is no text").with_source(error))?;
    match topic_fault(name) {
        None => Ok(name),
        Some(why) => Err(Error::data(format!("has the topic '{name}': {why}"))),
    }
}

fn integers(column: &ArrayRef) -> Result<Int32Array> {
    let plain = cast(column, &DataType::Int32)?;
    Ok(plain.as_primitive::<Int32Type>().clone())
}

/// A column of text or bytes in whatever layout it comes.
#[derive(Debug)]
enum Bytes {
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
}

impl Bytes {
    fn of(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeText(column.as_string().clone()),
            DataType::Utf8View => Self::TextView(column.as_string_view().clone()),
            DataType::Binary => Self::Binary(column.as_binary().clone()),
            DataType::LargeBinary => Self::LargeBinary(column.as_binary().clone()),
            DataType::BinaryView => Self::BinaryView(column.as_binary_view().clone()),
            DataType::Dictionary(_, values) => Self::of(&cast(column, values)?)?,
            other => {
                return Err(Error::internal(format!(
                    "a message of {other}, which the check of the schema refuses"
                )));
            }
        })
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Text(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::LargeText(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::TextView(it) => it.is_valid(row).then(|| it.value(row).as_bytes()),
            Self::Binary(it) => it.is_valid(row).then(|| it.value(row)),
            Self::LargeBinary(it) => it.is_valid(row).then(|| it.value(row)),
            Self::BinaryView(it) => it.is_valid(row).then(|| it.value(row)),
        }
    }
}

/// A column of lists of (key, value).
#[derive(Debug)]
struct Headers {
    nulls: Option<NullBuffer>,
    offsets: Offsets,
    /// Of the structs themselves.
    missing: Option<NullBuffer>,
    keys: Bytes,
    values: Bytes,
}

#[derive(Debug)]
enum Offsets {
    Short(OffsetBuffer<i32>),
    Long(OffsetBuffer<i64>),
}

impl Offsets {
    fn range(&self, row: usize) -> Range<usize> {
        let at = |place: usize| match self {
            Self::Short(offsets) => usize::try_from(offsets[place]).unwrap_or_default(),
            Self::Long(offsets) => usize::try_from(offsets[place]).unwrap_or_default(),
        };
        at(row)..at(row + 1)
    }
}

impl Headers {
    fn of(column: &ArrayRef) -> Result<Self> {
        let (offsets, items) = match column.data_type() {
            DataType::LargeList(_) => {
                let lists = column.as_list::<i64>();
                (Offsets::Long(lists.offsets().clone()), lists.values())
            }
            _ => {
                let lists = column.as_list::<i32>();
                (Offsets::Short(lists.offsets().clone()), lists.values())
            }
        };
        let items = items.as_struct();
        let field = |name: &str| {
            let (position, _) = header_field(items.fields(), name).ok_or_else(|| {
                Error::internal(format!(
                    "headers without '{name}', which the check of the schema refuses"
                ))
            })?;
            Bytes::of(items.column(position))
        };
        Ok(Self {
            nulls: column.nulls().cloned(),
            offsets,
            missing: items.nulls().cloned(),
            keys: field("key")?,
            values: field("value")?,
        })
    }

    fn get(&self, row: usize) -> Result<Option<OwnedHeaders>> {
        let range = self.offsets.range(row);
        if range.is_empty() || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        let mut headers = OwnedHeaders::new_with_capacity(range.len());
        for item in range {
            let is_missing = self.missing.as_ref().is_some_and(|it| it.is_null(item));
            let key = self.keys.get(item).filter(|_| !is_missing);
            let key = key.and_then(|key| std::str::from_utf8(key).ok());
            let key = key.filter(|key| !key.contains('\0')).ok_or_else(|| {
                Error::data("has a header without a name, or with a NUL in it: filter such headers")
            })?;
            headers = headers.insert(Header {
                key,
                value: self.values.get(item),
            });
        }
        Ok(Some(headers))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BinaryBuilder, ListBuilder, StringBuilder, StructBuilder},
        datatypes::{Field, Fields, Schema},
    };
    use rdkafka::message::Headers as _;

    use super::*;

    /// Name and value of a header.
    type Pair<'a> = (Option<&'a str>, Option<&'a [u8]>);

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .expect("columns of one length")
    }

    fn columns(batch: &RecordBatch) -> Columns {
        Columns::of(&batch.schema(), None).expect("it can be written")
    }

    #[test]
    fn every_layout_of_text_and_bytes_is_read_the_same() {
        let text = StringArray::from(vec![Some("a"), None, Some("größe"), Some("")]);
        let bytes: Vec<Option<&[u8]>> = text.iter().map(|it| it.map(str::as_bytes)).collect();
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        for layout in [
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::BinaryView,
            dictionary,
        ] {
            let column = cast(&text, &layout).expect("a layout of text");
            let column = Bytes::of(&column).expect("a layout of text");
            let read: Vec<_> = (0..4).map(|row| column.get(row)).collect();
            assert_eq!(read, bytes, "{layout}");
        }
    }

    #[test]
    fn a_row_is_a_message_and_nulls_are_left_out() {
        let topic: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let value: ArrayRef = Arc::new(StringArray::from(vec![Some("v"), None]));
        let key: ArrayRef = Arc::new(StringArray::from(vec![None, Some("k")]));
        let partition: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None]));
        let batch = batch(vec![
            ("topic", topic),
            ("value", value),
            ("key", key),
            ("partition", partition),
        ]);
        let columns = columns(&batch);
        let messages = Messages::of(&batch, &columns).expect("checked columns");
        let first = messages.get(0).expect("a message");
        assert_eq!((first.topic, first.partition), ("a", Some(3)));
        assert_eq!((first.key, first.value), (None, Some(&b"v"[..])));
        let second = messages.get(1).expect("a message");
        assert_eq!((second.topic, second.partition), ("b", None));
        assert_eq!((second.key, second.value), (Some(&b"k"[..]), None));
    }

    #[test]
    fn rows_that_cannot_be_messages_say_why() {
        let topic: ArrayRef = Arc::new(StringArray::from(vec![None, Some("a b"), Some("t")]));
        let value: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "3"]));
        let partition: ArrayRef = Arc::new(Int32Array::from(vec![None, None, Some(-1)]));
        let batch = batch(vec![
            ("topic", topic),
            ("value", value),
            ("partition", partition),
        ]);
        let columns = columns(&batch);
        let messages = Messages::of(&batch, &columns).expect("checked columns");
        for (row, expected) in [
            (0, "has no topic: "),
            (1, "has the topic 'a b': names of topics consist of"),
            (2, "has the partition -1: "),
        ] {
            let error = messages.get(row).expect_err("refused");
            assert!(error.message().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn headers_keep_their_order_and_their_nulls() {
        let fields = Fields::from(vec![
            Field::new("key", DataType::Utf8, true),
            Field::new("value", DataType::Binary, true),
        ]);
        let item = StructBuilder::new(
            fields,
            vec![
                Box::new(StringBuilder::new()),
                Box::new(BinaryBuilder::new()),
            ],
        );
        let mut lists = ListBuilder::new(item);
        let mut list = |headers: Option<&[Pair<'_>]>| {
            for (key, value) in headers.unwrap_or_default() {
                let item = lists.values();
                let keys = item.field_builder::<StringBuilder>(0).expect("keys");
                keys.append_option(*key);
                let values = item.field_builder::<BinaryBuilder>(1).expect("values");
                values.append_option(*value);
                item.append(true);
            }
            lists.append(headers.is_some());
        };
        list(Some(&[(Some("a"), Some(b"1")), (Some("a"), None)]));
        list(None);
        list(Some(&[(None, Some(b"2"))]));
        let headers: ArrayRef = Arc::new(lists.finish());
        let schema = Schema::new(vec![Field::new("h", headers.data_type().clone(), true)]);
        assert_eq!(schema.fields().len(), 1);
        let headers = Headers::of(&headers).expect("headers");
        let first = headers.get(0).expect("headers").expect("some");
        let pairs: Vec<_> = first
            .iter()
            .map(|it| (it.key.to_owned(), it.value.map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(
            pairs,
            [
                ("a".to_owned(), Some(b"1".to_vec())),
                ("a".to_owned(), None)
            ]
        );
        assert!(headers.get(1).expect("none").is_none());
        assert!(headers.get(2).is_err());
    }
}
