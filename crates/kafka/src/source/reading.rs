//! Reads one piece of a range: messages from a lane become batches.
//!
//! A piece ends with the message before its end, or with the first one behind it, which is kept for the next range. Where
//! neither comes, because the last offsets belong to records that nobody reads, the cluster is asked and says so.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{StreamExt, stream};
use headwater_core::{BatchStream, Error, Result};
use rdkafka::{Message, error::KafkaError};
use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{
    cluster::{Next, is_out_of_range, is_unknown},
    fetcher::{Fetcher, Lane, Standing},
    loss::{GoOn, Loss, named},
    positions::TopicPartition,
    rows::Rows,
    shared::Shared,
    splits::Piece,
};
use crate::client::{failed, is_passing};

/// How long an empty queue is waited for before asking whether anything will come.
const GRACE: Duration = Duration::from_millis(2);
/// How long a message that is there may take to come, and how often that is waited for.
const COMING: Duration = Duration::from_millis(100);
const COMING_TRIES: usize = 50;
/// An empty queue passes on what has come if it is this much.
const WORTH_PASSING_ON: usize = 1024;

/// The messages of a piece, in their order.
pub(crate) fn read(
    shared: Arc<Shared>,
    schema: &SchemaRef,
    piece: Piece,
    projection: Option<&[usize]>,
) -> Result<BatchStream> {
    let partition = piece.partition();
    let fetcher = shared.fetcher(piece.number)?;
    let reading = Reading {
        rows: Rows::new(schema, projection, partition.clone())?,
        lane: fetcher.lane(&partition),
        fetcher,
        partition,
        piece,
        shared,
        standing: None,
        is_done: false,
    };
    Ok(stream::try_unfold(reading, |mut reading| async move {
        let batch = reading.next().await?;
        Ok(batch.map(|batch| (batch, reading)))
    })
    .boxed())
}

/// A piece that is being read.
struct Reading {
    shared: Arc<Shared>,
    fetcher: Arc<Fetcher>,
    lane: Arc<Lane>,
    partition: TopicPartition,
    piece: Piece,
    rows: Rows,
    /// The lane, from the first batch on until the last.
    standing: Option<OwnedMutexGuard<Standing>>,
    is_done: bool,
}

