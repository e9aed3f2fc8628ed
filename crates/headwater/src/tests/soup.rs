//! Any sequence of words is answered, with Spark's words or without: no panic, and no waiting.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::*;

/// Words that statements are made of, and what may stand between them.
const WORDS: &[&str] = &[
    "CREATE",
    "OR",
    "REPLACE",
    "STREAM",
    "STREAMING",
    "QUERY",
    "SINK",
    "IF",
    "NOT",
    "EXISTS",
    "USING",
    "OPTIONS",
    "WATERMARK",
    "FOR",
    "DELAY",
    "OF",
    "INTERVAL",
    "10",
    "SECONDS",
    "'5 minutes'",
    "MONTH",
    "TRIGGER",
    "EVERY",
    "ONCE",
    "AVAILABLE",
    "NOW",
    "OUTPUT",
    "MODE",
    "append",
    "update",
    "complete",
    "LATE",
    "ROWS",
    "INTO",
    "INSERT",
    "AS",
    "SELECT",
    "*",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "JOIN",
    "LEFT",
    "ON",
    "UNION",
    "ALL",
    "WITH",
    "DISTINCT",
    "window(",
    "session_window(",
    "TUMBLE(",
    "HOP(",
    "SESSION(",
    "TABLE",
    "DESCRIPTOR(",
    "count(",
    "clicks",
    "time",
    "host",
    "status",
    "screen",
    "rate",
    "noop",
    "TIMESTAMP",
    "STRING",
    "ARRAY<",
    "BIGINT",
    "DESCRIBE",
    "SHOW",
    "STREAMS",
    "SINKS",
    "QUERIES",
    "DROP",
    "STOP",
    "EXPLAIN",
    "VALUES",
    "LATERAL",
    "VIEW",
    "explode(",
    "PARTITIONED",
    "LOCATION",
    "OVER",
    "(",
    ")",
    "(",
    ")",
    ",",
    ".",
    ";",
    "=",
    "<",
    ">",
    "+",
    "-",
    "'",
    "`",
    "\"",
    "''",
    "1e3",
    "0x",
    "-- x",
    "/*",
    "*/",
    "\n",
    "ü",
    "\0",
];

/// Statements that are sound, to be spoilt.
const SOUND: [&str; 4] = [
    "CREATE STREAMING QUERY q TRIGGER EVERY INTERVAL 10 SECONDS OUTPUT MODE append LATE ROWS INTO screen AS INSERT INTO \
     screen SELECT window.start , count( * ) FROM clicks GROUP BY window( time , '5 minutes' ) , host",
    "CREATE STREAM s ( time TIMESTAMP , xs ARRAY< STRING > , WATERMARK FOR time AS time - INTERVAL 10 SECONDS ) USING rate \
     OPTIONS ( 'a' 5 , b = true )",
    "INSERT INTO screen SELECT * FROM HOP( TABLE clicks , DESCRIPTOR( time ) , INTERVAL 5 SECONDS , INTERVAL 10 SECONDS )",
    "SELECT a.host , sum( b.status ) FROM STREAM( clicks ) AS a LEFT JOIN clicks AS b ON a.host = b.host AND b.time > \
     a.time - INTERVAL 1 MINUTE WHERE \"a\" . \"status\" IN ( 1 , 2 ) GROUP BY a.host HAVING count( * ) > 1 ORDER BY 1",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(WORDS).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// Words in any order.
fn soup() -> impl Strategy<Value = Vec<String>> {
    vec(word(), 0..30)
}

/// A sound statement of which some words are other ones, stand twice, or are missing.
fn spoilt() -> impl Strategy<Value = Vec<String>> {
    let change = (any::<Index>(), 0..3_u8, word());
    (select(&SOUND[..]), vec(change, 1..5)).prop_map(|(sound, changes)| {
        let mut words: Vec<String> = sound.split(' ').map(str::to_owned).collect();
        for (at, change, word) in changes {
            let at = at.index(words.len());
            match change {
                0 => words.insert(at, word),
                1 if words.len() > 1 => {
                    words.remove(at);
                }
                _ => words[at] = word,
            }
        }
        words
    })
}

async fn session(spark: bool) -> Session {
    let session = Session::builder().spark_functions(spark).build();
    let session = session.expect("a session");
    let stream = MemoryStream::new("logs", schema());
    session.connectors().register_memory_stream(&stream);
    let setup = "CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT, WATERMARK FOR time AS time) \
        USING memory LOCATION 'logs'; CREATE SINK screen USING noop";
    session.pipeline(setup).await.expect("defined");
    session
}

#[test]
fn any_words_are_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for spark in [false, true] {
        let session = runtime.block_on(session(spark));
        let config = Config {
            cases: 1_000,
            failure_persistence: None,
            ..Config::default()
        };
        let answered = TestRunner::new(config).run(&prop_oneof![soup(), spoilt()], |words| {
            let text = words.join(" ");
            // Planned, not run: what is sound starts nothing.
            let answer = runtime.block_on(async {
                let planned = session.pipeline(&text);
                tokio::time::timeout(Duration::from_secs(20), planned).await
            });
            match answer {
                Err(_) => Err(TestCaseError::fail("no answer")),
                Ok(Err(error)) if error.kind() == ErrorKind::Internal => {
                    Err(TestCaseError::fail(error.to_string()))
                }
                Ok(_) => Ok(()),
            }
        });
        answered.expect("an answer to each text");
    }
}
