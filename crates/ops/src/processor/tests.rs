//! The operator epoch by epoch, by hand, and what an epoch costs; exchange, checkpoint and restarts are tested elsewhere.

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    physical_plan::empty::EmptyExec,
    scalar::ScalarValue,
};
use headwater_core::{Delay, Epoch, EventTime, Result, Watermark};
use headwater_state::Work;

use super::*;

fn schema() -> SchemaRef {
    let long = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![long("k"), long("v")]))
}

fn rows(rows: impl IntoIterator<Item = (i64, i64)>) -> RecordBatch {
    let (keys, values): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys)),
        Arc::new(Int64Array::from(values)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Uses every kind of state: a count, a list and a map of values, a timer far away and one at the time of the value.
struct Everything;

impl StatefulProcessor for Everything {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        let long = |name| [(name, DataType::Int64)];
        Ok(
            ProcessorSpec::new([("k", DataType::Int64), ("n", DataType::Int64)])
                .with(StateVariable::value("count", long("n")))
                .with(StateVariable::list("values", long("v")))
                .with(StateVariable::map("seen", long("v"), long("n"))),
        )
    }

    fn handle_rows(
        &self,
        key: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let (before,) = state.value("count")?.get()?.unwrap_or((0_i64,));
        let values = rows.column(1).as_primitive::<Int64Type>();
        for value in values.iter().flatten() {
            state.list("values")?.append((value,))?;
            state.map("seen")?.put((value,), (1_i64,))?;
            state.register_timer(value)?;
        }
        let n = before + rows.num_rows() as i64;
        state.value("count")?.update((n,))?;
        output.row((key[0].clone(), n))
    }

    fn handle_timer(
        &self,
        key: &[ScalarValue],
        at_millis: i64,
        _state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        output.row((key[0].clone(), -at_millis))
    }
}

/// One partition of the operator, driven by hand.
struct Driven {
    exec: ProcessorExec,
    registry: ProcessorRegistry,
    stores: Vec<RowStore>,
    epochs: u64,
}

impl Driven {
    fn new(processor: impl StatefulProcessor, call: Call) -> Self {
        let registry = ProcessorRegistry::default();
        registry.register_processor("p", Arc::new(processor));
        Self::of(registry, call)
    }

    fn of(registry: ProcessorRegistry, call: Call) -> Self {
        let input = ProcessorInput {
            keys: Arc::new(schema().project(&[0]).unwrap()),
            rows: schema(),
        };
        let definition = Definition {
            operator: "processor-0".to_owned(),
            processor: "p".to_owned(),
            call,
            keys: vec![0],
            initial_keys: Vec::new(),
            spec: registry.spec("p", call, &input).unwrap(),
            input,
            initial_visible: 0,
            time_mode: TimeMode::EventTime,
            has_watermark: true,
            event_time: None,
        };
        let exec = ProcessorExec::new(Arc::new(EmptyExec::new(schema())), None, definition);
        let stores = exec.store_specs().into_iter();
        let stores = stores.map(|(_, spec)| RowStore::new(spec).unwrap());
        Self {
            stores: stores.collect(),
            exec,
            registry,
            epochs: 0,
        }
    }

    /// One epoch, committed; what came out.
    fn epoch(&mut self, batches: Vec<RecordBatch>, watermark: i64) -> Result<Vec<(i64, i64)>> {
        self.exec.bound.watermark = Watermark::START.advanced(EventTime(watermark), Delay(0));
        let stores = std::mem::take(&mut self.stores);
        let outcome = self.exec.run(&self.registry, stores, batches, Vec::new())?;
        self.stores = outcome.stores.into_iter().map(|(_, store)| store).collect();
        for store in &mut self.stores {
            store.commit(Epoch(self.epochs))?;
        }
        self.epochs += 1;
        let column = |batch: &RecordBatch, at| batch.column(at).as_primitive::<Int64Type>().clone();
        Ok(outcome
            .output
            .iter()
            .flat_map(|batch| {
                let (keys, values) = (column(batch, 0), column(batch, 1));
                let pairs = keys.values().iter().copied().zip(values.values().to_vec());
                pairs.collect::<Vec<_>>()
            })
            .collect())
    }

    fn work(&self) -> Vec<Work> {
        self.stores.iter().map(RowStore::work).collect()
    }
}

#[test]
fn a_key_sees_all_its_rows_of_an_epoch_at_once_in_order_of_arrival() {
    struct Order;
    impl StatefulProcessor for Order {
        fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
            Ok(ProcessorSpec::new([
                ("k", DataType::Int64),
                ("n", DataType::Int64),
            ]))
        }

        fn handle_rows(
            &self,
            key: &[ScalarValue],
            rows: &RecordBatch,
            _state: &mut State<'_>,
            output: &mut Output,
        ) -> Result<()> {
            let values = rows.column(1).as_primitive::<Int64Type>();
            let digits = values.iter().flatten().fold(0, |all, v| all * 10 + v);
            output.row((key[0].clone(), digits))
        }
    }
    let mut driven = Driven::new(Order, Call::Transform);
    let batches = vec![
        rows([(7, 1), (8, 4), (7, 2)]),
        rows([]),
        rows([(8, 5), (7, 3)]),
    ];
    assert_eq!(driven.epoch(batches, 0).unwrap(), [(7, 123), (8, 45)]);
}

