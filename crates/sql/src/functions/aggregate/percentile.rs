//! `percentile(value, p)`, interpolated, and `percentile_approx(value, p[, accuracy])`, one of the values.
//!
//! Both are exact and keep every value as a list in their state, so memory grows with the rows of a group; where that
//! is too much, DataFusion's `approx_percentile_cont` is a sketch of fixed size.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use datafusion::arrow::compute::{SortOptions, cast, concat, sort, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

static PERCENTILE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Percentile::udaf(true));
static PERCENTILE_APPROX: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Percentile::udaf(false));

pub(super) fn percentile_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&PERCENTILE)
}

pub(super) fn percentile_approx_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&PERCENTILE_APPROX)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    interpolated: bool,
    signature: Signature,
}

impl Percentile {
    fn udaf(interpolated: bool) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self {
            interpolated,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        if self.interpolated {
            "percentile"
        } else {
            "percentile_approx"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let most = if self.interpolated { 2 } else { 3 };
        if !(2..=most).contains(&arg_types.len()) {
            return plan_err!(
                "{}() takes a value and a fraction between 0 and 1",
                self.name()
            );
        }
        let value = if self.interpolated {
            DataType::Float64
        } else {
            arg_types[0].clone()
        };
        Ok([value, DataType::Float64, DataType::Int64][..arg_types.len()].to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values {
            interpolated: self.interpolated,
            data_type: args.return_field.data_type().clone(),
            fraction: None,
            parts: vec![],
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let item = Arc::new(Field::new_list_field(
            args.return_field.data_type().clone(),
            true,
        ));
        Ok(vec![
            Arc::new(Field::new(
                format!("{}[values]", args.name),
                DataType::List(item),
                true,
            )),
            Arc::new(Field::new(
                format!("{}[fraction]", args.name),
                DataType::Float64,
                true,
            )),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Values {
    interpolated: bool,
    data_type: DataType,
    /// The second argument, which is the same in all rows.
    fraction: Option<f64>,
    parts: Vec<ArrayRef>,
}

impl Values {
    fn all(&self) -> Result<ArrayRef> {
        if self.parts.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        Ok(concat(
            &self.parts.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        )?)
    }

    fn set_fraction(&mut self, fractions: &ArrayRef) -> Result<()> {
        if let Some(fraction) = fractions
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .next()
        {
            if !(0.0..=1.0).contains(&fraction) {
                return exec_err!(
                    "the fraction of a percentile must be between 0 and 1, found {fraction}"
                );
            }
            self.fraction = Some(fraction);
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "ranks lie between 0 and the number of values"
)]
fn pick(sorted: &ArrayRef, fraction: f64, interpolated: bool) -> Result<ScalarValue> {
    let last = sorted.len() - 1;
    if !interpolated {
        let rank = ((fraction * sorted.len() as f64).ceil() as usize).max(1) - 1;
        return ScalarValue::try_from_array(sorted, rank.min(last));
    }
    let position = fraction * last as f64;
    let (low, high) = (
        position.floor() as usize,
        (position.ceil() as usize).min(last),
    );
    let values = sorted.as_primitive::<Float64Type>();
    let (low, high, part) = (values.value(low), values.value(high), position.fract());
    Ok(ScalarValue::Float64(Some(if part == 0.0 {
        low
    } else {
        low * (1.0 - part) + high * part
    })))
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.set_fraction(&values[1])?;
        let valid: UInt32Array = match values[0].logical_nulls() {
            Some(nulls) => nulls
                .valid_indices()
                .filter_map(|i| u32::try_from(i).ok())
                .collect::<Vec<_>>()
                .into(),
            None => {
                self.parts.push(cast(&values[0], &self.data_type)?);
                return Ok(());
            }
        };
        self.parts.push(take(&values[0], &valid, None)?);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let all = self.all()?;
        match (all.is_empty(), self.fraction) {
            (false, Some(fraction)) => pick(
                &sort(&all, Some(SortOptions::default()))?,
                fraction,
                self.interpolated,
            ),
            _ => ScalarValue::try_from(&self.data_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self
                .parts
                .iter()
                .map(|p| p.get_array_memory_size())
                .sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = SingleRowListArrayBuilder::new(self.all()?).build_list_scalar();
        Ok(vec![list, ScalarValue::Float64(self.fraction)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.set_fraction(&states[1])?;
        let lists = states[0].as_list::<i32>();
        self.parts.extend(
            (0..lists.len())
                .filter(|row| lists.is_valid(*row))
                .map(|row| lists.value(row)),
        );
        Ok(())
    }
}
