//! `mode(value[, deterministic])`: the most frequent value; of equally frequent ones the least.
//!
//! The state is the distinct values and how often each came, as two lists: it grows with the distinct values.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

use super::slots;

static MODE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    Arc::new(AggregateUDF::from(Mode {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
});

pub(super) fn mode_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&MODE)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mode {
    signature: Signature,
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        "mode"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_] | [_, DataType::Boolean] => Ok(arg_types.to_vec()),
            _ => plan_err!("mode() takes a value and optionally a boolean"),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Frequencies {
            data_type: args.return_field.data_type().clone(),
            counts: HashMap::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: &DataType| {
            let item = Arc::new(Field::new_list_field(item.clone(), true));
            Arc::new(Field::new(
                format!("{}[{part}]", args.name),
                DataType::List(item),
                true,
            ))
        };
        Ok(vec![
            list("values", args.return_field.data_type()),
            list("counts", &DataType::Int64),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Frequencies {
    data_type: DataType,
    counts: HashMap<ScalarValue, i64>,
}

impl Frequencies {
    fn add(&mut self, values: &ArrayRef, count: impl Fn(usize) -> i64) -> Result<()> {
        let nulls = values.logical_nulls();
        for row in 0..values.len() {
            if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                let value = ScalarValue::try_from_array(values, row)?;
                match self.counts.get_mut(&value) {
                    Some(known) => *known += count(row),
                    None => {
                        self.counts.insert(value.compacted(), count(row));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Accumulator for Frequencies {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], |_| 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut best: Option<(&ScalarValue, i64)> = None;
        for (value, count) in &self.counts {
            let wins = match best {
                Some((known, most)) => {
                    *count > most || (*count == most && value.try_cmp(known)?.is_lt())
                }
                None => true,
            };
            if wins {
                best = Some((value, *count));
            }
        }
        match best {
            Some((value, _)) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.data_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self
                .counts
                .keys()
                .map(|v| v.size() + size_of::<i64>())
                .sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = slots::array(self.counts.keys().map(Some), &self.data_type)?;
        let counts: ArrayRef = Arc::new(
            self.counts
                .values()
                .copied()
                .map(Some)
                .collect::<Int64Array>(),
        );
        let list = |items: ArrayRef| SingleRowListArrayBuilder::new(items).build_list_scalar();
        Ok(vec![list(values), list(counts)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in 0..values.len() {
            if values.is_valid(row) {
                let counts = counts.value(row);
                let counts = counts.as_primitive::<Int64Type>();
                self.add(&values.value(row), |i| counts.value(i))?;
            }
        }
        Ok(())
    }
}
