//! One value per group, for accumulators that keep values of any type.

use datafusion::arrow::array::{ArrayRef, new_empty_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::EmitTo;

/// Takes the slots that are to be emitted out of `slots`.
pub(super) fn take<T>(slots: &mut Vec<T>, emit: EmitTo) -> Vec<T> {
    match emit {
        EmitTo::All => std::mem::take(slots),
        EmitTo::First(n) => {
            let rest = slots.split_off(n.min(slots.len()));
            std::mem::replace(slots, rest)
        }
    }
}

/// Values as an array; a missing one is null.
pub(super) fn array<'a>(
    values: impl Iterator<Item = Option<&'a ScalarValue>>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let null = ScalarValue::try_from(data_type)?;
    let mut values = values
        .map(|v| v.cloned().unwrap_or_else(|| null.clone()))
        .peekable();
    if values.peek().is_none() {
        return Ok(new_empty_array(data_type));
    }
    ScalarValue::iter_to_array(values)
}
