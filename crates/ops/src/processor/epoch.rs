//! One epoch of one partition, without I/O: rows are dealt out by key, user code is called for each key, due timers
//! follow, and the changes are written into the stores.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
};
use headwater_core::{Error, Result};
use headwater_state::RowStore;

use super::{
    Definition,
    declare::TIMERS,
    group::{Change, GroupState},
    keys::TouchedKeys,
    output::Output,
    registry::{Call, Registered},
    row::Row,
    state::{EpochState, State, Times},
    timers::{TimerRule, Timers},
    variable::{Counts, Variable},
};
use crate::{
    expiry::Expiry,
    normal_float::{has_floats, normal_floats},
    origin::in_order_of_origin,
    runtime::from_datafusion,
};

/// Rows that came to a partition, and which of their columns say what.
pub(super) struct Arrived<'a> {
    pub(super) batches: Vec<RecordBatch>,
    /// Columns without the tag of origin, which may stand behind them.
    pub(super) schema: &'a SchemaRef,
    pub(super) keys: &'a [usize],
    /// What user code sees: so many leading columns.
    pub(super) visible: usize,
}

/// What one epoch did to one partition.
pub(super) struct Outcome {
    pub(super) output: Vec<RecordBatch>,
    pub(super) stores: Vec<(String, RowStore)>,
    pub(super) total: u64,
    pub(super) counts: Counts,
    pub(super) timers: TimerCounts,
    /// When the earliest timer that is left is due, in milliseconds.
    pub(super) next_timer: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TimerCounts {
    pub(super) registered: u64,
    pub(super) removed: u64,
    pub(super) fired: u64,
}

pub(super) struct ProcessorEpoch<'a> {
    definition: &'a Definition,
    logic: Registered,
    state: EpochState,
    output: Output,
}

impl<'a> ProcessorEpoch<'a> {
    /// `stores` are those of the variables, in order, and then that of the timers.
    pub(super) fn new(
        definition: &'a Definition,
        logic: Registered,
        mut stores: Vec<RowStore>,
        times: Times,
    ) -> Result<Self> {
        let timers = stores
            .pop()
            .ok_or_else(|| Error::internal("a processor has no store of timers"))?;
        let rule = match definition.call {
            Call::Transform => TimerRule::Each,
            Call::FlatMapGroups | Call::MapGroups => TimerRule::Last,
        };
        let variables = definition.spec.variables.iter().zip(stores);
        let variables = variables
            .map(|(variable, store)| Variable::open(variable.clone(), store, times.processing));
        Ok(Self {
            output: Output::new(Arc::clone(&definition.spec.output)),
            state: EpochState {
                keys: TouchedKeys::new(&definition.input.keys)?,
                variables: variables.collect::<Result<_>>()?,
                timers: Timers::open(timers, rule),
                times,
            },
            logic,
            definition,
        })
    }

    /// The rows of a key each, keys in order of first appearance.
    fn deal(&mut self, arrived: Arrived<'_>) -> Result<Vec<(usize, RecordBatch)>> {
        let mut batches = arrived.batches;
        batches.retain(|batch| batch.num_rows() > 0);
        let Some(first) = batches.first() else {
            return Ok(Vec::new());
        };
        let all = concat_batches(&first.schema(), &batches)?;
        let is_tagged = all.num_columns() > arrived.schema.fields().len();
        let all = match is_tagged {
            true => in_order_of_origin(&all, arrived.schema).map_err(from_datafusion)?,
            false => all,
        };
        let keys = arrived.keys.iter().map(|column| {
            let key = all.column(*column);
            match has_floats(key.data_type()) {
                true => normal_floats(key).map_err(from_datafusion),
                false => Ok(Arc::clone(key)),
            }
        });
        let known = self.state.keys.len();
        let numbers = self.state.keys.number(&keys.collect::<Result<Vec<_>>>()?)?;
        self.read_ahead(known)?;
        let visible: Vec<usize> = (0..arrived.visible).collect();
        dealt(all.project(&visible)?, &numbers)
    }

    /// Reads the values of keys that were not known before.
    fn read_ahead(&mut self, known: usize) -> Result<()> {
        let EpochState {
            keys, variables, ..
        } = &mut self.state;
        if keys.len() > known {
            for variable in variables {
                variable.read_ahead(keys, known..keys.len())?;
            }
        }
        Ok(())
    }

    /// Gives the initial state to the processor.
    pub(super) fn take_initial_state(&mut self, arrived: Arrived<'_>) -> Result<()> {
        for (key, rows) in self.deal(arrived)? {
            let row = self.state.keys.row(key)?;
            let Registered::Processor(processor) = &self.logic else {
                return Err(Error::internal(
                    "a group function was given an initial state",
                ));
            };
            let mut state = State {
                epoch: &mut self.state,
                key,
            };
            let done = processor.handle_initial_state(&row, &rows, &mut state);
            done.map_err(|error| self.explain(&row, error))?;
        }
        Ok(())
    }

    /// Calls user code for each key that has rows.
    pub(super) fn take_rows(&mut self, arrived: Arrived<'_>) -> Result<()> {
        for (key, rows) in self.deal(arrived)? {
            let row = self.state.keys.row(key)?;
            let called = match &self.logic {
                Registered::Processor(processor) => {
                    let mut state = State {
                        epoch: &mut self.state,
                        key,
                    };
                    processor.handle_rows(&row, &rows, &mut state, &mut self.output)
                }
                Registered::Group { .. } => self.call_group(key, &row, &rows, false),
            };
            called.map_err(|error| self.explain(&row, error))?;
        }
        Ok(())
    }

