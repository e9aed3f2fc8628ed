//! Functions of texts take whatever has a text, as in Spark: `lpad(id, 5, '0')`, `upper(flag)`.
//!
//! DataFusion's functions refuse numbers there; each is wrapped into one that asks for the text of its arguments.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::scalar::is_text;

/// The functions, and which of their arguments are texts.
const OF_TEXTS: &[(&str, &[usize])] = &[
    ("ascii", &[0]),
    ("btrim", &[0]),
    ("contains", &[0, 1]),
    ("ends_with", &[0, 1]),
    ("left", &[0]),
    ("length", &[0]),
    ("levenshtein", &[0, 1]),
    ("lower", &[0]),
    ("lpad", &[0, 2]),
    ("ltrim", &[0]),
    ("md5", &[0]),
    ("repeat", &[0]),
    ("replace", &[0, 1, 2]),
    ("right", &[0]),
    ("rpad", &[0, 2]),
    ("rtrim", &[0]),
    ("sha1", &[0]),
    ("sha2", &[0]),
    ("split_part", &[0, 1]),
    ("starts_with", &[0, 1]),
    ("substr", &[0]),
    ("substring", &[0]),
    ("translate", &[0, 1, 2]),
    ("upper", &[0]),
];

/// Those of `functions` that are of texts, wrapped. The last function of one name counts.
pub(crate) fn wrapped(functions: &[Arc<ScalarUDF>]) -> Vec<Arc<ScalarUDF>> {
    let find = |name: &str| {
        let is_it = |f: &&Arc<ScalarUDF>| f.name() == name || f.aliases().iter().any(|a| a == name);
        functions.iter().rev().find(is_it)
    };
    let wrap = |(name, texts): &(&'static str, &'static [usize])| {
        let inner = Arc::clone(find(name)?);
        let signature = Signature::user_defined(Volatility::Immutable);
        // Only what is called by this very name: an alias of it is another function to the planner.
        (inner.name() == *name).then(|| {
            Arc::new(ScalarUDF::from(OfTexts {
                inner,
                texts,
                signature,
            }))
        })
    };
    OF_TEXTS.iter().filter_map(wrap).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfTexts {
    inner: Arc<ScalarUDF>,
    texts: &'static [usize],
    signature: Signature,
}

impl ScalarUDFImpl for OfTexts {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let mut types = types.to_vec();
        for place in self.texts {
            if let Some(data_type) = types.get_mut(*place)
                && has_text(data_type)
            {
                *data_type = DataType::Utf8;
            }
        }
        let fields: Vec<FieldRef> = types
            .into_iter()
            .map(|data_type| Arc::new(Field::new("", data_type, true)))
            .collect();
        let coerced = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(coerced
            .iter()
            .map(|field| field.data_type().clone())
            .collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.inner().invoke_with_args(args)
    }
}

/// Whether a value that is no text is given as its text.
fn has_text(data_type: &DataType) -> bool {
    !is_text(data_type)
        && (data_type.is_numeric()
            || matches!(
                data_type,
                DataType::Boolean | DataType::Date32 | DataType::Timestamp(_, _)
            ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_given_as_one() {
        let functions = wrapped(&datafusion::functions::all_default_functions());
        let lpad = functions
            .iter()
            .find(|f| f.name() == "lpad")
            .expect("wrapped");
        let found = lpad.coerce_types(&[DataType::Int64, DataType::Int64, DataType::Utf8]);
        assert_eq!(
            found.unwrap(),
            [DataType::Utf8, DataType::Int64, DataType::Utf8]
        );
        assert!(
            lpad.coerce_types(&[DataType::Utf8, DataType::Boolean])
                .is_err()
        );
    }
}
