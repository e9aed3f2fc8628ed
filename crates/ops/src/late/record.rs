//! What is recorded of a late row, where somebody wants to have it.
//!
//! A record has the columns of the operator's input row, as the user wrote them, and behind them the columns of
//! [`late_fields`]. All operators of a query write records of one schema: a column that an operator's input does not
//! have is null in its records.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray,
            TimestampMicrosecondArray, new_null_array,
        },
        compute::cast,
        datatypes::{
            DataType, Field, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
        },
    },
    error::{DataFusionError, Result},
};
use headwater_core::{Epoch, Watermark};

/// Which window a row was dropped from, by columns of the row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LateWindow<C> {
    /// None: the row is late by its own time.
    None,
    /// The one with this start and length.
    StartsAt {
        /// The column of the start.
        start: C,
        /// The length in microseconds.
        size_micros: i64,
    },
    /// The one between these two.
    Between {
        /// The column of the start.
        start: C,
        /// The column of the end.
        end: C,
    },
    /// A column that is a window: `{start, end}`.
    Whole(C),
}

impl<C> LateWindow<C> {
    /// The same window by other names of its columns.
    ///
    /// # Errors
    /// The first error of `rename`.
    pub fn map<D, E>(
        &self,
        mut rename: impl FnMut(&C) -> Result<D, E>,
    ) -> Result<LateWindow<D>, E> {
        Ok(match self {
            Self::None => LateWindow::None,
            Self::StartsAt { start, size_micros } => LateWindow::StartsAt {
                start: rename(start)?,
                size_micros: *size_micros,
            },
            Self::Between { start, end } => LateWindow::Between {
                start: rename(start)?,
                end: rename(end)?,
            },
            Self::Whole(window) => LateWindow::Whole(rename(window)?),
        })
    }

    /// Its columns.
    pub fn columns(&self) -> Vec<&C> {
        match self {
            Self::None => Vec::new(),
            Self::StartsAt { start, .. } => vec![start],
            Self::Between { start, end } => vec![start, end],
            Self::Whole(window) => vec![window],
        }
    }
}

/// What one late filter records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    /// Columns of the filter's input, with their names in the record.
    pub columns: Vec<(usize, String)>,
    /// The window that a row was dropped from.
    pub window: LateWindow<usize>,
    /// Which input of the operator it is, if it has several.
    pub input: Option<String>,
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of a record besides those of the row:
///
/// | column | |
/// | --- | --- |
/// | `late_operator` | id of the operator that dropped the row, as `explain` and state show it |
/// | `late_input` | `left` or `right` of a join, else null |
/// | `late_window_start`, `late_window_end` | the window (for sessions the interval that the row opens) that was closed; null where the row is late by its own time |
/// | `late_watermark` | the watermark that dropped the row |
/// | `late_epoch` | the epoch in which it came |
pub fn late_fields() -> Fields {
    Fields::from(vec![
        Field::new("late_operator", DataType::Utf8, false),
        Field::new("late_input", DataType::Utf8, true),
        Field::new("late_window_start", time_type(), true),
        Field::new("late_window_end", time_type(), true),
        Field::new("late_watermark", time_type(), false),
        Field::new("late_epoch", DataType::Int64, false),
    ])
}

/// The schema of records whose rows have the columns `row`.
pub fn record_schema(row: Vec<Field>) -> SchemaRef {
    let row = row.into_iter().map(Arc::new);
    let fields: Vec<_> = row.chain(late_fields().iter().cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// Makes records of the late rows of one filter.
#[derive(Debug)]
pub(super) struct Recorder {
    operator: String,
    row: LateRow,
    /// For each column of the row part of `schema` the column of the input that goes there.
    places: Vec<Option<usize>>,
    schema: SchemaRef,
}

impl Recorder {
    /// Records of the schema `schema`, which is one of [`record_schema`] and has all columns of `row`.
    pub(super) fn try_new(operator: String, row: LateRow, schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields();
        let (own, late) = fields.split_at(fields.len().saturating_sub(late_fields().len()));
        let places: Vec<Option<usize>> = own
            .iter()
            .map(|field| {
                let found = row.columns.iter().find(|(_, name)| name == field.name());
                found.map(|(column, _)| *column)
            })
            .collect();
        let found = places.iter().flatten().count();
        if late != late_fields().as_ref() || found != row.columns.len() {
            return Err(DataFusionError::Internal(format!(
                "late rows of {operator} do not fit their records"
            )));
        }
        Ok(Self {
            operator,
            row,
            places,
            schema,
        })
    }

    /// The records of rows that `watermark` dropped in `epoch`.
    pub(super) fn records(
        &self,
        rows: &RecordBatch,
        watermark: Watermark,
        epoch: Epoch,
    ) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let own = self.places.iter().zip(self.schema.fields());
        let mut columns = own
            .map(|(place, field)| match place {
                None => Ok(new_null_array(field.data_type(), count)),
                Some(place) => cast(rows.column(*place), field.data_type()),
            })
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        let (start, end) = self.bounds(rows)?;
        let watermark = watermark.millis().saturating_mul(1_000);
        let watermark = TimestampMicrosecondArray::from_value(watermark, count);
        let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        columns.extend([
            Arc::new(StringArray::from(vec![self.operator.as_str(); count])) as ArrayRef,
            Arc::new(StringArray::from(vec![self.row.input.as_deref(); count])),
            start,
            end,
            Arc::new(watermark.with_timezone("UTC")),
            Arc::new(Int64Array::from_value(epoch, count)),
        ]);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Start and end of the window of each row.
    fn bounds(&self, rows: &RecordBatch) -> Result<(ArrayRef, ArrayRef)> {
        let time = time_type();
        let micros = |column: &ArrayRef| cast(column, &time_type());
        Ok(match self.row.window {
            LateWindow::None => {
                let none = new_null_array(&time, rows.num_rows());
                (Arc::clone(&none), none)
            }
            LateWindow::StartsAt { start, size_micros } => {
                let start = micros(rows.column(start))?;
                let end = start
                    .as_primitive::<TimestampMicrosecondType>()
                    .unary::<_, TimestampMicrosecondType>(|start| {
                        start.saturating_add(size_micros)
                    });
                (start, Arc::new(end.with_data_type(time)))
            }
            LateWindow::Between { start, end } => {
                (micros(rows.column(start))?, micros(rows.column(end))?)
            }
            LateWindow::Whole(window) => {
                let whole = rows.column(window);
                let Some(members) = whole.as_struct_opt().map(|window| window.columns()) else {
                    return Err(DataFusionError::Internal(format!(
                        "a window has become {}",
                        whole.data_type()
                    )));
                };
                let [start, end] = members else {
                    return Err(DataFusionError::Internal(
                        "a window has no start and end".to_owned(),
                    ));
                };
                // Rows without a window are never late, so none of these is null.
                (micros(start)?, micros(end)?)
            }
        })
    }
}
