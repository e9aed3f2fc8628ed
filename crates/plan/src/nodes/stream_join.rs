//! The join of two streams, which keeps rows of both sides until no match can come any more.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, JoinType, NullEquality, Result},
    logical_expr::{
        Expr, LogicalPlan, UserDefinedLogicalNodeCore, logical_plan::builder::build_join_schema,
    },
    prelude::Column,
};

use super::order_of_equals;
use crate::join::SideTimes;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StreamJoinNode {
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
    /// Inner, left, right, full or left semi.
    pub(crate) join_type: JoinType,
    /// Expressions over the left and the right input that are equal in a match.
    pub(crate) keys: Vec<(Expr, Expr)>,
    pub(crate) null_equality: NullEquality,
    /// What else must hold of a match.
    pub(crate) filter: Option<Expr>,
    pub(crate) id: String,
    /// What event time does to the left and the right side. Columns are by name, the optimiser may remove others.
    pub(crate) times: [SideTimes; 2],
    /// How much further the rows that come out may lie behind the watermark than those that come in, in microseconds.
    pub(crate) lag_micros: i64,
    schema: DFSchemaRef,
}

order_of_equals!(StreamJoinNode);

/// A [`StreamJoinNode`] to be.
pub(crate) struct StreamJoin {
    pub(crate) join_type: JoinType,
    pub(crate) keys: Vec<(Expr, Expr)>,
    pub(crate) null_equality: NullEquality,
    pub(crate) filter: Option<Expr>,
    pub(crate) id: String,
    pub(crate) times: [SideTimes; 2],
    pub(crate) lag_micros: i64,
}

impl StreamJoinNode {
    pub(crate) fn try_new(left: LogicalPlan, right: LogicalPlan, join: StreamJoin) -> Result<Self> {
        let schema = build_join_schema(left.schema(), right.schema(), &join.join_type)?;
        Ok(Self {
            left,
            right,
            join_type: join.join_type,
            keys: join.keys,
            null_equality: join.null_equality,
            filter: join.filter,
            id: join.id,
            times: join.times,
            lag_micros: join.lag_micros,
            schema: Arc::new(schema),
        })
    }

    /// Columns of `input` that the node itself needs of its side number `side`.
    fn needed(&self, side: usize, input: &LogicalPlan) -> Vec<usize> {
        let keys = self.keys.iter().map(|(left, right)| match side {
            0 => left,
            _ => right,
        });
        let expressions = keys.chain(&self.filter);
        let mut columns: Vec<Column> = expressions
            .flat_map(|expr| expr.column_refs().into_iter().cloned().collect::<Vec<_>>())
            .collect();
        let expires = self.times[side].expires.iter();
        columns.extend(expires.map(|spot| spot.column.clone()));
        columns.extend(
            self.times[1 - side]
                .near
                .iter()
                .map(|near| near.other.clone()),
        );
        // A column of the other side is none of this.
        columns
            .iter()
            .filter_map(|column| input.schema().maybe_index_of_column(column))
            .collect()
    }
}

impl UserDefinedLogicalNodeCore for StreamJoinNode {
    fn name(&self) -> &str {
        "StreamJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().flat_map(|(l, r)| [l.clone(), r.clone()]);
        keys.chain(self.filter.clone()).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_columns = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output_columns
            .iter()
            .partition(|column| **column < left_columns);
        let right = right.into_iter().map(|column| column - left_columns);
        let mut left = left;
        let mut right: Vec<usize> = right.collect();
        left.extend(self.needed(0, &self.left));
        right.extend(self.needed(1, &self.right));
        for columns in [&mut left, &mut right] {
            columns.sort_unstable();
            columns.dedup();
        }
        Some(vec![left, right])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "StreamJoin: {} {} on ", self.join_type, self.id)?;
        for (number, (left, right)) in self.keys.iter().enumerate() {
            let and = if number > 0 { " AND " } else { "" };
            write!(f, "{and}{left} = {right}")?;
        }
        match &self.filter {
            Some(filter) => write!(f, " filter {filter}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let wrong = || DataFusionError::Internal("a join needs two inputs and its keys".to_owned());
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right), None) = (inputs.next(), inputs.next(), inputs.next()) else {
            return Err(wrong());
        };
        let mut exprs = exprs.into_iter();
        let mut keys = Vec::with_capacity(self.keys.len());
        for _ in &self.keys {
            keys.push(exprs.next().zip(exprs.next()).ok_or_else(wrong)?);
        }
        let join = StreamJoin {
            join_type: self.join_type,
            keys,
            null_equality: self.null_equality,
            filter: exprs.next(),
            id: self.id.clone(),
            times: self.times.clone(),
            lag_micros: self.lag_micros,
        };
        Self::try_new(left, right, join)
    }
}
