//! The number of partitions of a state may change at every restart, for every kind of operator.

use datafusion::arrow::{array::AsArray, compute::max, datatypes::Int32Type};

use super::{
    log,
    world::{Output, Query, Row, World},
};
use crate::{Error, OutputMode, Result};

/// What comes before each of four runs: rows of `logs` and of `other`.
fn feeds() -> [(Vec<Row>, Vec<Row>); 4] {
    [
        (log(), vec![(5, "a", 1), (8, "b", 2)]),
        (
            vec![(61, "a", 100), (62, "b", 503), (63, "c", 500), (64, "d", 7)],
            vec![(58, "e", 3), (62, "a", 5)],
        ),
        (
            vec![(64, "e", 100), (66, "b", 503), (69, "f", 500), (90, "a", 7)],
            vec![(70, "b", 4), (71, "c", 3), (88, "d", 5)],
        ),
        (vec![(140, "a", 1), (141, "g", 1)], vec![(150, "h", 1)]),
    ]
}

/// Four runs of a query, each with this many partitions, or with as many as the one before.
async fn outputs(
    query: Query,
    mode: OutputMode,
    partitions: [Option<usize>; 4],
) -> Result<(Vec<Vec<String>>, Vec<i32>)> {
    let mut world = World::new();
    let mut outputs = Vec::new();
    let mut used = Vec::new();
    for ((logs, other), partitions) in feeds().into_iter().zip(partitions) {
        world.settings.state_partitions = partitions;
        world.logs.add_batch(super::rows(&logs))?;
        world.other.add_batch(super::rows(&other))?;
        let output: Output = world.run(query, mode).await?;
        outputs.push(output.into_values().flatten().collect());
        let state = world
            .session()
            .await?
            .read_state_in(world.storage())
            .await?;
        let stores = state.operators_frame()?.collect().await?;
        let column = stores[0].column_by_name("partitions").expect("a column");
        let most = max(column.as_primitive::<Int32Type>());
        used.push(most.unwrap_or_default());
    }
    for output in &mut outputs {
        let output: &mut Vec<String> = output;
        output.sort();
    }
    Ok((outputs, used))
}

async fn check(name: &str, query: Query, mode: OutputMode) -> Result<()> {
    let context = |error: Error| error.context(name);
    let (expected, used) = outputs(query, mode, [Some(2); 4]).await.map_err(context)?;
    assert!(
        expected.iter().flatten().count() > 0,
        "{name} gives out nothing"
    );
    assert_eq!(used, [2; 4], "{name}");
    let changing = [Some(3), Some(7), None, Some(1)];
    let (rows, used) = outputs(query, mode, changing).await.map_err(context)?;
    assert_eq!(rows, expected, "{name}");
    // What a restart asks for holds until another one asks for something else.
    assert_eq!(used, [3, 7, 7, 1], "{name}");
    Ok(())
}

const AGGREGATES: &str = "SELECT host, count(*) AS n, avg(status) AS mean, count(DISTINCT status) AS d, array_agg(status \
     ORDER BY status) AS list FROM logs GROUP BY host";
const WINDOWS: &str = "SELECT window.start AS start, host, count(*) AS n FROM l GROUP BY window(time, '10 seconds'), host";
const SLIDING: &str = "SELECT window.start AS start, host, count(*) AS n FROM l GROUP BY window(time, '30 seconds', '7 seconds'), host";
const SESSIONS: &str = "SELECT session_window.start AS start, host, count(*) AS n FROM l GROUP BY \
     session_window(time, '5 seconds'), host";
const CONDITION: &str = "l.host = r.host AND r.time >= l.time - INTERVAL '20 seconds' AND r.time <= l.time + INTERVAL \
     '20 seconds'";

#[tokio::test]
async fn aggregations() -> Result<()> {
    check("running", Query::Sql(AGGREGATES), OutputMode::Complete).await?;
    check(
        "of all rows",
        Query::Sql("SELECT sum(status) AS s FROM logs"),
        OutputMode::Update,
    )
    .await?;
    check("windows", Query::Sql(WINDOWS), OutputMode::Append).await?;
    check("sliding", Query::Sql(SLIDING), OutputMode::Append).await?;
    check("sliding, updated", Query::Sql(SLIDING), OutputMode::Update).await?;
    check("windows, updated", Query::Sql(WINDOWS), OutputMode::Update).await?;
    check("sessions", Query::Sql(SESSIONS), OutputMode::Append).await?;
    check(
        "distinct",
        Query::Sql("SELECT DISTINCT host FROM logs"),
        OutputMode::Update,
    )
    .await
}

#[tokio::test]
async fn dropped_duplicates() -> Result<()> {
    let by_host = Query::Frame(|logs| logs.drop_duplicates(&["host"]));
    check("for ever", by_host, OutputMode::Append).await?;
    let by_time = Query::Frame(|logs| {
        logs.with_watermark("time", "10 seconds")?
            .drop_duplicates(&["host", "time"])
    });
    check("by time", by_time, OutputMode::Append).await?;
    let within = Query::Frame(|logs| {
        logs.with_watermark("time", "10 seconds")?
            .drop_duplicates_within_watermark(&["host"])
    });
    check("within the watermark", within, OutputMode::Append).await
}

#[tokio::test]
async fn joins() -> Result<()> {
    for kind in [
        "JOIN",
        "LEFT JOIN",
        "RIGHT JOIN",
        "FULL JOIN",
        "LEFT SEMI JOIN",
    ] {
        let columns = match kind {
            "LEFT SEMI JOIN" => "l.*",
            _ => "l.host, l.time, r.host AS host2, r.status",
        };
        let text = format!("SELECT {columns} FROM l {kind} r ON {CONDITION}");
        check(kind, Query::Sql(text.leak()), OutputMode::Append).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_of_operators() -> Result<()> {
    let text = format!(
        "SELECT window.start AS start, count(*) AS n FROM (SELECT l.time AS time FROM l JOIN r ON {CONDITION}) GROUP BY \
         window(time, '10 seconds')"
    );
    check(
        "a join and windows",
        Query::Sql(text.leak()),
        OutputMode::Append,
    )
    .await
}
