//! Tumbling windows written as a processor: a map of open windows and a timer at the end of each.

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{DataType, Field, Int64Type, TimeUnit, TimestampMicrosecondType},
    },
    scalar::ScalarValue,
};
use headwater::{
    prelude::Result,
    processor::{Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor},
};

/// Length of a window, in milliseconds.
const WINDOW: i64 = 10_000;

/// Counts and adds up the rows of each key in windows of ten seconds, and gives a window out at its end.
pub(crate) struct WindowsByHand;

impl StatefulProcessor for WindowsByHand {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let long = |name| Field::new(name, DataType::Int64, true);
        Ok(ProcessorSpec::new([
            Field::new("start", time, true),
            Field::new("key", DataType::Utf8, true),
            long("rows"),
            long("total"),
        ])
        .with(StateVariable::map(
            "open",
            [long("start")],
            [long("rows"), long("total")],
        )))
    }

    fn handle_rows(
        &self,
        _key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        _output: &mut Output,
    ) -> Result<()> {
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let values = rows.column(2).as_primitive::<Int64Type>();
        for (time, value) in times.values().iter().zip(values.values()) {
            let start = time.div_euclid(1_000).div_euclid(WINDOW) * WINDOW;
            let mut open = state.map("open")?;
            let (count, total) = open.get((start,))?.unwrap_or((0_i64, 0_i64));
            open.put((start,), (count + 1, total + value))?;
            state.register_timer(start + WINDOW)?;
        }
        Ok(())
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let start = at_millis - WINDOW;
        let mut open = state.map("open")?;
        if let Some((count, total)) = open.get::<(i64, i64)>((start,))? {
            let start = ScalarValue::TimestampMicrosecond(Some(start * 1_000), Some("UTC".into()));
            output.row((start, key[0].clone(), count, total))?;
        }
        open.remove((start,))
    }
}
