//! Nested values as the texts that Spark shows: arrays, maps and structs in brackets.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::cast::to_text;
use super::zone::Zone;

/// The value in `row`, which is not null: `[1, null]`, `{a -> 1}`, `{1, x}` or the text of a plain value.
pub(crate) fn show(array: &ArrayRef, row: usize, zone: Zone) -> Result<String> {
    let all = |items: &ArrayRef| -> Result<Vec<String>> {
        (0..items.len())
            .map(|i| show_or_null(items, i, zone))
            .collect()
    };
    Ok(match array.data_type() {
        DataType::List(_) => format!("[{}]", all(&array.as_list::<i32>().value(row))?.join(", ")),
        DataType::LargeList(_) => {
            format!("[{}]", all(&array.as_list::<i64>().value(row))?.join(", "))
        }
        DataType::FixedSizeList(_, _) => format!(
            "[{}]",
            all(&array.as_fixed_size_list().value(row))?.join(", ")
        ),
        DataType::Struct(_) => {
            let fields = array
                .as_struct()
                .columns()
                .iter()
                .map(|column| show_or_null(column, row, zone))
                .collect::<Result<Vec<_>>>()?;
            format!("{{{}}}", fields.join(", "))
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (all(entries.column(0))?, all(entries.column(1))?);
            let pairs: Vec<String> = keys
                .iter()
                .zip(&values)
                .map(|(k, v)| format!("{k} -> {v}"))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => {
            let text = to_text(&array.slice(row, 1), zone)?;
            text.as_string::<i32>().value(0).to_owned()
        }
    })
}

fn show_or_null(array: &ArrayRef, row: usize, zone: Zone) -> Result<String> {
    if array.is_null(row) {
        Ok("null".to_owned())
    } else {
        show(array, row, zone)
    }
}
