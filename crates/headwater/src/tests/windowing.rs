//! TUMBLE, HOP and SESSION give what `window` and `session_window` give.

use datafusion::{functions::core::expr_fn::get_field, logical_expr::ExprFunctionExt};

use super::*;

const CLICKS: &str = "CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT, \
    WATERMARK FOR time AS time - INTERVAL 10 SECONDS) USING memory OPTIONS ('path' 'logs')";

/// The rows that a query gives out over the log and a late end of it, epoch by epoch, in append mode.
async fn streamed(text: &str) -> Vec<String> {
    let session = Session::new();
    let stream = MemoryStream::new("logs", schema());
    session.connectors().register_memory_stream(&stream);
    session.sql(CLICKS).await.expect("defined");
    session
        .sql("CREATE SINK out USING memory")
        .await
        .expect("defined");
    let insert = format!("INSERT INTO out {text}");
    session
        .sql(&insert)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let query = session.streams().active().pop().expect("running");
    for batch in [log(), vec![(9, "a", 200), (500, "z", 500)]] {
        stream.add_batch(rows(&batch)).expect("rows");
        query.process_all_available().await.expect("it works");
    }
    query.stop().await.expect("stopped");
    world::shown(&table(&session, "out").await)
}

#[tokio::test]
async fn windowing_functions_group_as_the_functions_do() {
    let pairs = [
        (
            "SELECT window_start, window_end, host, count(*) AS n \
             FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(time), INTERVAL '10' SECONDS)) \
             GROUP BY window_start, window_end, host",
            "SELECT window.start, window.end, host, count(*) AS n FROM clicks GROUP BY window(time, '10 seconds'), host",
        ),
        (
            "SELECT w.window_end, sum(w.status) AS s \
             FROM HOP(TABLE clicks, DESCRIPTOR(time), INTERVAL 5 SECONDS, INTERVAL 10 SECONDS) AS w GROUP BY w.window_end",
            "SELECT window.end, sum(status) AS s FROM clicks GROUP BY window(time, '10 seconds', '5 seconds')",
        ),
        (
            "SELECT window, count(*) AS n FROM TUMBLE(TABLE (SELECT * FROM clicks WHERE status >= 500), DESCRIPTOR(time), \
             INTERVAL 1 MINUTE) GROUP BY window",
            "SELECT window, count(*) AS n FROM clicks WHERE status >= 500 GROUP BY window(time, '1 minute')",
        ),
        (
            "SELECT host, window_start, window_end, count(*) AS n \
             FROM SESSION(TABLE clicks, DESCRIPTOR(time), INTERVAL 15 SECONDS) s \
             GROUP BY host, window_start, window_end HAVING count(*) > 0",
            "SELECT host, session_window.start, session_window.end, count(*) AS n FROM clicks \
             GROUP BY host, session_window(time, '15 seconds')",
        ),
    ];
    for (windowing, function) in pairs {
        let expected = streamed(function).await;
        assert!(expected.len() > 1, "{function}: {expected:?}");
        assert_eq!(streamed(windowing).await, expected, "{windowing}");
    }
}

#[tokio::test]
async fn windowing_functions_work_on_tables_too() {
    let session = Session::new();
    session
        .register_batch("logs", rows(&log()))
        .expect("a table");
    let text = "SELECT host, window_start, status FROM HOP(TABLE logs, DESCRIPTOR(time), INTERVAL 5 SECONDS, \
        INTERVAL 10 SECONDS) WHERE status = 200";
    let found = session
        .sql(text)
        .await
        .expect("a query")
        .collect()
        .await
        .expect("rows");
    assert_eq!(
        world::shown(&found),
        ["a 1970-01-01T00:00:00Z 200", "a 1970-01-01T00:00:05Z 200"]
    );
}

/// Steps of a stream, with windows that lie in several of them; the last row only closes windows.
const STEPS: [&[world::Row]; 4] = [
    &[(1, "a", 500), (7, "b", 503)],
    &[(8, "a", 200), (6, "a", 404)],
    &[(12, "a", 500), (3, "b", 503)],
    &[(500, "z", 500)],
];

/// What a query gives out over those steps in append mode, each in a program of its own, and over a table without the
/// last row.
async fn both_ways(query: fn(DataFrame) -> Result<DataFrame>) -> (Vec<String>, Vec<String>) {
    let world = world::World::new();
    let mut streamed = Vec::new();
    for step in STEPS {
        world.logs.add_batch(rows(step)).expect("rows");
        let run = world.run(world::Query::Frame(query), OutputMode::Append);
        streamed.extend(run.await.expect("it works").into_values().flatten());
    }
    streamed.sort();
    let session = Session::new();
    let finished = rows(&STEPS[..3].concat());
    session.register_batch("logs", finished).expect("a table");
    let logs = session.table("logs").await.expect("registered");
    let batch = query(logs).expect("a query").collect().await;
    (streamed, world::shown(&batch.expect("rows")))
}

