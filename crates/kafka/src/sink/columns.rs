//! Which columns of a result are what in a message.
//!
//! The rules are those of Spark's Kafka sink: `value` must be there, `key`, `topic`, `headers` and `partition` may be,
//! and columns of other names are not written.

use arrow::datatypes::{DataType, Field, Fields, Schema};
use headwater_core::{Error, Result};

/// The columns of a message, by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) value: usize,
    pub(super) key: Option<usize>,
    pub(super) headers: Option<usize>,
    pub(super) partition: Option<usize>,
    pub(super) topic: Topic,
}

/// Where a row goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic {
    /// All rows to one topic.
    Fixed(String),
    /// Each row to the topic that this column names.
    Column(usize),
}

impl Columns {
    /// Finds the columns; `topic` is the option, which wins over a column.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] with what to write instead.
    pub(super) fn of(schema: &Schema, topic: Option<&str>) -> Result<Self> {
        let value = required(schema, "value", is_bytes, "STRING or BINARY", to_bytes)?;
        let topic = match (topic, find(schema, "topic")) {
            (Some(topic), _) => {
                check_topic(topic)?;
                Topic::Fixed(topic.to_owned())
            }
            (None, Some(_)) => {
                let column = required(schema, "topic", is_text, "STRING", |name, _| {
                    format!("CAST({name} AS STRING) AS {name}")
                })?;
                Topic::Column(column)
            }
            (None, None) => {
                return Err(Error::invalid(
                    "sink 'kafka' does not know where to write: give it the option 'topic', or the rows a column \
                     'topic'",
                ));
            }
        };
        Ok(Self {
            value,
            key: optional(schema, "key", is_bytes, "STRING or BINARY", to_bytes)?,
            headers: optional(
                schema,
                "headers",
                is_headers,
                "ARRAY<STRUCT<key STRING, value BINARY>>",
                |_, _| {
                    "an array of structs with the fields 'key' (STRING) and 'value' (BINARY)"
                        .to_owned()
                },
            )?,
            partition: optional(
                schema,
                "partition",
                |it| *it == DataType::Int32,
                "INT",
                |name, _| format!("CAST({name} AS INT) AS {name}"),
            )?,
            topic,
        })
    }
}

/// Refuses what no topic can be called.
pub(super) fn check_topic(topic: &str) -> Result<()> {
    match topic_fault(topic) {
        None => Ok(()),
        Some(why) => Err(Error::invalid(format!(
            "option 'topic' cannot be '{topic}': {why}"
        ))),
    }
}

/// Why no topic can have this name.
pub(super) fn topic_fault(topic: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match topic {
        "" => Some("it is empty"),
        "." | ".." => Some("no topic can be called so"),
        _ if topic.len() > 249 => Some("names of topics have at most 249 characters"),
        _ if !topic.chars().all(is_allowed) => {
            Some("names of topics consist of letters, digits, '.', '_' and '-'")
        }
        _ => None,
    }
}

fn find(schema: &Schema, name: &str) -> Option<usize> {
    schema.fields().iter().position(|it| it.name() == name)
}

type Takes = fn(&DataType) -> bool;
type Instead = fn(&str, &DataType) -> String;

fn required(
    schema: &Schema,
    name: &str,
    takes: Takes,
    wanted: &str,
    instead: Instead,
) -> Result<usize> {
    let column = optional(schema, name, takes, wanted, instead)?;
    column.ok_or_else(|| {
        let names: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
        let close = names.iter().find(|it| it.eq_ignore_ascii_case(name));
        let remedy = match close {
            Some(close) => format!("write {close} AS {name}"),
            None => format!(
                "name the text or bytes of a message so, for instance to_json(named_struct('a', a, …)) AS {name}"
            ),
        };
        Error::invalid(format!(
            "sink 'kafka' needs a column '{name}', found {}: {remedy}",
            names.join(", ")
        ))
    })
}

fn optional(
    schema: &Schema,
    name: &str,
    takes: Takes,
    wanted: &str,
    instead: Instead,
) -> Result<Option<usize>> {
    let Some(column) = find(schema, name) else {
        return Ok(None);
    };
    let found = schema.field(column).data_type();
    if takes(plain(found)) {
        return Ok(Some(column));
    }
    Err(Error::invalid(format!(
        "column '{name}' of sink 'kafka' must be {wanted}, found {found}: write {}",
        instead(name, found)
    )))
}

/// The type of the values, however they are encoded.
fn plain(of: &DataType) -> &DataType {
    match of {
        DataType::Dictionary(_, values) => plain(values),
        other => other,
    }
}

