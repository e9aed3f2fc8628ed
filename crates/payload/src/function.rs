//! What the functions of a value and constants have in common as functions of a plan; [`Payload`] has what is their own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::call::{constant, over_first};
use crate::place::{self, Place};
use crate::time::zone::Zone;

/// The constants behind a value; none where there is none, or not yet.
pub(crate) type Constants<'a> = [Option<&'a ScalarValue>; 2];

/// A call whose constants are read.
pub(crate) trait Payload: fmt::Debug + Sized + Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// Whether it reads messages, which come from somewhere.
    const READS_MESSAGES: bool = false;

    /// The types it wants for those that it is given.
    fn arguments(types: &[DataType]) -> Result<Vec<DataType>>;

    /// Reads the constants.
    fn new(constants: Constants<'_>, zone: Zone) -> Result<Self>;

    /// What it gives for values that may be null or never are.
    fn result(&self, nullable: bool) -> (DataType, bool);

    /// Whether it tells which message was malformed.
    fn tells_place(&self) -> bool {
        false
    }

    /// Does it.
    fn call(&self, values: &ArrayRef, place: &Place) -> Result<ArrayRef>;
}

/// The function for a session.
pub(crate) fn function<P: Payload>() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(PayloadFunction::<P> {
        signature: Signature::user_defined(Volatility::Immutable),
        payload: PhantomData,
    }))
}

/// The function.
pub(crate) struct PayloadFunction<P> {
    signature: Signature,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> fmt::Debug for PayloadFunction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

// There is one function of a name.
impl<P> PartialEq for PayloadFunction<P> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl<P> Eq for PayloadFunction<P> {}

impl<P: Payload> Hash for PayloadFunction<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        P::NAME.hash(state);
    }
}

impl<P: Payload> ScalarUDFImpl for PayloadFunction<P> {
    fn name(&self) -> &str {
        P::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (own, place) = match P::READS_MESSAGES {
            true => place::split_types(types),
            false => (types, [].as_slice()),
        };
        Ok([P::arguments(own)?, place.to_vec()].concat())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        plan_err!("{}: the type follows from the arguments", P::NAME)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let (own, _) = place::split(args.scalar_arguments);
        let constant = |at: usize| own.get(at).copied().flatten();
        // Constants that are none yet are checked when they are, see `simplify`.
        let call = P::new([constant(1), constant(2)], Zone::UTC)?;
        let value = args.arg_fields.first();
        let (data_type, nullable) = call.result(value.is_none_or(|value| value.is_nullable()));
        Ok(Arc::new(Field::new(P::NAME, data_type, nullable)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let (own, place) = place::split(&args);
        let mut constants = [None, None];
        for (constant, arg) in constants.iter_mut().zip(own.iter().skip(1)) {
            let Expr::Literal(value, _) = arg else {
                return Ok(ExprSimplifyResult::Original(args));
            };
            *constant = Some(value);
        }
        let call = P::new(constants, Zone::UTC)?;
        if place.is_empty() || call.tells_place() {
            return Ok(ExprSimplifyResult::Original(args));
        }
        Ok(ExprSimplifyResult::Simplified(
            function::<P>().call(own.to_vec()),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (own, _) = place::split(&args.args);
        let (first, second) = (constant(P::NAME, own, 1)?, constant(P::NAME, own, 2)?);
        let zone = Zone::of(&args.config_options)?;
        let call = P::new([first.as_ref(), second.as_ref()], zone)?;
        let place = Place::of(&args)?;
        over_first(own, |values| call.call(values, &place))
    }
}
