//! Several arrays as one array of structs: `arrays_zip`, and what functions of several arrays are made of.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, UInt64Array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The name of the function between the rewrite of the text and the plan: `__zip('a', xs, 'b', ys)`.
pub(crate) const ZIP: &str = "__zip";

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::user_defined(Volatility::Immutable);
    vec![Arc::new(ScalarUDF::from(Zip { signature }))]
}

/// Fields by their names; a shorter array has nulls, and the whole is null if one of the arrays is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Zip {
    signature: Signature,
}

impl ScalarUDFImpl for Zip {
    fn name(&self) -> &str {
        ZIP
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        for array in types.iter().skip(1).step_by(2) {
            if !matches!(array, DataType::List(_)) {
                return plan_err!("arrays_zip() takes arrays, found {array}");
            }
        }
        Ok(types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        plan_err!("{ZIP}: return_field_from_args decides")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let mut fields = Vec::new();
        for (name, array) in args
            .scalar_arguments
            .iter()
            .step_by(2)
            .zip(args.arg_fields.iter().skip(1).step_by(2))
        {
            let (Some(ScalarValue::Utf8(Some(name))), DataType::List(item)) =
                (name, array.data_type())
            else {
                return plan_err!("{ZIP}() takes names and arrays by turns");
            };
            fields.push(Field::new(name, item.data_type().clone(), true));
        }
        let item = Field::new_list_field(DataType::Struct(Fields::from(fields)), true);
        Ok(Arc::new(Field::new(
            self.name(),
            DataType::List(Arc::new(item)),
            true,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args
            .args
            .iter()
            .skip(1)
            .step_by(2)
            .map(|array| array.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(zip(
            &arrays,
            args.return_field.data_type(),
        )?))
    }
}

fn zip(arrays: &[ArrayRef], made: &DataType) -> Result<ArrayRef> {
    let DataType::List(item) = made else {
        return exec_err!("{ZIP}() makes arrays, not {made}");
    };
    let DataType::Struct(fields) = item.data_type() else {
        return exec_err!("{ZIP}() makes structs, not {}", item.data_type());
    };
    let lists: Vec<&ListArray> = arrays.iter().map(|array| array.as_list::<i32>()).collect();
    let rows = lists.first().map_or(0, |list| list.len());
    let length =
        |list: &ListArray, row: usize| usize::try_from(list.value_length(row)).unwrap_or(0);
    let valid: Vec<bool> = (0..rows)
        .map(|row| lists.iter().all(|list| list.is_valid(row)))
        .collect();
    let lengths: Vec<usize> = (0..rows)
        .map(|row| match valid[row] {
            true => lists
                .iter()
                .map(|list| length(list, row))
                .max()
                .unwrap_or(0),
            false => 0,
        })
        .collect();
    let columns = lists.iter().map(|list| {
        let mut places: Vec<Option<u64>> = Vec::with_capacity(lengths.iter().sum());
        for (row, wanted) in lengths.iter().enumerate() {
            let start = u64::try_from(list.value_offsets()[row]).unwrap_or(0);
            let own = length(list, row);
            places.extend((0..*wanted).map(|i| (i < own).then(|| start + i as u64)));
        }
        Ok(take(list.values(), &UInt64Array::from(places), None)?)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let structs =
        StructArray::try_new_with_length(fields.clone(), columns, None, lengths.iter().sum())?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        Some(NullBuffer::from(valid)),
    )?))
}
