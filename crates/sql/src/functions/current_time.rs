//! `current_timestamp()` and `current_date()`: the time of the epoch, as the planner binds it.
//!
//! Left alone, the optimiser replaces them by the time at which it runs, which is right for a query that runs once. A
//! streaming plan is optimised once and run many times: its planner must put something of its own in their place
//! before optimising, and finds them with [`current_time`].

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::zone::{Zone, days};

static TIMESTAMP: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Now::new(CurrentTime::Timestamp))));
static DATE: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Now::new(CurrentTime::Date))));

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&TIMESTAMP), Arc::clone(&DATE)]
}

/// Which reading of the clock a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CurrentTime {
    /// `current_timestamp()`, a `Timestamp(Microsecond, "UTC")`.
    Timestamp,
    /// `current_date()`, a `Date32` in the session's time zone.
    Date,
}

/// Tells whether `expr` is a call of `current_timestamp()` or `current_date()`.
pub fn current_time(expr: &Expr) -> Option<CurrentTime> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    call.func.inner().downcast_ref::<Now>().map(|now| now.kind)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    kind: CurrentTime,
    signature: Signature,
    aliases: Vec<String>,
}

impl Now {
    fn new(kind: CurrentTime) -> Self {
        let aliases = match kind {
            CurrentTime::Timestamp => vec!["now".to_owned()],
            CurrentTime::Date => vec!["curdate".to_owned(), "today".to_owned()],
        };
        Self {
            kind,
            signature: Signature::nullary(Volatility::Stable),
            aliases,
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        match self.kind {
            CurrentTime::Timestamp => "current_timestamp",
            CurrentTime::Date => "current_date",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            CurrentTime::Timestamp => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            CurrentTime::Date => DataType::Date32,
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{}() must be bound by the planner", self.name())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(now) = info.query_execution_start_time() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let micros = now.timestamp_micros();
        let value = match self.kind {
            CurrentTime::Timestamp => {
                ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
            }
            CurrentTime::Date => {
                let zone = Zone::of(info.config_options())?;
                match zone.local(micros) {
                    Ok(local) => ScalarValue::Date32(Some(days(local.date()))),
                    Err(e) => return plan_err!("{e}"),
                }
            }
        };
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
    }
}
