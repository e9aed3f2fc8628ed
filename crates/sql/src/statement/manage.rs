//! Short statements: SHOW, DESCRIBE, EXPLAIN STREAMING, STOP, DROP.

use datafusion::{
    common::Result,
    sql::{
        parser::Statement as DfStatement,
        sqlparser::ast::{Query, Statement as SqlStatement},
    },
};

use super::{InsertInto, Name, Statement, create_query::output_mode, cursor::Cursor};

/// What `DROP` drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Whether nothing of that name is fine.
    pub if_exists: bool,
    /// Its name.
    pub name: Name,
}

/// What `STOP STREAMING QUERY` stops.
pub type StoppedQuery = Dropped;

/// `EXPLAIN STREAMING [OUTPUT MODE mode] query`
#[derive(Debug, Clone)]
pub struct ExplainStreaming {
    /// The output mode to explain the query in. None: the first in which it can run.
    pub output_mode: Option<Name>,
    /// The query.
    pub query: Box<Query>,
}

/// `DESCRIBE [STREAM | SINK] name`
#[derive(Debug, Clone)]
pub struct Described {
    /// What is described.
    pub name: Name,
    /// The statement as DataFusion takes it; none if it names a stream or a sink.
    pub original: Option<Box<DfStatement>>,
}

/// One of these statements, if it begins like one.
pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    const SHOW: &str = "write SHOW STREAMS, SHOW SINKS or SHOW STREAMING QUERIES";
    for (words, shown) in [
        (&["SHOW", "STREAMS"][..], Statement::ShowStreams),
        (&["SHOW", "SINKS"][..], Statement::ShowSinks),
        (
            &["SHOW", "STREAMING", "QUERIES"][..],
            Statement::ShowStreamingQueries,
        ),
    ] {
        if cursor.takes(words) {
            cursor.expect_end(SHOW)?;
            return Ok(Some(shown));
        }
    }
    if cursor.sees(&["SHOW", "STREAM"]) || cursor.sees(&["SHOW", "STREAMING"]) {
        cursor.next();
        return cursor.expected("STREAMS, SINKS or STREAMING QUERIES", SHOW);
    }
    if cursor.takes(&["STOP"]) {
        const STOP: &str = "write STOP STREAMING QUERY name";
        cursor.expect_words(&["STREAMING", "QUERY"], STOP)?;
        let stopped = dropped(cursor, "query", STOP)?;
        return Ok(Some(Statement::StopStreamingQuery(stopped)));
    }
    if cursor.takes(&["DROP", "STREAMING"]) {
        const DROP: &str = "write DROP STREAMING QUERY name";
        cursor.expect_words(&["QUERY"], DROP)?;
        let found = dropped(cursor, "query", DROP)?;
        return Ok(Some(Statement::DropStreamingQuery(found)));
    }
    if cursor.takes(&["DROP", "STREAM"]) {
        let found = dropped(cursor, "stream", "write DROP STREAM name")?;
        return Ok(Some(Statement::DropStream(found)));
    }
    if cursor.takes(&["DROP", "SINK"]) {
        let found = dropped(cursor, "sink", "write DROP SINK name")?;
        return Ok(Some(Statement::DropSink(found)));
    }
    if cursor.takes(&["EXPLAIN", "STREAMING"]) {
        return explain(cursor).map(Some);
    }
    if cursor.sees(&["DESCRIBE"]) || cursor.sees(&["DESC"]) {
        return describe(cursor).map(Some);
    }
    Ok(None)
}

fn dropped(cursor: &mut Cursor<'_>, what: &str, form: &str) -> Result<Dropped> {
    let if_exists = cursor.takes(&["IF", "EXISTS"]);
    let name = cursor.name(&format!("the name of the {what}"), form)?;
    cursor.expect_end(form)?;
    Ok(Dropped { if_exists, name })
}

/// What stands behind `EXPLAIN STREAMING`. Of an INSERT, its query is explained.
fn explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    const FORM: &str = "write EXPLAIN STREAMING [OUTPUT MODE mode] SELECT …";
    let mode = match cursor.takes(&["OUTPUT"]) {
        true => {
            cursor.expect_words(&["MODE"], FORM)?;
            Some(output_mode(cursor)?)
        }
        false => None,
    };
    if cursor.is_at_end() {
        return cursor.expected("a query", FORM);
    }
    let query = match cursor.sees(&["INSERT"]) {
        true => match InsertInto::of(cursor.statement()?) {
            Ok(insert) => insert.query,
            Err(_) => return cursor.expected("a query", FORM),
        },
        false => cursor.query(FORM)?,
    };
    Ok(Statement::ExplainStreaming(ExplainStreaming {
        output_mode: mode,
        query,
    }))
}

/// `DESCRIBE [STREAM | SINK] name`; of anything else, DataFusion's.
fn describe(cursor: &mut Cursor<'_>) -> Result<Statement> {
    for words in [
        ["DESCRIBE", "STREAM"],
        ["DESCRIBE", "SINK"],
        ["DESC", "STREAM"],
        ["DESC", "SINK"],
    ] {
        let [_, kind] = words;
        // A table may be called so.
        if cursor.sees_last(&words) || !cursor.takes(&words) {
            continue;
        }
        let form = format!("write DESCRIBE {kind} name");
        let name = cursor.name(
            &format!("the name of the {}", kind.to_ascii_lowercase()),
            &form,
        )?;
        cursor.expect_end(&form)?;
        return Ok(Statement::Describe(Box::new(Described {
            name,
            original: None,
        })));
    }
    let statement = cursor.statement()?;
    Ok(match described_table(&statement) {
        Some(name) => Statement::Describe(Box::new(Described {
            name,
            original: Some(Box::new(statement)),
        })),
        None => Statement::Other(Box::new(statement)),
    })
}

fn described_table(statement: &DfStatement) -> Option<Name> {
    let DfStatement::Statement(inner) = statement else {
        return None;
    };
    let SqlStatement::ExplainTable { table_name, .. } = inner.as_ref() else {
        return None;
    };
    match table_name.0.as_slice() {
        [part] => part.as_ident().cloned().map(Name::from),
        _ => None,
    }
}
