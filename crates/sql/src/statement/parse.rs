//! Which statement it is, by its first words.

use datafusion::{common::Result, sql::sqlparser::tokenizer::TokenWithSpan};

use super::{
    InsertInto, Statement, create_query::create_query, create_sink::create_sink,
    create_stream::create_stream, cursor::Cursor, manage,
};

/// Reads the tokens of one statement; there is at least one.
pub(super) fn parse(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    let mut cursor = Cursor::new(tokens);
    let replaces = ["CREATE", "OR", "REPLACE"];
    for (first, or_replace) in [(&replaces[..1], false), (&replaces[..], true)] {
        let begins = |last: &[&'static str]| [first, last].concat();
        if cursor.takes(&begins(&["STREAMING", "QUERY"])) {
            let query = create_query(&mut cursor, or_replace)?;
            return Ok(Statement::CreateStreamingQuery(Box::new(query)));
        }
        if cursor.takes(&begins(&["STREAM"])) {
            let stream = create_stream(&mut cursor, or_replace)?;
            return Ok(Statement::CreateStream(Box::new(stream)));
        }
        if cursor.takes(&begins(&["SINK"])) {
            return Ok(Statement::CreateSink(create_sink(&mut cursor, or_replace)?));
        }
    }
    if let Some(statement) = manage::statement(&mut cursor)? {
        return Ok(statement);
    }
    let inserts = cursor.sees(&["INSERT"]);
    let statement = cursor.statement()?;
    if !inserts {
        return Ok(Statement::Other(Box::new(statement)));
    }
    Ok(match InsertInto::of(statement) {
        Ok(insert) => Statement::InsertInto(Box::new(insert)),
        Err(statement) => Statement::Other(statement),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{QueryTrigger, Script};
    use super::*;
    use crate::interval::CalendarInterval;

    fn one(text: &str) -> Result<Statement> {
        Script::parse(text).map(|mut script| script.statements.remove(0).statement)
    }

    #[test]
    fn a_stream_has_columns_a_watermark_and_options() {
        let text = "CREATE OR REPLACE STREAM `My S` (id BIGINT NOT NULL, `watermark` STRING, ts TIMESTAMP, \
            xs ARRAY<STRUCT<a: INT, b: STRING>>, WATERMARK FOR ts AS ts - INTERVAL '5' MINUTES) USING rate-micro-batch \
            OPTIONS ('a.b' 'c', d.e = 'f', rows 5, low -1.5, flag true) LOCATION 'p'";
        let Ok(Statement::CreateStream(stream)) = one(text) else {
            panic!("{:?}", one(text));
        };
        assert_eq!(stream.name.value, "My S");
        assert!(stream.or_replace && stream.name.is_quoted && stream.columns[0].not_null);
        let names: Vec<_> = stream
            .columns
            .iter()
            .map(|c| c.name.value.as_str())
            .collect();
        assert_eq!(names, ["id", "watermark", "ts", "xs"]);
        let watermark = stream.watermark.expect("there is one");
        let minutes = CalendarInterval {
            months: 0,
            micros: 300_000_000,
        };
        assert_eq!(watermark.delay, minutes);
        assert_eq!(stream.format.value, "rate-micro-batch");
        let options: Vec<_> = stream.options.iter().collect();
        let expected = [
            ("a.b", "c"),
            ("d.e", "f"),
            ("rows", "5"),
            ("low", "-1.5"),
            ("flag", "true"),
            ("path", "p"),
        ];
        assert_eq!(options, expected);
    }

    #[test]
    fn watermarks_are_written_in_three_ways() {
        for (clause, delay) in [
            ("WATERMARK FOR ts AS ts - INTERVAL 10 SECONDS", 10_000_000),
            ("WATERMARK FOR ts AS ts", 0),
            (
                "WATERMARK ts DELAY OF INTERVAL 1 MINUTE 30 SECONDS",
                90_000_000,
            ),
            (
                "WATERMARK to_timestamp(t) AS e DELAY OF INTERVAL '2 minutes'",
                120_000_000,
            ),
        ] {
            let text = format!("CREATE STREAM s (ts TIMESTAMP, t STRING, {clause}) USING rate");
            match one(&text).expect(clause) {
                Statement::CreateStream(stream) => {
                    assert_eq!(stream.watermark.expect(clause).delay.micros, delay);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_query_has_its_clauses_in_any_order() {
        for (clauses, trigger) in [
            ("", None),
            ("TRIGGER ONCE", Some(QueryTrigger::Once)),
            (
                "OUTPUT MODE update TRIGGER AVAILABLE NOW",
                Some(QueryTrigger::AvailableNow),
            ),
            (
                "LATE ROWS INTO l TRIGGER EVERY '5 seconds' OPTIONS ('checkpointLocation' 'd')",
                Some(QueryTrigger::Every(CalendarInterval {
                    months: 0,
                    micros: 5_000_000,
                })),
            ),
        ] {
            let text = format!(
                "CREATE STREAMING QUERY q {clauses} AS INSERT INTO s (a, b) SELECT x, y FROM STREAM t"
            );
            match one(&text).expect(&text) {
                Statement::CreateStreamingQuery(query) => {
                    assert_eq!(query.trigger, trigger, "{clauses}");
                    assert_eq!(query.insert.columns.len(), 2);
                    assert_eq!(query.insert.query.to_string(), "SELECT x, y FROM t");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn other_statements_are_datafusions() {
        for text in [
            "CREATE VIEW v AS SELECT 1",
            "SELECT 1",
            "DROP TABLE t",
            "SHOW TABLES",
            "DESCRIBE SELECT 1",
            "EXPLAIN SELECT 1",
            "INSERT INTO a.b VALUES (1)",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'",
        ] {
            assert!(
                matches!(one(text), Ok(Statement::Other(_))),
                "{text}: {:?}",
                one(text)
            );
        }
        for (text, verb) in [
            ("desc t", "DESCRIBE"),
            ("DESCRIBE stream", "DESCRIBE"),
            ("DESCRIBE SINK stream", "DESCRIBE"),
            (
                "EXPLAIN STREAMING OUTPUT MODE update SELECT 1",
                "EXPLAIN STREAMING",
            ),
            (
                "EXPLAIN STREAMING INSERT INTO a SELECT 1",
                "EXPLAIN STREAMING",
            ),
            ("INSERT INTO b SELECT 1", "INSERT INTO"),
            ("show streaming queries", "SHOW STREAMING QUERIES"),
        ] {
            assert_eq!(one(text).expect(text).verb(), verb);
        }
    }
}
