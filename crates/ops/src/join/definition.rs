//! What a join is, the same in every epoch.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{Field, Schema, SchemaRef},
    common::{JoinSide, JoinType},
    error::{DataFusionError, Result},
    physical_expr::PhysicalExpr,
    physical_plan::joins::utils::{ColumnIndex, JoinFilter},
};
use headwater_state::{NullKeys, RowsSpec};

use super::range::Near;
use crate::expiry::Expiry;

/// A join of two streams.
///
/// The columns of each input are the keys, then whatever else of its rows is stored, then what only tells times.
#[derive(Debug, Clone)]
pub struct StreamJoin {
    /// The operator's id.
    pub operator: String,
    /// Inner, left, right, full or left semi.
    pub join_type: JoinType,
    /// Number of key columns, which lead the columns of both inputs and have the same types.
    pub keys: usize,
    /// Whether NULL in a key equals NULL.
    pub null_keys: NullKeys,
    /// The left and the right input.
    pub inputs: [JoinInput; 2],
    /// What else must hold of a pair; its columns are stored ones.
    pub filter: Option<JoinFilter>,
    /// The stored columns that come out, in order. Those of one input only in a semi join.
    pub output: Vec<ColumnIndex>,
    /// What comes out.
    pub schema: SchemaRef,
    /// How much further the rows that come out may lie behind the watermark than those that come in, in milliseconds.
    pub lag_millis: i64,
}

/// One input of a join.
#[derive(Debug, Clone, Default)]
pub struct JoinInput {
    /// Number of leading columns that are stored, keys included.
    pub stored: usize,
    /// When a stored row is removed; by column of the input.
    pub expiry: Option<Expiry>,
    /// Which stored rows of this input a row of the other one can match, by their expiry.
    pub near: Option<Near>,
    /// A condition on this input's rows alone: those that fail it match nothing and are not stored.
    pub own: Option<Arc<dyn PhysicalExpr>>,
    /// Minimum width of a time bucket of the state in milliseconds.
    pub bucket_millis: i64,
}

/// The number of a side in arrays of two.
pub(super) fn number(side: JoinSide) -> usize {
    usize::from(side == JoinSide::Right)
}

impl StreamJoin {
    /// Whether rows of a side come out without a match too.
    pub(super) fn keeps(&self, side: usize) -> bool {
        match self.join_type {
            JoinType::Full => true,
            JoinType::Left => side == 0,
            JoinType::Right => side == 1,
            _ => false,
        }
    }

    /// Which side's new rows are taken first. In a semi join the right ones are, so that a left row that they match need
    /// not be stored.
    pub(super) fn first(&self) -> usize {
        usize::from(self.join_type == JoinType::LeftSemi)
    }

    /// What is stored of a side whose input has the schema `input`.
    pub(super) fn spec(&self, side: usize, input: &Schema) -> RowsSpec {
        let columns = |from: usize, to: usize| {
            let fields = input.fields()[from..to].iter();
            let fields: Vec<Field> = fields
                .map(|field| Field::new(field.name(), field.data_type().clone(), true))
                .collect();
            Arc::new(Schema::new(fields))
        };
        let this = &self.inputs[side];
        RowsSpec {
            keys: columns(0, self.keys),
            values: columns(self.keys, this.stored),
            owner_columns: None,
            expires: this.expiry.is_some(),
            bucket_millis: this.bucket_millis,
            marks: self.keeps(side),
        }
    }

    /// Refuses what does not fit.
    pub(super) fn check(&self, inputs: [&SchemaRef; 2]) -> Result<()> {
        let wrong = |what: String| {
            Err(DataFusionError::Internal(format!(
                "join {}: {what}",
                self.operator
            )))
        };
        for (side, (input, schema)) in self.inputs.iter().zip(inputs).enumerate() {
            let columns = schema.fields().len();
            let times = input.expiry.map(|expiry| expiry.column);
            let near = self.inputs[1 - side].near.map(|near| near.other);
            if self.keys > input.stored
                || input.stored > columns
                || times
                    .into_iter()
                    .chain(near)
                    .any(|column| column >= columns)
            {
                return wrong(format!(
                    "input {side} has {columns} columns, which are too few"
                ));
            }
        }
        for key in 0..self.keys {
            let types = inputs.map(|input| input.field(key).data_type());
            if types[0] != types[1] {
                return wrong(format!(
                    "key {key} is {} on the left and {} on the right",
                    types[0], types[1]
                ));
            }
        }
        let filtered = self.filter.iter().flat_map(JoinFilter::column_indices);
        let is_stored =
            |column: &ColumnIndex| column.index < self.inputs[number(column.side)].stored;
        if !self.output.iter().chain(filtered).all(is_stored) {
            return wrong("a column that is needed is not stored".to_owned());
        }
        match self.join_type {
            JoinType::Inner
            | JoinType::Left
            | JoinType::Right
            | JoinType::Full
            | JoinType::LeftSemi => Ok(()),
            other => wrong(format!("two streams have no {other} join")),
        }
    }
}