fn is_text(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn is_bytes(of: &DataType) -> bool {
    let is_binary = matches!(
        of,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    );
    is_binary || is_text(of)
}

fn is_headers(of: &DataType) -> bool {
    let (DataType::List(item) | DataType::LargeList(item)) = of else {
        return false;
    };
    let DataType::Struct(fields) = item.data_type() else {
        return false;
    };
    header_field(fields, "key").is_some_and(|(_, field)| is_text(field.data_type()))
        && header_field(fields, "value").is_some_and(|(_, field)| is_bytes(field.data_type()))
}

/// A field of a header and its position.
pub(super) fn header_field<'a>(fields: &'a Fields, name: &str) -> Option<(usize, &'a Field)> {
    let position = fields.iter().position(|field| field.name() == name)?;
    Some((position, fields.get(position)?.as_ref()))
}

fn to_bytes(name: &str, found: &DataType) -> String {
    match found {
        DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => {
            format!("to_json({name}) AS {name}")
        }
        _ => format!("CAST({name} AS STRING) AS {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    fn headers(key: DataType, value: DataType) -> DataType {
        let fields = Fields::from(vec![
            Field::new("key", key, true),
            Field::new("value", value, true),
        ]);
        DataType::List(Arc::new(Field::new("item", DataType::Struct(fields), true)))
    }

    fn refused(columns: &[(&str, DataType)], topic: Option<&str>) -> String {
        let error = Columns::of(&schema(columns), topic).expect_err("refused");
        error.message().to_owned()
    }

    #[test]
    fn columns_are_found_by_name_and_others_are_left() {
        let schema = schema(&[
            ("offset", DataType::Int64),
            ("partition", DataType::Int32),
            ("value", DataType::BinaryView),
            ("headers", headers(DataType::Utf8, DataType::Binary)),
            ("key", DataType::LargeUtf8),
            ("topic", DataType::Utf8View),
        ]);
        let mut expected = Columns {
            value: 2,
            key: Some(4),
            headers: Some(3),
            partition: Some(1),
            topic: Topic::Column(5),
        };
        assert_eq!(Columns::of(&schema, None).ok(), Some(expected.clone()));
        expected.topic = Topic::Fixed("out".to_owned());
        assert_eq!(Columns::of(&schema, Some("out")).ok(), Some(expected));
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_refused_with_what_to_write() {
        use DataType::{Binary, Int32, Int64, Utf8};
        assert_eq!(
            refused(&[("id", Int64), ("Value", Utf8)], Some("out")),
            "sink 'kafka' needs a column 'value', found id, Value: write Value AS value"
        );
        assert_eq!(
            refused(&[("id", Int64)], Some("out")),
            "sink 'kafka' needs a column 'value', found id: name the text or bytes of a message so, for instance \
             to_json(named_struct('a', a, …)) AS value"
        );
        assert_eq!(
            refused(&[("value", Int64)], Some("out")),
            "column 'value' of sink 'kafka' must be STRING or BINARY, found Int64: write CAST(value AS STRING) AS value"
        );
        let pair = DataType::Struct(Fields::from(vec![Field::new("a", Int32, true)]));
        assert!(
            refused(&[("value", pair)], Some("out")).ends_with(": write to_json(value) AS value")
        );
        assert!(
            refused(&[("value", Utf8), ("partition", Int64)], Some("out"))
                .ends_with("must be INT, found Int64: write CAST(partition AS INT) AS partition")
        );
        assert!(
            refused(&[("value", Utf8), ("topic", Binary)], None)
                .ends_with("must be STRING, found Binary: write CAST(topic AS STRING) AS topic")
        );
        assert!(
            refused(
                &[("value", Utf8), ("headers", headers(Binary, Utf8))],
                Some("out")
            )
            .contains("must be ARRAY<STRUCT<key STRING, value BINARY>>")
        );
        assert_eq!(
            refused(&[("value", Utf8)], None),
            "sink 'kafka' does not know where to write: give it the option 'topic', or the rows a column 'topic'"
        );
    }

    #[test]
    fn names_that_no_topic_can_have_are_refused() {
        for name in ["", ".", "a b", "a\0b", "größe", &"x".repeat(250)] {
            assert!(
                refused(&[("value", DataType::Utf8)], Some(name)).starts_with("option 'topic'"),
                "{name}"
            );
        }
        assert!(check_topic("a.B-c_9").is_ok());
    }
}
