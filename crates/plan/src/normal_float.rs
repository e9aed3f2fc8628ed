//! [`headwater_ops::normal_float`] as a function in expressions.

use std::sync::LazyLock;

use datafusion::{
    arrow::datatypes::DataType,
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use headwater_ops::normal_float::normal_floats;

static NORMAL: LazyLock<ScalarUDF> = LazyLock::new(|| ScalarUDF::new_from_impl(NormalFloat::new()));

/// `normal_float(x)`: `x` with every float inside it in its normal form.
pub(crate) fn normal_float_udf() -> &'static ScalarUDF {
    &NORMAL
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NormalFloat {
    signature: Signature,
}

impl NormalFloat {
    fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for NormalFloat {
    fn name(&self) -> &str {
        "normal_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(normal_floats(&array)?))
    }
}
