//! `window`, `session_window` and `window_time`: functions that the streaming planner gives their meaning.
//!
//! In a plan they stand for "the window this row belongs to". Their types and constant arguments are checked here, as
//! soon as a plan with them is built. Invoked as they are, `window` answers for tumbling windows and `window_time`
//! always; a row may be in several sliding windows, and its session depends on other rows, so those two must be
//! rewritten by the planner first. A null event time gives a null window.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use crate::session_gap::{constant_micros, is_gap};
use crate::window_spec::WindowSpec;

/// The type of event times that are computed from texts or dates.
const DEFAULT_TIME: fn() -> DataType =
    || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));

static WINDOW: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Marker::new(Kind::Window))));
static SESSION_WINDOW: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Marker::new(Kind::SessionWindow))));
static WINDOW_TIME: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Marker::new(Kind::WindowTime))));

/// `window(time, size[, slide[, start]])`: the window of fixed length that the time lies in, as a struct of `start`
/// and `end`. A window given as the time counts with its [`window_time`](window_time_udf).
pub fn window_udf() -> Arc<ScalarUDF> {
    Arc::clone(&WINDOW)
}

/// `session_window(time, gap)`: the session of rows at most `gap` apart, as a struct of `start` and `end`.
pub fn session_window_udf() -> Arc<ScalarUDF> {
    Arc::clone(&SESSION_WINDOW)
}

/// `window_time(window)`: the last instant of a window, one microsecond before its end.
pub fn window_time_udf() -> Arc<ScalarUDF> {
    Arc::clone(&WINDOW_TIME)
}

/// The tumbling window of length `size` that `time` lies in, named `window`. Make it slide with
/// [`WindowExpr::slide`].
///
/// ```
/// use datafusion::prelude::col;
/// use headwater_sql::{WindowExpr, window};
///
/// let keys = [window(col("time"), "5 minutes").slide("1 minute"), col("host")];
/// assert_eq!(keys[0].schema_name().to_string(), "window");
/// ```
pub fn window(time: Expr, size: &str) -> Expr {
    window_udf().call(vec![time, lit(size)]).alias("window")
}

/// The session that `time` lies in, ended by a pause of `gap`; named `session_window`.
pub fn session_window(time: Expr, gap: impl Into<Gap>) -> Expr {
    session_window_udf()
        .call(vec![time, gap.into().0])
        .alias("session_window")
}

/// The last instant of `window`, one microsecond before its end; named `window_time`.
pub fn window_time(window: Expr) -> Expr {
    window_time_udf().call(vec![window]).alias("window_time")
}

/// The gap of a session: a constant like `"5 minutes"` or an expression per row.
#[derive(Debug, Clone)]
pub struct Gap(Expr);

impl From<&str> for Gap {
    fn from(gap: &str) -> Self {
        Self(lit(gap))
    }
}

impl From<Expr> for Gap {
    fn from(gap: Expr) -> Self {
        Self(gap)
    }
}

/// How windows made by [`window`] lie to each other.
pub trait WindowExpr: Sized {
    /// Starts a window every `slide`, so that windows overlap.
    #[must_use]
    fn slide(self, slide: &str) -> Expr;

    /// Moves the starts of the windows by `start` from multiples of the slide.
    #[must_use]
    fn start(self, start: &str) -> Expr;
}

impl WindowExpr for Expr {
    fn slide(self, slide: &str) -> Expr {
        with_duration(self, 2, slide)
    }

    fn start(self, start: &str) -> Expr {
        with_duration(self, 3, start)
    }
}

/// Puts `duration` at argument `index` of a window call. On any other expression the result is a call that is refused
/// as soon as it is planned, since an `Expr` cannot carry an error.
fn with_duration(expr: Expr, index: usize, duration: &str) -> Expr {
    let (mut args, name) = match expr {
        Expr::Alias(alias) => match *alias.expr {
            Expr::ScalarFunction(call) if is_window(&call.func) => (call.args, alias.name),
            other => (vec![other], "window".to_owned()),
        },
        Expr::ScalarFunction(call) if is_window(&call.func) => (call.args, "window".to_owned()),
        other => (vec![other], "window".to_owned()),
    };
    if args.len() >= 2 {
        while args.len() <= index {
            let size = args[1].clone();
            args.push(size);
        }
        args[index] = lit(duration);
    }
    window_udf().call(args).alias(name)
}

fn is_window(func: &ScalarUDF) -> bool {
    func.name() == WINDOW.name()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Window,
    SessionWindow,
    WindowTime,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    kind: Kind,
    signature: Signature,
}

