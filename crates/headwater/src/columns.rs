//! Columns by name or by expression, wherever a frame takes columns.

use datafusion::{
    common::{Column, DFSchema},
    logical_expr::Expr,
    prelude::col,
};

/// Something that names a column or computes one: an [`Expr`], or a column's name.
///
/// A name is taken as it is if the frame has a column of exactly this name, and otherwise read the way
/// [`col`] reads it: `t.k` is column `k` of relation `t`, and letters count as lower case unless quoted.
pub trait IntoExpr {
    /// The expression over a frame of this schema.
    fn into_expr(self, schema: &DFSchema) -> Expr;
}

impl IntoExpr for Expr {
    fn into_expr(self, _schema: &DFSchema) -> Expr {
        self
    }
}

impl IntoExpr for &Expr {
    fn into_expr(self, _schema: &DFSchema) -> Expr {
        self.clone()
    }
}

impl IntoExpr for &str {
    fn into_expr(self, schema: &DFSchema) -> Expr {
        if schema.has_column_with_unqualified_name(self) {
            Expr::Column(Column::from_name(self))
        } else {
            col(self)
        }
    }
}

impl IntoExpr for String {
    fn into_expr(self, schema: &DFSchema) -> Expr {
        self.as_str().into_expr(schema)
    }
}

impl IntoExpr for &String {
    fn into_expr(self, schema: &DFSchema) -> Expr {
        self.as_str().into_expr(schema)
    }
}

/// Reads many at once.
pub(crate) fn expressions<I>(columns: I, schema: &DFSchema) -> Vec<Expr>
where
    I: IntoIterator,
    I::Item: IntoExpr,
{
    columns
        .into_iter()
        .map(|column| column.into_expr(schema))
        .collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_name_is_taken_as_it_is_before_it_is_read() {
        let schema = Schema::new(vec![Field::new("userId", DataType::Utf8, true)]);
        let schema = DFSchema::try_from(schema).expect("one column");
        assert_eq!(
            "userId".into_expr(&schema),
            Expr::Column(Column::from_name("userId"))
        );
        assert_eq!("t.K".into_expr(&schema), col("t.k"));
    }
}
