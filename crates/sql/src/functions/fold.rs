//! `aggregate(xs, start, (acc, x) -> …, acc -> …)`, also `reduce`: an array folded into one value.
//!
//! The lambda runs over all rows at once, item by item: first the first items of all arrays, then the second ones of
//! those that have one, and so on.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::compute::{cast, interleave, take, take_arrays};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaParametersProgress, ValueOrLambda, Volatility,
};

pub(crate) fn functions() -> Vec<Arc<HigherOrderUDF>> {
    vec![Arc::new(HigherOrderUDF::new_from_impl(Fold {
        signature: HigherOrderSignature::user_defined(Volatility::Immutable),
        aliases: vec!["reduce".to_owned()],
    }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fold {
    signature: HigherOrderSignature,
    aliases: Vec<String>,
}

impl HigherOrderUDFImpl for Fold {
    fn name(&self) -> &str {
        "aggregate"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [list @ DataType::List(_), start] => Ok(vec![list.clone(), start.clone()]),
            [other, _] => plan_err!("aggregate() takes an array, found {other}"),
            _ => plan_err!("aggregate() takes an array, a start and one or two lambdas"),
        }
    }

    /// The accumulator is what the start is, until the merge says what it gives.
    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let [
            ValueOrLambda::Value(list),
            ValueOrLambda::Value(start),
            ValueOrLambda::Lambda(merge),
            finish @ ..,
        ] = fields
        else {
            return plan_err!("aggregate() takes an array, a start and one or two lambdas");
        };
        let DataType::List(item) = list.data_type() else {
            return plan_err!("aggregate() takes an array, found {}", list.data_type());
        };
        let accumulator = |of: &FieldRef| Arc::new(Field::new("acc", of.data_type().clone(), true));
        let Some(merged) = merge else {
            let mut parameters = vec![Some(vec![accumulator(start), Arc::clone(item)])];
            parameters.extend(finish.iter().map(|_| None));
            return Ok(LambdaParametersProgress::Partial(parameters));
        };
        let mut parameters = vec![vec![accumulator(merged), Arc::clone(item)]];
        parameters.extend(finish.iter().map(|_| vec![accumulator(merged)]));
        Ok(LambdaParametersProgress::Complete(parameters))
    }

    fn coerce_values_for_lambdas(
        &self,
        fields: &[ValueOrLambda<DataType, DataType>],
    ) -> Result<Option<Vec<DataType>>> {
        match fields {
            [
                ValueOrLambda::Value(list),
                _,
                ValueOrLambda::Lambda(merged),
                ..,
            ] => Ok(Some(vec![list.clone(), merged.clone()])),
            _ => Ok(None),
        }
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.last() {
            Some(ValueOrLambda::Lambda(last)) => {
                Ok(Arc::new(Field::new("", last.data_type().clone(), true)))
            }
            _ => plan_err!("aggregate() ends with a lambda"),
        }
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let [
            ValueOrLambda::Value(list),
            ValueOrLambda::Value(start),
            ValueOrLambda::Lambda(merge),
            finish @ ..,
        ] = args.args.as_slice()
        else {
            return exec_err!("aggregate() takes an array, a start and one or two lambdas");
        };
        let list = list.to_array(args.number_rows)?;
        let lists = list.as_list::<i32>();
        let merged_type = match args.arg_fields.get(2) {
            Some(ValueOrLambda::Lambda(merged)) => merged.data_type().clone(),
            _ => return exec_err!("aggregate() has no lambda to merge with"),
        };
        let mut accumulated = cast(&start.to_array(args.number_rows)?, &merged_type)?;
        let longest = (0..lists.len())
            .filter(|row| lists.is_valid(*row))
            .map(|row| lists.value_length(row))
            .max();
        for place in 0..longest.unwrap_or(0) {
            let rows: Vec<u32> = (0..lists.len())
                .filter(|row| lists.is_valid(*row) && lists.value_length(*row) > place)
                .filter_map(|row| u32::try_from(row).ok())
                .collect();
            let items: UInt32Array = rows
                .iter()
                .map(|row| u32::try_from(lists.value_offsets()[*row as usize] + place).ok())
                .collect();
            let rows = UInt32Array::from(rows);
            let old = || Ok(take(&accumulated, &rows, None)?);
            let item = || Ok(take(lists.values(), &items, None)?);
            let new = merge.evaluate(&[&old, &item], |captured| {
                Ok(take_arrays(captured, &rows, None)?)
            })?;
            let new = cast(&new.into_array(rows.len())?, &merged_type)?;
            accumulated = replaced(&accumulated, &rows, &new)?;
        }
        // Nothing is made of an array that is null.
        let known = known_rows(lists);
        accumulated = take(&accumulated, &known, None)?;
        match finish {
            [ValueOrLambda::Lambda(finish)] => {
                let whole = || Ok(Arc::clone(&accumulated));
                let finished = finish.evaluate(&[&whole], |captured| Ok(captured.to_vec()))?;
                let finished = finished.into_array(lists.len())?;
                Ok(ColumnarValue::Array(take(&finished, &known, None)?))
            }
            _ => Ok(ColumnarValue::Array(accumulated)),
        }
    }
}

/// The number of each row that has an array, null for those that have none.
fn known_rows(lists: &dyn Array) -> UInt32Array {
    let number = |row| u32::try_from(row).ok().filter(|_| lists.is_valid(row));
    (0..lists.len()).map(number).collect()
}

/// `values` with those of `rows` replaced by `new`, one for each of them.
fn replaced(values: &ArrayRef, rows: &UInt32Array, new: &ArrayRef) -> Result<ArrayRef> {
    let mut picks: Vec<(usize, usize)> = (0..values.len()).map(|row| (0, row)).collect();
    for (place, row) in rows.values().iter().enumerate() {
        if let Some(pick) = picks.get_mut(*row as usize) {
            *pick = (1, place);
        }
    }
    Ok(interleave(&[values.as_ref(), new.as_ref()], &picks)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;

    #[test]
    fn some_rows_are_replaced() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let new: ArrayRef = Arc::new(Int64Array::from(vec![Some(9), None]));
        let found = replaced(&values, &UInt32Array::from(vec![0, 2]), &new).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![Some(9), Some(2), None]));
        assert_eq!(&found, &expected);
    }
}
