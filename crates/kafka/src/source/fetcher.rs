//! Messages on their way: clients that fetch ahead, with a queue for each partition.
//!
//! librdkafka fetches all partitions of a client at once, in threads of its own, and keeps what has come in bounded
//! queues. So the next range is fetched while an epoch runs, and a range that begins where the one before ended needs no
//! request at all. Only a range that begins elsewhere makes a queue start anew.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use headwater_core::{Error, Result};
use parking_lot::Mutex;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::KafkaResult,
    message::OwnedMessage,
};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};

use super::{
    cluster::{cut_off, is_out_of_range, nudge, serve},
    positions::TopicPartition,
};
use crate::client::{ClientSettings, Context, Trouble, failed};

/// What all queues of a client together may hold, in kilobytes, and one at least.
const QUEUES_KB: usize = 256 << 10;
const QUEUE_KB: std::ops::RangeInclusive<usize> = 2 << 10..=64 << 10;
/// How many messages all queues of a client together may hold, since each weighs something beside its bytes.
const QUEUED: usize = 800_000;
const QUEUED_EACH: std::ops::RangeInclusive<usize> = 2_000..=200_000;

/// The position of a lane that gives out nothing any more.
const NOWHERE: i64 = -1;

/// A client that fetches.
pub(crate) struct Fetcher {
    consumer: Arc<BaseConsumer<Context>>,
    servers: String,
    trouble: Trouble,
    // Locked to find a partition's lane.
    lanes: Mutex<BTreeMap<TopicPartition, Arc<Lane>>>,
    /// Told when messages come to a queue that was empty.
    arrived: Arc<Notify>,
}

/// One partition as a client fetches it.
#[derive(Debug)]
pub(crate) struct Lane {
    partition: TopicPartition,
    arrived: Arc<Notify>,
    // Held by the task that reads the partition, as long as it reads.
    standing: Arc<AsyncMutex<Standing>>,
}

/// Where a lane stands.
#[derive(Default)]
pub(crate) struct Standing {
    /// `None` while nothing is fetched.
    pub(crate) queue: Option<PartitionQueue<Context>>,
    /// Whatever the lane gives out next has this offset or a later one.
    pub(crate) position: i64,
    /// A message that was taken from the queue and belongs to a later range.
    pub(crate) kept: Option<OwnedMessage>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("position", &self.position)
            .field("is_fetching", &self.queue.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Standing {
    fn is_at(&self, offset: i64) -> bool {
        self.queue.is_some() && self.position == offset
    }

    /// Whether a message is there. Leaves the queue empty if there is none, so that the next one is told of: messages
    /// from where the lane stood before may have lain there.
    fn has_message(&mut self) -> bool {
        while let (None, Some(queue)) = (&self.kept, &self.queue) {
            match queue.poll(Duration::ZERO) {
                None => return false,
                // Nothing is fetched behind this. Whoever looks now finds out why; the lane begins anew.
                Some(Err(error)) if is_out_of_range(&error) => {
                    self.position = NOWHERE;
                    return true;
                }
                Some(Ok(message)) if message.offset() >= self.position => {
                    self.kept = Some(message.detach());
                }
                // What is wrong will show when the lane is read.
                Some(_) => {}
            }
        }
        self.kept.is_some()
    }
}

impl Lane {
    /// Waits until messages have come since the last call.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes the lane for oneself.
    pub(crate) async fn take(&self) -> OwnedMutexGuard<Standing> {
        Arc::clone(&self.standing).lock_owned().await
    }
}

impl Fetcher {
    /// A client that fetches about as many partitions at a time. Nothing is fetched yet.
    pub(crate) fn new(settings: &ClientSettings, group: &str, partitions: usize) -> Result<Self> {
        let share = |all: usize, each: &std::ops::RangeInclusive<usize>| {
            (all / partitions.max(1))
                .clamp(*each.start(), *each.end())
                .to_string()
        };
        let mut defaults = super::client_defaults().to_vec();
        defaults.extend([
            ("queued.max.messages.kbytes", share(QUEUES_KB, &QUEUE_KB)),
            ("queued.min.messages", share(QUEUED, &QUEUED_EACH)),
            // A full queue is looked at again after this; the library's own second would let it run dry.
            ("fetch.queue.backoff.ms", "5".to_owned()),
            ("fetch.error.backoff.ms", "100".to_owned()),
            // Who wants to read elsewhere waits for a fetch that waits for messages.
            ("fetch.wait.max.ms", "100".to_owned()),
        ]);
        let decided = [
            ("group.id", group.to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "false".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
        ];
        let trouble = Trouble::default();
        let consumer = settings
            .config(&defaults, &decided)
            .create_with_context(Context::new(trouble.clone()))
            .map_err(|error| failed("making a client", settings.servers(), error, &trouble))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            servers: settings.servers().to_owned(),
            trouble,
            lanes: Mutex::default(),
            arrived: Arc::default(),
        })
    }

    /// The lane of a partition.
    pub(crate) fn lane(&self, partition: &TopicPartition) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(partition.clone()).or_insert_with(|| {
            Arc::new(Lane {
                partition: partition.clone(),
                arrived: Arc::default(),
                standing: Arc::default(),
            })
        });
        Arc::clone(lane)
    }

    /// Waits until messages have come to a queue that was empty, since the last call.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The last trouble with the brokers.
    pub(crate) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Lets the client say what it has to say.
    pub(crate) fn serve(&self) {
        serve(&self.consumer);
    }

