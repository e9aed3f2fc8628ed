//! TUMBLE, HOP and SESSION give what `window` and `session_window` give.

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
