//! Processors of the recorded scenarios.

use std::time::Duration;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::DataType},
    scalar::ScalarValue,
};
use headwater::{
    Session,
    processor::{Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor},
};
use headwater_core::Result;

use super::groups::{count, latest_millis};

pub(super) fn register(session: &Session) {
    session.register_processor("value_count", ValueCount);
    session.register_processor("event_timer", EventTimer);
    session.register_processor("value_ttl", ValueTtl);
}

/// Key and count out, a count in state.
fn counting() -> ProcessorSpec {
    ProcessorSpec::new([("k", DataType::Utf8), ("n", DataType::Int64)])
        .with(StateVariable::value("c", [("n", DataType::Int64)]))
}

fn counted(state: &mut State<'_>) -> Result<i64> {
    let (n,) = state.value("c")?.get()?.unwrap_or((0_i64,));
    Ok(n)
}

/// Counts the rows of each key and gives the count out whenever rows come.
struct ValueCount;

impl StatefulProcessor for ValueCount {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        Ok(counting())
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let n = counted(state)? + count(rows);
        state.value("c")?.update((n,))?;
        output.row((key[0].clone(), n))
    }
}

/// Counts, and sets a timer ten seconds after the latest row of each epoch; each of them begins the count anew.
struct EventTimer;

impl StatefulProcessor for EventTimer {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        Ok(counting())
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let n = counted(state)? + count(rows);
        state.value("c")?.update((n,))?;
        state.register_timer(latest_millis(rows)?.unwrap_or(0) + 10_000)?;
        output.row((key[0].clone(), n))
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        _at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let n = counted(state)?;
        state.value("c")?.clear()?;
        output.row((key[0].clone(), -n))
    }
}

/// A count that lives five seconds and is written only when it is new or several rows come.
struct ValueTtl;

impl StatefulProcessor for ValueTtl {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let mut spec = counting();
        spec.variables = spec
            .variables
            .into_iter()
            .map(|variable| variable.ttl(Duration::from_secs(5)))
            .collect();
        Ok(spec)
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let n = counted(state)?;
        let added = count(rows);
        if n == 0 || added > 1 {
            state.value("c")?.update((n + added,))?;
        }
        output.row((key[0].clone(), n + added))
    }
}
