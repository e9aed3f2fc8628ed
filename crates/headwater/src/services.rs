//! What every frame of a session finds in its DataFusion state: the services that start and plan streaming queries.
//!
//! They travel as an extension of the session's configuration, so that DataFusion's own `DataFrame` can be turned into
//! a streaming query however it was made. They do not hold the session itself, which would never be freed then.

use std::sync::Arc;

use datafusion::{common::DFSchema, execution::SessionState, logical_expr::Expr};
use headwater_connect::registry::ConnectorRegistry;
use headwater_core::{Clock, Error, Result};
use headwater_engine::{Settings, StreamingQueryManager};
use headwater_ops::processor::ProcessorRegistry;
use headwater_sql::SqlFrontEnd;

use crate::{error::from_datafusion, sql_statements::Definitions};

/// Services of one session.
pub(crate) struct Services {
    pub(crate) queries: StreamingQueryManager,
    pub(crate) connectors: ConnectorRegistry,
    pub(crate) front_end: SqlFrontEnd,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) processors: Arc<ProcessorRegistry>,
    /// What SQL statements have defined.
    pub(crate) definitions: Definitions,
}

impl Services {
    /// The services of the session that a state belongs to.
    ///
    /// # Errors
    /// `Invalid` if the state is that of a plain DataFusion context.
    pub(crate) fn of(state: &SessionState) -> Result<Arc<Self>> {
        state.config().get_extension::<Self>().ok_or_else(|| {
            Error::invalid(
                "this frame comes from a DataFusion context that knows nothing of streams: make it from a headwater \
                 Session",
            )
        })
    }

    pub(crate) fn parse_expr(
        &self,
        state: &SessionState,
        schema: &DFSchema,
        text: &str,
    ) -> Result<Expr> {
        self.front_end
            .plan_expr(state, schema, text)
            .map_err(from_datafusion)
    }
}
