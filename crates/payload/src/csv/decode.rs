//! `from_csv(value, type [, options])`: lines of CSV as structs of a declared type.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::line::Punctuation;
use super::read::{Reader, Words};
use crate::call::{
    constant, for_each_message, message_args, message_bytes, over_first, payload_type,
};
use crate::column::{Column, MOST_BYTES};
use crate::options::Options;
use crate::record::Malformation;
use crate::time::zone::Zone;

const NAME: &str = "from_csv";

/// The options of `from_csv`.
const OPTIONS: &[&str] = &[
    "mode",
    "columnNameOfCorruptRecord",
    "sep",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "nullValue",
    "emptyValue",
    "nanValue",
    "positiveInf",
    "negativeInf",
    "ignoreLeadingWhiteSpace",
    "ignoreTrailingWhiteSpace",
    "timestampFormat",
    "timestampNTZFormat",
    "dateFormat",
    "timeZone",
];

/// Type and options, read.
#[derive(Debug)]
struct Call {
    data_type: DataType,
    malformation: Malformation,
    reader: Reader,
}

impl Call {
    fn new(
        data_type: Option<&ScalarValue>,
        options: Option<&ScalarValue>,
        zone: Zone,
    ) -> Result<Self> {
        let data_type = payload_type(NAME, data_type)?;
        let DataType::Struct(fields) = &data_type else {
            return plan_err!("from_csv() makes structs, found {data_type}");
        };
        if let Some(nested) = fields.iter().find(|field| field.data_type().is_nested()) {
            return plan_err!(
                "from_csv: a line has plain values, and {} is of type {}: take a STRING, and from_json if it holds JSON",
                nested.name(),
                nested.data_type()
            );
        }
        let mut options = Options::of(NAME, options)?;
        let malformation = Malformation::of(NAME, &mut options, &data_type)?;
        let mut word = |name: &str, default: &str| options.take(name).unwrap_or(default.to_owned());
        let words = Words {
            null: word("nullValue", ""),
            empty: word("emptyValue", ""),
            nan: word("nanValue", "NaN"),
            infinity: word("positiveInf", "Inf"),
            minus_infinity: word("negativeInf", "-Inf"),
        };
        let reader = Reader {
            punctuation: Punctuation::of(NAME, &mut options, false)?,
            words,
            formats: options.formats(zone)?,
            places: malformation.other_places(fields.len()),
        };
        options.finish(OPTIONS)?;
        malformation.column(&data_type)?;
        Ok(Self {
            data_type,
            malformation,
            reader,
        })
    }

    fn decode(&self, messages: &ArrayRef) -> Result<ArrayRef> {
        let bytes = message_bytes(messages)?;
        if bytes > MOST_BYTES {
            return exec_err!(
                "from_csv: a batch of {bytes} bytes of CSV, more than {MOST_BYTES}: read smaller batches"
            );
        }
        let mut column = self.malformation.column(&self.data_type)?;
        for_each_message(messages, |row, message| {
            let Some(message) = message else {
                column.push_null();
                return Ok(());
            };
            let Column::Struct(structs) = &mut column else {
                return internal_err!("from_csv makes structs");
            };
            match self.reader.row(message, structs) {
                Ok(()) => Ok(()),
                Err(problem) => self.malformation.found(row, message, &problem, &mut column),
            }
        })?;
        Ok(column.finish(&self.data_type)?)
    }
}

/// The function.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct FromCsv {
    signature: Signature,
}

impl fmt::Debug for FromCsv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl Default for FromCsv {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for FromCsv {
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
