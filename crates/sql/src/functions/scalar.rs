//! The frame of the scalar functions in this crate: a name, the types it takes and gives, and a kernel over arrays.
//!
//! Arguments reach a kernel as arrays of equal length; a call with only constants runs over one row and stays a
//! constant. Texts arrive as `Utf8`, whatever kind of text column they came from.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::zone::Zone;

/// What a kernel may need beside its arguments.
pub(crate) struct Call<'a> {
    /// The type the function promised.
    pub(crate) return_type: &'a DataType,
    config: &'a ConfigOptions,
}

impl Call<'_> {
    /// The session's time zone.
    pub(crate) fn zone(&self) -> Result<Zone> {
        Zone::of(self.config)
    }
}

type Coerce = fn(&[DataType]) -> Result<Vec<DataType>>;
type Returns = fn(&[DataType]) -> Result<DataType>;
type Kernel = fn(&[ArrayRef], &Call<'_>) -> Result<ArrayRef>;

/// A scalar function: see the module.
pub(crate) struct Scalar {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    coerce: Coerce,
    returns: Returns,
    kernel: Kernel,
}

impl Scalar {
    /// A deterministic function. `coerce` refuses arguments it cannot take and says which types it wants instead.
    pub(crate) fn new(
        name: &'static str,
        coerce: Coerce,
        returns: Returns,
        kernel: Kernel,
    ) -> Self {
        Self {
            name,
            aliases: vec![],
            signature: Signature::user_defined(Volatility::Immutable),
            coerce,
            returns,
            kernel,
        }
    }

    /// Other names for it.
    pub(crate) fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub(crate) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scalar")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// Two functions of one name are the same function: names are unique in this crate.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        (self.coerce)(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        (self.returns)(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|arg| plain_text(arg.to_array(rows)?))
            .collect::<Result<Vec<_>>>()?;
        let call = Call {
            return_type: args.return_field.data_type(),
            config: &args.config_options,
        };
        // A function without arguments knows its length from `rows` only.
        let result = if arrays.is_empty() {
            let rows: ArrayRef = Arc::new(datafusion::arrow::array::NullArray::new(rows));
            (self.kernel)(&[rows], &call)?
        } else {
            (self.kernel)(&arrays, &call)?
        };
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn plain_text(array: ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => Ok(cast(&array, &DataType::Utf8)?),
        _ => Ok(array),
    }
}

/// The type of timestamps that functions make: microseconds, UTC.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Whether values of this type are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
    )
}

/// Refuses a call with a number of arguments outside `allowed`.
pub(crate) fn arity(
    name: &str,
    allowed: std::ops::RangeInclusive<usize>,
    found: &[DataType],
) -> Result<()> {
    if allowed.contains(&found.len()) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    let expected = if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    };
    plan_err!("{name}() takes {expected} arguments, found {}", found.len())
}

/// The texts of an argument that was coerced to `Utf8`.
pub(crate) fn texts(array: &ArrayRef) -> Result<&StringArray> {
    array
        .as_string_opt::<i32>()
        .ok_or_else(|| exec_datafusion_err!("expected texts, found {}", array.data_type()))
}

/// A value that must be the same in all rows, such as a format; `None` where it is null.
pub(crate) fn constant_text<'a>(name: &str, array: &'a ArrayRef) -> Result<Option<&'a str>> {
    let texts = texts(array)?;
    if texts.is_empty() || texts.is_null(0) {
        return Ok(None);
    }
    let first = texts.value(0);
    if texts.iter().any(|t| t != Some(first)) {
        return exec_err!("{name} must be the same in all rows");
    }
    Ok(Some(first))
}
