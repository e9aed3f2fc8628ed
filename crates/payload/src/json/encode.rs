//! `to_json(value [, options])`: structs, arrays and maps as JSON.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::write::{Writer, writable};
use crate::call::{constant, over_first};
use crate::options::Options;
use crate::time::formats::TimeFormats;
use crate::time::zone::Zone;

const NAME: &str = "to_json";

const OPTIONS: &[&str] = &[
    "ignoreNullFields",
    "timestampFormat",
    "timestampNTZFormat",
    "dateFormat",
    "timeZone",
];

/// Options, read.
#[derive(Debug)]
struct Call {
    formats: TimeFormats,
    ignore_null_fields: bool,
}

impl Call {
    fn new(options: Option<&ScalarValue>, zone: Zone) -> Result<Self> {
        let mut options = Options::of(NAME, options)?;
        let ignore_null_fields = options.flag("ignoreNullFields", true)?;
        let formats = options.formats(zone)?;
        options.finish(OPTIONS)?;
        Ok(Self {
            formats,
            ignore_null_fields,
        })
    }

    fn encode(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let writer = Writer::new(values, self.ignore_null_fields)?;
        let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 64);
        let mut text = Vec::new();
        for row in 0..values.len() {
            if values.is_null(row) {
                texts.append_null();
                continue;
            }
            text.clear();
            writer.write(row, &self.formats, &mut text)?;
            let text = std::str::from_utf8(&text)
                .map_err(|error| exec_datafusion_err!("to_json wrote what is no text: {error}"))?;
            texts.append_value(text);
        }
        Ok(Arc::new(texts.finish()))
    }
}

/// The function.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct ToJson {
    signature: Signature,
}

impl fmt::Debug for ToJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl Default for ToJson {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, rest @ ..] = types else {
            return plan_err!("to_json() takes a value and options");
        };
        if rest.len() > 1 {
            return plan_err!(
                "to_json() takes a value and options, found {} arguments",
                types.len()
            );
        }
        let nested = matches!(
            value,
            DataType::Struct(_)
                | DataType::List(_)
                | DataType::LargeList(_)
                | DataType::FixedSizeList(_, _)
                | DataType::Map(_, _)
        );
        if !nested {
            return plan_err!("to_json() takes a struct, an array or a map, found {value}");
        }
        writable(NAME, value, "")?;
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Call::new(args.scalar_arguments.get(1).copied().flatten(), Zone::UTC)?;
        let nullable = args
            .arg_fields
            .first()
            .is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(NAME, DataType::Utf8, nullable)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let Some(Expr::Literal(options, _)) = args.get(1) {
            Call::new(Some(options), Zone::UTC)?;
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = constant(NAME, &args, 1)?;
        let call = Call::new(options.as_ref(), Zone::of(&args.config_options)?)?;
        over_first(&args, |values| call.encode(values))
    }
}
