//! `SHOW …` and `DESCRIBE …`, and what to say of names that mean nothing.

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider, common::TableReference, sql::parser::Statement as DfStatement,
};
use headwater_core::{Trigger, nearest};
use headwater_engine::StreamingQuery;
use headwater_plan::{StreamTable, is_streaming};
use headwater_sql::{
    Names, shown_type,
    statement::{Described, Name},
};

use super::{
    definitions::{SinkDefinition, StreamDefinition},
    fault::{Fault, Outcome},
    rows::{Row, frame_of},
};
use crate::{frame::DataFrame, session::Session};

impl Session {
    /// The streams of the session, however they came into it.
    pub(super) async fn show_streams(&self) -> Outcome<DataFrame> {
        let mut rows = Vec::new();
        for name in self.table_names() {
            let defined = self.services().definitions.stream(&name, false);
            let table = self
                .context()
                .table_provider(TableReference::bare(name.as_str()))
                .await?;
            if defined.is_none() && !<dyn TableProvider>::is::<StreamTable>(table.as_ref()) {
                continue;
            }
            let schema = table.schema();
            let columns = schema.fields().iter();
            let columns: Vec<String> = columns
                .map(|field| format!("{} {}", field.name(), shown_type(field.data_type())))
                .collect();
            let (format, watermark) = match defined {
                Some(stream) => (Some(stream.format.clone()), watermark_in_words(&stream)),
                None => (None, None),
            };
            rows.push(vec![
                Some(name),
                format,
                Some(columns.join(", ")),
                watermark,
            ]);
        }
        let columns = ["name", "format", "columns", "watermark"];
        Ok(frame_of(self.context(), &columns, &rows)?)
    }

    pub(super) fn show_sinks(&self) -> Outcome<DataFrame> {
        let definitions = self.services().definitions.lock();
        let rows: Vec<Row> = definitions
            .sinks
            .values()
            .map(|sink| sink_row(sink))
            .collect();
        drop(definitions);
        let columns = ["name", "format", "options", "partitioned_by"];
        Ok(frame_of(self.context(), &columns, &rows)?)
    }

    /// The queries that statements have started, running or not, and the others of the session that run.
    pub(super) fn show_streaming_queries(&self) -> Outcome<DataFrame> {
        let started: Vec<_> = {
            let definitions = self.services().definitions.lock();
            let queries = definitions.queries.iter();
            queries
                .map(|(name, started)| (name.clone(), started.clone()))
                .collect()
        };
        let mut rows = Vec::new();
        for (name, started) in &started {
            let mut row = query_row(Some(name.clone()), &started.query);
            row.extend([
                Some(started.sink.name.clone()),
                Some(started.mode.to_string()),
                Some(trigger_in_words(started.trigger)),
            ]);
            rows.push(row);
        }
        for query in self.streams().active() {
            let is_new = |(_, known): &(_, super::definitions::StartedQuery)| {
                known.query.run_id() != query.run_id()
            };
            if started.iter().all(is_new) {
                let mut row = query_row(query.name().map(str::to_owned), &query);
                row.resize(8, None);
                rows.push(row);
            }
        }
        let columns = [
            "name",
            "id",
            "run_id",
            "status",
            "message",
            "sink",
            "output_mode",
            "trigger",
        ];
        Ok(frame_of(self.context(), &columns, &rows)?)
    }

    /// Columns of a stream with their types and the watermark, or what a sink is. Other names are DataFusion's.
    pub(super) async fn describe(
        &self,
        described: &Described,
    ) -> Outcome<Result<DataFrame, DfStatement>> {
        let front_end = &self.services().front_end;
        let ignore_case = front_end.ignores_case();
        let name = front_end.normal_name(&described.name);
        let definitions = &self.services().definitions;
        let stream = definitions.stream(&name, ignore_case);
        let sink = definitions.sink(&name, ignore_case);
        let known = match (&stream, &sink) {
            (Some(stream), _) => stream.name.clone(),
            _ => self.spelt(&name),
        };
        if self.has_table(&known) {
            let frame = self
                .context()
                .table(TableReference::bare(known.as_str()))
                .await?;
            if is_streaming(frame.logical_plan()) {
                return Ok(Ok(self.described_stream(stream.as_deref(), &frame)?));
            }
        }
        if let Some(sink) = sink {
            let columns = ["name", "format", "options", "partitioned_by"];
            return Ok(Ok(frame_of(self.context(), &columns, &[sink_row(&sink)])?));
        }
        match &described.original {
            Some(original) if self.has_table(&known) || !self.is_plain(&known) => {
                Ok(Err(original.as_ref().clone()))
            }
            Some(_) => Err(self.unknown_stream(&described.name)),
            None => Err(self.unknown_stream(&described.name)),
        }
    }