    /// Calls user code for each timer that is due.
    pub(super) fn fire_timers(&mut self) -> Result<()> {
        let Some(now) = self.state.times.of_timers() else {
            return Ok(());
        };
        self.state.timers.flush(&self.state.keys)?;
        let due = self.state.timers.due(now)?;
        if due.at.is_empty() {
            return Ok(());
        }
        let known = self.state.keys.len();
        let numbers = self.state.keys.number(&due.keys)?;
        self.read_ahead(known)?;
        let visible = self.definition.input.rows.as_ref().clone();
        let none = RecordBatch::new_empty(Arc::new(visible));
        for (key, at) in numbers.into_iter().zip(due.at) {
            let row = self.state.keys.row(key)?;
            let called = match &self.logic {
                Registered::Processor(processor) => {
                    let mut state = State {
                        epoch: &mut self.state,
                        key,
                    };
                    processor.handle_timer(&row, at, &mut state, &mut self.output)
                }
                Registered::Group { .. } => self.call_group(key, &row, &none, true),
            };
            called.map_err(|error| self.explain(&row, error))?;
        }
        Ok(())
    }

    fn call_group(
        &mut self,
        key: usize,
        row: &Row,
        rows: &RecordBatch,
        has_timed_out: bool,
    ) -> Result<()> {
        let Registered::Group { function, .. } = &self.logic else {
            return Err(Error::internal(
                "a processor was called as a group function",
            ));
        };
        let EpochState {
            variables,
            timers,
            times,
            ..
        } = &mut self.state;
        let [variable] = variables.as_mut_slice() else {
            return Err(Error::internal("a group function has one state variable"));
        };
        let stored = variable.value(key)?;
        let existed = stored.is_some();
        let before = self.output.count();
        let mut state = GroupState::new(stored, has_timed_out, *times);
        function.call(row, rows, &mut state, &mut self.output)?;
        let given = self.output.count() - before;
        if self.definition.call == Call::MapGroups && given != 1 {
            return Err(Error::invalid(format!(
                "the function gave out {given} rows in one call, and map_groups_with_state takes exactly one: use \
                 flat_map_groups_with_state"
            )));
        }
        if times.of_timers().is_some() {
            timers.replace(key, state.timeout);
        }
        match state.change {
            Change::Kept => Ok(()),
            Change::Updated => variable.set_value(key, state.into_row()),
            Change::Removed if existed => variable.set_value(key, None),
            Change::Removed => Ok(()),
        }
    }

    fn explain(&self, key: &Row, error: Error) -> Error {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        error.context(format!(
            "processor '{}', key ({})",
            self.definition.processor,
            key.join(", ")
        ))
    }

    /// Writes the changes, and refuses rows that are behind the watermark.
    pub(super) fn finish(self) -> Result<Outcome> {
        let EpochState {
            keys,
            variables,
            timers,
            times,
        } = self.state;
        let output = self.output.finish()?;
        if let (Some(column), Some(watermark)) = (self.definition.event_time, times.watermark) {
            for batch in &output {
                check_event_time(self.definition, batch, column, watermark)?;
            }
        }
        let mut outcome = Outcome {
            output,
            stores: Vec::with_capacity(variables.len() + 1),
            total: 0,
            counts: Counts::default(),
            timers: TimerCounts {
                registered: timers.registered,
                removed: timers.removed,
                fired: timers.fired,
            },
            next_timer: None,
        };
        for variable in variables {
            let (definition, store, counts) = variable.finish(&keys)?;
            outcome.total += store.len() as u64;
            outcome.counts.updated += counts.updated;
            outcome.counts.removed += counts.removed;
            outcome.counts.expired += counts.expired;
            outcome.stores.push((definition.name, store));
        }
        let (store, next_timer) = timers.finish(&keys)?;
        outcome.next_timer = next_timer;
        outcome.stores.push((TIMERS.to_owned(), store));
        Ok(outcome)
    }
}

/// What stands above takes these rows for final: one that is behind the watermark would be lost there without a word.
fn check_event_time(
    definition: &Definition,
    batch: &RecordBatch,
    column: usize,
    watermark: i64,
) -> Result<()> {
    let expiry = Expiry {
        column,
        extra_micros: 0,
    };
    let times = expiry.millis(batch.columns()).map_err(from_datafusion)?;
    let late = times.iter().flatten().find(|time| *time < watermark);
    match late {
        None => Ok(()),
        Some(time) => Err(Error::invalid(format!(
            "processor '{}' gave out a row whose event time '{}' of {time} ms is before the current watermark of \
             {watermark} ms, so that what follows would drop it: give out times at or after state.current_watermark()",
            definition.processor,
            batch.schema().field(column).name()
        ))),
    }
}

/// The rows of each key, by the keys' numbers in order of first appearance; rows of a key stay in order.
fn dealt(rows: RecordBatch, numbers: &[usize]) -> Result<Vec<(usize, RecordBatch)>> {
    let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
    order.sort_by_key(|row| numbers[*row as usize]);
    let sorted: Vec<usize> = order.iter().map(|row| numbers[*row as usize]).collect();
    let rows = match order.is_sorted() {
        true => rows,
        false => take_record_batch(&rows, &UInt32Array::from(order))?,
    };
    let mut start = 0;
    let of_keys = sorted.chunk_by(|a, b| a == b).map(|same| {
        let part = (same[0], rows.slice(start, same.len()));
        start += same.len();
        part
    });
    Ok(of_keys.collect())
}
