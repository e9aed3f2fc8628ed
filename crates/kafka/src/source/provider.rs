//! Makes sources of the options that a user gave.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{Options, Result, Source, SourceContext, SourceProvider};

use crate::client::{Role, event_hubs};

use super::{
    OWNER, discover::Discovering, options::Settings, rows, shared::Shared, stream::KafkaSource,
};

/// How long the brokers may take to answer when a query starts.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// The `kafka` source: the messages of topics, with the columns `key`, `value`, `topic`, `partition`, `offset`,
/// `timestamp`, `timestampType` and, if asked for, `headers`.
///
/// Messages of a partition come in their order; of several, in any. The rows of a range are the same each time it is
/// read, as long as the broker has them. The options are those of Spark's source; `docs/kafka.md` tells them all.
#[derive(Debug, Clone)]
pub struct KafkaSourceProvider {
    settings: Settings,
}

impl KafkaSourceProvider {
    /// A stream of topics. Nothing is asked of the brokers yet.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] for an unknown or missing option, or a value that makes no sense.
    pub fn stream(options: &Options) -> Result<Self> {
        let options = event_hubs::expand(OWNER, Role::Source, options)?;
        let settings = Settings::from_options(&options, false)?;
        Ok(Self { settings })
    }

    /// Topics as a table that ends: at `endingOffsets` or the like, or where the topics end when it is read.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn table(options: &Options) -> Result<Self> {
        let options = event_hubs::expand(OWNER, Role::Source, options)?;
        let settings = Settings::from_options(&options, true)?;
        Ok(Self { settings })
    }
}

#[async_trait]
impl SourceProvider for KafkaSourceProvider {
    fn schema(&self) -> SchemaRef {
        rows::schema(self.settings.include_headers)
    }

    /// The topics, and not how they are reached, which may change.
    fn identity(&self) -> String {
        format!("kafka {}", self.settings.subscription)
    }

    /// Looks for the topics; if the brokers cannot be reached, the start of the query fails.
    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        let settings = self.settings.clone();
        let patience = settings.client.patience_or(START_PATIENCE);
        let shared = Arc::new(Shared::new(settings, context.clock)?);
        let topics = shared.topics(patience).await?;
        let discovering = Discovering::begin(Arc::clone(&shared), topics, &*context.storage);
        let discovering = discovering.await?;
        Ok(Arc::new(KafkaSource::new(shared, discovering)))
    }
}
