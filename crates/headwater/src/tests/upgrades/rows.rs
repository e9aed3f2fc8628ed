//! Changes around dropped duplicates and limits.

use super::{Frame, Goes, Refused, Sql, check_all};
use crate::prelude::*;

#[tokio::test]
async fn dropped_duplicates_and_limits() -> Result<()> {
    let by_host = Frame(|logs| logs.drop_duplicates(&["host"]));
    let cases = [
        (
            "columns are added and removed",
            Frame(|logs| {
                logs.drop_duplicates(&["host"])?
                    .select_expr(["host", "status + 1 AS more"])
            }),
            Goes("SELECT host, status + 1 FROM logs_second WHERE host = 'c'"),
        ),
        (
            "a filter is added below",
            Frame(|logs| {
                logs.filter(col("host").not_eq(lit("c")))?
                    .drop_duplicates(&["host"])
            }),
            Goes("SELECT * FROM logs_second WHERE false"),
        ),
        (
            "a filter is added above",
            Frame(|logs| {
                logs.drop_duplicates(&["host"])?
                    .filter(col("host").not_eq(lit("c")))
            }),
            Goes("SELECT * FROM logs_second WHERE false"),
        ),
        (
            "the key changes",
            Frame(|logs| logs.drop_duplicates(&["host", "status"])),
            Refused(&[
                "operator 'dedup-0' keys[1] is new: \"status: Int64\"",
                "operator 'dedup-0' state was",
            ]),
        ),
        (
            "it is removed",
            Sql("SELECT * FROM logs"),
            Refused(&[
                "operator 'dedup-0' was dedup and is gone",
                "state was store 'keys' with keys (host: Utf8)",
            ]),
        ),
    ];
    check_all(by_host, OutputMode::Append, &cases).await?;
    let within = Frame(|logs| {
        logs.with_watermark("time", "10 seconds")?
            .drop_duplicates_within_watermark(&["host"])
    });
    let cases = [
        (
            // What came before is remembered as long as it was to be: the watermark at 50 s is past it.
            "the delay of the watermark changes",
            Frame(|logs| {
                logs.with_watermark("time", "45 seconds")?
                    .drop_duplicates_within_watermark(&["host"])
            }),
            Goes("SELECT * FROM logs_second WHERE time < '1970-01-01T00:01:20Z'"),
        ),
        (
            "they are remembered for ever",
            by_host,
            Refused(&["operator 'dedup-0' was dedup within watermark and is dedup"]),
        ),
    ];
    check_all(within, OutputMode::Append, &cases).await?;
    let limit = Sql("SELECT * FROM logs LIMIT 7");
    let cases = [
        (
            "a filter is added below",
            Sql("SELECT * FROM logs WHERE status = 503 LIMIT 7"),
            Goes("SELECT * FROM logs_second WHERE status = 503"),
        ),
        (
            "the limit changes",
            Sql("SELECT * FROM logs LIMIT 8"),
            Refused(&["operator 'limit-0' rows was 7 and is 8"]),
        ),
    ];
    check_all(limit, OutputMode::Append, &cases).await
}
