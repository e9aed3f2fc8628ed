//! `EXPLAIN STREAMING`: how a query would run over its streams, and in which output modes.

use headwater_core::{Error, ErrorKind, OutputMode, Result};
use headwater_plan::{PlanSettings, StreamingPlan, plan_stream};
use headwater_sql::{plain_message, statement::ExplainStreaming};

use super::{
    fault::{Fault, Outcome},
    queries::output_mode,
};
use crate::{frame::DataFrame, session::Session};

const MODES: [OutputMode; 3] = [OutputMode::Append, OutputMode::Update, OutputMode::Complete];

impl Session {
    /// What a query keeps and for how long, in the mode that was asked for, else in the first mode in which it can run;
    /// and which other modes it can run in, or why not.
    pub(super) async fn explained(&self, explain: &ExplainStreaming) -> Outcome<String> {
        let asked = explain.output_mode.as_ref();
        let mode = asked.map(output_mode).transpose()?;
        let frame = self.plan_select(explain.query.clone()).await?;
        let text = Box::pin(self.explain_streaming(frame, mode)).await;
        let span = asked.map_or_else(headwater_sql::no_place, |mode| mode.span);
        text.map_err(|error| Fault::About(span, error))
    }

    /// What a query over streams keeps and for how long, how late rows are treated, and in which output modes it can run,
    /// as text. Without a mode, in the first in which it can.
    ///
    /// # Errors
    /// `Invalid` if it can run in no mode, or not in the one that was asked for.
    pub async fn explain_streaming(
        &self,
        frame: DataFrame,
        mode: Option<OutputMode>,
    ) -> Result<String> {
        let mut answers = Vec::new();
        for mode in MODES {
            answers.push((mode, Box::pin(self.planned_in(&frame, mode)).await));
        }
        let is_shown = |(answered, plan): &(OutputMode, Result<StreamingPlan>)| match mode {
            Some(mode) => mode == *answered,
            None => plan.is_ok(),
        };
        let shown = answers.iter().position(is_shown).unwrap_or(0);
        let mut text = match &answers[shown] {
            (mode, Ok(plan)) => format!("in {mode} mode:\n{}", plan.summary()),
            (_, Err(_)) => return answers.swap_remove(shown).1.map(|plan| plan.summary()),
        };
        for (mode, answer) in &answers {
            let line = match answer {
                Ok(_) => format!("{mode} mode: possible\n"),
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    format!("{mode} mode: not possible, {}\n", error.message())
                }
                Err(error) => format!("{mode} mode: {error}\n"),
            };
            text.push_str(&line);
        }
        Ok(plain_message(&text))
    }

    /// The output modes in which a query over streams can run; at least one.
    ///
    /// # Errors
    /// `Invalid` if it can run in none, with what append mode says of it.
    pub async fn output_modes(&self, frame: &DataFrame) -> Result<Vec<OutputMode>> {
        let mut modes = Vec::new();
        let mut refused = None;
        for mode in MODES {
            match Box::pin(self.planned_in(frame, mode)).await {
                Ok(_) => modes.push(mode),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if modes.is_empty() => {
                Err(Error::new(error.kind(), plain_message(error.message())))
            }
            _ => Ok(modes),
        }
    }

    async fn planned_in(&self, frame: &DataFrame, mode: OutputMode) -> Result<StreamingPlan> {
        let (state, plan) = frame.clone().into_inner().into_parts();
        let settings = self.settings();
        let settings = PlanSettings {
            mode,
            no_data_epochs: settings.no_data_epochs,
            strict_spark: settings.strict_spark,
            ..PlanSettings::default()
        };
        Box::pin(plan_stream(&state, plan, &settings)).await
    }
}
