//! `from_json(value, type [, options])`: messages in JSON as columns of a declared type.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::read::Reader;
use super::scan::Syntax;
use crate::call::{
    constant, for_each_message, is_text, message_args, message_bytes, over_first, payload_type,
};
use crate::column::MOST_BYTES;
use crate::options::Options;
use crate::record::Malformation;
use crate::time::formats::TimeFormats;
use crate::time::zone::Zone;

const NAME: &str = "from_json";

/// The options of `from_json`.
const OPTIONS: &[&str] = &[
    "mode",
    "columnNameOfCorruptRecord",
    "timestampFormat",
    "timestampNTZFormat",
    "dateFormat",
    "timeZone",
    "allowComments",
    "allowUnquotedFieldNames",
    "allowSingleQuotes",
    "allowNumericLeadingZeros",
    "allowNonNumericNumbers",
    "allowBackslashEscapingAnyCharacter",
    "allowUnquotedControlChars",
];

/// Type and options, read.
#[derive(Debug)]
struct Call {
    data_type: DataType,
    malformation: Malformation,
    syntax: Syntax,
    formats: TimeFormats,
}

impl Call {
    fn new(
        data_type: Option<&ScalarValue>,
        options: Option<&ScalarValue>,
        zone: Zone,
    ) -> Result<Self> {
        let data_type = payload_type(NAME, data_type)?;
        if !matches!(
            data_type,
            DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(_, _)
        ) {
            return plan_err!("from_json() makes structs, arrays and maps, found {data_type}");
        }
        let mut options = Options::of(NAME, options)?;
        let malformation = Malformation::of(NAME, &mut options, &data_type)?;
        let default = Syntax::default();
        let syntax = Syntax {
            comments: options.flag("allowComments", default.comments)?,
            unquoted_names: options.flag("allowUnquotedFieldNames", default.unquoted_names)?,
            single_quotes: options.flag("allowSingleQuotes", default.single_quotes)?,
            leading_zeros: options.flag("allowNumericLeadingZeros", default.leading_zeros)?,
            non_numeric: options.flag("allowNonNumericNumbers", default.non_numeric)?,
            any_escape: options.flag("allowBackslashEscapingAnyCharacter", default.any_escape)?,
            control_characters: options
                .flag("allowUnquotedControlChars", default.control_characters)?,
        };
        let formats = options.formats(zone)?;
        options.finish(OPTIONS)?;
        malformation.column(&data_type)?;
        Ok(Self {
            data_type,
            malformation,
            syntax,
            formats,
        })
    }

    fn decode(&self, messages: &ArrayRef) -> Result<ArrayRef> {
        let bytes = message_bytes(messages)?;
        if bytes > MOST_BYTES {
            return exec_err!(
                "from_json: a batch of {bytes} bytes of JSON, more than {MOST_BYTES}: read smaller batches"
            );
        }
        let mut column = self.malformation.column(&self.data_type)?;
        let mut reader = Reader::new(self.syntax, self.formats.clone());
        let checked = is_text(messages.data_type());
        for_each_message(messages, |row, message| {
            let Some(message) = message else {
                column.push_null();
                return Ok(());
            };
            if !checked && let Err(error) = std::str::from_utf8(message) {
                column.push_malformed();
                let problem = format!("expected UTF-8 at byte {}", error.valid_up_to());
                return self.malformation.found(row, message, &problem, &mut column);
            }
            match reader.row(message, &mut column) {
                Ok(()) => Ok(()),
                Err(problem) => self.malformation.found(row, message, &problem, &mut column),
            }
        })?;
        Ok(column.finish(&self.data_type)?)
    }
}

/// The function.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct FromJson {
    signature: Signature,
}

impl fmt::Debug for FromJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl Default for FromJson {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        message_args(NAME, 2..=3, types)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        plan_err!("{NAME}: the type follows from the arguments")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let constant = |at: usize| args.scalar_arguments.get(at).copied().flatten();
        // Options that are no constants yet are checked when they are, see `simplify`.
        let call = Call::new(constant(1), constant(2), Zone::UTC)?;
        Ok(Arc::new(Field::new(NAME, call.data_type, true)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let (Some(Expr::Literal(data_type, _)), Some(Expr::Literal(options, _))) =
            (args.get(1), args.get(2))
        {
            Call::new(Some(data_type), Some(options), Zone::UTC)?;
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = constant(NAME, &args, 1)?;
        let options = constant(NAME, &args, 2)?;
        let zone = Zone::of(&args.config_options)?;
        let call = Call::new(data_type.as_ref(), options.as_ref(), zone)?;
        over_first(&args, |messages| call.decode(messages))
    }
}
