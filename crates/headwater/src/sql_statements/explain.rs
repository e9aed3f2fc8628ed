//! `EXPLAIN STREAMING`: how a query would run over its streams.

use headwater_core::OutputMode;
use headwater_plan::{PlanSettings, plan_stream};
use headwater_sql::statement::ExplainStreaming;

use super::{
    fault::{Fault, Outcome},
    queries::output_mode,
};
use crate::session::Session;

const MODES: [OutputMode; 3] = [OutputMode::Append, OutputMode::Update, OutputMode::Complete];

impl Session {
    /// The plan of a query in the mode that was asked for, else in the first mode in which it can run.
    pub(super) async fn explained(&self, explain: &ExplainStreaming) -> Outcome<String> {
        let asked = explain.output_mode.as_ref().map(output_mode).transpose()?;
        let frame = self.plan_select(explain.query.clone()).await?;
        let (state, plan) = frame.into_inner().into_parts();
        let modes = asked.map_or(MODES.to_vec(), |mode| vec![mode]);
        let mut refusal = None;
        for mode in modes {
            let settings = PlanSettings {
                mode,
                strict_spark: self.settings().strict_spark,
                ..PlanSettings::default()
            };
            match Box::pin(plan_stream(&state, plan.clone(), &settings)).await {
                Ok(planned) => return Ok(planned.explain()),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        let span = headwater_sql::no_place();
        Err(match refusal {
            Some(error) => Fault::At(span, error),
            None => Fault::invalid(span, "no output mode was tried"),
        })
    }
}