/// Why no more is taken from a queue.
#[derive(Debug)]
enum Stop {
    /// A batch is full.
    Full,
    /// The queue is empty.
    Empty,
    /// The piece has ended.
    End,
    /// The partition does not have the offset.
    OutOfRange,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.is_done {
            return Ok(None);
        }
        let mut standing = match self.standing.take() {
            Some(standing) => standing,
            None => {
                let standing = self.lane.take().await;
                if standing.queue.is_some() && standing.position == self.piece.start {
                    standing
                } else {
                    self.stand(standing, self.piece.start).await?
                }
            }
        };
        loop {
            match self.drain(&mut standing)? {
                Stop::Full => break,
                Stop::Empty if self.rows.len() >= WORTH_PASSING_ON => break,
                Stop::Empty => standing = self.wait(standing).await?,
                Stop::OutOfRange => standing = self.recover(standing).await?,
                Stop::End => {
                    self.is_done = true;
                    break;
                }
            }
        }
        if !self.is_done {
            self.standing = Some(standing);
        } else if self.piece.number.is_some() {
            // It would fetch what another piece has.
            self.fetcher.release(&self.lane, standing).await;
        }
        let (rows, bytes) = (self.rows.len(), self.rows.bytes());
        self.shared.weigh(rows, bytes);
        if rows == 0 {
            return Ok(None);
        }
        self.rows.take().map(Some)
    }

    /// Takes messages from the queue, as long as there are any and they belong to the piece.
    fn drain(&mut self, standing: &mut Standing) -> Result<Stop> {
        let end = self.piece.end;
        if let Some(kept) = standing.kept.take() {
            if kept.offset() >= end {
                standing.kept = Some(kept);
                standing.position = end;
            } else {
                standing.position = kept.offset() + 1;
                self.rows.push(&kept);
            }
        }
        if standing.position >= end {
            return Ok(Stop::End);
        }
        let Standing {
            queue: Some(queue),
            position,
            kept,
        } = standing
        else {
            return Err(Error::internal(format!(
                "{} is read and not fetched",
                named(&self.partition)
            )));
        };
        loop {
            if *position >= end {
                return Ok(Stop::End);
            }
            if self.rows.is_full() {
                return Ok(Stop::Full);
            }
            match queue.poll(Duration::ZERO) {
                None => return Ok(Stop::Empty),
                // Fetched from the beginning of its batch.
                Some(Ok(message)) if message.offset() < *position => {}
                Some(Ok(message)) if message.offset() < end => {
                    *position = message.offset() + 1;
                    self.rows.push(&message);
                }
                Some(Ok(message)) => {
                    *position = end;
                    *kept = Some(message.detach());
                }
                Some(Err(error)) if is_out_of_range(&error) => return Ok(Stop::OutOfRange),
                // It goes on by itself, or the next question tells.
                Some(Err(error)) if is_passing(&error) || is_unknown(&error) => {
                    tracing::debug!(%error, partition = %self.partition, "a fetch failed");
                }
                Some(Err(error)) => return Err(self.failed(*position, error)),
            }
        }
    }

    /// Waits for messages; finds out if none can come.
    async fn wait(
        &self,
        mut standing: OwnedMutexGuard<Standing>,
    ) -> Result<OwnedMutexGuard<Standing>> {
        if timeout(GRACE, self.lane.arrived()).await.is_ok() {
            return Ok(standing);
        }
        let cluster = &self.shared.cluster;
        let began = self.shared.clock.monotonic();
        loop {
            let next = tokio::select! {
                () = self.lane.arrived() => return Ok(standing),
                next = cluster.next(&self.partition, standing.position) => next?,
            };
            match next {
                Next::Message(offset) if offset < self.piece.end => {
                    for _ in 0..COMING_TRIES {
                        if timeout(COMING, self.lane.arrived()).await.is_ok() {
                            return Ok(standing);
                        }
                        self.fetcher.nudge(&self.lane).await;
                    }
                    // It should have come: begin anew.
                    let position = standing.position;
                    standing = self.stand(standing, position).await?;
                }
                Next::Message(_) => {
                    standing.position = self.piece.end;
                    return Ok(standing);
                }
                Next::End => {
                    // A broker that has just become the leader may not know yet how far its messages are committed.
                    let one = [self.partition.clone()];
                    let latest = cluster.latest(one).await?.get(&self.partition);
                    let latest = latest.unwrap_or(standing.position);
                    let waited = self.shared.clock.monotonic().saturating_sub(began);
                    if latest < self.piece.end && waited <= self.shared.patience {
                        if timeout(COMING, self.lane.arrived()).await.is_ok() {
                            return Ok(standing);
                        }
                        continue;
                    }
                    if latest < self.piece.end {
                        let position = self.piece.end;
                        self.accept(&Loss::WentBack { position, latest })?;
                    }
                    standing.position = self.piece.end;
                    return Ok(standing);
                }
                Next::OutOfRange => return self.recover(standing).await,
                Next::Unknown => {
                    self.fetcher.serve();
                    cluster.serve();
                    // Fails in the end if nobody answers.
                    let topic = [Arc::clone(&self.partition.topic)].into_iter().collect();
                    let topics = cluster.topics(Some(topic)).await?;
                    let partitions = topics.get(&self.partition.topic);
                    if partitions.is_none_or(|all| !all.contains(&self.partition.partition)) {
                        let position = standing.position;
                        self.accept(&Loss::Deleted { position })?;
                        standing.position = self.piece.end;
                        return Ok(standing);
                    }
                }
            }
            let waited = self.shared.clock.monotonic().saturating_sub(began);
            if waited > self.shared.patience {
                return Err(self.gave_up(standing.position, waited));
            }
        }
    }

    /// Goes on after the broker has said that it does not have the offset, if that is accepted.
    async fn recover(
        &self,
        standing: OwnedMutexGuard<Standing>,
    ) -> Result<OwnedMutexGuard<Standing>> {
        let cluster = &self.shared.cluster;
        let one = || [self.partition.clone()];
        let earliest = cluster.earliest(one()).await?.get(&self.partition);
        let latest = cluster.latest(one()).await?.get(&self.partition);
        let position = standing.position;
        let (earliest, latest) = (earliest.unwrap_or(0), latest.unwrap_or(0));
        let Some(loss) = Loss::of(position, earliest, latest) else {
            // Another broker leads the partition now, and has it.
            return self.stand(standing, position).await;
        };
        self.accept(&loss)?;
        match (&loss, loss.go_on(earliest)) {
            (Loss::Expired { .. }, GoOn::At(offset)) if offset < self.piece.end => {
                self.stand(standing, offset).await
            }
            // What the range still wants is not there any more; what is there belongs to the next one, which begins anew:
            // behind an offset that the partition does not have nothing more is fetched.
            _ => {
                let mut standing = self.fetcher.halt(&self.lane, standing).await?;
                standing.position = self.piece.end;
                Ok(standing)
            }
        }
    }

    /// Whether reading may go on after a loss.
    fn accept(&self, loss: &Loss) -> Result<()> {
        self.shared.accept(&self.partition, loss)
    }

    async fn stand(
        &self,
        standing: OwnedMutexGuard<Standing>,
        offset: i64,
    ) -> Result<OwnedMutexGuard<Standing>> {
        self.fetcher.stand(&self.lane, standing, offset).await
    }

    fn failed(&self, position: i64, error: KafkaError) -> Error {
        let what = format!(
            "reading {} from offset {position} on",
            named(&self.partition)
        );
        failed(
            &what,
            self.shared.cluster.servers(),
            error,
            self.fetcher.trouble(),
        )
    }

    fn gave_up(&self, position: i64, waited: Duration) -> Error {
        let last = self.fetcher.trouble().last();
        let why = last.map_or_else(String::new, |last| format!(" (last: {last})"));
        Error::unavailable(format!(
            "the Kafka brokers {} gave no messages of {} from offset {position} on for {} seconds{why}",
            self.shared.cluster.servers(),
            named(&self.partition),
            waited.as_secs()
        ))
    }
}
