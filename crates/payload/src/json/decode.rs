//! `from_json(value, type [, options])`: messages in JSON as columns of a declared type.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use super::read::Reader;
use super::scan::Syntax;
use crate::call::{for_each_message, is_text, message_args, message_bytes, payload_type};
use crate::column::MOST_BYTES;
use crate::function::{Constants, Payload};
use crate::options::Options;
use crate::place::Place;
use crate::record::Malformation;
use crate::time::formats::TimeFormats;
use crate::time::zone::Zone;

const NAME: &str = "from_json";

/// So many messages show how long the values of the others will be.
const SAMPLE: usize = 64;

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
pub(super) struct FromJson {
    data_type: DataType,
    malformation: Malformation,
    syntax: Syntax,
    formats: TimeFormats,
}

impl Payload for FromJson {
    const NAME: &'static str = NAME;
    const READS_MESSAGES: bool = true;

    fn arguments(types: &[DataType]) -> Result<Vec<DataType>> {
        message_args(NAME, 2..=3, types)
    }

    fn new([data_type, options]: Constants<'_>, zone: Zone) -> Result<Self> {
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

    fn result(&self, _nullable: bool) -> (DataType, bool) {
        (self.data_type.clone(), true)
    }

    fn tells_place(&self) -> bool {
        self.malformation.fails()
    }

    fn call(&self, messages: &ArrayRef, place: &Place) -> Result<ArrayRef> {
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
            if row == SAMPLE {
                column.expect(messages.len(), bytes);
            }
            let Some(message) = message else {
                column.push_null();
                return Ok(());
            };
            if !checked && let Err(error) = std::str::from_utf8(message) {
                column.push_malformed();
                let problem = format!("expected UTF-8 at byte {}", error.valid_up_to());
                return self
                    .malformation
                    .found(place.name(row), message, &problem, &mut column);
            }
            match reader.row(message, &mut column) {
                Ok(()) => Ok(()),
                Err(problem) => {
                    self.malformation
                        .found(place.name(row), message, &problem, &mut column)
                }
            }
        })?;
        Ok(column.finish(&self.data_type)?)
    }
}
