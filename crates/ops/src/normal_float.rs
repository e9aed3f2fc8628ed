//! Floating-point keys: all NaN are one key, -0.0 and 0.0 are one key, shown as 0.0; inside structs and lists too.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, ArrowPrimitiveType, AsArray, GenericListArray, OffsetSizeTrait,
            StructArray,
        },
        datatypes::{DataType, Float32Type, Float64Type},
    },
    error::Result,
};

/// Whether values of this type can be NaN or -0.0 somewhere inside.
pub fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_floats(field.data_type())
        }
        _ => false,
    }
}

/// `array` with every float inside it in its normal form.
pub fn normal_floats(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        // Adding 0.0 turns -0.0 into 0.0 and leaves everything else as it is.
        DataType::Float32 => {
            floats::<Float32Type>(array, |x| if x.is_nan() { f32::NAN } else { x + 0.0 })
        }
        DataType::Float64 => {
            floats::<Float64Type>(array, |x| if x.is_nan() { f64::NAN } else { x + 0.0 })
        }
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let columns = array.columns().iter().map(normal_floats);
            Arc::new(StructArray::try_new(
                fields.clone(),
                columns.collect::<Result<_>>()?,
                array.nulls().cloned(),
            )?)
        }
        DataType::List(_) => list(array.as_list::<i32>())?,
        DataType::LargeList(_) => list(array.as_list::<i64>())?,
        _ => Arc::clone(array),
    })
}

fn floats<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    form: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, T>(form)) as ArrayRef
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<ArrayRef> {
    let (DataType::List(field) | DataType::LargeList(field)) = array.data_type() else {
        return Ok(Arc::new(array.clone()));
    };
    Ok(Arc::new(GenericListArray::<O>::try_new(
        Arc::clone(field),
        array.offsets().clone(),
        normal_floats(array.values())?,
        array.nulls().cloned(),
    )?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Float64Array;

    use super::*;

    #[test]
    fn negative_zero_and_odd_nans_take_one_form() {
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let array =
            Arc::new(Float64Array::from(vec![-0.0, 0.0, odd_nan, f64::NAN, 1.5])) as ArrayRef;
        let array = normal_floats(&array).unwrap();
        let bits: Vec<u64> = array
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|value| value.to_bits())
            .collect();
        assert_eq!(bits[0], bits[1]);
        assert_eq!(bits[2], bits[3]);
    }
}
