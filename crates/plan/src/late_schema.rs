//! The columns of late rows: one schema for all operators of a query.
//!
//! If all operators have the same input columns, a record has these; otherwise those of all of them, by name, with null
//! where an operator's input has no such column. Behind them come the columns of
//! [`headwater_ops::late::late_fields`].

use datafusion::arrow::datatypes::{Field, SchemaRef};
use headwater_core::{Error, Result};
use headwater_ops::late::{late_fields, record_schema};

/// One input of an operator that drops late rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LateInput {
    /// The operator's id.
    pub(crate) operator: String,
    /// Which input of the operator it is, if it has several.
    pub(crate) side: Option<&'static str>,
    /// The columns of its rows.
    pub(crate) fields: Vec<Field>,
}

impl LateInput {
    fn label(&self) -> String {
        match self.side {
            None => format!("the input of {}", self.operator),
            Some(side) => format!("the {side} input of {}", self.operator),
        }
    }
}

/// The schema of the records of all late rows of a query.
///
/// # Errors
/// `Invalid` for a column that has two types, or the name of one that every record has.
pub(crate) fn late_schema(inputs: &[LateInput]) -> Result<SchemaRef> {
    let mut columns: Vec<(Field, &LateInput)> = Vec::new();
    for input in inputs {
        for field in &input.fields {
            if late_fields().iter().any(|late| late.name() == field.name()) {
                return Err(Error::invalid(format!(
                    "late rows have a column '{0}' of their own, and {1} has one too: rename it below the operator, \
                     for instance select {0} AS {0}_before",
                    field.name(),
                    input.label(),
                )));
            }
            match columns
                .iter()
                .find(|(known, _)| known.name() == field.name())
            {
                None => columns.push((field.clone(), input)),
                Some((known, _)) if known.data_type() == field.data_type() => {}
                Some((known, first)) => {
                    return Err(Error::invalid(format!(
                        "late rows of all operators go to one sink, but the column '{}' is {} in {} and {} in {}: \
                         rename one of them below its operator, or cast it to the other's type",
                        field.name(),
                        known.data_type(),
                        first.label(),
                        field.data_type(),
                        input.label(),
                    )));
                }
            }
        }
    }
    let columns = columns.into_iter().map(|(field, _)| field);
    Ok(record_schema(columns.collect()))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    fn input(operator: &str, side: Option<&'static str>, fields: &[(&str, DataType)]) -> LateInput {
        let fields = fields.iter();
        LateInput {
            operator: operator.to_owned(),
            side,
            fields: fields
                .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                .collect(),
        }
    }

    fn names(schema: &SchemaRef) -> Vec<&str> {
        let fields = schema.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    const LATE: [&str; 6] = [
        "late_operator",
        "late_input",
        "late_window_start",
        "late_window_end",
        "late_watermark",
        "late_epoch",
    ];

    #[test]
    fn columns_of_all_operators_come_by_name() {
        let schema = late_schema(&[
            input(
                "aggregate-0",
                None,
                &[("k", DataType::Utf8), ("n", DataType::Int64)],
            ),
            input(
                "join-1",
                Some("left"),
                &[("k", DataType::Utf8), ("v", DataType::Int64)],
            ),
            input("join-1", Some("right"), &[("w", DataType::Int64)]),
        ])
        .unwrap();
        assert_eq!(names(&schema)[..4], ["k", "n", "v", "w"]);
        assert_eq!(names(&schema)[4..], LATE);
        assert_eq!(names(&late_schema(&[]).unwrap()), LATE);
    }

    #[test]
    fn a_column_of_two_types_or_of_a_name_that_is_taken_is_refused() {
        let error = late_schema(&[
            input("aggregate-0", None, &[("v", DataType::Int64)]),
            input("join-1", Some("left"), &[("v", DataType::Utf8)]),
        ]);
        assert_eq!(
            error.expect_err("two types").message(),
            "late rows of all operators go to one sink, but the column 'v' is Int64 in the input of aggregate-0 and \
             Utf8 in the left input of join-1: rename one of them below its operator, or cast it to the other's type"
        );
        let taken = input("dedup-0", None, &[("late_epoch", DataType::Int64)]);
        let error = late_schema(&[taken]).expect_err("a name that is taken");
        assert!(
            error.message().contains("the input of dedup-0 has one too"),
            "{error}"
        );
    }
}
