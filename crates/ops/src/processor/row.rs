//! Rows of state and output as user code sees them: one Arrow value per column, or a tuple of Rust values.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, new_empty_array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    scalar::ScalarValue,
};
use headwater_core::{Error, Result};

/// One Arrow value per column.
pub type Row = Vec<ScalarValue>;

/// Something that is a row: a [`Row`], or a tuple of up to eight values.
pub trait IntoRow {
    /// One value per column.
    fn into_row(self) -> Row;
}

/// What a row can be read as: a [`Row`], or a tuple of up to eight values.
pub trait FromRow: Sized {
    /// Reads a row.
    ///
    /// # Errors
    /// `Invalid` if it has another number of columns, or one of them another type; a NULL is read as an [`Option`].
    fn from_row(row: &[ScalarValue]) -> Result<Self>;
}

/// A Rust value that is an Arrow value: integers, floats, `bool`, text, [`ScalarValue`] itself, and options of these.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> ScalarValue;
}

/// A Rust value that an Arrow value can be read as.
pub trait FromValue: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// `Invalid` if it is of another type, or NULL where that cannot be.
    fn from_value(value: &ScalarValue) -> Result<Self>;
}

impl IntoRow for Row {
    fn into_row(self) -> Row {
        self
    }
}

impl IntoRow for &Row {
    fn into_row(self) -> Row {
        self.clone()
    }
}

impl FromRow for Row {
    fn from_row(row: &[ScalarValue]) -> Result<Self> {
        Ok(row.to_vec())
    }
}

impl IntoValue for ScalarValue {
    fn into_value(self) -> ScalarValue {
        self
    }
}

impl FromValue for ScalarValue {
    fn from_value(value: &ScalarValue) -> Result<Self> {
        Ok(value.clone())
    }
}

impl IntoValue for &str {
    fn into_value(self) -> ScalarValue {
        ScalarValue::from(self)
    }
}

impl<T: IntoValue + Primitive> IntoValue for Option<T> {
    fn into_value(self) -> ScalarValue {
        self.map_or_else(T::null, IntoValue::into_value)
    }
}

impl<T: FromValue + Primitive> FromValue for Option<T> {
    fn from_value(value: &ScalarValue) -> Result<Self> {
        match value.is_null() {
            true => Ok(None),
            false => T::from_value(value).map(Some),
        }
    }
}

/// A Rust type that says which NULL it is.
pub trait Primitive {
    /// NULL of this type.
    fn null() -> ScalarValue;
}

fn unreadable(value: &ScalarValue, wanted: &str) -> Error {
    let found = match value.is_null() {
        true => "NULL".to_owned(),
        false => format!("{value} of type {}", value.data_type()),
    };
    Error::invalid(format!(
        "{found} was read as {wanted}: read it as the type that it was declared with, or as Option<{wanted}> if it may \
         be NULL"
    ))
}

macro_rules! primitive {
    ($($kind:ty => $variant:ident),+ $(,)?) => {$(
        impl Primitive for $kind {
            fn null() -> ScalarValue {
                ScalarValue::$variant(None)
            }
        }

        impl IntoValue for $kind {
            fn into_value(self) -> ScalarValue {
                ScalarValue::$variant(Some(self))
            }
        }

        impl FromValue for $kind {
            fn from_value(value: &ScalarValue) -> Result<Self> {
                match value {
                    ScalarValue::$variant(Some(value)) => Ok(value.clone()),
                    other => Err(unreadable(other, stringify!($kind))),
                }
            }
        }
    )+};
}

primitive! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    f32 => Float32, f64 => Float64, bool => Boolean,
}

impl Primitive for String {
    fn null() -> ScalarValue {
        ScalarValue::Utf8(None)
    }
}

impl IntoValue for String {
    fn into_value(self) -> ScalarValue {
        ScalarValue::Utf8(Some(self))
    }
}

impl FromValue for String {
    fn from_value(value: &ScalarValue) -> Result<Self> {
        match value.try_as_str() {
            Some(Some(text)) => Ok(text.to_owned()),
            _ => Err(unreadable(value, "String")),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),+))+) => {$(
        impl<$($name: IntoValue),+> IntoRow for ($($name,)+) {
            fn into_row(self) -> Row {
                vec![$(self.$at.into_value()),+]
            }
        }

        impl<$($name: FromValue),+> FromRow for ($($name,)+) {
            fn from_row(row: &[ScalarValue]) -> Result<Self> {
                let wanted = [$(stringify!($at)),+].len();
                if row.len() != wanted {
                    return Err(Error::invalid(format!(
                        "a row of {} columns was read as a tuple of {wanted}",
                        row.len()
                    )));
                }
                Ok(($($name::from_value(&row[$at])?,)+))
            }
        }
    )+};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// Brings a row to the types of its columns: an untyped NULL becomes one of the column's type, text of one Arrow layout
