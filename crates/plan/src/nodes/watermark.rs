//! The watermark: which column is the event time, and how late a row may be.

use std::{collections::HashSet, fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{
        Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, col,
    },
    prelude::Column,
};
use headwater_core::{Delay, options::parse_micros};

use super::order_of_equals;

/// Marks a column as event time. Passes rows on unchanged.
///
/// Filters that do not use the event time are pushed below it by the optimiser, as recorded: rows they remove do not
/// advance the watermark. A filter on the event time stays above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WatermarkNode {
    pub(crate) input: LogicalPlan,
    pub(crate) column: Column,
    pub(crate) delay: Delay,
    /// Set when the plan is prepared to run; empty before.
    pub(crate) id: String,
}

order_of_equals!(WatermarkNode);

impl UserDefinedLogicalNodeCore for WatermarkNode {
    fn name(&self) -> &str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.column.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.column.name.clone()])
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Watermark: {} delay={}ms", self.column, self.delay.0)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(Expr::Column(column)), Some(input)) = (exprs.into_iter().next(), inputs.pop())
        else {
            return Err(DataFusionError::Internal(
                "a watermark needs one column and one input".to_owned(),
            ));
        };
        Ok(Self {
            input,
            column,
            ..self.clone()
        })
    }
}

/// Puts a watermark on `input`: `column` is the event time, rows may be `delay` late (`"10 minutes"`).
///
/// # Errors
/// A column that does not exist or is no timestamp, an interval that cannot be read or is negative.
pub fn with_watermark(input: LogicalPlan, column: &str, delay: &str) -> Result<LogicalPlan> {
    let millis = delay_millis(delay)?;
    watermark_node(input, col(column), Delay(millis))
}

/// Months count 31 days each, as recorded.
fn delay_millis(delay: &str) -> Result<i64> {
    const MONTH_MILLIS: i64 = 31 * 24 * 60 * 60 * 1_000;
    let text = delay.trim().to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut millis = 0_i64;
    let mut rest = Vec::new();
    let mut words = words.as_slice();
    while let [number, unit, tail @ ..] = words {
        let months = match *unit {
            "month" | "months" => 1,
            "year" | "years" => 12,
            _ => 0,
        };
        match (months, number.parse::<i64>()) {
            (1.., Ok(count)) => {
                millis = millis.saturating_add(count.saturating_mul(months * MONTH_MILLIS))
            }
            _ => rest.extend([*number, *unit]),
        }
        words = tail;
    }
    rest.extend(words);
    if !rest.is_empty() {
        let micros = parse_micros(&rest.join(" "))
            .map_err(|error| DataFusionError::Plan(error.message().to_owned()))?;
        millis = millis.saturating_add(micros / 1_000);
    }
    if millis < 0 {
        return Err(DataFusionError::Plan(format!(
            "the watermark delay '{delay}' is negative: write an interval of zero or more"
        )));
    }
    Ok(millis)
}

/// Puts a watermark on `input`. An expression that is no plain column is added to the columns under its alias.
///
/// # Errors
/// As [`with_watermark`].
pub fn watermark_node(input: LogicalPlan, column: Expr, delay: Delay) -> Result<LogicalPlan> {
    if delay.0 < 0 {
        return Err(DataFusionError::Plan(format!(
            "the watermark delay of {} ms is negative: write an interval of zero or more",
            delay.0
        )));
    }
    let (input, column) = match column {
        Expr::Column(column) => (input, column),
        Expr::Alias(alias) => {
            let mut columns: Vec<Expr> = input
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect();
            let name = alias.name.clone();
            columns.push(Expr::Alias(alias));
            let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
            (input, Column::from_name(name))
        }
        other => {
            return Err(DataFusionError::Plan(format!(
                "the event time '{other}' needs a name: write '{other} AS name'"
            )));
        }
    };
    let index = input.schema().index_of_column(&column)?;
    let (qualifier, field) = input.schema().qualified_field(index);
    let column = Column::new(qualifier.cloned(), field.name());
    if !matches!(field.data_type(), DataType::Timestamp(_, _)) {
        return Err(DataFusionError::Plan(format!(
            "the event time '{}' is {}, not a timestamp: cast it with to_timestamp first",
            field.name(),
            field.data_type()
        )));
    }
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(WatermarkNode {
            input,
            column,
            delay,
            id: String::new(),
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_delay_is_31_days() {
        assert_eq!(delay_millis("1 month").unwrap(), 31 * 86_400_000);
        assert_eq!(
            delay_millis("1 month 2 seconds").unwrap(),
            31 * 86_400_000 + 2_000
        );
        assert_eq!(delay_millis("10 seconds").unwrap(), 10_000);
        assert!(delay_millis("-5 seconds").is_err());
        assert!(delay_millis("soon").is_err());
    }
}
