//! The statements that streams add to SQL, and scripts of statements.
//!
//! A [`Script`] cuts a text into statements; each is one of ours or DataFusion's. Nothing is planned here: a statement
//! says what was written, with places in the text for whoever refuses it later.

mod create_query;
mod create_sink;
mod create_stream;
mod cursor;
mod interval;
mod lexemes;
mod manage;
mod options;
mod parse;
mod script;

pub(crate) use interval::interval_of;

pub use create_query::{CreateStreamingQuery, QueryTrigger};
pub use create_sink::CreateSink;
pub use create_stream::{CreateStream, StreamColumn, StreamWatermark};
pub use lexemes::{Lexeme, LexemeKind, Lexer};
pub use manage::{Described, Dropped, ExplainStreaming, StoppedQuery};
pub use options::StatementOptions;
pub use script::{Script, ScriptStatement};

use datafusion::sql::{
    parser::Statement as DfStatement,
    sqlparser::{
        ast::{Ident, Insert, ObjectName, Query, Statement as SqlStatement, TableObject},
        tokenizer::Span,
    },
};

/// One statement of a script.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `CREATE STREAM`
    CreateStream(Box<CreateStream>),
    /// `CREATE SINK`
    CreateSink(CreateSink),
    /// `CREATE STREAMING QUERY`
    CreateStreamingQuery(Box<CreateStreamingQuery>),
    /// `INSERT INTO`: a streaming query if a sink has that name, else DataFusion's.
    InsertInto(Box<InsertInto>),
    /// `EXPLAIN STREAMING`
    ExplainStreaming(ExplainStreaming),
    /// `SHOW STREAMS`
    ShowStreams,
    /// `SHOW SINKS`
    ShowSinks,
    /// `SHOW STREAMING QUERIES`
    ShowStreamingQueries,
    /// `STOP STREAMING QUERY`
    StopStreamingQuery(StoppedQuery),
    /// `DROP STREAM`
    DropStream(Dropped),
    /// `DROP SINK`
    DropSink(Dropped),
    /// `DROP STREAMING QUERY`
    DropStreamingQuery(Dropped),
    /// `DESCRIBE`: of a stream or a sink, if there is one of that name, else DataFusion's.
    Describe(Box<Described>),
    /// Whatever DataFusion knows: `SELECT`, `CREATE VIEW`, `SET`, ….
    Other(Box<DfStatement>),
}

/// A name as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Without quotes.
    pub value: String,
    /// Whether it was quoted, and so keeps its case.
    pub is_quoted: bool,
    /// Where it stands.
    pub span: Span,
}

impl From<Ident> for Name {
    fn from(ident: Ident) -> Self {
        Self {
            value: ident.value,
            is_quoted: ident.quote_style.is_some(),
            span: ident.span,
        }
    }
}

/// `INSERT INTO name [(columns)] query`
#[derive(Debug, Clone)]
pub struct InsertInto {
    /// The sink, or a table of DataFusion's.
    pub target: Name,
    /// Names that the columns of the query get, if any are written.
    pub columns: Vec<Name>,
    /// The query.
    pub query: Box<Query>,
    /// `OVERWRITE` instead of `INTO`.
    pub overwrite: bool,
    /// The whole as DataFusion takes it.
    pub original: Box<DfStatement>,
}

impl InsertInto {
    /// The statement as one of ours; as DataFusion's if it says more than a sink can take.
    fn of(statement: DfStatement) -> Result<Self, Box<DfStatement>> {
        let DfStatement::Statement(inner) = &statement else {
            return Err(Box::new(statement));
        };
        let SqlStatement::Insert(insert) = inner.as_ref() else {
            return Err(Box::new(statement));
        };
        match parts(insert) {
            Some((target, columns, query)) => Ok(Self {
                target,
                columns,
                query,
                overwrite: insert.overwrite,
                original: Box::new(statement),
            }),
            None => Err(Box::new(statement)),
        }
    }
}

fn parts(insert: &Insert) -> Option<(Name, Vec<Name>, Box<Query>)> {
    let single = |name: &ObjectName| match name.0.as_slice() {
        [part] => part.as_ident().cloned().map(Name::from),
        _ => None,
    };
    let TableObject::TableName(table) = &insert.table else {
        return None;
    };
    let is_plain = insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && insert.assignments.is_empty()
        && insert.on.is_none()
        && insert.returning.is_none()
        && insert.table_alias.is_none();
    if !is_plain {
        return None;
    }
    let columns: Option<Vec<Name>> = insert.columns.iter().map(single).collect();
    Some((single(table)?, columns?, insert.source.clone()?))
}

impl Statement {
    /// What it is called in messages: `CREATE STREAM`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateStream(_) => "CREATE STREAM",
            Self::CreateSink(_) => "CREATE SINK",
            Self::CreateStreamingQuery(_) => "CREATE STREAMING QUERY",
            Self::InsertInto(_) => "INSERT INTO",
            Self::ExplainStreaming(_) => "EXPLAIN STREAMING",
            Self::ShowStreams => "SHOW STREAMS",
            Self::ShowSinks => "SHOW SINKS",
            Self::ShowStreamingQueries => "SHOW STREAMING QUERIES",
            Self::StopStreamingQuery(_) => "STOP STREAMING QUERY",
            Self::DropStream(_) => "DROP STREAM",
            Self::DropSink(_) => "DROP SINK",
            Self::DropStreamingQuery(_) => "DROP STREAMING QUERY",
            Self::Describe(_) => "DESCRIBE",
            Self::Other(_) => "the statement",
        }
    }
}
