//! Schemas of Avro: what a message is read as, and the Arrow type that it becomes.

use std::sync::Arc;

use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::{Result, plan_datafusion_err};
use serde_json::{Value, json};

/// The field of the record that is put around a schema that is none.
const ONLY: &str = "value";

/// A schema, made a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Schema {
    /// As JSON.
    pub(super) text: String,
    /// Whether a record was put around it; its only field is the value. The bytes are the same.
    pub(super) wrapped: bool,
}

impl Schema {
    /// Reads the JSON of a schema.
    ///
    /// # Errors
    /// When it is no JSON. What it says is checked when a decoder is made of it.
    pub(super) fn new(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| plan_datafusion_err!("'{text}' is no Avro schema: {error}"))?;
        let is_record = value.get("type").and_then(Value::as_str) == Some("record");
        if is_record {
            return Ok(Self {
                text: value.to_string(),
                wrapped: false,
            });
        }
        let record = json!({"type": "record", "name": "headwater_value", "fields": [{"name": ONLY, "type": value}]});
        Ok(Self {
            text: record.to_string(),
            wrapped: true,
        })
    }

    /// The schema as it was given, without the record around it.
    pub(super) fn own_text(&self) -> String {
        match self.wrapped {
            true => Self::only_field(&self.text).unwrap_or_else(|_| self.text.clone()),
            false => self.text.clone(),
        }
    }

    /// The schema of the only field of a record.
    ///
    /// # Errors
    /// When it is no such record.
    pub(super) fn only_field(record: &str) -> Result<String> {
        let value: Value = serde_json::from_str(record)
            .map_err(|error| plan_datafusion_err!("'{record}' is no Avro schema: {error}"))?;
        value
            .pointer("/fields/0/type")
            .map(Value::to_string)
            .ok_or_else(|| plan_datafusion_err!("'{record}' is no record of Avro"))
    }

    /// A decoder of messages that were written with this schema and are to be read as `reader`, framed by [`FRAME`].
    ///
    /// # Errors
    /// When a schema means nothing, or the one cannot be read as the other.
    pub(super) fn decoder(&self, reader: &Self, rows: usize) -> Result<Decoder> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let id = Fingerprint::Id(0);
        store.set(id, AvroSchema::new(self.text.clone()))?;
        let decoder = ReaderBuilder::new()
            .with_batch_size(rows.max(1))
            .with_writer_schema_store(store)
            .with_active_fingerprint(id)
            .with_reader_schema(AvroSchema::new(reader.text.clone()))
            .build_decoder()?;
        Ok(decoder)
    }

    /// The type of the values that messages of this schema become.
    ///
    /// # Errors
    /// When the schema means nothing.
    pub(super) fn data_type(&self) -> Result<DataType> {
        let decoder = self
            .decoder(self, 1)
            .map_err(|error| plan_datafusion_err!("'{}' is no Avro schema: {error}", self.text))?;
        let fields = decoder.schema().fields().clone();
        let data_type = plain(&DataType::Struct(fields));
        Ok(match (&data_type, self.wrapped) {
            (DataType::Struct(fields), true) => fields
                .first()
                .map_or(DataType::Null, |only| only.data_type().clone()),
            _ => data_type,
        })
    }
}

/// What stands in front of each message that a decoder is given: a zero, and the number of the only schema that it knows.
pub(super) const FRAME: [u8; 5] = [0; 5];

/// The type that is given out for one that the decoder makes: enums are texts, fixed bytes binary, timestamps in
/// microseconds, and everything may be null.
fn plain(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef, nullable: bool| {
        Arc::new(Field::new(field.name(), plain(field.data_type()), nullable))
    };
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(_, zone) => DataType::Timestamp(
            TimeUnit::Microsecond,
            zone.as_ref().map(|_| Arc::from("UTC")),
        ),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| field(f, true)).collect::<Fields>())
        }
        DataType::List(item) => DataType::List(Arc::new(Field::new_list_field(
            plain(item.data_type()),
            true,
        ))),
        DataType::Map(entries, sorted) => {
            let inner = match entries.data_type() {
                DataType::Struct(fields) => fields
                    .iter()
                    .enumerate()
                    .map(|(place, f)| field(f, place == 1))
                    .collect::<Fields>(),
                _ => Fields::empty(),
            };
            let entries = Field::new(entries.name(), DataType::Struct(inner), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}
