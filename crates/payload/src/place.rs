//! Which message a value comes from: topic, partition and offset, where the row has them.
//!
//! A function sees its arguments only. So a rule hands the columns to those functions that fail over a malformed message,
//! behind their own arguments, and an error names the message instead of a row of a batch.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use crate::{avro, csv, json};

/// The columns, as a source of messages has them.
const COLUMNS: [(&str, DataType); 3] = [
    ("topic", DataType::Utf8),
    ("partition", DataType::Int32),
    ("offset", DataType::Int64),
];
/// The most arguments that a function has of its own.
const MOST_OWN: usize = 3;

/// The function's own arguments, and those that [`PlaceOfMessages`] has added.
pub(crate) fn split<T>(args: &[T]) -> (&[T], &[T]) {
    let own = if args.len() > MOST_OWN {
        args.len().saturating_sub(COLUMNS.len())
    } else {
        args.len()
    };
    args.split_at(own)
}

/// The same of the types that a call was given. What does not have the types of the columns was not added.
pub(crate) fn split_types(types: &[DataType]) -> (&[DataType], &[DataType]) {
    let (own, place) = split(types);
    let fits = place
        .iter()
        .eq(COLUMNS.iter().map(|(_, data_type)| data_type));
    if fits { (own, place) } else { (types, &[]) }
}

/// Where the rows of a batch come from, if that is known.
#[derive(Debug, Default)]
pub(crate) struct Place {
    columns: Option<[ArrayRef; 3]>,
}

impl Place {
    /// What the arguments of a call tell.
    pub(crate) fn of(args: &ScalarFunctionArgs) -> Result<Self> {
        let (_, columns) = split(&args.args);
        // A constant is no message.
        let is_message = matches!(args.args.first(), Some(ColumnarValue::Array(_)));
        let [topic, partition, offset] = columns else {
            return Ok(Self::default());
        };
        let array = |column: &ColumnarValue| column.to_array(args.number_rows);
        let columns = [array(topic)?, array(partition)?, array(offset)?];
        Ok(Self {
            columns: is_message.then_some(columns),
        })
    }

    /// The name of a row, for errors.
    pub(crate) fn name(&self, row: usize) -> Name<'_> {
        Name { place: self, row }
    }
}

/// The name of a row.
#[derive(Debug)]
pub(crate) struct Name<'a> {
    place: &'a Place,
    row: usize,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row;
        match &self.place.columns {
            Some(columns @ [topic, partition, offset])
                if columns.iter().all(|it| row < it.len() && it.is_valid(row)) =>
            {
                write!(
                    f,
                    "topic '{}', partition {}, offset {}",
                    topic.as_string::<i32>().value(row),
                    partition.as_primitive::<Int32Type>().value(row),
                    offset.as_primitive::<Int64Type>().value(row)
                )
            }
            _ => write!(f, "row {row} of its batch"),
        }
    }
}

/// Adds topic, partition and offset to the calls of functions that may fail over a message, where the rows have them.
#[derive(Debug)]
pub struct PlaceOfMessages;

impl AnalyzerRule for PlaceOfMessages {
    fn name(&self) -> &str {
        "place_of_messages"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let analyzed = plan.transform_down_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.inputs();
            let Some(columns) = inputs.first().and_then(|input| columns_in(input.schema())) else {
                return Ok(Transformed::no(node));
            };
            let columns = columns.map(Expr::Column);
            let names = NamePreserver::new(&node);
            // Types and names stay, so the schema does.
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let placed = expr.transform_up(|expr| match expr {
                    Expr::ScalarFunction(mut call)
                        if may_fail(&call.func, call.args.len())
                            && is_beside(&call.args[0], &columns) =>
                    {
                        call.args.extend(columns.clone());
                        Ok(Transformed::yes(Expr::ScalarFunction(call)))
                    }
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(placed.update_data(|expr| name.restore(expr)))
            })
        });
        Ok(analyzed?.data)
    }
}

/// Whether a call of so many arguments may fail over a message: what is not said to fail is null, but for Avro.
fn may_fail(function: &Arc<ScalarUDF>, args: usize) -> bool {
    let has_options = args == MOST_OWN;
    let is = |other: Arc<ScalarUDF>| *function == other;
    match function.name() {
        "from_json" => has_options && is(json::from_json_udf()),
        "from_csv" => has_options && is(csv::from_csv_udf()),
        "from_avro" => args <= MOST_OWN && is(avro::from_avro_udf()),
        _ => false,
    }
}

/// Whether a value is made of columns that stand in the row with these: of the same relation, and of no other query.
fn is_beside(value: &Expr, columns: &[Expr; 3]) -> bool {
    let [Expr::Column(place), ..] = columns else {
        return false;
    };
    let used = value.column_refs();
    !used.is_empty()
        && !value.contains_outer()
        && used.iter().all(|column| column.relation == place.relation)
}

/// The columns in a schema, if all are there once and of one relation.
fn columns_in(schema: &DFSchema) -> Option<[Column; 3]> {
    let mut relation = None;
    let column = |(name, data_type): &(&str, DataType)| {
        let mut found = schema.iter().filter(|(_, field)| field.name() == name);
        let (qualifier, field) = found.next()?;
        let fits = found.next().is_none() && field.data_type() == data_type;
        let is_of_one = *relation.get_or_insert(qualifier) == qualifier;
        (fits && is_of_one).then(|| Column::from((qualifier, field)))
    };
    let columns: Option<Vec<Column>> = COLUMNS.iter().map(column).collect();
    columns?.try_into().ok()
}
