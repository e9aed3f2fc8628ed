//! `to_avro(value [, schema] [, options])`: columns as messages in Avro.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_avro::schema::{AvroSchema, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroBinaryFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch};
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::decode::external;
use super::registry::{self, Registries, Registry};
use super::schema::Schema;
use crate::call::{constant, over_first};
use crate::options::Options;

const NAME: &str = "to_avro";

/// Schema and options, read.
#[derive(Debug)]
struct Call {
    schema: Option<Schema>,
    /// With its subject.
    registry: Option<(Registry, String)>,
    register: bool,
}

impl Call {
    /// `first` is a schema as text or null, or the options if there is nothing behind it.
    fn new(first: Option<&ScalarValue>, second: Option<&ScalarValue>) -> Result<Self> {
        let (text, map) = match first {
            None | Some(ScalarValue::Null) => (None, second),
            Some(
                ScalarValue::Utf8(text)
                | ScalarValue::Utf8View(text)
                | ScalarValue::LargeUtf8(text),
            ) => (text.as_deref(), second),
            Some(ScalarValue::Map(_)) if second.is_none() => (None, first),
            Some(_) => {
                return plan_err!(
                    "to_avro() takes a schema as a constant text, and constant options"
                );
            }
        };
        let mut options = Options::of(NAME, map)?;
        let register = options.flag("autoRegisterSchemas", true)?;
        let registry = match Registry::of(NAME, &mut options)? {
            None => None,
            Some(registry) => match registry.subject.clone() {
                Some(subject) => Some((registry, subject)),
                None => {
                    return plan_err!(
                        "to_avro: give schemaRegistrySubject, under which the schema is registered"
                    );
                }
            },
        };
        options.finish(&[&["autoRegisterSchemas"], registry::OPTIONS].concat())?;
        Ok(Self {
            schema: text.map(Schema::new).transpose()?,
            registry,
            register,
        })
    }

    /// The record that values of a type are encoded as: their own fields, or one field around them.
    fn record(&self, data_type: &DataType) -> ArrowSchema {
        let metadata = match &self.schema {
            Some(schema) => HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), schema.text.clone())]),
            None => HashMap::new(),
        };
        let fields = match data_type {
            DataType::Struct(fields) if !self.wraps() => fields.clone(),
            other => vec![Field::new("value", other.clone(), false)].into(),
        };
        ArrowSchema::new_with_metadata(fields, metadata)
    }

    fn wraps(&self) -> bool {
        self.schema.as_ref().is_some_and(|schema| schema.wrapped)
    }

    fn encoder(&self, data_type: &DataType) -> Result<Encoder> {
        let built = WriterBuilder::new(self.record(data_type)).build_encoder::<AvroBinaryFormat>();
        built.map_err(|error| {
            plan_datafusion_err!("to_avro: values of type {data_type} cannot be written: {error}")
        })
    }

    /// What stands in front of each message.
    fn prefix(&self, data_type: &DataType, registries: &Registries) -> Result<Vec<u8>> {
        let Some((registry, subject)) = &self.registry else {
            return Ok(vec![]);
        };
        let schema = match &self.schema {
            Some(schema) => schema.own_text(),
            None => {
                let derived = AvroSchema::try_from(&self.record(data_type))?;
                match data_type {
                    DataType::Struct(_) => derived.json_string,
                    _ => Schema::only_field(&derived.json_string)?,
                }
            }
        };
        let id = registries
            .id(registry, subject, &schema, self.register)
            .map_err(external)?;
        Ok([&[0], id.to_be_bytes().as_slice()].concat())
    }

    fn encode(&self, values: &ArrayRef, registries: &Registries) -> Result<ArrayRef> {
        let data_type = values.data_type();
        let mut messages = BinaryBuilder::new();
        if values.null_count() == values.len() {
            messages.append_nulls(values.len());
            return Ok(Arc::new(messages.finish()));
        }
        let prefix = self.prefix(data_type, registries)?;
        let present = filter(values, &is_not_null(values)?)?;
        let schema = Arc::new(self.record(data_type));
        let columns = match data_type {
            DataType::Struct(_) if !self.wraps() => present.as_struct().columns().to_vec(),
            _ => vec![present],
        };
        let mut encoder = self.encoder(data_type)?;
        encoder
            .encode(&RecordBatch::try_new(schema, columns)?)
            .map_err(|error| exec_datafusion_err!("to_avro: {error}"))?;
        let encoded = encoder.flush();
        let mut rows = encoded.iter();
        let mut message = Vec::new();
        for row in 0..values.len() {
            match values.is_valid(row).then(|| rows.next()).flatten() {
                Some(body) => {
                    message.clear();
                    message.extend_from_slice(&prefix);
                    message.extend_from_slice(&body);
                    messages.append_value(&message);
                }
                None => messages.append_null(),
            }
        }
        Ok(Arc::new(messages.finish()))
    }
}

/// The function, and what registries have told it.
pub(super) struct ToAvro {
    signature: Signature,
    registries: Registries,
}

impl fmt::Debug for ToAvro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

// There is one function of this name; what registries have told it is the same whichever asked.
impl PartialEq for ToAvro {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for ToAvro {}

impl Hash for ToAvro {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

impl Default for ToAvro {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            registries: Registries::default(),
        }
    }
}

impl ScalarUDFImpl for ToAvro {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.is_empty() || types.len() > 3 {
            return plan_err!(
                "to_avro() takes a value, a schema and options, found {} arguments",
                types.len()
            );
        }
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let constant = |at: usize| args.scalar_arguments.get(at).copied().flatten();
        let call = Call::new(constant(1), constant(2))?;
        let value = args.arg_fields.first();
        if let Some(field) = value {
            call.encoder(field.data_type())?;
        }
        let nullable = value.is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(NAME, DataType::Binary, nullable)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let literal = |at: usize| match args.get(at) {
            Some(Expr::Literal(value, _)) => Some(value),
            _ => None,
        };
        Call::new(literal(1), literal(2))?;
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = constant(NAME, &args.args, 1)?;
        let second = constant(NAME, &args.args, 2)?;
        let call = Call::new(first.as_ref(), second.as_ref())?;
        over_first(&args.args, |values| call.encode(values, &self.registries))
    }
}
