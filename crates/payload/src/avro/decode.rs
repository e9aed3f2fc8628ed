//! `from_avro(value, schema [, options])`: messages in Avro as columns.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use headwater_core::Error;

use super::registry::{self, Registries, Registry};
use super::rows;
use super::schema::Schema;
use crate::call::{constant, for_each_message, message_args, over_first, shortened, with_option};
use crate::options::{Mode, Options};
use crate::place::{self, Name, Place};

const NAME: &str = "from_avro";

/// Schema and options, read.
#[derive(Debug)]
struct Call {
    mode: Mode,
    /// What all messages are written with; by their ids if there is none.
    writer: Option<Schema>,
    reader: Schema,
    registry: Option<Registry>,
    data_type: DataType,
    /// The schema of the subject, if that is what messages are read as.
    latest: Option<String>,
}

impl Call {
    /// `schema` is a text, or the options if there is none.
    fn new(
        schema: Option<&ScalarValue>,
        options: Option<&ScalarValue>,
        registries: &Registries,
    ) -> Result<Self> {
        let text = match schema {
            Some(
                ScalarValue::Utf8(Some(text))
                | ScalarValue::Utf8View(Some(text))
                | ScalarValue::LargeUtf8(Some(text)),
            ) => Some(text),
            Some(ScalarValue::Map(_)) if options.is_none() => None,
            _ => {
                return plan_err!(
                    "from_avro() takes a schema as a constant text, or constant options with schemaRegistryUrl and schemaRegistrySubject"
                );
            }
        };
        let mut options = Options::of(NAME, if text.is_none() { schema } else { options })?;
        let mode = options.mode(Mode::FailFast)?;
        let wanted = options.take("avroSchema");
        let registry = Registry::of(NAME, &mut options)?;
        options.finish(&[&["mode", "avroSchema"], registry::OPTIONS].concat())?;
        let mut found = None;
        let (writer, reader) = match (text, wanted, &registry) {
            (Some(_), _, Some(_)) => {
                return plan_err!(
                    "from_avro: the registry says what messages are written with: leave the schema out, and write the one to read them as as option avroSchema"
                );
            }
            (Some(text), wanted, None) => {
                let writer = Schema::new(text)?;
                let reader = match wanted {
                    Some(wanted) => Schema::new(&wanted)?,
                    None => writer.clone(),
                };
                (Some(writer), reader)
            }
            (None, Some(wanted), Some(_)) => (None, Schema::new(&wanted)?),
            (None, None, Some(registry)) => {
                let Some(subject) = &registry.subject else {
                    return plan_err!(
                        "from_avro: give schemaRegistrySubject, whose latest schema messages are read as, or avroSchema"
                    );
                };
                let latest = registries.latest(registry, subject).map_err(external)?;
                let reader = Schema::new(&latest.schema)?;
                found = Some(latest.schema);
                (None, reader)
            }
            (None, _, None) => {
                return plan_err!(
                    "from_avro: give a schema, or options schemaRegistryUrl and schemaRegistrySubject"
                );
            }
        };
        let data_type = reader.data_type()?;
        if let Some(writer) = &writer {
            writer.decoder(&reader, 1)?;
        }
        Ok(Self {
            mode,
            writer,
            reader,
            registry,
            data_type,
            latest: found,
        })
    }

