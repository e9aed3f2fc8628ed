//! From arguments to a planned pipeline.

use std::sync::Arc;

use headwater::{Pipeline, Session, SessionBuilder, StreamInput};

use crate::{
    args::{PipelineArgs, SessionArgs},
    exit::Failure,
    memory::GivesMemoryBack,
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
pub(crate) fn session(args: &SessionArgs) -> Result<Session, Failure> {
    let session = builder(args)
        .build()
        .map_err(|error| Failure::of_planning(&error))?;
    let memory = Arc::new(GivesMemoryBack::default());
    session.streams().add_listener(memory as _);
    Ok(session)
}

/// What the arguments say of a session that is to be told more.
pub(crate) fn builder(args: &SessionArgs) -> SessionBuilder {
    Session::builder()
        .spark_functions(args.spark)
        .time_zone(&args.time_zone)
}

/// Reads and plans a pipeline; nothing is started.
///
/// # Errors
/// `Wrong` for a text that cannot be read or planned.
pub(crate) async fn plan(args: &PipelineArgs, session: Session) -> Result<Planned, Failure> {
    plan_over(args, session, None).await
}

/// As [`plan`], with streams that read from elsewhere.
///
/// # Errors
/// As [`plan`].
pub(crate) async fn plan_over(
    args: &PipelineArgs,
    session: Session,
    input: Option<&StreamInput>,
) -> Result<Planned, Failure> {
    let script = script::read(args)?;
    let pipeline = session
        .pipeline_with(&script.text, input)
        .await
        .map_err(|error| Failure::of_planning(&error).of(&script))?;
    Ok(Planned {
        session,
        script,
        pipeline,
    })
}
