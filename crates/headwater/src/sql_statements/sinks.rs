//! `CREATE SINK` and `DROP SINK`.

use std::sync::Arc;

use headwater_connect::registry::SinkRequest;
use headwater_core::{Options, SinkProvider};
use headwater_sql::statement::{CreateSink, Dropped, Name};

use super::{
    definitions::SinkDefinition,
    fault::{Fault, Outcome, about_options},
};
use crate::{session::Session, writer::take_prefixed};

impl Session {
    pub(super) fn create_sink(&self, statement: &CreateSink) -> Outcome<()> {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&statement.name);
        let definitions = &self.services().definitions;
        if let Some(found) = definitions.sink(&name, front_end.ignores_case()) {
            if statement.if_not_exists {
                return Ok(());
            }
            if !statement.or_replace {
                return Err(Fault::invalid(
                    statement.name.span,
                    format!(
                        "there is a sink '{}' already: write CREATE OR REPLACE SINK, or choose another name",
                        found.name
                    ),
                ));
            }
        } else if self.has_table(&name) && !self.is_sink_table(&name) {
            return Err(Fault::invalid(
                statement.name.span,
                format!("there is a table '{name}' already: give the sink another name"),
            ));
        }
        let sink = SinkDefinition {
            name: name.clone(),
            format: statement.format.value.clone(),
            options: statement.options.iter().collect(),
            partition_by: statement
                .partitioned_by
                .iter()
                .map(|column| front_end.normal_name(column))
                .collect(),
        };
        self.sink_provider(&sink)
            .map_err(|error| about_options(error, &statement.options, statement.format.span))?;
        self.hide_sink(&name)?;
        definitions.lock().sinks.insert(name, Arc::new(sink));
        Ok(())
    }

    pub(super) fn drop_sink(&self, dropped: &Dropped) -> Outcome<()> {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&dropped.name);
        let definitions = &self.services().definitions;
        match definitions.sink(&name, front_end.ignores_case()) {
            Some(found) => {
                self.hide_sink(&found.name)?;
                definitions.lock().sinks.remove(&found.name);
                Ok(())
            }
            None if dropped.if_exists => Ok(()),
            None => Err(self.unknown_sink(&dropped.name)),
        }
    }

    /// The sink that a name means.
    pub(super) fn sink_named(&self, name: &Name) -> Outcome<Arc<SinkDefinition>> {
        let front_end = &self.services().front_end;
        let normal = front_end.normal_name(name);
        self.services()
            .definitions
            .sink(&normal, front_end.ignores_case())
            .ok_or_else(|| self.unknown_sink(name))
    }

    /// What the definition stands for; nothing is opened.
    pub(super) fn sink_provider(
        &self,
        sink: &SinkDefinition,
    ) -> headwater_core::Result<Arc<dyn SinkProvider>> {
        self.services().connectors.sink(&sink.request())
    }
}

impl SinkDefinition {
    /// What a connector is asked for; the checkpoint is not its business.
    pub(super) fn request(&self) -> SinkRequest {
        let mut options: Options = self.options.clone();
        take_prefixed(&mut options, "checkpoint.");
        options.take("checkpointLocation");
        SinkRequest {
            format: self.format.clone(),
            path: options.take("path"),
            options,
            partition_by: self.partition_by.clone(),
            query_name: Some(self.name.clone()),
        }
    }
}