#[test]
fn timers_fire_by_time_when_the_watermark_reaches_them_and_once() {
    let mut driven = Driven::new(Everything, Call::Transform);
    let first = driven.epoch(vec![rows([(1, 30), (2, 20), (1, 20), (1, 10)])], 5);
    assert_eq!(first.unwrap(), [(1, 3), (2, 1)]);
    assert_eq!(driven.epoch(vec![], 9).unwrap(), []);
    assert_eq!(driven.epoch(vec![], 10).unwrap(), [(1, -10)]);
    // One that is set when it is due fires in the same epoch; one that is set again does so once.
    let third = driven
        .epoch(vec![rows([(3, 1), (1, 30), (1, 30)])], 29)
        .unwrap();
    assert_eq!(third[..2], [(3, 1), (1, 5)]);
    assert_eq!(third[2], (3, -1));
    let mut others = third[3..].to_vec();
    others.sort_unstable();
    assert_eq!(others, [(1, -20), (2, -20)]);
    assert_eq!(driven.epoch(vec![], 1_000).unwrap(), [(1, -30)]);
    assert_eq!(driven.epoch(vec![], 2_000).unwrap(), []);
}

#[test]
fn a_timeout_is_replaced_by_each_call_and_fires_only_behind_its_time() {
    let registry = ProcessorRegistry::default();
    let function =
        |key: &[ScalarValue], rows: &RecordBatch, state: &mut GroupState, output: &mut Output| {
            if state.has_timed_out() {
                return output.row((key[0].clone(), -1_i64));
            }
            let values = rows.column(1).as_primitive::<Int64Type>();
            for value in values.iter().flatten().filter(|value| *value > 0) {
                state.set_timeout_timestamp(value)?;
            }
            Ok(())
        };
    let columns = [("k", DataType::Int64), ("n", DataType::Int64)];
    registry
        .register_group_function("p", [("n", DataType::Int64)], columns, Arc::new(function))
        .unwrap();
    let mut driven = Driven::of(registry, Call::FlatMapGroups);
    driven
        .epoch(vec![rows([(1, 10), (2, 10), (3, 10)])], 0)
        .unwrap();
    // Of the second key the timeout moves on, of the third it is taken away.
    driven.epoch(vec![rows([(2, 20), (3, 0)])], 5).unwrap();
    assert_eq!(driven.epoch(vec![], 10).unwrap(), []);
    assert_eq!(driven.epoch(vec![], 11).unwrap(), [(1, -1)]);
    assert_eq!(driven.epoch(vec![], 21).unwrap(), [(2, -1)]);
    let error = driven
        .epoch(vec![rows([(4, 20)])], 21)
        .expect_err("behind the watermark");
    assert!(
        error
            .to_string()
            .contains("before the current watermark of 21 ms"),
        "{error}"
    );
}

#[test]
fn an_epoch_costs_what_it_touches_however_much_is_in_state() {
    const FAR: i64 = 1_000_000_000;
    // Whole sums: where the rows of a store lie decides about a few comparisons.
    let cost = |keys: i64| {
        let mut driven = Driven::new(Everything, Call::Transform);
        let all = (0..keys).map(|key| (key, FAR + key % 1_000));
        driven.epoch(vec![rows(all)], 0).unwrap();
        // Ten keys of the state, and a timer of each that is due at once.
        let touched = |value: i64| rows((0..10).map(move |key| (key * 7, value)));
        driven.epoch(vec![touched(1)], 2).unwrap();
        let before = driven.work();
        let given = driven.epoch(vec![touched(3)], 4).unwrap();
        assert_eq!(given.len(), 20, "a row and a timer of each");
        let after = driven.work();
        let spent = before.iter().zip(&after);
        spent
            .map(|(before, after)| {
                let sum = |work: &Work| work.rows_indexed + work.rows_compared + work.rows_copied;
                sum(after) - sum(before)
            })
            .sum::<u64>()
    };
    let (small, large) = (cost(1_000), cost(100_000));
    assert!(
        large <= small + small / 10,
        "{small} steps with 1,000 keys in state, {large} with 100,000"
    );
}

#[test]
fn a_state_that_is_not_declared_or_of_another_kind_is_named() {
    struct Wrong(&'static str);
    impl StatefulProcessor for Wrong {
        fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
            Ok(ProcessorSpec::new([("n", DataType::Int64)])
                .with(StateVariable::list("values", [("v", DataType::Int64)])))
        }

        fn handle_rows(
            &self,
            _key: &[ScalarValue],
            _rows: &RecordBatch,
            state: &mut State<'_>,
            _output: &mut Output,
        ) -> Result<()> {
            state.value(self.0)?.clear()
        }
    }
    for (name, expected) in [
        (
            "count",
            "there is no state 'count', the processor declares [list values]",
        ),
        (
            "values",
            "state 'values' is declared as a list and was used as a value",
        ),
    ] {
        let mut driven = Driven::new(Wrong(name), Call::Transform);
        let error = driven
            .epoch(vec![rows([(5, 1)])], 0)
            .expect_err("it is wrong");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(
            error.to_string().contains("processor 'p', key (5)"),
            "{error}"
        );
    }
    let twice = ProcessorSpec::new([("n", DataType::Int64)])
        .with(StateVariable::value("c", [("n", DataType::Int64)]))
        .with(StateVariable::list("c", [("n", DataType::Int64)]));
    assert!(twice.check().is_err());
    let reserved = ProcessorSpec::new([("n", DataType::Int64)])
        .with(StateVariable::value("timers", [("n", DataType::Int64)]));
    assert!(reserved.check().is_err());
}
