//! Changes of windows, watermarks and sessions.

use super::{Frame, Goes, Refused, Sql, check, check_all};
use crate::prelude::*;

const WINDOWS: &str = "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY \
     window(time, '10 seconds'), host";

fn with_delay(delay: &str, logs: DataFrame) -> Result<DataFrame> {
    logs.with_watermark("time", delay)?
        .group_by([window(col("time"), "10 seconds"), col("host")])?
        .agg([count(lit(1)).alias("n"), max(col("status")).alias("m")])?
        .select_expr(["window.start AS start", "host", "n", "m"])
}

#[tokio::test]
async fn windows_and_watermarks() -> Result<()> {
    let cases = [
        (
            "nothing changes",
            Sql(WINDOWS),
            Goes(
                "SELECT date_bin(INTERVAL '10 seconds', time) AS start, host, count(*), max(status) FROM logs_both \
                 WHERE time >= '1970-01-01T00:01:00Z' AND time < '1970-01-01T00:01:50Z' GROUP BY start, host",
            ),
        ),
        (
            "an aggregate is removed and the other renamed",
            Sql(
                "SELECT window.start AS start, max(status) AS worst, host FROM l GROUP BY window(time, '10 seconds'), host",
            ),
            Goes(
                "SELECT date_bin(INTERVAL '10 seconds', time) AS start, max(status), host FROM logs_both \
                 WHERE time >= '1970-01-01T00:01:00Z' AND time < '1970-01-01T00:01:50Z' GROUP BY start, host",
            ),
        ),
        (
            // 120 s less 45 s: the window that begins at 70 s stays open.
            "the delay of the watermark changes",
            Frame(|logs| with_delay("45 seconds", logs)),
            Goes(
                "SELECT date_bin(INTERVAL '10 seconds', time) AS start, host, count(*), max(status) FROM logs_both \
                 WHERE time >= '1970-01-01T00:01:00Z' AND time < '1970-01-01T00:01:10Z' GROUP BY start, host",
            ),
        ),
        (
            "windows become longer",
            Sql(
                "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY window(time, '20 seconds'), host",
            ),
            Refused(&[
                "operator 'aggregate-0' windows[0] was \"10000000 us every 10000000 us",
                "and is \"20000000 us",
            ]),
        ),
        (
            "windows slide",
            Sql(
                "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY window(time, '10 seconds', '5 seconds'), host",
            ),
            Refused(&["operator 'aggregate-0' windows[0] was"]),
        ),
        (
            "windows begin elsewhere",
            Sql(
                "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY window(time, '10 seconds', '10 seconds', '1 second'), host",
            ),
            Refused(&["operator 'aggregate-0' windows[0] was"]),
        ),
        (
            "windows become sessions",
            Sql(
                "SELECT session_window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY session_window(time, '10 seconds'), host",
            ),
            Refused(&[
                "operator 'aggregate-0' was aggregate and is gone",
                "operator 'session-0' is new: session",
            ]),
        ),
        (
            "a stateful operator is added above",
            Sql(
                "SELECT start, count(*) AS hosts FROM (SELECT window.start AS start, window.end AS end, host, window_time(window) AS time FROM l GROUP BY window(time, '10 seconds'), host) GROUP BY start, window(time, '10 seconds')",
            ),
            Refused(&["operator 'aggregate-1' is new: aggregate"]),
        ),
    ];
    check_all(Sql(WINDOWS), OutputMode::Append, &cases).await?;
    let (append, update) = (OutputMode::Append, OutputMode::Update);
    let refused = Refused(&["the output mode was append and is update"]);
    check(
        "the output mode changes",
        (Sql(WINDOWS), append),
        (Sql(WINDOWS), update),
        &refused,
    )
    .await?;
    let no_watermark = Frame(|logs| {
        logs.group_by([window(col("time"), "10 seconds"), col("host")])?
            .agg([count(lit(1)).alias("n"), max(col("status")).alias("m")])?
            .select_expr(["window.start AS start", "host", "n", "m"])
    });
    let refused = Refused(&["operator 'aggregate-0' expires was", "and is null"]);
    check(
        "the watermark goes",
        (Sql(WINDOWS), update),
        (no_watermark, update),
        &refused,
    )
    .await
}

const SLIDING: &str = "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY \
     window(time, '10 seconds', '5 seconds'), host";

const SLIDING_AND_TEXTS: &str = "SELECT window.start AS start, host, count(*) AS n, max(status) AS m, max(host) AS h \
     FROM l GROUP BY window(time, '10 seconds', '5 seconds'), host";