/// text of another. Anything else must be of the type declared.
pub(super) fn fitted(row: Row, columns: &Schema, what: &str) -> Result<Row> {
    let fields = columns.fields();
    if row.len() != fields.len() {
        return Err(Error::invalid(format!(
            "{what} has {} columns, a row of {} was given",
            fields.len(),
            row.len()
        )));
    }
    row.into_iter()
        .zip(fields)
        .map(|(value, field)| fitted_value(value, field, what))
        .collect()
}

fn fitted_value(value: ScalarValue, field: &Field, what: &str) -> Result<ScalarValue> {
    let wanted = field.data_type();
    let mismatch = |value: &ScalarValue| {
        Error::invalid(format!(
            "column '{}' of {what} is declared as {wanted}, the value {value} is {}",
            field.name(),
            value.data_type()
        ))
    };
    if value.is_null() {
        if !field.is_nullable() {
            return Err(Error::invalid(format!(
                "column '{}' of {what} is declared as NOT NULL, a NULL was given",
                field.name()
            )));
        }
        return ScalarValue::try_from(wanted).map_err(|_| mismatch(&value));
    }
    if value.data_type() == *wanted {
        return Ok(value);
    }
    let is_text = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let same_instants = matches!(
        (&value.data_type(), wanted),
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) if a == b
    );
    if same_instants || is_text(&value.data_type()) && is_text(wanted) {
        return value.cast_to(wanted).map_err(|_| mismatch(&value));
    }
    Err(mismatch(&value))
}

/// Rows as columns of these types.
pub(super) fn columns_of(rows: Vec<Row>, columns: &Schema) -> Result<Vec<ArrayRef>> {
    let count = rows.len();
    let fields = columns.fields();
    let mut by_column: Vec<Vec<ScalarValue>> =
        fields.iter().map(|_| Vec::with_capacity(count)).collect();
    for row in rows {
        for (column, value) in by_column.iter_mut().zip(row) {
            column.push(value);
        }
    }
    by_column
        .into_iter()
        .zip(fields)
        .map(|(values, field)| match values.is_empty() {
            true => Ok(new_empty_array(field.data_type())),
            false => ScalarValue::iter_to_array(values).map_err(crate::runtime::from_datafusion),
        })
        .collect()
}

/// The row at `at` of some columns.
pub(super) fn row_at(columns: &[ArrayRef], at: usize) -> Result<Row> {
    columns
        .iter()
        .map(|column| {
            ScalarValue::try_from_array(column, at).map_err(crate::runtime::from_datafusion)
        })
        .collect()
}

/// The same columns, all nullable: what is stored, whatever the declaration promises.
pub(super) fn nullable(fields: impl IntoIterator<Item = Arc<Field>>) -> SchemaRef {
    let fields = fields
        .into_iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use headwater_core::ErrorKind;

    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_given() {
        let row = (1_i64, "a", Some(2.5_f64), None::<bool>).into_row();
        let read: (i64, String, Option<f64>, Option<bool>) = FromRow::from_row(&row).unwrap();
        assert_eq!(read, (1, "a".to_owned(), Some(2.5), None));
    }

    #[test]
    fn a_wrong_type_or_width_is_refused_with_both_named() {
        let columns = Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("t", DataType::Utf8View, true),
        ]);
        let refused = |row: Row| {
            let error = fitted(row, &columns, "state 'c'").expect_err("it does not fit");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            error.to_string()
        };
        assert!(refused((1_i64,).into_row()).contains("has 2 columns, a row of 1"));
        assert!(
            refused(("x", "y").into_row())
                .contains("column 'n' of state 'c' is declared as Int64, the value x is Utf8")
        );
        assert!(refused((None::<i64>, "y").into_row()).contains("NOT NULL"));
        let fits = fitted((1_i64, "y").into_row(), &columns, "state 'c'").unwrap();
        assert_eq!(fits[1], ScalarValue::Utf8View(Some("y".to_owned())));
        assert!(<(i64, i64)>::from_row(&(1_i64, "x").into_row()).is_err());
    }
}
