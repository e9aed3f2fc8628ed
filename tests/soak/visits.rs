//! Code of one's own with every kind of state, which it forgets when a timer says that a visitor is gone.

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        compute::max,
        datatypes::{DataType, Int64Type, TimestampMicrosecondType},
    },
    scalar::ScalarValue,
};
use headwater::{
    prelude::Result,
    processor::{Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor},
};

/// A visitor is gone after so many milliseconds of event time without a row.
const GONE_AFTER: i64 = 4_000;

/// Counts rows, values and different values of each visitor, and gives them out at the end of the visit.
pub(super) struct Visits;

impl StatefulProcessor for Visits {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let long = DataType::Int64;
        let output = [
            ("visitor", DataType::Utf8),
            ("rows", long.clone()),
            ("listed", long.clone()),
            ("different", long.clone()),
        ];
        Ok(ProcessorSpec::new(output)
            .with(StateVariable::value("rows", [("n", long.clone())]))
            .with(StateVariable::list("values", [("v", long.clone())]))
            .with(StateVariable::map(
                "times",
                [("v", long.clone())],
                [("n", long)],
            )))
    }

    fn handle_rows(
        &self,
        _key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        _output: &mut Output,
    ) -> Result<()> {
        let (before,) = state.value("rows")?.get()?.unwrap_or((0_i64,));
        state
            .value("rows")?
            .update((before + rows.num_rows() as i64,))?;
        for value in rows["value"].as_primitive::<Int64Type>().iter().flatten() {
            state.list("values")?.append((value,))?;
            let (times,) = state.map("times")?.get((value,))?.unwrap_or((0_i64,));
            state.map("times")?.put((value,), (times + 1,))?;
        }
        let last = max(rows["time"].as_primitive::<TimestampMicrosecondType>());
        let gone = last.unwrap_or(0) / 1_000 + GONE_AFTER;
        for timer in state.timers()?.into_iter().filter(|timer| *timer < gone) {
            state.delete_timer(timer)?;
        }
        state.register_timer(gone)
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        _at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let (rows,) = state.value("rows")?.get()?.unwrap_or((0_i64,));
        let listed = state.list("values")?.get::<(i64,)>()?.len() as i64;
        let different = state.map("times")?.entries::<(i64,), (i64,)>()?.len() as i64;
        output.row((key[0].clone(), rows, listed, different))?;
        state.value("rows")?.clear()?;
        state.list("values")?.clear()?;
        state.map("times")?.clear()
    }
}