    fn decode(
        &self,
        messages: &ArrayRef,
        place: &Place,
        registries: &Registries,
    ) -> Result<ArrayRef> {
        // The messages of each writer's schema, and their rows. Bare ones are of schema 0.
        let mut groups: BTreeMap<u32, (Vec<Vec<u8>>, Vec<usize>)> = BTreeMap::new();
        for_each_message(messages, |row, message| {
            let Some(message) = message else {
                return Ok(());
            };
            let (id, body) = match (&self.writer, message) {
                (Some(_), body) => (0, body),
                (None, [0, a, b, c, d, body @ ..]) => (u32::from_be_bytes([*a, *b, *c, *d]), body),
                (None, _) => {
                    let problem = "it does not begin with a zero and the id of a schema, as messages of a registry do";
                    return self.malformed(place.name(row), message, problem);
                }
            };
            let (bodies, rows) = groups.entry(id).or_default();
            bodies.push(body.to_vec());
            rows.push(row);
            Ok(())
        })?;
        // The first entry is null: that of rows that are in no group.
        let mut parts = vec![new_null_array(&self.data_type, 1)];
        let mut places = vec![0_u32; messages.len()];
        let mut next = 1_u32;
        for (id, (bodies, group)) in &groups {
            let known;
            let writer = match (&self.writer, &self.registry) {
                (Some(writer), _) => writer,
                (None, Some(registry)) => {
                    let text = registries.schema(registry, *id).map_err(external)?;
                    known = Schema::new(&text)?;
                    &known
                }
                (None, None) => return plan_err!("from_avro: neither a schema nor a registry"),
            };
            let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
            let read = rows::decode(
                &bodies,
                writer,
                &self.reader,
                &self.data_type,
                |at, problem| self.malformed(place.name(group[at]), bodies[at], &problem),
            )
            .map_err(|error| match (&self.registry, &self.writer) {
                (Some(registry), None) => error.context(format!(
                    "from_avro: schema id {id} of schema registry {}",
                    registry.url
                )),
                _ => error,
            })?;
            for row in group {
                places[*row] = next;
                next += 1;
            }
            parts.push(read);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(take(&concat(&parts)?, &UInt32Array::from(places), None)?)
    }

    /// A malformed message is null, or fails the query.
    fn malformed(&self, place: Name<'_>, message: &[u8], problem: &str) -> Result<()> {
        if self.mode == Mode::Permissive {
            return Ok(());
        }
        let start: Vec<String> = message
            .iter()
            .take(32)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let shown = match std::str::from_utf8(message) {
            Ok(text) if !text.chars().any(char::is_control) => shortened(message),
            _ => format!("{} ({} bytes)", start.join(" "), message.len()),
        };
        Err(external(Error::data(format!(
            "from_avro: the value of {place} is malformed: {problem}: {shown}; mode PERMISSIVE makes it null"
        ))))
    }
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The function, and what registries have told it.
pub(super) struct FromAvro {
    signature: Signature,
    registries: Registries,
}

impl fmt::Debug for FromAvro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

// There is one function of this name; what registries have told it is the same whichever asked.
impl PartialEq for FromAvro {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for FromAvro {}

impl Hash for FromAvro {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

impl Default for FromAvro {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            registries: Registries::default(),
        }
    }
}

impl ScalarUDFImpl for FromAvro {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (own, place) = place::split_types(types);
        let wanted = message_args(NAME, 2..=3, own)?;
        match wanted.first() {
            Some(text) if crate::call::is_text(text) && types.first() != Some(&DataType::Null) => {
                plan_err!("from_avro() takes a binary value, found {text}: do not cast it")
            }
            _ => Ok([wanted, place.to_vec()].concat()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        plan_err!("{NAME}: the type follows from the arguments")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let (own, _) = place::split(args.scalar_arguments);
        let constant = |at: usize| own.get(at).copied().flatten();
        let call = Call::new(constant(1), constant(2), &self.registries)?;
        Ok(Arc::new(Field::new(NAME, call.data_type, true)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let (own, place) = place::split(&args);
        let literal = |at: usize| match own.get(at) {
            Some(Expr::Literal(value, _)) => Some(value),
            _ => None,
        };
        if own.len() == 3 && literal(2).is_none() {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let call = Call::new(literal(1), literal(2), &self.registries)?;
        // The schema that is the latest now is what this query reads, whatever the subject has later.
        match (call.latest, own) {
            (Some(latest), [value, Expr::Literal(options, _)]) => {
                let options = with_option(options, "avroSchema", &latest)?;
                let own = vec![value.clone(), Expr::Literal(options, None)];
                let args = [own, place.to_vec()].concat();
                Ok(ExprSimplifyResult::Simplified(
                    super::from_avro_udf().call(args),
                ))
            }
            (None, own) if call.mode == Mode::Permissive && !place.is_empty() => Ok(
                ExprSimplifyResult::Simplified(super::from_avro_udf().call(own.to_vec())),
            ),
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (own, _) = place::split(&args.args);
        let schema = constant(NAME, own, 1)?;
        let options = constant(NAME, own, 2)?;
        let call = Call::new(schema.as_ref(), options.as_ref(), &self.registries)?;
        let place = Place::of(&args)?;
        over_first(own, |messages| {
            call.decode(messages, &place, &self.registries)
        })
    }
}
