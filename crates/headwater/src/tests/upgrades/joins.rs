//! Changes of joins of two streams.

use super::{Goes, Refused, Sql, check_all};
use crate::prelude::*;

const JOIN: &str = "SELECT l.host, l.status, r.status AS other, r.time FROM l JOIN r ON l.host = r.host AND r.time >= \
     l.time AND r.time <= l.time + INTERVAL '20 seconds'";

#[tokio::test]
async fn joins() -> Result<()> {
    let cases = [
        (
            "nothing changes",
            Sql(JOIN),
            Goes(
                "SELECT l.host, l.status, r.status, r.time FROM logs_both l JOIN other_both r ON l.host = r.host AND \
                 r.time >= l.time AND r.time <= l.time + INTERVAL '20 seconds' EXCEPT ALL SELECT l.host, l.status, \
                 r.status, r.time FROM logs_first l JOIN other_first r ON l.host = r.host AND r.time >= l.time AND \
                 r.time <= l.time + INTERVAL '20 seconds'",
            ),
        ),
        (
            "an output column is removed, others change places and names",
            Sql(
                "SELECT r.status AS there, l.host AS h FROM l JOIN r ON l.host = r.host AND r.time >= l.time AND r.time \
                 <= l.time + INTERVAL '20 seconds'",
            ),
            Goes(
                "SELECT r.status, l.host FROM logs_both l JOIN other_both r ON l.host = r.host AND r.time >= l.time AND \
                 r.time <= l.time + INTERVAL '20 seconds' EXCEPT ALL SELECT r.status, l.host FROM logs_first l JOIN \
                 other_first r ON l.host = r.host AND r.time >= l.time AND r.time <= l.time + INTERVAL '20 seconds'",
            ),
        ),
        (
            "an output column is computed above",
            Sql(
                "SELECT l.host, l.status + r.status AS both, r.time FROM l JOIN r ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds'",
            ),
            Goes(
                "SELECT l.host, l.status + r.status, r.time FROM logs_both l JOIN other_both r ON l.host = r.host AND \
                 r.time >= l.time AND r.time <= l.time + INTERVAL '20 seconds' EXCEPT ALL SELECT l.host, l.status + \
                 r.status, r.time FROM logs_first l JOIN other_first r ON l.host = r.host AND r.time >= l.time AND \
                 r.time <= l.time + INTERVAL '20 seconds'",
            ),
        ),
        (
            "the range becomes wider",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM l JOIN r ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '30 seconds'",
            ),
            Refused(&[
                "operator 'join-0' condition",
                "operator 'join-0' expiry[0] was",
            ]),
        ),
        (
            "the condition gets another part",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM l JOIN r ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds' AND l.status > r.status",
            ),
            Refused(&["operator 'join-0' condition", "l.status > r.status"]),
        ),
        (
            "a filter is added on one side",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM l JOIN r ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds' WHERE l.status > 200",
            ),
            Refused(&["operator 'join-0' where left[", "status > Int64(200)"]),
        ),
        (
            "the key changes",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM l JOIN r ON l.status = r.status AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds'",
            ),
            Refused(&[
                "operator 'join-0' keys[0] was",
                "l.host = r.host: Utf8",
                "l.status = r.status: Int64",
            ]),
        ),
        (
            "it becomes an outer join",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM l LEFT JOIN r ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds'",
            ),
            Refused(&["operator 'join-0' type was \"Inner\" and is \"Left\""]),
        ),
        (
            "the sides are exchanged",
            Sql(
                "SELECT l.host, l.status, r.status AS other, r.time FROM r JOIN l ON l.host = r.host AND r.time >= \
                 l.time AND r.time <= l.time + INTERVAL '20 seconds'",
            ),
            Refused(&["source 0 was 'memory logs' and is 'memory other'"]),
        ),
    ];
    check_all(Sql(JOIN), OutputMode::Append, &cases).await?;
    let narrow = "SELECT l.host, r.status AS other FROM l JOIN r ON l.host = r.host AND r.time >= l.time AND r.time <= \
                  l.time + INTERVAL '20 seconds'";
    let cases = [(
        "an output column is added that was not stored",
        Sql(JOIN),
        Refused(&[
            "operator 'join-0' store 'left' column 'status' is new: Int64",
            "operator 'join-0' store 'left' as a whole was keys (host: Utf8), values (time: ",
        ]),
    )];
    check_all(Sql(narrow), OutputMode::Append, &cases).await
}