/// Of each window and host: the window as its aggregates see it, and ordinary aggregates.
fn windows_in_aggregates(logs: DataFrame, windows: Expr) -> Result<DataFrame> {
    let start = || get_field(windows.clone(), "start");
    let inside = count(lit(1)).filter(col("time").gt_eq(start())).build();
    logs.with_watermark("time", "10 seconds")?
        .group_by([windows.clone(), col("host")])?
        .agg([
            max(start()).alias("first"),
            min(get_field(windows.clone(), "end")).alias("last"),
            sum(col("status")).alias("total"),
            inside.expect("a filter").alias("inside"),
        ])?
        .select_expr(["window.start", "host", "first", "last", "total", "inside"])
}

#[tokio::test]
async fn aggregates_can_look_at_the_windows_that_they_are_of() {
    fn sliding(logs: DataFrame) -> Result<DataFrame> {
        windows_in_aggregates(logs, window(col("time"), "10 seconds").slide("2 seconds"))
    }
    fn tumbling(logs: DataFrame) -> Result<DataFrame> {
        windows_in_aggregates(logs, window(col("time"), "10 seconds"))
    }
    let (streamed, batch) = both_ways(tumbling).await;
    let expected = [
        "1970-01-01T00:00:00Z a 1970-01-01T00:00:00Z 1970-01-01T00:00:10Z 1104 3",
        "1970-01-01T00:00:00Z b 1970-01-01T00:00:00Z 1970-01-01T00:00:10Z 1006 2",
        "1970-01-01T00:00:10Z a 1970-01-01T00:00:10Z 1970-01-01T00:00:20Z 500 1",
    ];
    assert_eq!(streamed, expected);
    assert_eq!(batch, expected);
    let (streamed, batch) = both_ways(sliding).await;
    // Each row is in five windows.
    let hosts = |host| batch.iter().filter(|row| row.contains(host)).count();
    assert_eq!((hosts(" a "), hosts(" b ")), (11, 7), "{batch:?}");
    for row in &batch {
        let cells: Vec<_> = row.split(' ').collect();
        assert_eq!(cells[0], cells[2], "the start of the window: {row}");
    }
    assert_eq!(streamed, batch);
}

#[tokio::test]
async fn sql_aggregates_of_sliding_windows_answer_as_over_a_subquery_with_the_windows() {
    let grouped = "SELECT window.start, max(window.start), count(*), sum(status), \
        count(*) FILTER (WHERE window.end > time + INTERVAL 5 SECONDS) \
        FROM clicks GROUP BY window(time, '10 seconds', '2 seconds')";
    let nested = "SELECT w.start, max(w.start), count(*), sum(status), \
        count(*) FILTER (WHERE w.end > time + INTERVAL 5 SECONDS) \
        FROM (SELECT window(time, '10 seconds', '2 seconds') AS w, time, status FROM clicks) GROUP BY w";
    let expected = streamed(nested).await;
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(streamed(grouped).await, expected);
}

/// Sliding windows over times of another unit, and answers of several kinds.
fn in_unit(logs: DataFrame, unit: &str, groups: Vec<Expr>) -> Result<DataFrame> {
    let time = format!("arrow_cast(time, 'Timestamp({unit}, Some(\"UTC\"))') AS time");
    logs.select_expr([time.as_str(), "nullif(host, 'a') AS host", "status"])?
        .with_watermark("time", "10 seconds")?
        .group_by(groups)?
        .agg([
            count(lit(1)).alias("n"),
            avg(col("status")).alias("mean"),
            max(col("status")).alias("most"),
            min(col("time")).alias("first"),
            sum(col("status"))
                .filter(col("status").gt(lit(300)))
                .build()
                .expect("a filter")
                .alias("errors"),
        ])
}

#[tokio::test]
async fn slices_in_state_give_the_windows_that_a_batch_has_whatever_the_keys_and_the_unit() {
    let queries: [fn(DataFrame) -> Result<DataFrame>; 5] = [
        |logs| {
            let window = window(col("time"), "10 seconds").slide("2 seconds");
            in_unit(logs, "Second", vec![window])
        },
        |logs| {
            let window = window(col("time"), "10 seconds").slide("3 seconds");
            in_unit(
                logs,
                "Millisecond",
                vec![col("host"), window, col("status")],
            )
        },
        |logs| {
            let window = window(col("time"), "7 seconds")
                .slide("4 seconds")
                .start("1 second");
            in_unit(logs, "Nanosecond", vec![window, col("host")])
        },
        |logs| {
            let window = window(col("time"), "10 seconds").slide("10 milliseconds");
            in_unit(logs, "Microsecond", vec![col("host"), window])
        },
        |logs| {
            let window = window(col("time"), "2 seconds").slide("500 milliseconds");
            in_unit(logs, "Millisecond", vec![col("host"), window])
        },
    ];
    for (number, query) in queries.into_iter().enumerate() {
        let (streamed, batch) = both_ways(query).await;
        assert!(batch.len() > 3, "{number}: {batch:?}");
        assert_eq!(streamed, batch, "{number}");
    }
}
