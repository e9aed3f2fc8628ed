//! `min` and `max` by Spark's order: NaN above every other double, and inside structs and arrays NULL below every value.
//!
//! Types on whose order both engines agree are DataFusion's. The state is the least or greatest value so far.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::extremum_by::Best;
use super::one_group::OneGroup;
use super::slots;

static MAX: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    Arc::new(AggregateUDF::from(Extremum {
        max: true,
        plain: AggregateUDF::from(Max::new()),
    }))
});
static MIN: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    Arc::new(AggregateUDF::from(Extremum {
        max: false,
        plain: AggregateUDF::from(Min::new()),
    }))
});

pub(crate) fn max_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&MAX)
}

pub(crate) fn min_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&MIN)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extremum {
    max: bool,
    plain: AggregateUDF,
}

impl Extremum {
    /// The accumulator where the order is Spark's own.
    fn groups(&self, args: &AccumulatorArgs<'_>) -> Option<Own> {
        let max = self.max;
        match args.return_field.data_type() {
            DataType::Float64 => {
                let wins: fn(f64, f64) -> bool = if max { above } else { |a, b| above(b, a) };
                Some(Own::Double(Floats::new(wins)))
            }
            DataType::Float32 => {
                let up: fn(f32, f32) -> bool = |a, b| above(a.into(), b.into());
                let down: fn(f32, f32) -> bool = |a, b| above(b.into(), a.into());
                Some(Own::Float(Floats::new(if max { up } else { down })))
            }
            DataType::Struct(_) | DataType::List(_) => {
                let data_type = args.return_field.data_type();
                Some(Own::Struct(Best::new(
                    max,
                    data_type.clone(),
                    data_type.clone(),
                )))
            }
            _ => None,
        }
    }
}

/// Whether `a` is greater, NaN being the greatest.
fn above(a: f64, b: f64) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

impl AggregateUDFImpl for Extremum {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.plain.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(match self.groups(&args) {
            Some(Own::Double(groups)) => Box::new(OneGroup::new(groups)),
            Some(Own::Float(groups)) => Box::new(OneGroup::new(groups)),
            Some(Own::Struct(groups)) => Box::new(OneGroup::new(Structs(groups))),
            None => self.plain.accumulator(args)?,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.plain.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.groups(&args).is_some() || self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match self.groups(&args) {
            Some(Own::Double(groups)) => Box::new(groups),
            Some(Own::Float(groups)) => Box::new(groups),
            Some(Own::Struct(groups)) => Box::new(Structs(groups)),
            None => self.plain.create_groups_accumulator(args)?,
        })
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.plain.create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

enum Own {
    Double(Floats<Float64Type>),
    Float(Floats<Float32Type>),
    Struct(Best),
}

#[derive(Debug)]
struct Floats<T: ArrowPrimitiveType> {
    /// Whether the first value takes the place of the second.
    wins: fn(T::Native, T::Native) -> bool,
    values: Vec<T::Native>,
    seen: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Floats<T> {
    fn new(wins: fn(T::Native, T::Native) -> bool) -> Self {
        Self {
            wins,
            values: vec![],
            seen: vec![],
        }
    }
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for Floats<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.values.resize(total, T::default_value());
        self.seen.resize(total, false);
        let values = values[0].as_primitive::<T>();
        let nulls = values.nulls();
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            let valid = nulls.is_none_or(|n| n.is_valid(row));
            let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if valid && wanted && (!self.seen[*group] || (self.wins)(*value, self.values[*group])) {
                self.values[*group] = *value;
                self.seen[*group] = true;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let values = slots::take(&mut self.values, emit);
        let seen = slots::take(&mut self.seen, emit);
        Ok(Arc::new(PrimitiveArray::<T>::new(
            values.into(),
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
        let rows = values.first().map_or(0, |v| v.len());
        let mut one_each = Self::new(self.wins);
        if rows > 0 {
            one_each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        }
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}

/// The extremum of `x` is the value by which `x` is extreme: itself.
#[derive(Debug)]
struct Structs(Best);

impl GroupsAccumulator for Structs {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.fold(&values[0], &values[0], groups, total, filter)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.0.evaluate(emit)?])
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
            return Ok(vec![self.0.empty()]);
        };
        let kept = match filter {
            Some(filter) => {
                datafusion::arrow::compute::nullif(values, &super::checked_sum::inverted(filter))?
            }
            None => Arc::clone(values),
        };
        Ok(vec![kept])
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
