//! The words of the grammar, and the names that there are in a session.

use headwater::{Session, sql::statement::Lexer};

/// What a statement can begin with.
pub(crate) const STATEMENTS: &[&str] = &[
    "SELECT",
    "WITH",
    "INSERT INTO",
    "CREATE STREAM IF NOT EXISTS",
    "CREATE OR REPLACE STREAM",
    "CREATE SINK IF NOT EXISTS",
    "CREATE OR REPLACE SINK",
    "CREATE STREAMING QUERY IF NOT EXISTS",
    "CREATE OR REPLACE STREAMING QUERY",
    "CREATE VIEW",
    "CREATE OR REPLACE VIEW",
    "CREATE TABLE",
    "CREATE EXTERNAL TABLE",
    "DESCRIBE STREAM",
    "DESCRIBE SINK",
    "SHOW STREAMS",
    "SHOW SINKS",
    "SHOW STREAMING QUERIES",
    "SHOW TABLES",
    "SHOW FUNCTIONS",
    "EXPLAIN STREAMING OUTPUT MODE",
    "STOP STREAMING QUERY IF EXISTS",
    "DROP STREAM IF EXISTS",
    "DROP SINK IF EXISTS",
    "DROP STREAMING QUERY IF EXISTS",
    "DROP VIEW IF EXISTS",
    "DROP TABLE IF EXISTS",
    "COPY",
    "SET",
    "help",
    "quit",
    ".read",
];

/// What a statement can go on with.
pub(crate) const CLAUSES: &[&str] = &[
    "SELECT",
    "DISTINCT",
    "FROM STREAM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "INNER JOIN",
    "CROSS JOIN",
    "ON",
    "AS",
    "AND",
    "OR",
    "NOT NULL",
    "IS NULL",
    "IS NOT NULL",
    "IN",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "UNION ALL",
    "INTERVAL",
    "CAST",
    "DESC",
    "ASC",
    "TRUE",
    "FALSE",
    "WATERMARK FOR",
    "DELAY OF INTERVAL",
    "USING",
    "OPTIONS",
    "LOCATION",
    "PARTITIONED BY",
    "TRIGGER EVERY INTERVAL",
    "TRIGGER ONCE",
    "TRIGGER AVAILABLE NOW",
    "OUTPUT MODE append",
    "OUTPUT MODE update",
    "OUTPUT MODE complete",
    "LATE ROWS INTO",
    "AS INSERT INTO",
    "TUMBLE(",
    "HOP(",
    "SESSION(",
    "TABLE",
    "DESCRIPTOR(",
    "SECONDS",
    "MINUTES",
    "HOURS",
    "DAYS",
];

/// Whether a word is one of the grammar's.
pub(crate) fn is_keyword(word: &str) -> bool {
    let phrases = STATEMENTS.iter().chain(CLAUSES);
    let mut words = phrases.flat_map(|phrase| phrase.split_whitespace());
    words.any(|known| known.trim_end_matches('(').eq_ignore_ascii_case(word))
}

/// Names of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    /// Takes texts apart as the session does.
    pub(crate) lexer: Lexer,
    /// Tables, streams and views, with their columns.
    pub(crate) tables: Vec<(String, Vec<String>)>,
    pub(crate) sinks: Vec<String>,
    pub(crate) queries: Vec<String>,
    pub(crate) functions: Vec<String>,
    pub(crate) source_formats: Vec<String>,
    pub(crate) sink_formats: Vec<String>,
}

impl Vocabulary {
    /// What there is now.
    pub(crate) async fn of(session: &Session) -> Self {
        let names = session.names();
        let mut tables = Vec::new();
        for name in names.tables {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            // Of a table that cannot be read now, the name is all there is.
            let columns = match session.table(&quoted).await {
                Ok(frame) => {
                    let fields = frame.schema().fields().iter();
                    fields.map(|field| field.name().clone()).collect()
                }
                Err(_) => Vec::new(),
            };
            tables.push((name, columns));
        }
        let queries = session.started_queries();
        let queries = queries.iter().filter_map(|query| query.name());
        Self {
            lexer: session.lexer(),
            tables,
            sinks: session
                .sinks()
                .iter()
                .map(|sink| sink.name.clone())
                .collect(),
            queries: queries.map(str::to_owned).collect(),
            functions: names.functions,
            source_formats: session.connectors().source_formats(),
            sink_formats: session.connectors().sink_formats(),
        }
    }
}
