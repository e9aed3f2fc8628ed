//! `avg` of decimals, rounded half away from zero at the four digits it adds; DataFusion's cuts them off.
//!
//! Averages of other types are DataFusion's. The state is the count and the sum.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, Decimal128Array, PrimitiveArray,
    UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, UInt64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, internal_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::one_group::OneGroup;
use super::slots;

static AVG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    Arc::new(AggregateUDF::from(DecimalAvg {
        plain: AggregateUDF::from(Avg::new()),
        aliases: vec!["mean".to_owned(), "try_avg".to_owned()],
    }))
});

pub(crate) fn avg_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&AVG)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalAvg {
    plain: AggregateUDF,
    aliases: Vec<String>,
}

/// Precision and scale of the sums of decimals of this type.
fn sum_type(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            Some((precision.saturating_add(10).min(38), *scale))
        }
        _ => None,
    }
}

/// The accumulator for an average of `Decimal128`.
fn averages(args: &AccumulatorArgs<'_>) -> Option<Averages> {
    let sum_type = sum_type(args.expr_fields.first()?.data_type())?;
    match args.return_field.data_type() {
        DataType::Decimal128(precision, scale) if !args.is_distinct => Some(Averages {
            sum_type,
            result_type: (*precision, *scale),
            sums: vec![],
            counts: vec![],
        }),
        _ => None,
    }
}

impl AggregateUDFImpl for DecimalAvg {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
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
        match averages(&args) {
            Some(averages) => Ok(Box::new(OneGroup::new(averages))),
            None => self.plain.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if let (Some((precision, scale)), false) =
            (sum_type(args.input_fields[0].data_type()), args.is_distinct)
        {
            let sum = DataType::Decimal128(precision, scale);
            return Ok(vec![
                Arc::new(Field::new(
                    format!("{}[count]", args.name),
                    DataType::UInt64,
                    true,
                )),
                Arc::new(Field::new(format!("{}[sum]", args.name), sum, true)),
            ]);
        }
        self.plain.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        averages(&args).is_some() || self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match averages(&args) {
            Some(averages) => Ok(Box::new(averages)),
            None => self.plain.create_groups_accumulator(args),
        }
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

#[derive(Debug)]
struct Averages {
    /// Precision and scale of the sums.
    sum_type: (u8, i8),
    result_type: (u8, i8),
    sums: Vec<i128>,
    counts: Vec<u64>,
}

impl Averages {
    fn add(&mut self, group: usize, sum: i128, count: u64) -> Result<()> {
        match self.sums[group].add_checked(sum) {
            Ok(total) => self.sums[group] = total,
            Err(_) => {
                return exec_err!(
                    "[ARITHMETIC_OVERFLOW] avg() of decimals overflows: use try_avg to get NULL instead"
                );
            }
        }
        self.counts[group] += count;
        Ok(())
    }

    fn average(&self, sum: i128, count: u64) -> Result<Option<i128>> {
        if count == 0 {
            return Ok(None);
        }
        let digits = u32::try_from(self.result_type.1 - self.sum_type.1).unwrap_or(0);
        let scaled = sum.checked_mul(10i128.pow(digits)).ok_or_else(|| {
            exec_datafusion_err!("[ARITHMETIC_OVERFLOW] avg() of decimals overflows")
        })?;
        let count = i128::from(count);
        let (quotient, rest) = (scaled / count, scaled % count);
        Ok(Some(if rest.abs() * 2 >= count {
            quotient + scaled.signum()
        } else {
            quotient
        }))
    }
}

impl GroupsAccumulator for Averages {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, 0);
        self.counts.resize(total, 0);
        for (row, (group, value)) in groups
            .iter()
            .zip(values[0].as_primitive::<Decimal128Type>())
            .enumerate()
        {
            let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if let (Some(value), true) = (value, wanted) {
                self.add(*group, value, 1)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (
            slots::take(&mut self.sums, emit),
            slots::take(&mut self.counts, emit),
        );
        let averages: Decimal128Array = sums
            .into_iter()
            .zip(counts)
            .map(|(sum, count)| self.average(sum, count))
            .collect::<Result<_>>()?;
        Ok(Arc::new(averages.with_precision_and_scale(
            self.result_type.0,
            self.result_type.1,
        )?))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = (
            slots::take(&mut self.sums, emit),
            slots::take(&mut self.counts, emit),
        );
        let sums = PrimitiveArray::<Decimal128Type>::from(sums);
        let sums = sums.with_precision_and_scale(self.sum_type.0, self.sum_type.1)?;
        Ok(vec![Arc::new(UInt64Array::from(counts)), Arc::new(sums)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let [counts, sums] = states else {
            return internal_err!("the state of avg() is a count and a sum");
        };
        self.sums.resize(total, 0);
        self.counts.resize(total, 0);
        let (counts, sums) = (
            counts.as_primitive::<UInt64Type>(),
            sums.as_primitive::<Decimal128Type>(),
        );
        for (group, (count, sum)) in groups.iter().zip(counts.iter().zip(sums)) {
            self.add(*group, sum.unwrap_or(0), count.unwrap_or(0))?;
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut one_each = Self {
            sum_type: self.sum_type,
            result_type: self.result_type,
            sums: vec![],
            counts: vec![],
        };
        if rows > 0 {
            one_each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        }
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<u64>()
    }
}
