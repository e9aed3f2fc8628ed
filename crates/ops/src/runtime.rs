//! The services that operators find in the task context, because plan nodes hold plain descriptors only.

use std::{fmt, sync::Arc};

use datafusion::{error::DataFusionError, execution::TaskContext};
use headwater_core::{Error, Sink, Source};
use tokio::sync::watch;

use crate::{
    read_ahead::{ReadAhead, ScansEnd},
    report::Outbox,
    state_provider::StateProvider,
    table::Unread,
};

/// Services of one run of one query. Travels as an extension of the session configuration in the task context.
pub struct EpochRuntime {
    /// The sources by number.
    pub sources: Vec<Arc<dyn Source>>,
    /// Keyed state by operator and partition.
    pub state: Arc<StateProvider>,
    /// Where the rows go.
    pub sink: Arc<dyn Sink>,
    /// Where records of late rows go, if anybody wants them.
    pub late_sink: Option<Arc<dyn Sink>>,
    /// Where reports wait for the plan's root.
    pub outbox: Outbox,
    /// What was read ahead of this epoch.
    pub read_ahead: ReadAhead,
    /// When this epoch needs the sources no more.
    pub scans_end: Arc<ScansEnd>,
    /// Where streams wait that have to be read to their end and were not.
    pub unread: Unread,
}

impl fmt::Debug for EpochRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochRuntime")
            .field("sources", &self.sources.len())
            .field("sink", &self.sink.description())
            .finish_non_exhaustive()
    }
}

/// Tells when the plan of an epoch is recorded, before which nothing may become durable nor visible.
#[derive(Debug, Clone)]
pub struct PlanRecorded(watch::Receiver<bool>);

impl PlanRecorded {
    /// Not recorded until `true` is sent; never, if the sender is dropped before.
    pub fn when() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns when it is.
    ///
    /// # Errors
    /// `Internal` if it never will be: whoever was to record it has failed, and says why.
    pub async fn wait(&mut self) -> headwater_core::Result<()> {
        match self.0.wait_for(|recorded| *recorded).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::internal("the plan of the epoch was not recorded")),
        }
    }
}

impl EpochRuntime {
    /// The runtime in a task context.
    pub fn of(context: &TaskContext) -> Result<Arc<Self>, DataFusionError> {
        context
            .session_config()
            .get_extension::<Self>()
            .ok_or_else(|| {
                external(Error::internal(
                    "a streaming plan was run outside an epoch: start it as a streaming query",
                ))
            })
    }
}

/// Carries an error of ours through a DataFusion plan.
pub fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Takes an error of ours out of a DataFusion error, or classifies DataFusion's own: user expressions that fail at run
/// time (overflow, bad cast, division by zero) are `Data`, plans that do not fit are `Invalid`.
pub fn from_datafusion(error: DataFusionError) -> Error {
    use datafusion::common::DataFusionError as E;
    match error {
        E::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => from_datafusion(*nested),
                Err(other) => Error::data("the query failed").with_source(other),
            },
        },
        E::Context(context, inner) => from_datafusion(*inner).context(context),
        E::Diagnostic(_, inner) => from_datafusion(*inner),
        E::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => shared_error(&shared),
        },
        E::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        E::ArrowError(inner, _) => {
            Error::data(format!("an expression failed on the input: {inner}"))
        }
        E::ObjectStore(inner) => Error::unavailable(format!("the object store failed: {inner}")),
        E::IoError(inner) => Error::unavailable(format!("input or output failed: {inner}")),
        E::Execution(message) => Error::data(message),
        E::ResourcesExhausted(message) => Error::unavailable(message),
        E::Internal(message) => Error::internal(message),
        other => Error::invalid(other.strip_backtrace()),
    }
}

/// An error that other tasks still hold: kind and text of ours are kept, the rest is described.
fn shared_error(error: &DataFusionError) -> Error {
    if let DataFusionError::External(inner) = error
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return Error::new(ours.kind(), ours.to_string());
    }
    match error {
        DataFusionError::ArrowError(inner, _) => {
            Error::data(format!("an expression failed on the input: {inner}"))
        }
        DataFusionError::Shared(inner) => shared_error(inner),
        DataFusionError::Context(_, inner) => shared_error(inner),
        other => Error::data(other.strip_backtrace()),
    }
}
