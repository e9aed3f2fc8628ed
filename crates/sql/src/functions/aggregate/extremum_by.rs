//! `max_by(value, order)` and `min_by(value, order)`: the value of the row with the greatest or least order.
//!
//! Rows without an order do not count; of equal ones the last to arrive wins. The state is the value and its order.

use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, make_comparator, new_empty_array};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::one_group::OneGroup;
use super::slots;

static MAX_BY: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| ExtremumBy::udaf(true));
static MIN_BY: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| ExtremumBy::udaf(false));

pub(super) fn max_by_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&MAX_BY)
}

pub(super) fn min_by_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&MIN_BY)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExtremumBy {
    max: bool,
    signature: Signature,
}

impl ExtremumBy {
    fn udaf(max: bool) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self {
            max,
            signature: Signature::any(2, Volatility::Immutable),
        }))
    }

    fn groups(&self, args: &AccumulatorArgs<'_>) -> Best {
        let data_type = |of: usize| args.expr_fields[of].data_type().clone();
        Best::new(self.max, data_type(0), data_type(1))
    }
}

impl AggregateUDFImpl for ExtremumBy {
    fn name(&self) -> &str {
        if self.max { "max_by" } else { "min_by" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.groups(&args))))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part: &str, of: usize| {
            Arc::new(Field::new(
                format!("{}[{part}]", args.name),
                args.input_fields[of].data_type().clone(),
                true,
            ))
        };
        Ok(vec![field("value", 0), field("order", 1)])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)))
    }
}

/// The best row of each group.
#[derive(Debug)]
pub(super) struct Best {
    max: bool,
    value_type: DataType,
    order_type: DataType,
    /// The best value and its order; `None` while no row had an order.
    best: Vec<Option<(ScalarValue, ScalarValue)>>,
}

impl Best {
    pub(super) fn new(max: bool, value_type: DataType, order_type: DataType) -> Self {
        Self {
            max,
            value_type,
            order_type,
            best: vec![],
        }
    }

    /// An array of no values.
    pub(super) fn empty(&self) -> ArrayRef {
        new_empty_array(&self.value_type)
    }

    /// Whether a row that comes later takes the place of an earlier one.
    fn replaces(&self, later_to_earlier: Ordering) -> bool {
        later_to_earlier == Ordering::Equal || (later_to_earlier == Ordering::Greater) == self.max
    }

    /// Takes rows in; `orders` decides. Nulls inside an order are below every value.
    pub(super) fn fold(
        &mut self,
        values: &ArrayRef,
        orders: &ArrayRef,
        groups: &[usize],
        total: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.best.resize(total, None);
        let compare = make_comparator(orders, orders, SortOptions::default())?;
        let nulls = orders.logical_nulls();
        // The best row of this batch for each group that it touches.
        let mut rows: Vec<Option<usize>> = vec![None; total];
        let mut touched = vec![];
        for (row, group) in groups.iter().enumerate() {
            let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if !wanted || nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                continue;
            }
            match rows[*group] {
                None => {
                    touched.push(*group);
                    rows[*group] = Some(row);
                }
                Some(known) if self.replaces(compare(row, known)) => rows[*group] = Some(row),
                Some(_) => {}
            }
        }
        // Compared as arrays, since scalars have no order for nulls inside structs.
        let known = slots::array(
            touched
                .iter()
                .map(|g| self.best[*g].as_ref().map(|(_, o)| o)),
            &self.order_type,
        )?;
        let compare = make_comparator(orders, &known, SortOptions::default())?;
        for (i, group) in touched.into_iter().enumerate() {
            let Some(row) = rows[group] else { continue };
            if self.best[group].is_none() || self.replaces(compare(row, i)) {
                let scalar = |array| {
                    Ok::<_, DataFusionError>(ScalarValue::try_from_array(array, row)?.compacted())
                };
                self.best[group] = Some((scalar(values)?, scalar(orders)?));
            }
        }
        Ok(())
    }
}

impl GroupsAccumulator for Best {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.fold(&values[0], &values[1], groups, total, filter)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let best = slots::take(&mut self.best, emit);
        slots::array(
            best.iter().map(|b| b.as_ref().map(|(value, _)| value)),
            &self.value_type,
        )
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let best = slots::take(&mut self.best, emit);
        Ok(vec![
            slots::array(
                best.iter().map(|b| b.as_ref().map(|(value, _)| value)),
                &self.value_type,
            )?,
            slots::array(
                best.iter().map(|b| b.as_ref().map(|(_, order)| order)),
                &self.order_type,
            )?,
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.fold(&states[0], &states[1], groups, total, None)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut one_each = Self::new(self.max, self.value_type.clone(), self.order_type.clone());
        if rows > 0 {
            one_each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        }
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let values: usize = self
            .best
            .iter()
            .flatten()
            .map(|(value, order)| value.size() + order.size())
            .sum();
        values + self.best.capacity() * size_of::<Option<(ScalarValue, ScalarValue)>>()
    }
}
