//! Tables with windows: what `TUMBLE` and `HOP` add to the rows of a table.
//!
//! Each row comes once for each window that it is in, with the columns `window` (the struct that `window(…)` gives),
//! `window_start` and `window_end`. All three are one call of `window(…)`, which the streaming planner gives its meaning.

use std::sync::{Arc, LazyLock};

use datafusion::{
    arrow::{array::AsArray, datatypes::DataType},
    common::{Result, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility, lit,
    },
};

use crate::{interval::CalendarInterval, markers::window_udf, relation::all_columns};

static WINDOW_START: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Edge::new(WINDOW_START_FUNCTION))));
static WINDOW_END: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Edge::new(WINDOW_END_FUNCTION))));

/// Name of the function that takes the start out of a window; the column of that name is one of its results.
pub const WINDOW_START_FUNCTION: &str = "window_start";
/// Name of the function that takes the end out of a window.
pub const WINDOW_END_FUNCTION: &str = "window_end";

/// The rows of `input` with their windows, of this length and distance.
pub(crate) fn with_windows(
    input: LogicalPlan,
    time: Expr,
    size: CalendarInterval,
    slide: CalendarInterval,
) -> Result<LogicalPlan> {
    let window = window_udf().call(vec![time, length(size)?, length(slide)?]);
    let mut columns = all_columns(input.schema());
    columns.push(window.clone().alias("window"));
    columns.push(
        WINDOW_START
            .call(vec![window.clone()])
            .alias(WINDOW_START_FUNCTION),
    );
    columns.push(WINDOW_END.call(vec![window]).alias(WINDOW_END_FUNCTION));
    LogicalPlanBuilder::from(input).project(columns)?.build()
}

fn length(interval: CalendarInterval) -> Result<Expr> {
    if interval.months != 0 {
        return plan_err!(
            "the window length has months or years, which differ in length: use days, for example INTERVAL 30 DAYS"
        );
    }
    Ok(lit(format!("{} microseconds", interval.micros)))
}

/// One end of a window.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Edge {
    name: &'static str,
    signature: Signature,
}

impl Edge {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn field(&self) -> &'static str {
        match self.name {
            WINDOW_START_FUNCTION => "start",
            _ => "end",
        }
    }
}

impl ScalarUDFImpl for Edge {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Struct(fields)] => match fields.find(self.field()) {
                Some((_, field)) => Ok(field.data_type().clone()),
                None => plan_err!("{} needs a window", self.name),
            },
            _ => plan_err!("{} needs a window", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let windows = args.args[0].to_array(args.number_rows)?;
        let edges = windows
            .as_struct_opt()
            .and_then(|w| w.column_by_name(self.field()));
        match edges {
            Some(edges) => Ok(ColumnarValue::Array(Arc::clone(edges))),
            None => exec_err!(
                "{} needs a window, found {}",
                self.name,
                windows.data_type()
            ),
        }
    }
}