impl Marker {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Checks how many arguments there are.
    fn check_arity(&self, found: usize) -> Result<()> {
        let (allowed, form) = match self.kind {
            Kind::Window => (2..=4, "window(time, size[, slide[, start]])"),
            Kind::SessionWindow => (2..=2, "session_window(time, gap)"),
            Kind::WindowTime => (1..=1, "window_time(window)"),
        };
        if allowed.contains(&found) {
            return Ok(());
        }
        plan_err!("{form} was called with {found} arguments")
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Window => "window",
            Kind::SessionWindow => "session_window",
            Kind::WindowTime => "window_time",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.check_arity(arg_types.len())?;
        let mut coerced = arg_types.to_vec();
        coerced[0] = match (&arg_types[0], self.kind) {
            (time @ DataType::Timestamp(_, _), Kind::Window | Kind::SessionWindow) => time.clone(),
            (
                DataType::Date32
                | DataType::Utf8
                | DataType::Utf8View
                | DataType::LargeUtf8
                | DataType::Null,
                kind,
            ) if kind != Kind::WindowTime => DEFAULT_TIME(),
            (window @ DataType::Struct(_), _) => {
                end_type(window)?;
                window.clone()
            }
            (other, Kind::WindowTime) => {
                return plan_err!("window_time() takes a window, found {other}");
            }
            (other, _) => return plan_err!("{}() takes a timestamp, found {other}", self.name()),
        };
        if self.kind == Kind::SessionWindow && !is_gap(&arg_types[1]) {
            return plan_err!(
                "the gap of session_window() must be a duration like '5 minutes', found {}",
                arg_types[1]
            );
        }
        Ok(coerced)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        exec_err!("{}: return_field_from_args decides", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.check_arity(args.arg_fields.len())?;
        let input = &args.arg_fields[0];
        let time = match input.data_type() {
            DataType::Struct(_) => end_type(input.data_type())?,
            other => other.clone(),
        };
        let data_type = match self.kind {
            Kind::WindowTime => time,
            Kind::Window => {
                let durations = constants(&args.scalar_arguments[1..])?;
                WindowSpec::from_scalars(&durations)?;
                window_type(&time)
            }
            Kind::SessionWindow => {
                if let Some(Some(gap)) = args.scalar_arguments.get(1) {
                    constant_micros(gap)?;
                }
                window_type(&time)
            }
        };
        Ok(Arc::new(Field::new(
            self.name(),
            data_type,
            input.is_nullable(),
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.kind == Kind::SessionWindow {
            return exec_err!(
                "session_window() depends on other rows and must be rewritten by the planner"
            );
        }
        let input = args.args[0].to_array(args.number_rows)?;
        let (_, micros) = match input.data_type() {
            DataType::Struct(_) => {
                let (end, micros) = end_micros(&input)?;
                let last = micros.unary::<_, Int64Type>(|end| end.wrapping_sub(1));
                (end, last)
            }
            time => (time.clone(), to_micros(&input)?),
        };
        if self.kind == Kind::WindowTime {
            return Ok(ColumnarValue::Array(from_micros(
                &micros,
                args.return_field.data_type(),
            )?));
        }
        let durations = args
            .args
            .iter()
            .skip(1)
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value),
                ColumnarValue::Array(_) => exec_err!("window() needs constant durations"),
            })
            .collect::<Result<Vec<_>>>()?;
        let spec = WindowSpec::from_scalars(&durations)?;
        if !spec.is_tumbling() {
            return exec_err!(
                "a row is in several sliding windows: window() with a slide must be rewritten by the planner"
            );
        }
        tumbling(&spec, &micros, args.return_field.data_type()).map(ColumnarValue::Array)
    }
}

fn constants<'a>(args: &[Option<&'a ScalarValue>]) -> Result<Vec<&'a ScalarValue>> {
    args.iter()
        .map(|arg| match arg {
            Some(value) => Ok(*value),
            None => plan_err!(
                "window() needs constant durations: write for example window(ts, '10 minutes')"
            ),
        })
        .collect()
}

/// The type of a window over times of type `time`.
fn window_type(time: &DataType) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("start", time.clone(), false),
        Field::new("end", time.clone(), false),
    ]))
}

/// The type of the field `end` of a window.
fn end_type(window: &DataType) -> Result<DataType> {
    if let DataType::Struct(fields) = window
        && let Some((_, end)) = fields.find("end")
        && matches!(end.data_type(), DataType::Timestamp(_, _))
    {
        return Ok(end.data_type().clone());
    }
    plan_err!("expected a window, a struct with the timestamps `start` and `end`, found {window}")
}

/// The ends of the windows in microseconds; null where the window is.
fn end_micros(windows: &ArrayRef) -> Result<(DataType, Int64Array)> {
    let structs = windows.as_struct();
    let Some(end) = structs.column_by_name("end") else {
        return exec_err!("a window without the field `end`: {}", windows.data_type());
    };
    let micros = to_micros(end)?;
    let nulls = datafusion::arrow::buffer::NullBuffer::union(micros.nulls(), structs.nulls());
    Ok((
        end.data_type().clone(),
        Int64Array::new(micros.values().clone(), nulls),
    ))
}

