//! `from_csv(value, type [, options])`: lines of CSV as structs of a declared type.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, internal_err, plan_err};

use super::line::Punctuation;
use super::read::{Reader, Words};
use crate::call::{for_each_message, message_args, message_bytes, payload_type};
use crate::column::{Column, MOST_BYTES};
use crate::function::{Constants, Payload};
use crate::options::Options;
use crate::place::Place;
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
pub(super) struct FromCsv {
    data_type: DataType,
    malformation: Malformation,
    reader: Reader,
}

impl Payload for FromCsv {
    const NAME: &'static str = NAME;
    const READS_MESSAGES: bool = true;

    fn arguments(types: &[DataType]) -> Result<Vec<DataType>> {
        message_args(NAME, 2..=3, types)
    }

    fn new([data_type, options]: Constants<'_>, zone: Zone) -> Result<Self> {
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
                Err(problem) => {
                    self.malformation
                        .found(place.name(row), message, &problem, &mut column)
                }
            }
        })?;
        Ok(column.finish(&self.data_type)?)
    }
}
