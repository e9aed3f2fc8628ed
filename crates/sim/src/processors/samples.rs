//! Processors that use every kind of state and timer, for the tests of the engine.

use std::time::Duration;

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{DataType, Int64Type},
    },
    scalar::ScalarValue,
};
use headwater::{
    Session,
    processor::{Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor},
};
use headwater_core::{Error, Result};

use super::groups::{column, latest_millis};

const LONG: DataType = DataType::Int64;

pub(super) fn register(session: &Session) {
    session.register_processor("ledger", Ledger);
    session.register_processor("short_memory", ShortMemory);
}

/// The values of the column `v`, nulls left out.
fn values(rows: &RecordBatch) -> Result<Vec<i64>> {
    let values = column(rows, "v")?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| Error::invalid("column 'v' is no long"))?;
    Ok(values.iter().flatten().collect())
}

/// Keeps the values of each key in a list and how often each has come in a map. Ten seconds of event time after the
/// latest row, and again after each row that comes later, the list begins anew; values that came once are forgotten, and
/// the next timer before that is deleted.
struct Ledger;

impl StatefulProcessor for Ledger {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        Ok(ProcessorSpec::new([
            ("k", DataType::Utf8),
            ("what", DataType::Utf8),
            ("listed", LONG),
            ("total", LONG),
            ("different", LONG),
        ])
        .with(StateVariable::list("entries", [("v", LONG)]))
        .with(StateVariable::map("times", [("v", LONG)], [("n", LONG)]))
        .with(StateVariable::value("start", [("total", LONG)])))
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        for value in values(rows)? {
            state.list("entries")?.append((value,))?;
            let mut times = state.map("times")?;
            let (n,) = times.get((value,))?.unwrap_or((0_i64,));
            times.put((value,), (n + 1,))?;
        }
        if let Some(latest) = latest_millis(rows)? {
            let due = latest + 10_000;
            // A timer that is a little earlier is not worth having.
            for timer in state.timers()? {
                if (due - 2_000..due).contains(&timer) {
                    state.delete_timer(timer)?;
                }
            }
            state.register_timer(due)?;
        }
        give(key, "rows", state, output)
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        _at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        give(key, "timer", state, output)?;
        state.list("entries")?.clear()?;
        let mut times = state.map("times")?;
        for ((value,), (n,)) in times.entries::<(i64,), (i64,)>()? {
            match n {
                1 => times.remove((value,))?,
                _ => times.put((value,), (1_i64,))?,
            }
        }
        Ok(())
    }

    fn handle_initial_state(
        &self,
        _key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
    ) -> Result<()> {
        let total: i64 = values(rows)?.iter().sum();
        state.value("start")?.update((total,))
    }
}

fn give(key: &[ScalarValue], what: &str, state: &mut State<'_>, output: &mut Output) -> Result<()> {
    let listed: Vec<(i64,)> = state.list("entries")?.get()?;
    let (start,) = state.value("start")?.get()?.unwrap_or((0_i64,));
    let different = state.map("times")?.entries::<(i64,), (i64,)>()?.len();
    let total = start + listed.iter().map(|(value,)| value).sum::<i64>();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    output.row((
        key[0].clone(),
        what,
        number(listed.len()),
        total,
        number(different),
    ))
}

/// Remembers the values of each key for five seconds of processing time, each from when it was last written, and is woken
/// after three and after seven.
struct ShortMemory;

impl StatefulProcessor for ShortMemory {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let ttl = Duration::from_secs(5);
        Ok(ProcessorSpec::new([
            ("k", DataType::Utf8),
            ("what", DataType::Utf8),
            ("listed", LONG),
            ("total", LONG),
            ("different", LONG),
        ])
        .with(StateVariable::list("entries", [("v", LONG)]).ttl(ttl))
        .with(StateVariable::map("times", [("v", LONG)], [("n", LONG)]).ttl(ttl))
        .with(StateVariable::value("start", [("total", LONG)]).ttl(ttl)))
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        for value in values(rows)? {
            state.list("entries")?.append((value,))?;
            state.map("times")?.put((value,), (1_i64,))?;
        }
        if !state.value("start")?.exists()? {
            state.value("start")?.update((1_000_i64,))?;
        }
        let now = state.current_processing_time();
        state.register_timer(now + 3_000)?;
        state.register_timer(now + 7_000)?;
        give(key, "rows", state, output)
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        if at_millis > state.current_processing_time() {
            return Err(Error::internal("a timer fired before its time"));
        }
        give(key, "timer", state, output)
    }
}
