//! The processors and group functions of a session, by name: plans hold names, so that a plan is data.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use datafusion::{execution::TaskContext, prelude::SessionConfig};
use headwater_core::{Error, Result};

use super::{
    api::{GroupFunction, StatefulProcessor},
    declare::{IntoColumns, ProcessorInput, ProcessorSpec, StateVariable},
};

/// Name of the one state variable of a group function.
pub(super) const GROUP_STATE: &str = "state";

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Registered {
    Processor(Arc<dyn StatefulProcessor>),
    Group {
        function: Arc<dyn GroupFunction>,
        spec: ProcessorSpec,
    },
}

/// Processors and group functions by name. It travels as an extension of the session's configuration.
#[derive(Default)]
pub struct ProcessorRegistry {
    // Looked up when a query is planned and once per partition and epoch.
    entries: RwLock<BTreeMap<String, Registered>>,
}

impl fmt::Debug for ProcessorRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl ProcessorRegistry {
    /// Registers a processor. One of that name is replaced, for queries that start later.
    pub fn register_processor(&self, name: &str, processor: Arc<dyn StatefulProcessor>) {
        self.register(name, Registered::Processor(processor));
    }

    /// Registers a group function with the columns of its state and of its output. One of that name is replaced, for
    /// queries that start later.
    ///
    /// # Errors
    /// `Invalid` if state or output have no columns.
    pub fn register_group_function(
        &self,
        name: &str,
        state: impl IntoColumns,
        output: impl IntoColumns,
        function: Arc<dyn GroupFunction>,
    ) -> Result<()> {
        let spec = ProcessorSpec::new(output)
            .with(StateVariable::value(GROUP_STATE, state.into_columns()));
        spec.check()
            .map_err(|error| error.context(format!("group function '{name}'")))?;
        self.register(name, Registered::Group { function, spec });
        Ok(())
    }

    fn register(&self, name: &str, entry: Registered) {
        self.entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), entry);
    }

    fn names(&self) -> Vec<String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.keys().cloned().collect()
    }

    /// The registry of a session.
    ///
    /// # Errors
    /// `Invalid` if the configuration is that of a plain DataFusion context.
    pub fn of(config: &SessionConfig) -> Result<Arc<Self>> {
        config.get_extension::<Self>().ok_or_else(|| {
            Error::invalid(
                "this DataFusion context knows no processors: make the frame from a headwater Session",
            )
        })
    }

    pub(super) fn of_task(context: &TaskContext) -> Result<Arc<Self>> {
        Self::of(context.session_config())
    }

    pub(super) fn find(&self, name: &str, call: Call) -> Result<Registered> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let found = entries.get(name).cloned();
        drop(entries);
        match (found, call) {
            (Some(found @ Registered::Processor(_)), Call::Transform) => Ok(found),
            (Some(found @ Registered::Group { .. }), Call::FlatMapGroups | Call::MapGroups) => {
                Ok(found)
            }
            (Some(Registered::Processor(_)), _) => Err(Error::invalid(format!(
                "'{name}' is a processor: use it with transform_with_state"
            ))),
            (Some(Registered::Group { .. }), _) => Err(Error::invalid(format!(
                "'{name}' is a group function: use it with map_groups_with_state or flat_map_groups_with_state"
            ))),
            (None, _) => Err(Error::invalid(format!(
                "no processor or group function '{name}' is registered, the session has [{}]: register it with \
                 session.{} before the query is made",
                self.names().join(", "),
                match call {
                    Call::Transform => "register_processor",
                    Call::FlatMapGroups | Call::MapGroups => "register_group_function",
                }
            ))),
        }
    }

    /// What the processor or function of this name declares for this input.
    ///
    /// # Errors
    /// `Invalid` if there is none, it is of the other kind, or its declaration makes no sense.
    pub fn spec(&self, name: &str, call: Call, input: &ProcessorInput) -> Result<ProcessorSpec> {
        let spec = match self.find(name, call)? {
            Registered::Processor(processor) => processor.declare(input),
            Registered::Group { spec, .. } => Ok(spec),
        };
        let spec = spec.and_then(|spec| spec.check().map(|()| spec));
        spec.map_err(|error| error.context(format!("processor '{name}'")))
    }
}

/// How a plan uses a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// A processor.
    Transform,
    /// A group function that gives out any number of rows.
    FlatMapGroups,
    /// A group function that gives out exactly one row per call.
    MapGroups,
}

impl Call {
    /// As plans and checkpoints name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform_with_state",
            Self::FlatMapGroups => "flat_map_groups_with_state",
            Self::MapGroups => "map_groups_with_state",
        }
    }
}