    fn described_stream(
        &self,
        stream: Option<&StreamDefinition>,
        frame: &datafusion::dataframe::DataFrame,
    ) -> Outcome<DataFrame> {
        let mark = stream.and_then(|stream| stream.watermark.clone());
        let rows: Vec<Row> = frame
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let delay = mark.as_ref().filter(|(column, _)| column == field.name());
                vec![
                    Some(field.name().clone()),
                    Some(shown_type(field.data_type())),
                    Some(if field.is_nullable() { "YES" } else { "NO" }.to_owned()),
                    delay.map(|(_, delay)| format!("delay {delay}")),
                ]
            })
            .collect();
        let columns = ["column_name", "data_type", "is_nullable", "watermark"];
        Ok(frame_of(self.context(), &columns, &rows)?)
    }

    /// Whether a name can only be one of the default schema, and not a setting or a table elsewhere.
    fn is_plain(&self, name: &str) -> bool {
        !name.contains('.')
    }

    /// The table that a name means, as it is spelt.
    fn spelt(&self, name: &str) -> String {
        if !self.services().front_end.ignores_case() || self.has_table(name) {
            return name.to_owned();
        }
        let mut names = self.table_names().into_iter();
        let found = names.find(|table| table.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| name.to_owned())
    }

    /// Whether a stream that no statement has defined goes by this name.
    pub(super) fn stream_table(&self, name: &str) -> bool {
        let table = self.table_named(name);
        table.is_some_and(|table| <dyn TableProvider>::is::<StreamTable>(table.as_ref()))
    }

    /// The table of this name in the default schema.
    pub(super) fn table_named(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let schema = self.state().schema_for_ref(name).ok()?;
        futures::executor::block_on(schema.table(name)).ok()?
    }

    fn table_names(&self) -> Vec<String> {
        let state = self.state();
        let mut names = match state.schema_for_ref("any") {
            Ok(schema) => schema.table_names(),
            Err(_) => Vec::new(),
        };
        names.sort();
        names
    }

    /// The tables, streams among them, and the functions that a text may name, in order.
    pub fn names(&self) -> Names {
        let state = self.state();
        let mut functions: Vec<String> = state.scalar_functions().keys().cloned().collect();
        functions.extend(state.aggregate_functions().keys().cloned());
        functions.extend(state.window_functions().keys().cloned());
        functions.retain(|name| !name.starts_with("__"));
        functions.sort();
        Names {
            tables: self.table_names(),
            functions,
            sinks: self
                .services()
                .definitions
                .lock()
                .sinks
                .keys()
                .cloned()
                .collect(),
        }
    }

    pub(super) fn unknown_stream(&self, name: &Name) -> Fault {
        let names = self.table_names();
        Fault::invalid(
            name.span,
            format!(
                "there is no stream or table '{}'{}",
                name.value,
                advice(
                    &name.value,
                    &names,
                    "SHOW STREAMS and SHOW TABLES list those there are"
                )
            ),
        )
    }

    pub(super) fn unknown_sink(&self, name: &Name) -> Fault {
        let names: Vec<String> = {
            let definitions = self.services().definitions.lock();
            definitions.sinks.keys().cloned().collect()
        };
        let advice = advice(
            &name.value,
            &names,
            &format!("define it first with CREATE SINK {} USING …", name.value),
        );
        Fault::invalid(
            name.span,
            format!("there is no sink '{}'{advice}", name.value),
        )
    }

    pub(super) fn unknown_query(&self, name: &Name) -> Fault {
        let names: Vec<String> = {
            let definitions = self.services().definitions.lock();
            definitions.queries.keys().cloned().collect()
        };
        let advice = advice(
            &name.value,
            &names,
            "SHOW STREAMING QUERIES lists those there are",
        );
        Fault::invalid(
            name.span,
            format!("there is no streaming query '{}'{advice}", name.value),
        )
    }
}

/// `: did you mean 'x'?`, or what else to do.
fn advice(name: &str, names: &[String], otherwise: &str) -> String {
    match nearest(name, names.iter().map(String::as_str)) {
        Some(close) => format!(": did you mean '{close}'?"),
        None => format!(": {otherwise}"),
    }
}

fn watermark_in_words(stream: &StreamDefinition) -> Option<String> {
    let (column, delay) = stream.watermark.as_ref()?;
    Some(format!("{column}, delay {delay}"))
}

fn sink_row(sink: &SinkDefinition) -> Row {
    let options = sink.options.shown();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    vec![
        Some(sink.name.clone()),
        Some(sink.format.clone()),
        some(options.join(", ")),
        some(sink.partition_by.join(", ")),
    ]
}

fn query_row(name: Option<String>, query: &StreamingQuery) -> Row {
    let (status, message) = match query.exception() {
        Some(error) => ("failed", error.to_string()),
        None if query.is_active() => ("running", query.status().message),
        None => ("ended", String::new()),
    };
    vec![
        name,
        Some(query.id().to_string()),
        Some(query.run_id().to_string()),
        Some(status.to_owned()),
        Some(message).filter(|message| !message.is_empty()),
    ]
}

/// As the statement writes it.
fn trigger_in_words(trigger: Trigger) -> String {
    match trigger {
        Trigger::Default => "as data comes".to_owned(),
        Trigger::ProcessingTime(every) => format!("every {every:?}"),
        Trigger::Once => "once".to_owned(),
        Trigger::AvailableNow => "available now".to_owned(),
    }
}
