//! Any sequence of words is answered: no panic, and no waiting.

use std::time::Duration;

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

/// Numbers that look random: the state of a generator of Marsaglia's (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test]
async fn any_words_are_answered() {
    let session = Session::new();
    let stream = MemoryStream::new("logs", schema());
    session.connectors().register_memory_stream(&stream);
    let setup = "CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT, WATERMARK FOR time AS time) \
        USING memory LOCATION 'logs'; CREATE SINK screen USING noop";
    session.pipeline(setup).await.expect("defined");
    let sound = [
        "CREATE STREAMING QUERY q TRIGGER EVERY INTERVAL 10 SECONDS OUTPUT MODE append LATE ROWS INTO screen AS INSERT INTO \
         screen SELECT window.start , count( * ) FROM clicks GROUP BY window( time , '5 minutes' ) , host",
        "CREATE STREAM s ( time TIMESTAMP , xs ARRAY< STRING > , WATERMARK FOR time AS time - INTERVAL 10 SECONDS ) USING rate \
         OPTIONS ( 'a' 5 , b = true )",
        "INSERT INTO screen SELECT * FROM HOP( TABLE clicks , DESCRIPTOR( time ) , INTERVAL 5 SECONDS , INTERVAL 10 SECONDS )",
    ];
    let mut state = 0x5eed_u64;
    for round in 0..1_500_u32 {
        // Half of them sound statements with some words changed, half of them soup.
        let mut words: Vec<&str> = match round % 2 {
            0 => sound[(next(&mut state) % 3) as usize].split(' ').collect(),
            _ => vec![""; (next(&mut state) % 30) as usize],
        };
        let changes = if round % 2 == 0 {
            1 + next(&mut state) % 4
        } else {
            words.len() as u64
        };
        for change in 0..changes {
            let word = WORDS[(next(&mut state) % WORDS.len() as u64) as usize];
            let at = match round % 2 {
                0 => (next(&mut state) % words.len() as u64) as usize,
                _ => change as usize,
            };
            match (round % 2, next(&mut state) % 3) {
                (0, 0) => words.insert(at, word),
                (0, 1) if words.len() > 1 => {
                    words.remove(at);
                }
                _ => words[at] = word,
            }
        }
        let text = words.join(" ");
        // Planned, not run: what is sound starts nothing.
        let answer = tokio::time::timeout(Duration::from_secs(20), session.pipeline(&text)).await;
        let Ok(answer) = answer else {
            panic!("no answer to {text:?}");
        };
        if let Err(error) = answer {
            assert_ne!(error.kind(), ErrorKind::Internal, "{text:?}: {error}");
        }
    }
}