    /// Lets a lane give out messages from `offset` on, whatever it gave before.
    pub(crate) async fn stand(
        &self,
        lane: &Arc<Lane>,
        standing: OwnedMutexGuard<Standing>,
        offset: i64,
    ) -> Result<OwnedMutexGuard<Standing>> {
        let moved = self
            .stand_all(vec![(Arc::clone(lane), standing, offset)])
            .await?;
        let moved = moved.into_iter().next();
        moved.ok_or_else(|| Error::internal("a lane was lost on its way"))
    }

    /// Asks the broker something about a partition, which wakes a client that sleeps over a new position.
    pub(crate) async fn nudge(&self, lane: &Arc<Lane>) {
        let (consumer, lane) = (Arc::clone(&self.consumer), Arc::clone(lane));
        let asked = tokio::task::spawn_blocking(move || nudge(&consumer, &lane.partition));
        // It has no answer to give.
        let _ = asked.await;
    }

    /// Begins to fetch partitions from these offsets on, unless they stand there already or are being read. `true` if a
    /// message is there already.
    pub(crate) async fn fetch_from(
        &self,
        positions: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<bool> {
        let mut moves = Vec::new();
        let mut has_message = false;
        for (partition, offset) in positions {
            let lane = self.lane(&partition);
            let Ok(mut standing) = Arc::clone(&lane.standing).try_lock_owned() else {
                continue;
            };
            if standing.is_at(offset) {
                has_message |= standing.has_message();
            } else {
                moves.push((lane, standing, offset));
            }
        }
        if !moves.is_empty() {
            for mut standing in self.stand_all(moves).await? {
                has_message |= standing.has_message();
            }
        }
        Ok(has_message)
    }

    /// Stops to fetch a partition.
    pub(crate) async fn release(&self, lane: &Arc<Lane>, standing: OwnedMutexGuard<Standing>) {
        if let Err(error) = self.halt(lane, standing).await {
            tracing::debug!(%error, partition = %lane.partition, "could not stop to fetch");
        }
    }

    /// The same, for someone who keeps the lane.
    pub(crate) async fn halt(
        &self,
        lane: &Arc<Lane>,
        standing: OwnedMutexGuard<Standing>,
    ) -> Result<OwnedMutexGuard<Standing>> {
        let consumer = Arc::clone(&self.consumer);
        let lanes = vec![(Arc::clone(lane), standing, 0)];
        let stopped = tokio::task::spawn_blocking(move || stop(&consumer, lanes)).await;
        let stopped = stopped.map_err(cut_off)?.map_err(|error| {
            let what = format!("giving up to fetch {}", lane.partition);
            failed(&what, &self.servers, error, &self.trouble)
        })?;
        let stopped = stopped.into_iter().next();
        let (_, standing, _) =
            stopped.ok_or_else(|| Error::internal("a lane was lost when it stopped"))?;
        Ok(standing)
    }

    async fn stand_all(&self, moves: Vec<Move>) -> Result<Vec<OwnedMutexGuard<Standing>>> {
        let names: Vec<String> = moves
            .iter()
            .take(10)
            .map(|(lane, _, offset)| format!("{} from offset {offset} on", lane.partition))
            .collect();
        let (consumer, arrived) = (Arc::clone(&self.consumer), Arc::clone(&self.arrived));
        let started = tokio::task::spawn_blocking(move || {
            let stopped = stop(&consumer, moves)?;
            start(&consumer, &arrived, stopped)
        });
        started.await.map_err(cut_off)?.map_err(|error| {
            let what = format!("fetching {}", names.join(", "));
            failed(&what, &self.servers, error, &self.trouble)
        })
    }
}

/// A lane, taken, and where it is to stand.
type Move = (Arc<Lane>, OwnedMutexGuard<Standing>, i64);

/// Stops lanes that are fetching. What is in their queues is old from now on, and never given out.
fn stop(consumer: &BaseConsumer<Context>, mut moves: Vec<Move>) -> KafkaResult<Vec<Move>> {
    let mut fetching = TopicPartitionList::new();
    for (lane, standing, _) in &mut moves {
        standing.kept = None;
        if standing.queue.take().is_some() {
            let partition = &lane.partition;
            fetching.add_partition(&partition.topic, partition.partition);
        }
    }
    if fetching.count() > 0 {
        consumer.incremental_unassign(&fetching)?;
    }
    Ok(moves)
}

fn start(
    consumer: &Arc<BaseConsumer<Context>>,
    arrived: &Arc<Notify>,
    moves: Vec<Move>,
) -> KafkaResult<Vec<OwnedMutexGuard<Standing>>> {
    let mut wanted = TopicPartitionList::with_capacity(moves.len());
    let mut standings = Vec::with_capacity(moves.len());
    for (lane, mut standing, offset) in moves {
        let partition = &lane.partition;
        wanted.add_partition_offset(
            &partition.topic,
            partition.partition,
            Offset::Offset(offset),
        )?;
        // Before anything is fetched, so that nothing goes past the queue.
        let queue = consumer.split_partition_queue(&partition.topic, partition.partition);
        standing.queue = queue.map(|mut queue| {
            let (of_lane, of_all) = (Arc::clone(&lane.arrived), Arc::clone(arrived));
            queue.set_nonempty_callback(move || {
                of_lane.notify_one();
                of_all.notify_one();
            });
            queue
        });
        standing.position = offset;
        standings.push(standing);
    }
    consumer.incremental_assign(&wanted)?;
    Ok(standings)
}
