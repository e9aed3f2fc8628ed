//! `to_json(value [, options])`: structs, arrays and maps as JSON.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, plan_err};

use super::write::{Writer, writable};
use crate::function::{Constants, Payload};
use crate::options::Options;
use crate::place::Place;
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
pub(super) struct ToJson {
    formats: TimeFormats,
    ignore_null_fields: bool,
}

impl Payload for ToJson {
    const NAME: &'static str = NAME;

    fn arguments(types: &[DataType]) -> Result<Vec<DataType>> {
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

    fn new([options, _]: Constants<'_>, zone: Zone) -> Result<Self> {
        let mut options = Options::of(NAME, options)?;
        let ignore_null_fields = options.flag("ignoreNullFields", true)?;
        let formats = options.formats(zone)?;
        options.finish(OPTIONS)?;
        Ok(Self {
            formats,
            ignore_null_fields,
        })
    }

    fn result(&self, nullable: bool) -> (DataType, bool) {
        (DataType::Utf8, nullable)
    }

    fn call(&self, values: &ArrayRef, _place: &Place) -> Result<ArrayRef> {
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
