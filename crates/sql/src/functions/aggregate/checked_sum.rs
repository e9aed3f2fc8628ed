//! `sum` that fails where a sum of integers leaves the range of BIGINT, instead of wrapping around.
//!
//! Sums of other types are DataFusion's. The state is the sum itself, NULL while no value was seen.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::one_group::OneGroup;
use super::slots;

static SUM: LazyLock<Arc<AggregateUDF>> =
    LazyLock::new(|| Arc::new(AggregateUDF::from(CheckedSum { plain: Sum::new() })));

/// `sum(x)` that fails on overflow of BIGINT.
pub fn checked_sum_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&SUM)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    plain: Sum,
}

fn is_checked(args: &AccumulatorArgs<'_>) -> bool {
    args.return_field.data_type() == &DataType::Int64 && !args.is_distinct
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_checked(&args) {
            return Ok(Box::new(OneGroup::new(CheckedSums::default())));
        }
        self.plain.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.plain.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        is_checked(&args) || self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if is_checked(&args) {
            return Ok(Box::new(CheckedSums::default()));
        }
        self.plain.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.plain.create_sliding_accumulator(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.plain.coerce_types(arg_types)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug, Default)]
struct CheckedSums {
    sums: Vec<i64>,
    /// Whether the group had a value.
    seen: Vec<bool>,
}

impl CheckedSums {
    fn add(
        &mut self,
        values: &Int64Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let mut overflow = false;
        let mut add = |group: usize, value: i64| {
            let (sum, wrapped) = self.sums[group].overflowing_add(value);
            self.sums[group] = sum;
            self.seen[group] = true;
            overflow |= wrapped;
        };
        match (values.nulls(), filter) {
            (None, None) => {
                for (group, value) in groups.iter().zip(values.values()) {
                    add(*group, *value);
                }
            }
            (nulls, filter) => {
                for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
                    let valid = nulls.is_none_or(|n| n.is_valid(row));
                    let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
                    if valid && wanted {
                        add(*group, *value);
                    }
                }
            }
        }
        if overflow {
            return exec_err!(
                "[ARITHMETIC_OVERFLOW] sum() leaves the range of BIGINT: use try_sum to get NULL instead"
            );
        }
        Ok(())
    }
}

impl GroupsAccumulator for CheckedSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, 0);
        self.seen.resize(total, false);
        self.add(values[0].as_primitive::<Int64Type>(), groups, filter)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = slots::take(&mut self.sums, emit);
        let seen = slots::take(&mut self.seen, emit);
        Ok(Arc::new(Int64Array::new(
            sums.into(),
            Some(NullBuffer::from(seen)),
        )))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(values) = values.first() else {
            return Ok(vec![Arc::new(Int64Array::from(Vec::<i64>::new()))]);
        };
        let kept = match filter {
            // A filter that is null keeps nothing, like one that is false.
            Some(filter) => datafusion::arrow::compute::nullif(values, &inverted(filter))?,
            None => Arc::clone(values),
        };
        Ok(vec![kept])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.seen.capacity()
    }
}

/// True where the filter drops the row.
pub(super) fn inverted(filter: &BooleanArray) -> BooleanArray {
    filter.iter().map(|keep| Some(keep != Some(true))).collect()
}
