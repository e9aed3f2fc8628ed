//! What SQL statements have defined in a session: streams, sinks and the queries they started.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use datafusion::arrow::datatypes::SchemaRef;
use headwater_core::{Options, OutputMode, Trigger};
use headwater_engine::StreamingQuery;
use headwater_sql::statement::Lexer;

use crate::session::Session;

/// A stream that `CREATE STREAM` defined.
#[derive(Debug, Clone)]
pub struct StreamDefinition {
    /// Its name.
    pub name: String,
    /// The format of its source.
    pub format: String,
    /// Its columns as they were written; none where the source brings its own.
    pub schema: Option<SchemaRef>,
    /// The path and the other options of its source.
    pub options: Options,
    /// The event-time column and how late rows may be, in words.
    pub watermark: Option<(String, String)>,
}

/// A sink that `CREATE SINK` defined.
#[derive(Debug, Clone)]
pub struct SinkDefinition {
    /// Its name.
    pub name: String,
    /// Its format.
    pub format: String,
    /// The path and the other options.
    pub options: Options,
    /// Columns by whose values files are put into folders.
    pub partition_by: Vec<String>,
}

impl SinkDefinition {
    /// Whether it is a table of the session, in memory.
    pub fn is_memory(&self) -> bool {
        self.format.eq_ignore_ascii_case("memory")
    }
}

/// A query that a statement started.
#[derive(Debug, Clone)]
pub(crate) struct StartedQuery {
    pub(crate) query: StreamingQuery,
    pub(crate) sink: Arc<SinkDefinition>,
    pub(crate) mode: OutputMode,
    pub(crate) trigger: Trigger,
}

/// Everything that statements have defined, by name.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    // Short sections: look up, insert, remove.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) streams: BTreeMap<String, Arc<StreamDefinition>>,
    pub(crate) sinks: BTreeMap<String, Arc<SinkDefinition>>,
    pub(crate) queries: BTreeMap<String, StartedQuery>,
}

impl Definitions {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stream(&self, name: &str, ignore_case: bool) -> Option<Arc<StreamDefinition>> {
        find(&self.lock().streams, name, ignore_case).cloned()
    }

    pub(crate) fn sink(&self, name: &str, ignore_case: bool) -> Option<Arc<SinkDefinition>> {
        find(&self.lock().sinks, name, ignore_case).cloned()
    }

    pub(crate) fn query(&self, name: &str, ignore_case: bool) -> Option<StartedQuery> {
        find(&self.lock().queries, name, ignore_case).cloned()
    }
}

impl Session {
    /// Takes texts of statements apart, whole or not, with quotes that mean what they mean in this session.
    pub fn lexer(&self) -> Lexer {
        self.services().front_end.lexer()
    }

    /// The sinks that `CREATE SINK` has defined, in order of their names.
    pub fn sinks(&self) -> Vec<Arc<SinkDefinition>> {
        let definitions = self.services().definitions.lock();
        definitions.sinks.values().cloned().collect()
    }

    /// The queries that statements have started, running or not, in order of their names. `DROP STREAMING QUERY` takes
    /// one away.
    pub fn started_queries(&self) -> Vec<StreamingQuery> {
        let definitions = self.services().definitions.lock();
        let queries = definitions.queries.values();
        queries.map(|started| started.query.clone()).collect()
    }
}

/// What goes by this name; by a name that differs in case, if case means nothing.
fn find<'a, T>(things: &'a BTreeMap<String, T>, name: &str, ignore_case: bool) -> Option<&'a T> {
    things.get(name).or_else(|| {
        let mut things = things.iter();
        let found = things.find(|(key, _)| ignore_case && key.eq_ignore_ascii_case(name));
        found.map(|(_, thing)| thing)
    })
}
