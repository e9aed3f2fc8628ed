//! The code that users bring: processors, and the shorter functions over groups.

use datafusion::{arrow::array::RecordBatch, scalar::ScalarValue};
use headwater_core::{Error, Result};

use super::{
    declare::{ProcessorInput, ProcessorSpec},
    group::GroupState,
    output::Output,
    state::State,
};

/// Turns the rows of each key into other rows, with state and timers of its own: `transformWithState` of Spark 4.
///
/// One object serves all keys and partitions, at the same time. Whatever it must remember belongs into its state, because
/// an epoch may run again, after a crash, on the state before it; an object that remembers by itself would count twice.
/// For the same reason what time it is comes from [`State`].
///
/// After an error nothing of the epoch has happened and the query ends.
pub trait StatefulProcessor: Send + Sync + 'static {
    /// What it remembers and what it gives out, for input of these columns. Called when a query is planned; a restart
    /// with another answer is refused.
    ///
    /// # Errors
    /// `Invalid` if it cannot do with this input.
    fn declare(&self, input: &ProcessorInput) -> Result<ProcessorSpec>;

    /// Takes all rows of a key in this epoch, in order of arrival; at least one.
    ///
    /// # Errors
    /// Whatever is to end the query.
    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()>;

    /// A timer of the key is due; `at_millis` is when it was set for. Called after the rows of all keys, by time. The
    /// timer is gone.
    ///
    /// # Errors
    /// Whatever is to end the query.
    fn handle_timer(
        &self,
        key: &[ScalarValue],
        at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let _ = (key, at_millis, state, output);
        Ok(())
    }

    /// Takes the rows of a key in the initial state, before any other row: in the first epoch of the query, once.
    ///
    /// # Errors
    /// Whatever is to end the query; the default refuses an initial state.
    fn handle_initial_state(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
    ) -> Result<()> {
        let _ = (key, rows, state);
        Err(Error::invalid(
            "the processor was given an initial state and does not take one: implement handle_initial_state, or leave \
             initial_state() out",
        ))
    }
}

/// A function over the rows of a key and one row of state: `mapGroupsWithState` and `flatMapGroupsWithState` of Spark.
///
/// Called once for each key that has rows in an epoch, with all of them, in order of arrival; and for each key whose
/// timeout is over and that has none, without rows, when [`GroupState::has_timed_out`] is true. Closures of this form are
/// such functions. What is said of [`StatefulProcessor`] about memory of one's own and about errors holds here too.
pub trait GroupFunction: Send + Sync + 'static {
    /// Takes the rows of a key, or its timeout.
    ///
    /// # Errors
    /// Whatever is to end the query.
    fn call(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut GroupState,
        output: &mut Output,
    ) -> Result<()>;
}

impl<F> GroupFunction for F
where
    F: Fn(&[ScalarValue], &RecordBatch, &mut GroupState, &mut Output) -> Result<()>
        + Send
        + Sync
        + 'static,
{
    fn call(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut GroupState,
        output: &mut Output,
    ) -> Result<()> {
        self(key, rows, state, output)
    }
}
