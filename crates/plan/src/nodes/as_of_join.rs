//! The AS OF join: to each row the nearest row of a table.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, JoinType, Result},
    logical_expr::{
        Expr, Extension, LogicalPlan, Operator, UserDefinedLogicalNodeCore,
        logical_plan::builder::build_join_schema,
    },
};

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AsOfJoinNode {
    pub(crate) left: LogicalPlan,
    /// The table.
    pub(crate) right: LogicalPlan,
    pub(crate) as_of: AsOf,
    schema: DFSchemaRef,
}

/// Which row of the table goes with a row; of all pairs of expressions the first is over the left columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AsOf {
    /// Inner or left.
    pub(crate) join_type: JoinType,
    /// What is equal.
    pub(crate) keys: Vec<(Expr, Expr)>,
    /// What is compared.
    pub(crate) place: (Expr, Expr),
    /// `>=`, `>`, `<=` or `<`, left against right.
    pub(crate) comparison: Operator,
    /// How far away the row may be.
    pub(crate) within_micros: Option<i64>,
}

order_of_equals!(AsOfJoinNode);

impl AsOfJoinNode {
    pub(crate) fn try_new(left: LogicalPlan, right: LogicalPlan, as_of: AsOf) -> Result<Self> {
        let schema = build_join_schema(left.schema(), right.schema(), &as_of.join_type)?;
        Ok(Self {
            left,
            right,
            as_of,
            schema: Arc::new(schema),
        })
    }

    pub(crate) fn plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension {
            node: Arc::new(self),
        })
    }

    fn pairs(&self) -> impl Iterator<Item = &(Expr, Expr)> {
        [&self.as_of.place].into_iter().chain(&self.as_of.keys)
    }
}

impl UserDefinedLogicalNodeCore for AsOfJoinNode {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.pairs()
            .flat_map(|(left, right)| [left.clone(), right.clone()])
            .collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let of_left = output_columns.iter().filter(|column| **column < width);
        let of_right = output_columns.iter().filter_map(|c| c.checked_sub(width));
        let mut columns = [of_left.copied().collect(), of_right.collect::<Vec<_>>()];
        for (left, right) in self.pairs() {
            for ((expr, input), columns) in [(left, &self.left), (right, &self.right)]
                .into_iter()
                .zip(&mut columns)
            {
                let used = expr.column_refs();
                let used = used.iter().map(|c| input.schema().index_of_column(c).ok());
                columns.extend(used.flatten());
            }
        }
        for columns in &mut columns {
            columns.sort_unstable();
            columns.dedup();
        }
        Some(columns.into())
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let AsOf {
            join_type,
            keys,
            place: (left, right),
            comparison,
            within_micros,
        } = &self.as_of;
        write!(f, "AsOfJoin: {join_type} {left} {comparison} {right}")?;
        for (left, right) in keys {
            write!(f, " AND {left} = {right}")?;
        }
        match within_micros {
            Some(micros) => write!(f, " within {micros} us"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let wrong = || {
            DataFusionError::Internal("an AS OF join needs two inputs and its expressions".into())
        };
        let [left, right] = <[_; 2]>::try_from(inputs).map_err(|_| wrong())?;
        let mut exprs = exprs.into_iter();
        let mut pair = || exprs.next().zip(exprs.next()).ok_or_else(wrong);
        let as_of = AsOf {
            place: pair()?,
            keys: self
                .as_of
                .keys
                .iter()
                .map(|_| pair())
                .collect::<Result<_>>()?,
            ..self.as_of.clone()
        };
        Self::try_new(left, right, as_of)
    }
}
