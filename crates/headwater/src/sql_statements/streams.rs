//! `CREATE STREAM` and `DROP STREAM`.

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    common::TableReference,
    datasource::provider_as_source,
    error::Result,
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
};
use headwater_connect::registry::SourceRequest;
use headwater_core::{Options, options::micros_in_words};
use headwater_plan::StreamTable;
use headwater_sql::statement::{CreateStream, Dropped, StreamWatermark};

use super::{
    definitions::StreamDefinition,
    fault::{Fault, Outcome, about_options},
    pipeline::StreamInput,
};
use crate::{error::from_datafusion, session::Session};

impl Session {
    /// Defines a stream. With `input`, its rows come from there instead of from the source that the statement names.
    pub(super) fn create_stream(
        &self,
        statement: &CreateStream,
        input: Option<&StreamInput>,
    ) -> Outcome<()> {
        let front_end = &self.services().front_end;
        let state = self.state();
        let name = front_end.normal_name(&statement.name);
        let defined = self
            .services()
            .definitions
            .stream(&name, front_end.ignores_case());
        if defined.is_some() || self.has_table(&name) {
            if statement.if_not_exists {
                return Ok(());
            }
            if !statement.or_replace {
                return Err(Fault::invalid(
                    statement.name.span,
                    format!(
                        "there is a {} '{name}' already: write CREATE OR REPLACE STREAM, or choose another name",
                        if defined.is_some() { "stream" } else { "table" }
                    ),
                ));
            }
        }
        let schema = match statement.columns.as_slice() {
            [] => None,
            columns => Some(Arc::new(front_end.stream_schema(&state, columns)?)),
        };
        let options: Options = statement.options.iter().collect();
        let mut definition = StreamDefinition {
            name: name.clone(),
            format: statement.format.value.clone(),
            schema,
            options,
            watermark: None,
        };
        let given = input.map(|input| input(&definition)).transpose();
        let given = given.map_err(|error| Fault::At(statement.name.span, error))?;
        let provider = match given.flatten() {
            Some(provider) => provider,
            None => {
                let mut options = definition.options.clone();
                let request = SourceRequest {
                    format: definition.format.clone(),
                    schema: definition.schema.clone(),
                    path: options.take("path"),
                    options,
                    is_bounded: false,
                };
                self.services()
                    .connectors
                    .source(&request)
                    .map_err(|error| {
                        about_options(error, &statement.options, statement.format.span)
                    })?
            }
        };
        let table = Arc::new(StreamTable::new(&name, provider));
        match &statement.watermark {
            None => self.define_table(&name, table),
            Some(watermark) => {
                let source = provider_as_source(table);
                let scan =
                    LogicalPlanBuilder::scan(TableReference::bare(name.as_str()), source, None)?
                        .build()?;
                let (plan, column) = self.marked(scan, watermark)?;
                definition.watermark = Some((column, delay_in_words(watermark)));
                let frame = datafusion::dataframe::DataFrame::new(state, plan);
                self.define_table(&name, frame.into_view())
            }
        }
        .map_err(|error| Fault::At(statement.name.span, error))?;
        let mut definitions = self.services().definitions.lock();
        definitions.streams.insert(name, Arc::new(definition));
        Ok(())
    }

    /// The stream with its event time marked, and the name of that column.
    fn marked(
        &self,
        scan: LogicalPlan,
        watermark: &StreamWatermark,
    ) -> Outcome<(LogicalPlan, String)> {
        let front_end = &self.services().front_end;
        let column = match &watermark.name {
            Some(name) => front_end.normal_name(name),
            None => watermark
                .event_time
                .to_string()
                .trim_matches('`')
                .to_owned(),
        };
        let plan = front_end.mark_event_time(&self.state(), scan, watermark);
        // Errors of hooks know nothing of the text.
        let plan = plan.map_err(|error| match headwater_sql::has_place(&error) {
            true => Fault::Planning(error),
            false => Fault::About(watermark.span, from_datafusion(error)),
        })?;
        Ok((plan, column))
    }

    pub(super) fn drop_stream(&self, dropped: &Dropped) -> Outcome<()> {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&dropped.name);
        let definitions = &self.services().definitions;
        let name = match definitions.stream(&name, front_end.ignores_case()) {
            Some(found) => found.name.clone(),
            None if self.stream_table(&name) => name,
            None if dropped.if_exists => return Ok(()),
            None => return Err(self.unknown_stream(&dropped.name)),
        };
        definitions.lock().streams.remove(&name);
        self.forget_table(&name).map_err(Fault::from)
    }

    /// Makes something a table of the default schema under exactly this name, in place of the one that has it.
    pub(super) fn define_table(
        &self,
        name: &str,
        table: Arc<dyn TableProvider>,
    ) -> headwater_core::Result<()> {
        // A name as text would be read once more, and lose its case.
        let defined = self.forget_table(name).and_then(|()| {
            self.context()
                .register_table(TableReference::bare(name), table)
        });
        defined.map(drop).map_err(from_datafusion)
    }

    /// Takes a table out of the default schema, if it is there.
    pub(super) fn forget_table(&self, name: &str) -> Result<()> {
        self.context()
            .deregister_table(TableReference::bare(name))
            .map(drop)
    }

    /// Whether the default schema has a table of this name.
    pub(super) fn has_table(&self, name: &str) -> bool {
        let state = self.state();
        state
            .schema_for_ref(name)
            .is_ok_and(|schema| schema.table_exist(name))
    }
}

/// `10 seconds`, `1 month 2 days`.
fn delay_in_words(watermark: &StreamWatermark) -> String {
    let delay = watermark.delay;
    match (delay.months, delay.micros) {
        (0, micros) => micros_in_words(micros),
        (months, 0) => format!("{months} months"),
        (months, micros) => format!("{months} months {}", micros_in_words(micros)),
    }
}
