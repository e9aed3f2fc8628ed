//! Changes around running aggregations.

use super::{COUNTS, Goes, Refused, Sql, check_all};
use crate::prelude::*;

#[tokio::test]
async fn columns_filters_and_names_around_an_aggregation() -> Result<()> {
    let cases = [
        (
            "nothing changes",
            Sql(COUNTS),
            Goes("SELECT host, count(*) AS n, sum(status) AS s FROM logs_both GROUP BY host"),
        ),
        (
            "an output column is added above",
            Sql(
                "SELECT host, n, s, s * 2 AS d FROM (SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host)",
            ),
            Goes(
                "SELECT host, count(*), sum(status), sum(status) * 2 FROM logs_both GROUP BY host",
            ),
        ),
        (
            "an aggregate is removed",
            Sql("SELECT host, sum(status) AS s FROM logs GROUP BY host"),
            Goes("SELECT host, sum(status) FROM logs_both GROUP BY host"),
        ),
        (
            "all aggregates are removed",
            Sql("SELECT host FROM logs GROUP BY host"),
            Goes("SELECT host FROM logs_both GROUP BY host"),
        ),
        (
            "an output column that was an aggregate is removed above",
            Sql(
                "SELECT host, s FROM (SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host)",
            ),
            Goes("SELECT host, sum(status) FROM logs_both GROUP BY host"),
        ),
        (
            "aggregates and key are renamed",
            Sql("SELECT host AS h, count(*) AS m, sum(status) AS n FROM logs GROUP BY host"),
            Goes("SELECT host, count(*), sum(status) FROM logs_both GROUP BY host"),
        ),
        (
            "the table is called something else",
            Sql("SELECT x.host, count(*) AS n, sum(x.status) AS s FROM logs AS x GROUP BY x.host"),
            Goes("SELECT host, count(*), sum(status) FROM logs_both GROUP BY host"),
        ),
        (
            "aggregates change places",
            Sql("SELECT host, sum(status) AS s, count(*) AS n FROM logs GROUP BY host"),
            Goes("SELECT host, sum(status), count(*) FROM logs_both GROUP BY host"),
        ),
        (
            "an aggregate becomes another one of the same type and name",
            Sql("SELECT host, count(*) AS n, max(status) AS s FROM logs GROUP BY host"),
            Refused(&[
                "operator 'aggregate-0' store 'groups' column 'max(status)[",
                "is new: Int64",
                "store 'groups' as a whole was keys (host: Utf8), values (count(*)[count]: Int64, sum(status)[sum]: Int64",
                "start it with another checkpoint location",
            ]),
        ),
        (
            "an aggregate is added",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s, max(time) AS t FROM logs GROUP BY host",
            ),
            Refused(&[
                "operator 'aggregate-0' store 'groups' column 'max(time)[",
                "and is keys (host: Utf8), values (",
            ]),
        ),
        (
            "a filter is added below: it holds for rows from then on",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s FROM logs WHERE status > 200 GROUP BY host",
            ),
            Goes(
                "SELECT host, count(*), sum(status) FROM (SELECT * FROM logs_first UNION ALL SELECT * FROM logs_second \
                 WHERE status > 200) GROUP BY host",
            ),
        ),
        (
            "a filter on the key is added below: groups that are there stay",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s FROM logs WHERE host <> 'b' GROUP BY host",
            ),
            Goes(
                "SELECT host, count(*), sum(status) FROM (SELECT * FROM logs_first UNION ALL SELECT * FROM logs_second \
                 WHERE host <> 'b') GROUP BY host",
            ),
        ),
        (
            "a column below is computed otherwise: so are rows from then on",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s FROM (SELECT host, -status AS status FROM logs) GROUP BY host",
            ),
            Goes(
                "SELECT host, count(*), sum(status) FROM (SELECT host, status FROM logs_first UNION ALL SELECT host, \
                 -status FROM logs_second) GROUP BY host",
            ),
        ),
        (
            "a filter on results is added above",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host HAVING count(*) > 1",
            ),
            Goes(
                "SELECT host, count(*), sum(status) FROM logs_both GROUP BY host HAVING count(*) > 1",
            ),
        ),
        (
            "a filter on the key is added above",
            Sql(
                "SELECT * FROM (SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host) WHERE host <> 'b'",
            ),
            Refused(&[
                "operator 'aggregate-0' where[0] is new",
                "host != Utf8(\\\"b\\\")",
            ]),
        ),
        (
            "a key is added",
            Sql("SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host, status"),
            Refused(&[
                "operator 'aggregate-0' keys[1] is new: \"status: Int64\"",
                "operator 'aggregate-0' state was store 'groups' with keys (host: Utf8), values",
                "and is store 'groups' with keys (host: Utf8, status: Int64)",
            ]),
        ),
        (
            "the key is another column",
            Sql("SELECT status, count(*) AS n, sum(status) AS s FROM logs GROUP BY status"),
            Refused(&[
                "operator 'aggregate-0' keys[0] was \"host: Utf8\" and is \"status: Int64\"",
            ]),
        ),
        (
            "the key is another expression of the same name",
            Sql(
                "SELECT upper(host) AS host, count(*) AS n, sum(status) AS s FROM logs GROUP BY upper(host)",
            ),
            Refused(&[
                "operator 'aggregate-0' keys[0] was \"host: Utf8\" and is \"upper(host): Utf8\"",
            ]),
        ),
        (
            "a stateful operator is added above",
            Sql("SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host LIMIT 5"),
            // In complete mode a limit counts by epoch.
            Goes("SELECT host, count(*), sum(status) FROM logs_both GROUP BY host"),
        ),
        (
            "the aggregation is removed",
            Sql("SELECT DISTINCT host, status FROM logs"),
            Refused(&["operator 'aggregate-0' keys[1] is new"]),
        ),
        (
            "a source is added",
            Sql(
                "SELECT host, count(*) AS n, sum(status) AS s FROM (SELECT * FROM logs UNION ALL SELECT * FROM other) GROUP BY host",
            ),
            Refused(&["source 1 is new: 'memory other'"]),
        ),
        (
            "the source is another one",
            Sql("SELECT host, count(*) AS n, sum(status) AS s FROM other GROUP BY host"),
            Refused(&["source 0 was 'memory logs' and is 'memory other'"]),
        ),
    ];
    check_all(Sql(COUNTS), OutputMode::Complete, &cases).await
}

