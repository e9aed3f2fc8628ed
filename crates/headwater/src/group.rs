//! Rows grouped by keys, waiting for what to compute per group.

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    functions_aggregate::expr_fn::{avg, count, max, min, sum},
    logical_expr::{Expr, utils::find_aggregate_exprs},
    prelude::lit,
};
use headwater_core::Result;

use crate::{
    columns::{IntoExpr, expressions},
    error::from_datafusion,
    frame::DataFrame,
};

/// The result of [`DataFrame::group_by`]: say with [`GroupedFrame::agg`] what to compute per group.
#[derive(Debug, Clone)]
#[must_use = "a grouped frame does nothing until it is aggregated"]
pub struct GroupedFrame {
    pub(crate) frame: DataFrame,
    pub(crate) keys: Vec<Expr>,
}

impl GroupedFrame {
    /// One row per group: the keys, then these expressions, which may compute with aggregates
    /// (`sum(col("v")) + count(lit(1))`).
    ///
    /// # Errors
    /// `Invalid` if a column does not exist or an expression is neither a key nor an aggregate.
    pub fn agg<I>(self, aggregates: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let wanted = expressions(aggregates, self.frame.schema());
        let aggregates = find_aggregate_exprs(&wanted);
        let grouped = self
            .frame
            .into_inner()
            .aggregate(self.keys, aggregates.clone())
            .map_err(from_datafusion)?;
        // Aggregates come last; before them stand the keys.
        let mut output: Vec<Expr> = grouped
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let computed = output.split_off(output.len().saturating_sub(aggregates.len()));
        for expr in wanted {
            output.push(on_aggregated(expr, &aggregates, &computed)?);
        }
        DataFrame::from(grouped).select(output)
    }

    /// As [`Self::agg`], each expression as SQL: `["count(*) AS n", "first_value(page ORDER BY time) AS first"]`.
    ///
    /// # Errors
    /// As [`Self::agg`], and `Invalid` if a text is no expression.
    pub fn agg_expr<I>(self, texts: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let aggregates = texts
            .into_iter()
            .map(|text| self.frame.expr(text.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        self.agg(aggregates)
    }

    /// Rows per group, as column `count`.
    pub fn count(self) -> Result<DataFrame> {
        self.agg([count(lit(1)).alias("count")])
    }

    /// Sum of each column per group, as `sum(column)`.
    pub fn sum<I>(self, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        self.each("sum", sum, columns)
    }

    /// Mean of each column per group, as `avg(column)`.
    pub fn avg<I>(self, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        self.each("avg", avg, columns)
    }

    /// The same as [`Self::avg`].
    pub fn mean<I>(self, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        self.avg(columns)
    }

    /// Smallest value of each column per group, as `min(column)`.
    pub fn min<I>(self, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        self.each("min", min, columns)
    }

    /// Largest value of each column per group, as `max(column)`.
    pub fn max<I>(self, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        self.each("max", max, columns)
    }

    fn each<I>(self, name: &str, function: fn(Expr) -> Expr, columns: I) -> Result<DataFrame>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let columns = expressions(columns, self.frame.schema());
        let aggregates: Vec<Expr> = columns
            .into_iter()
            .map(|column| {
                let shown = match &column {
                    Expr::Column(column) => column.name.clone(),
                    other => other.schema_name().to_string(),
                };
                function(column).alias(format!("{name}({shown})"))
            })
            .collect();
        self.agg(aggregates)
    }
}

/// Rewrites an expression over the input into one over the aggregated rows, keeping its name. `computed` are the
/// columns that hold the `aggregates`.
fn on_aggregated(expr: Expr, aggregates: &[Expr], computed: &[Expr]) -> Result<Expr> {
    let name = expr.schema_name().to_string();
    let rewritten = expr
        .transform_down(|expr| {
            let found = aggregates.iter().zip(computed);
            let mut found = found.filter(|(aggregate, _)| **aggregate == expr);
            Ok(match found.next() {
                Some((_, column)) => Transformed::complete(column.clone()),
                None => Transformed::no(expr),
            })
        })
        .map_err(from_datafusion)?
        .data;
    Ok(if rewritten.schema_name().to_string() == name {
        rewritten
    } else {
        rewritten.alias(name)
    })
}
