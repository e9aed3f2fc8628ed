//! What `from_json` and `from_csv` make of a message that is malformed: the same in both.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, plan_err};
use headwater_core::Error;

use crate::call::shortened;
use crate::column::{Column, unsupported};
use crate::options::{Mode, Options};
use crate::place::Name;

/// What to do about malformed messages, and where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformation {
    function: &'static str,
    mode: Mode,
    /// The place of the column that keeps them.
    corrupt: Option<usize>,
}

impl Malformation {
    /// From the options `mode` and `columnNameOfCorruptRecord`, for values of a type.
    ///
    /// # Errors
    /// When the column for malformed messages is no text, or named and not there.
    pub(crate) fn of(
        function: &'static str,
        options: &mut Options,
        data_type: &DataType,
    ) -> Result<Self> {
        let mode = options.mode(Mode::Permissive)?;
        let named = options.take("columnNameOfCorruptRecord");
        let name = named.as_deref().unwrap_or("_corrupt_record");
        let corrupt = match data_type {
            DataType::Struct(fields) => fields.iter().position(|field| field.name() == name),
            _ => None,
        };
        if let (DataType::Struct(fields), Some(place)) = (data_type, corrupt)
            && let Some(field) = fields.get(place)
            && *field.data_type() != DataType::Utf8
        {
            return plan_err!(
                "{function}: the column {name} keeps malformed messages and must be a STRING, found {}",
                field.data_type()
            );
        }
        Ok(Self {
            function,
            mode,
            corrupt,
        })
    }

    /// The places of the fields but the one that keeps malformed messages.
    pub(crate) fn other_places(&self, fields: usize) -> Vec<usize> {
        (0..fields)
            .filter(|place| Some(*place) != self.corrupt)
            .collect()
    }

    /// An empty column of what the messages become.
    ///
    /// # Errors
    /// When messages hold no values of a type, with the path to it.
    pub(crate) fn column(&self, data_type: &DataType) -> Result<Column> {
        let Some(mut column) = Column::of(data_type) else {
            let (path, found) =
                unsupported(data_type, "").unwrap_or_else(|| (String::new(), data_type.clone()));
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" for the field {path}")
            };
            return plan_err!(
                "{} makes no values of type {found}{place}: take a STRING and cast it, and STRING for the keys of maps",
                self.function
            );
        };
        if let (Column::Struct(structs), Some(place)) = (&mut column, self.corrupt) {
            structs.names.hide(place);
        }
        Ok(column)
    }

    /// Whether a malformed message is an error.
    pub(crate) fn fails(&self) -> bool {
        self.mode == Mode::FailFast
    }

    /// Deals with a message whose entry, the last of `column`, was added as far as it could be read.
    ///
    /// # Errors
    /// In mode FAILFAST: `problem`, and how to find the message.
    pub(crate) fn found(
        &self,
        place: Name<'_>,
        message: &[u8],
        problem: &dyn std::fmt::Display,
        column: &mut Column,
    ) -> Result<()> {
        if self.fails() {
            let error = Error::data(format!(
                "{}: the value of {place} is malformed: {problem} of {}; mode PERMISSIVE makes it null, and keeps it if the schema has a column _corrupt_record STRING",
                self.function,
                shortened(message)
            ));
            return Err(DataFusionError::External(Box::new(error)));
        }
        // Of a message without a byte there is nothing to keep.
        if let (Column::Struct(structs), Some(place), false) =
            (column, self.corrupt, message.is_empty())
        {
            let last = structs.len().saturating_sub(1);
            if let Some(column) = structs.columns.get_mut(place) {
                column.truncate(last);
                if let Column::Text(texts) = column {
                    let text = String::from_utf8_lossy(message);
                    texts.push(Some(text.as_bytes()));
                }
            }
        }
        Ok(())
    }
}
