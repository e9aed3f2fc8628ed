//! What all parts of a running source use: its clients, its settings, and what it has learnt of its messages.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use headwater_core::{Clock, Result};
use parking_lot::Mutex;

use super::{
    OWNER,
    cluster::Cluster,
    fetcher::Fetcher,
    loss::{Loss, named},
    options::Settings,
    positions::TopicPartition,
    subscription::Topics,
};

/// How long the brokers may take to answer while a query runs: long enough to start one again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all parts of a running source use.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) cluster: Cluster,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) patience: Duration,
    group: String,
    /// Made when first needed: the first for whole partitions, the others for further pieces of divided ones.
    // Locked to find or make one.
    fetchers: Mutex<Vec<Arc<Fetcher>>>,
    /// How many messages, and bytes of keys and values, were read.
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        // A name that others have too is of no consequence, as long as no group of that name is used to subscribe.
        let prefix = &settings.group_prefix;
        let group = settings.group.clone();
        let group = group.unwrap_or_else(|| format!("{prefix}-{:x}", clock.now_millis()));
        let patience = settings.client.patience_or(PATIENCE);
        let cluster = Cluster::new(&settings.client, &group, Arc::clone(&clock), patience)?;
        Ok(Self {
            settings,
            cluster,
            clock,
            patience,
            group,
            fetchers: Mutex::default(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// The topics of the cluster that the subscription may want.
    pub(crate) async fn topics(&self, patience: Duration) -> Result<Topics> {
        let wanted = self.settings.subscription.topics();
        self.cluster.topics_within(wanted, patience).await
    }

    /// The client that fetches the pieces of this number of partitions; whole partitions are their first piece.
    pub(crate) fn fetcher(&self, number: Option<usize>) -> Result<Arc<Fetcher>> {
        self.fetcher_for(number, 1)
    }

    /// The same, for about so many partitions if the client has yet to be made.
    pub(crate) fn fetcher_for(
        &self,
        number: Option<usize>,
        partitions: usize,
    ) -> Result<Arc<Fetcher>> {
        let number = number.unwrap_or(0);
        let mut fetchers = self.fetchers.lock();
        while fetchers.len() <= number {
            let fetcher = Fetcher::new(&self.settings.client, &self.group, partitions)?;
            fetchers.push(Arc::new(fetcher));
        }
        Ok(Arc::clone(&fetchers[number]))
    }

    /// Notes what messages weigh.
    pub(crate) fn weigh(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The mean weight of a message, of those that were read.
    pub(crate) fn bytes_per_message(&self) -> Option<u64> {
        let messages = self.messages.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        bytes.checked_div(messages)
    }

    /// Whether reading may go on after a loss: says so, or fails.
    pub(crate) fn accept(&self, partition: &TopicPartition, loss: &Loss) -> Result<()> {
        if self.settings.fail_on_data_loss {
            return Err(loss.error(partition, self.cluster.servers()));
        }
        tracing::warn!(
            servers = self.cluster.servers(),
            "{OWNER} has lost messages of {} and goes on, as failOnDataLoss is false: {loss}",
            named(partition)
        );
        Ok(())
    }

    /// Lets the clients say what they have to say.
    pub(crate) fn serve(&self) {
        self.cluster.serve();
        for fetcher in self.fetchers.lock().iter() {
            fetcher.serve();
        }
    }
}