fn to_micros(times: &ArrayRef) -> Result<Int64Array> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return exec_err!("expected timestamps, found {other}"),
    };
    let micros = match times.data_type() {
        // An arrow cast of nanoseconds truncates towards zero, but windows floor.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = cast(times, &DataType::Int64)?;
            return Ok(nanos
                .as_primitive::<Int64Type>()
                .unary(|n| n.div_euclid(1_000)));
        }
        _ => cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone))?,
    };
    Ok(cast(&micros, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

fn from_micros(micros: &Int64Array, time: &DataType) -> Result<ArrayRef> {
    let zone = match time {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return exec_err!("expected a timestamp type, found {other}"),
    };
    let micros = cast(micros, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(cast(&micros, time)?)
}

fn tumbling(spec: &WindowSpec, micros: &Int64Array, window: &DataType) -> Result<ArrayRef> {
    let DataType::Struct(fields) = window else {
        return exec_err!("expected a window type, found {window}");
    };
    let out_of_range = || {
        exec_datafusion_err!(
            "a window of {} microseconds is out of range",
            spec.size_micros
        )
    };
    let starts: Int64Array = micros.try_unary(|t| spec.last_start(t).ok_or_else(out_of_range))?;
    let ends: Int64Array =
        starts.try_unary(|s| s.checked_add(spec.size_micros).ok_or_else(out_of_range))?;
    let nulls = micros.nulls().cloned();
    let child = |values: Int64Array| {
        from_micros(
            &Int64Array::new(values.values().clone(), None),
            fields[0].data_type(),
        )
    };
    let columns = vec![child(starts)?, child(ends)?];
    Ok(Arc::new(StructArray::try_new(
        fields.clone(),
        columns,
        nulls,
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::TimestampMicrosecondArray;
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::prelude::{SessionContext, col};

    async fn eval(time: ArrayRef, expr: Expr) -> Result<String> {
        let batch = RecordBatch::try_from_iter_with_nullable([("ts", time, true)])?;
        let frame = SessionContext::new()
            .read_batch(batch)?
            .select(vec![expr])?;
        let batches = frame.collect().await?;
        Ok(datafusion::arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
    }

    fn micros(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    }

    #[tokio::test]
    async fn a_tumbling_window_holds_its_row() {
        let times = micros(vec![Some(12_000_000), Some(-1), None]);
        let table = eval(times, window(col("ts"), "10 seconds"))
            .await
            .expect("tumbling");
        assert!(
            table.contains("{start: 1970-01-01T00:00:10Z, end: 1970-01-01T00:00:20Z}"),
            "{table}"
        );
        assert!(
            table.contains("{start: 1969-12-31T23:59:50Z, end: 1970-01-01T00:00:00Z}"),
            "{table}"
        );
    }

    #[tokio::test]
    async fn window_time_is_a_microsecond_before_the_end() {
        let times = micros(vec![Some(12_000_000), None]);
        let expr = window_time(window(col("ts"), "10 seconds"));
        let table = eval(times, expr).await.expect("window_time");
        assert!(table.contains("1970-01-01T00:00:19.999999Z"), "{table}");
    }

    #[tokio::test]
    async fn a_window_of_a_window_counts_from_its_last_instant() {
        let times = micros(vec![Some(12_000_000)]);
        let expr = window(window(col("ts"), "10 seconds"), "20 seconds");
        let table = eval(times, expr).await.expect("nested");
        assert!(
            table.contains("{start: 1970-01-01T00:00:00Z, end: 1970-01-01T00:00:20Z}"),
            "{table}"
        );
    }

    #[tokio::test]
    async fn what_needs_the_planner_says_so() {
        let cases = [
            window(col("ts"), "10 seconds").slide("5 seconds"),
            session_window(col("ts"), "10 seconds"),
        ];
        for expr in cases {
            let error = eval(micros(vec![Some(0)]), expr)
                .await
                .expect_err("marker")
                .to_string();
            assert!(
                error.contains("must be rewritten by the planner"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn wrong_arguments_are_refused_when_the_plan_is_built() {
        let cases = [
            (window(col("ts"), "0 seconds"), "above zero"),
            (
                window(col("ts"), "10 seconds").start("10 seconds"),
                "below the slide",
            ),
            (session_window(col("ts"), "1 month"), "months or years"),
            (window(lit(1), "10 seconds"), "takes a timestamp"),
            (col("ts").slide("1 second"), "window(time, size"),
        ];
        for (expr, expected) in cases {
            let error = eval(micros(vec![Some(0)]), expr)
                .await
                .expect_err(expected)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
