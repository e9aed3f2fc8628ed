use datafusion::{
    arrow::{
        array::{Array, AsArray, Int64Array, StringArray, TimestampMillisecondArray},
        datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
    },
    catalog::memory::MemorySourceConfig,
    common::JoinSide,
    physical_expr::expressions::Column,
    physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// A key, a time in milliseconds, and the number of the row.
type Row = (Option<i64>, Option<i64>, i64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            true,
        ),
        Field::new("number", DataType::Int64, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: StringArray = rows
        .iter()
        .map(|row| row.0.map(|k| k.to_string()))
        .collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.1).collect();
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(numbers)];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

fn input(batches: Vec<RecordBatch>) -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(&[batches], schema(), None).expect("a source")
}

fn join(nearest: Nearest, join_type: JoinType, with_key: bool, within: Option<i64>) -> AsOf {
    let column = |side: JoinSide, name: &str, index: usize| -> Arc<dyn PhysicalExpr> {
        let _ = side;
        Arc::new(Column::new(name, index))
    };
    let pair =
        |name: &str, index| [JoinSide::Left, JoinSide::Right].map(|side| column(side, name, index));
    let fields = schema()
        .fields()
        .iter()
        .chain(schema().fields())
        .cloned()
        .collect::<Vec<_>>();
    let nullable = fields
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    AsOf {
        keys: if with_key {
            vec![pair("key", 0)]
        } else {
            Vec::new()
        },
        place: pair("time", 1),
        nearest,
        within_micros: within.map(|millis| millis * 1_000),
        join_type,
        schema: Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
    }
}

/// The numbers of the rows that come out and of the table's rows beside them.
async fn run(exec: &AsOfJoinExec) -> Vec<(i64, Option<i64>)> {
    let context = Arc::new(TaskContext::default());
    let batches = collect(Arc::new(exec.clone()), context)
        .await
        .expect("it works");
    let mut pairs = Vec::new();
    for batch in batches {
        let [left, right] = [2, 5].map(|c| batch.column(c).as_primitive::<Int64Type>().clone());
        pairs.extend((0..batch.num_rows()).map(|row| {
            (
                left.value(row),
                right.is_valid(row).then(|| right.value(row)),
            )
        }));
    }
    pairs
}

/// Row by row, by looking at the whole table.
fn slowly(rows: &[Row], table: &[Row], join: &AsOf) -> Vec<(i64, Option<i64>)> {
    let mut pairs = Vec::new();
    for (key, time, number) in rows {
        let fits = |other: &&Row| {
            let (Some(own), Some(theirs)) = (*time, other.1) else {
                return false;
            };
            let same = join.keys.is_empty() || (key.is_some() && *key == other.0);
            let within = join
                .within_micros
                .is_none_or(|w| own.abs_diff(theirs) * 1_000 <= w as u64);
            same && within
                && match join.nearest {
                    Nearest::AtOrBefore => theirs <= own,
                    Nearest::Before => theirs < own,
                    Nearest::AtOrAfter => theirs >= own,
                    Nearest::After => theirs > own,
                }
        };
        let candidates = table.iter().filter(fits);
        let found = match join.nearest {
            // Of equal ones `max_by_key` gives the last and `min_by_key` the first.
            Nearest::AtOrBefore | Nearest::Before => candidates.max_by_key(|row| row.1),
            Nearest::AtOrAfter | Nearest::After => candidates.min_by_key(|row| row.1),
        };
        if found.is_some() || join.join_type == JoinType::Left {
            pairs.push((*number, found.map(|row| row.2)));
        }
    }
    pairs
}

fn some_rows(random: &mut StdRng, rows: usize) -> Vec<Row> {
    let mut one = |number: usize| {
        let key = random.random_bool(0.9).then(|| random.random_range(0..4));
        let time = random
            .random_bool(0.9)
            .then(|| random.random_range(-20..20));
        (key, time, number as i64)
    };
    (0..rows).map(&mut one).collect()
}

#[tokio::test]
async fn each_row_gets_the_row_that_a_look_at_the_whole_table_finds() {
    let mut random = StdRng::seed_from_u64(5);
    for round in 0..200 {
        let nearest = [
            Nearest::AtOrBefore,
            Nearest::Before,
            Nearest::AtOrAfter,
            Nearest::After,
        ][round % 4];
        let join_type = [JoinType::Inner, JoinType::Left][random.random_range(0..2)];
        let within = random.random_bool(0.3).then(|| random.random_range(1..10));
        let join = join(nearest, join_type, random.random_bool(0.8), within);
        let size = random.random_range(0..40);
        let (rows, table) = (some_rows(&mut random, 30), some_rows(&mut random, size));
        let (first, second) = table.split_at(size / 2);
        let exec = AsOfJoinExec::try_new(
            input(vec![batch(first), batch(second)]),
            input(vec![batch(&rows[..10]), batch(&rows[10..])]),
            join.clone(),
        );
        let found = run(&exec.expect("a join")).await;
        assert_eq!(
            found,
            slowly(&rows, &table, &join),
            "round {round}: {join:?}"
        );
    }
}

#[tokio::test]
async fn a_table_is_sorted_once_for_many_epochs_and_anew_when_it_is_replaced() {
    let join = join(Nearest::AtOrBefore, JoinType::Inner, true, None);
    let table = |number| input(vec![batch(&[(Some(1), Some(0), number)])]);
    let rows = || input(vec![batch(&[(Some(1), Some(5), 1)])]);
    let exec = AsOfJoinExec::try_new(table(10), rows(), join).expect("a join");
    assert_eq!(run(&exec).await, [(1, Some(10))]);
    let options = || ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let with = |table: &Arc<dyn ExecutionPlan>| {
        let exec: Arc<dyn ExecutionPlan> = Arc::new(exec.clone());
        let next = exec.replace_children(vec![Arc::clone(table), rows()], options());
        let next = next.expect("a join");
        next.downcast_ref::<AsOfJoinExec>()
            .expect("the same kind")
            .clone()
    };
    let next_epoch = with(exec.table());
    assert!(next_epoch.sorted.initialized());
    let replaced = with(&table(20));
    assert!(!replaced.sorted.initialized());
    assert_eq!(run(&replaced).await, [(1, Some(20))]);
}

#[test]
fn what_does_not_fit_is_a_defect_of_planning() {
    let mut full = join(Nearest::After, JoinType::Full, true, None);
    assert!(AsOfJoinExec::try_new(input(vec![]), input(vec![]), full.clone()).is_err());
    full.join_type = JoinType::Inner;
    full.keys[0][1] = Arc::new(Column::new("number", 2));
    let error = AsOfJoinExec::try_new(input(vec![]), input(vec![]), full).unwrap_err();
    assert!(error.to_string().contains("Int64"), "{error}");
}
