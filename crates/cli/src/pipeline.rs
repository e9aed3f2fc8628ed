//! From arguments to a planned pipeline.

use headwater::{Pipeline, Session};

use crate::{
    args::PipelineArgs,
    exit::Failure,
    script::{self, Script},
};

/// A pipeline in a session of its own.
pub(crate) struct Planned {
    pub(crate) session: Session,
    pub(crate) script: Script,
    pub(crate) pipeline: Pipeline,
}

/// The session that the arguments ask for.
///
/// # Errors
/// `Wrong` for an unknown time zone.
pub(crate) fn session(args: &PipelineArgs) -> Result<Session, Failure> {
    Session::builder()
        .spark_functions(args.spark)
        .time_zone(&args.time_zone)
        .build()
        .map_err(|error| Failure::of_planning(&error))
}

/// Reads and plans a pipeline; nothing is started.
///
/// # Errors
/// `Wrong` for a text that cannot be read or planned.
pub(crate) async fn plan(args: &PipelineArgs, session: Session) -> Result<Planned, Failure> {
    let script = script::read(args)?;
    let pipeline = session
        .pipeline(&script.text)
        .await
        .map_err(|error| Failure::of_planning(&error).of(&script))?;
    Ok(Planned {
        session,
        script,
        pipeline,
    })
}