#[tokio::test]
async fn a_filter_that_was_pushed_below_an_aggregation_cannot_be_taken_away() -> Result<()> {
    let filtered = Sql(
        "SELECT * FROM (SELECT host, count(*) AS n, sum(status) AS s FROM logs GROUP BY host) WHERE host <> 'b'",
    );
    let cases = [
        (
            "nothing changes",
            filtered,
            Goes(
                "SELECT host, count(*), sum(status) FROM logs_both WHERE host <> 'b' GROUP BY host",
            ),
        ),
        (
            "the filter is removed",
            Sql(COUNTS),
            Refused(&["operator 'aggregate-0' where[0] was", "and is gone"]),
        ),
    ];
    check_all(filtered, OutputMode::Complete, &cases).await?;
    let below = Sql(
        "SELECT host, count(*) AS n, sum(status) AS s FROM logs WHERE status > 200 GROUP BY host",
    );
    let cases = [(
        "a filter below is removed: rows from then on are not filtered",
        Sql(COUNTS),
        Goes(
            "SELECT host, count(*), sum(status) FROM (SELECT * FROM logs_first WHERE status > 200 UNION ALL SELECT * \
             FROM logs_second) GROUP BY host",
        ),
    )];
    check_all(below, OutputMode::Complete, &cases).await
}

#[tokio::test]
async fn distinct_values_and_lists() -> Result<()> {
    let before = Sql(
        "SELECT host, count(DISTINCT status) AS d, count(DISTINCT time) AS t, array_agg(status) AS list, \
         array_agg(time) AS times FROM logs GROUP BY host",
    );
    let cases = [
        (
            "distinct aggregates change places",
            Sql(
                "SELECT host, count(DISTINCT time) AS t, count(DISTINCT status) AS d, array_agg(status) AS list FROM \
                 logs GROUP BY host",
            ),
            Goes(
                "SELECT host, count(DISTINCT time), count(DISTINCT status), array_agg(status) FROM logs_both GROUP BY \
                 host",
            ),
        ),
        (
            "the first distinct aggregate is removed",
            Sql(
                "SELECT host, count(DISTINCT time) AS t, array_agg(time) AS times FROM logs GROUP BY host",
            ),
            Goes("SELECT host, count(DISTINCT time), array_agg(time) FROM logs_both GROUP BY host"),
        ),
        (
            "a distinct aggregate is added",
            Sql(
                "SELECT host, count(DISTINCT status) AS d, count(DISTINCT host) AS h, array_agg(status) AS list FROM \
                 logs GROUP BY host",
            ),
            Refused(&[
                "operator 'aggregate-0' store 'groups' column 'count(DISTINCT host)[count]' is new",
                "operator 'aggregate-0' store of 'count(DISTINCT host)' is new",
            ]),
        ),
        (
            "all lists are removed",
            Sql("SELECT host, count(DISTINCT status) AS d FROM logs GROUP BY host"),
            Refused(&[
                "operator 'aggregate-0' store 'groups' was a chain of rows by key and is a value by key",
            ]),
        ),
    ];
    check_all(before, OutputMode::Complete, &cases).await
}
