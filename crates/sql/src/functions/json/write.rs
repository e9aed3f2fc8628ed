//! `to_json`: structs, lists and maps as JSON. Fields of structs that are null are left out, as in Spark.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};

use super::value::quoted;
use crate::functions::cast::{cast_array, to_text};
use crate::functions::pattern::Pattern;
use crate::functions::scalar::timestamp;
use crate::functions::zone::Zone;

/// How timestamps are written, to the millisecond.
const TIME: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX";

/// The value in `row` as JSON.
pub(super) fn json(array: &ArrayRef, row: usize, zone: Zone) -> Result<String> {
    if array.is_null(row) {
        return Ok("null".to_owned());
    }
    Ok(match array.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut members = Vec::with_capacity(columns.len());
            for (field, column) in fields.iter().zip(columns) {
                if column.is_valid(row) && *column.data_type() != DataType::Null {
                    members.push(format!(
                        "{}:{}",
                        quoted(field.name()),
                        json(column, row, zone)?
                    ));
                }
            }
            format!("{{{}}}", members.join(","))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items = (0..items.len()).map(|item| json(&items, item, zone));
            format!("[{}]", items.collect::<Result<Vec<_>>>()?.join(","))
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let [keys, values] = entries.columns() else {
                return plan_err!("a map has keys and values");
            };
            let names = to_text(keys, zone)?;
            let names = names.as_string::<i32>();
            let members = (0..entries.len()).map(|entry| {
                Ok(format!(
                    "{}:{}",
                    quoted(names.value(entry)),
                    json(values, entry, zone)?
                ))
            });
            format!("{{{}}}", members.collect::<Result<Vec<_>>>()?.join(","))
        }
        _ => plain(&array.slice(row, 1), zone)?,
    })
}

/// The only value of `array`, which is not null.
fn plain(array: &ArrayRef, zone: Zone) -> Result<String> {
    let text = |array: &ArrayRef| -> Result<String> {
        Ok(to_text(array, zone)?.as_string::<i32>().value(0).to_owned())
    };
    Ok(match array.data_type() {
        DataType::Timestamp(_, own) => {
            let zone = if own.is_some() { zone } else { Zone::UTC };
            let instants = cast_array(array, &timestamp(), false, zone)?;
            let micros = instants
                .as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>()
                .value(0);
            quoted(&Pattern::new(TIME)?.format(micros, zone)?)
        }
        DataType::Float32 | DataType::Float64 => {
            let digits = text(array)?;
            let is_number = digits.ends_with(|c: char| c.is_ascii_digit());
            if is_number { digits } else { quoted(&digits) }
        }
        kind if kind.is_numeric() || *kind == DataType::Boolean => text(array)?,
        _ => quoted(&text(array)?),
    })
}