/// Windows that end behind 50 s and not behind 110 s.
const SLIDING_ANSWER: &str = "SELECT start, host, count(*), max(status) FROM (SELECT date_bin(INTERVAL '5 seconds', time) \
     AS start, host, status FROM logs_both UNION ALL SELECT date_bin(INTERVAL '5 seconds', time) - INTERVAL '5 seconds', \
     host, status FROM logs_both) WHERE start > '1970-01-01T00:00:40Z' AND start <= '1970-01-01T00:01:40Z' \
     GROUP BY start, host";

#[tokio::test]
async fn windows_that_overlap() -> Result<()> {
    let cases = [
        ("nothing changes", Sql(SLIDING), Goes(SLIDING_ANSWER)),
        (
            "an aggregate is removed",
            Sql(
                "SELECT window.start AS start, host, count(*) AS n FROM l GROUP BY window(time, '10 seconds', '5 seconds'), host",
            ),
            Goes(
                "SELECT start, host, count(*) FROM (SELECT date_bin(INTERVAL '5 seconds', time) AS start, host FROM \
                 logs_both UNION ALL SELECT date_bin(INTERVAL '5 seconds', time) - INTERVAL '5 seconds', host FROM \
                 logs_both) WHERE start > '1970-01-01T00:00:40Z' AND start <= '1970-01-01T00:01:40Z' GROUP BY start, host",
            ),
        ),
        (
            "a window of another length",
            Sql(
                "SELECT window.start AS start, host, count(*) AS n, max(status) AS m FROM l GROUP BY window(time, '15 seconds', '5 seconds'), host",
            ),
            Refused(&["operator 'aggregate-0' windows[0] was"]),
        ),
        (
            "an aggregate whose states are no numbers is added",
            Sql(SLIDING_AND_TEXTS),
            Refused(&["operator 'aggregate-0' store 'groups' is new"]),
        ),
    ];
    check_all(Sql(SLIDING), OutputMode::Append, &cases).await?;
    // State has whole windows where something cannot be merged, and keeps them.
    let cases = [
        (
            "an aggregate is removed whose states are no numbers",
            Sql(SLIDING),
            Goes(SLIDING_ANSWER),
        ),
        (
            "and nothing changes",
            Sql(SLIDING_AND_TEXTS),
            Goes(
                "SELECT start, host, count(*), max(status), host AS h FROM (SELECT date_bin(INTERVAL '5 seconds', time) AS \
                 start, host, status FROM logs_both UNION ALL SELECT date_bin(INTERVAL '5 seconds', time) - INTERVAL \
                 '5 seconds', host, status FROM logs_both) WHERE start > '1970-01-01T00:00:40Z' AND start <= \
                 '1970-01-01T00:01:40Z' GROUP BY start, host",
            ),
        ),
    ];
    check_all(Sql(SLIDING_AND_TEXTS), OutputMode::Append, &cases).await
}

fn visits(logs: DataFrame, gap: &str, aggregates: Vec<Expr>) -> Result<DataFrame> {
    let visits = logs.with_watermark("time", "10 seconds")?;
    visits
        .group_by([session_window(col("time"), gap), col("host")])?
        .agg(aggregates)
}

#[tokio::test]
async fn sessions() -> Result<()> {
    let before = |logs| {
        visits(
            logs,
            "5 seconds",
            vec![count(lit(1)).alias("n"), max(col("status")).alias("worst")],
        )?
        .select_expr(["session_window.start AS start", "host", "n", "worst"])
    };
    let cases = [
        (
            "an aggregate is removed and the other renamed",
            Frame(|logs| {
                visits(logs, "5 seconds", vec![max(col("status")).alias("w")])?.select_expr([
                    "session_window.start AS start",
                    "host",
                    "w",
                ])
            }),
            // The session of a from 60 s on was open at the stop.
            Goes(
                "SELECT time, host, CASE WHEN host = 'a' THEN 500 ELSE status END FROM logs_both WHERE time IN \
                 ('1970-01-01T00:01:00Z', '1970-01-01T00:01:02Z', '1970-01-01T00:01:10Z')",
            ),
        ),
        (
            "an aggregate is added",
            Frame(|logs| {
                let aggregates = vec![
                    count(lit(1)).alias("n"),
                    max(col("status")).alias("worst"),
                    min(col("status")).alias("best"),
                ];
                visits(logs, "5 seconds", aggregates)?.select_expr([
                    "session_window.start AS start",
                    "host",
                    "n",
                    "best",
                ])
            }),
            Refused(&["operator 'session-0' store 'sessions' column 'min(status)["]),
        ),
        (
            "the gap changes",
            Frame(|logs| visits(logs, "7 seconds", vec![count(lit(1)).alias("n")])),
            Refused(&["operator 'session-0' gap_micros was 5000000 and is 7000000"]),
        ),
    ];
    check_all(Frame(before), OutputMode::Append, &cases).await
}
