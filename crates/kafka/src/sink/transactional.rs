//! Exactly once: each epoch is one transaction that carries the epoch's number.
//!
//! The order of an epoch: decide ([`super::decide`]), begin, messages of all partitions, wait until all are
//! acknowledged, number, commit; only then is the commit record of the epoch written. Nothing of a transaction that is
//! not committed is seen by readers of committed messages. A transaction is opened by the first row; an epoch without
//! rows has none.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    BatchStream, Clock, Epoch, EpochWrite, Error, ErrorKind, PartWrite, PreparedPart, Result,
    RunId, Sink, Storage,
};
use rdkafka::{error::KafkaError, producer::Producer as _};
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    columns::Columns,
    decide::{Author, Decision, Facts, Mark, WhenUnknown, decide},
    errors,
    marks::Marks,
    notes::{Note, Notes},
    producer::{Producer, blocking},
};

/// A mark that is older is written again before anything else, so that the broker does not forget it while an epoch is
/// in doubt. (A broker forgets after 7 days, unless it is told otherwise.)
const MARK_LASTS: Duration = Duration::from_secs(12 * 60 * 60);

/// How long it may take to abort a transaction. If it takes longer, the next run ends it.
const ABORT: Duration = Duration::from_secs(10);

/// What a transactional sink is made of.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) columns: Columns,
    pub(super) producer: Arc<Producer>,
    pub(super) marks: Arc<Marks>,
    pub(super) mark: Option<Mark>,
    pub(super) notes: Notes,
    pub(super) when_unknown: WhenUnknown,
    pub(super) longest: Duration,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A sink whose epochs are transactions.
#[derive(Debug)]
pub(super) struct TransactionalSink {
    name: String,
    columns: Columns,
    producer: Arc<Producer>,
    marks: Arc<Marks>,
    when_unknown: WhenUnknown,
    /// How long the broker lets a transaction be open.
    longest: Duration,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    // Held while a transaction begins or ends: the partitions of an epoch wait for the one that begins it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mark: Option<Mark>,
    /// When this run wrote it.
    marked_at: Option<Duration>,
    notes: Notes,
    /// The last epoch that this run has published.
    published: Option<Epoch>,
    attempt: Option<Attempt>,
}

/// What is being done with an epoch.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    write: EpochWrite,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is to be written, and had no row yet.
    Empty,
    /// Its transaction is open since then.
    Open(Duration),
    /// Its transaction is committed.
    Written,
    /// It is in Kafka from an earlier run.
    Adopted,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Open(_) => "open",
            Self::Written => "written",
            Self::Adopted => "adopted",
        }
    }
}

impl TransactionalSink {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            name: parts.name,
            columns: parts.columns,
            producer: parts.producer,
            marks: parts.marks,
            when_unknown: parts.when_unknown,
            longest: parts.longest,
            storage: parts.storage,
            clock: parts.clock,
            state: Mutex::new(State {
                mark: parts.mark,
                marked_at: None,
                notes: parts.notes,
                published: None,
                attempt: None,
            }),
        }
    }

    /// What is to be done with an epoch; the same for all its partitions.
    async fn stage(&self, write: EpochWrite) -> Result<Stage> {
        let mut state = self.state.lock().await;
        match state.attempt {
            Some(attempt) if attempt.write == write => return Ok(attempt.stage),
            Some(Attempt {
                stage: Stage::Open(_),
                ..
            }) => self.abort(&mut state).await?,
            _ => {}
        }
        let decision = decide(&Facts {
            epoch: write.epoch,
            run: write.run,
            mark: state.mark,
            was_marked: state.notes.is_any(),
            is_first_attempt: write
                .epoch
                .previous()
                .is_some_and(|it| state.published == Some(it)),
            when_unknown: self.when_unknown,
        });
        let stage = match decision {
            Decision::Write => Stage::Empty,
            Decision::Adopt => {
                tracing::info!(
                    epoch = write.epoch.0,
                    "the epoch is in Kafka already: nothing is delivered"
                );
                Stage::Adopted
            }
            Decision::Ahead(mark) => return Err(self.is_ahead(mark, write)),
            Decision::Unknown => return Err(self.is_unknown(write)),
        };
        state.attempt = Some(Attempt { write, stage });
        Ok(stage)
    }

    /// Opens the epoch's transaction unless it is open.
    async fn open(&self, write: EpochWrite) -> Result<()> {
        let mut state = self.state.lock().await;
        match &state.attempt {
            Some(attempt) if attempt.write == write => match attempt.stage {
                Stage::Empty => {}
                Stage::Open(_) => return Ok(()),
                stage @ (Stage::Written | Stage::Adopted) => {
                    return Err(Error::internal(format!(
                        "epoch {} of {} gets rows although it is {}",
                        write.epoch,
                        self.name,
                        stage.name()
                    )));
                }
            },
            _ => {
                return Err(Error::internal(format!(
                    "epoch {} of {} gets rows after it was discarded",
                    write.epoch, self.name
                )));
            }
        }
        self.see_to_the_mark(&mut state, &write).await?;
        self.begin(&write).await?;
        state.attempt = Some(Attempt {
            write,
            stage: Stage::Open(self.clock.monotonic()),
        });
        Ok(())
    }

    /// When the epoch's transaction was opened.
    async fn open_since(&self, write: &EpochWrite) -> Option<Duration> {
        match self.state.lock().await.attempt {
            Some(Attempt {
                write: of,
                stage: Stage::Open(since),
            }) if of == *write => Some(since),
            _ => None,
        }
    }

    /// Before an epoch's messages: a mark that is there and will be for days, and a note of it in the checkpoint.
    async fn see_to_the_mark(&self, state: &mut State, write: &EpochWrite) -> Result<()> {
        let now = self.clock.monotonic();
        let is_fresh = state
            .marked_at
            .is_some_and(|at| now.saturating_sub(at) < MARK_LASTS);
        if !is_fresh {
            let mark = Mark {
                next: state.mark.map_or(write.epoch, |mark| mark.next),
                by: Some(Author {
                    run: write.run,
                    rows: 0,
                }),
            };
            self.begin(write).await?;
            self.commit(mark, write, now).await?;
            state.mark = Some(mark);
            state.marked_at = Some(now);
        }
        let note = Note {
            group: self.marks.group().to_owned(),
            topic: self.marks.topic().to_owned(),
        };
        state.notes.add(self.storage.as_ref(), note).await
    }

    async fn begin(&self, write: &EpochWrite) -> Result<()> {
        let begun = blocking(&self.producer, |producer| {
            Ok(producer.client().begin_transaction())
        });
        match begun.await? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("begin", write, None, &error).await),
        }
    }

    async fn commit(&self, mark: Mark, write: &EpochWrite, since: Duration) -> Result<()> {
        let marks = Arc::clone(&self.marks);
        let committed = blocking(&self.producer, move |producer| {
            Ok(marks.commit(producer.client(), mark))
        });
        match committed.await? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("commit", write, Some(since), &error).await),
        }
    }

    async fn abort(&self, state: &mut State) -> Result<()> {
        state.attempt = None;
        let aborted = blocking(&self.producer, |producer| {
            Ok(producer.client().abort_transaction(ABORT))
        });
        let aborted = aborted.await?;
        self.producer.drop_queue().await;
        aborted.map_err(|error| {
            let what = format!("{} cannot abort a transaction", self.name);
            errors::of_call(&what, &error, self.producer.trouble())
        })
    }

    /// A call of a transaction that failed, in words.
    async fn failed(
        &self,
        verb: &str,
        write: &EpochWrite,
        since: Option<Duration>,
        error: &KafkaError,
    ) -> Error {
        let what = format!(
            "{} cannot {verb} the transaction of epoch {}",
            self.name, write.epoch
        );
        let error = errors::of_call(&what, error, self.producer.trouble());
        self.explained(error, write, since).await
    }

    /// Adds who has fenced us, or that nobody has: the broker has aborted a transaction that was open for too long.
    async fn explained(&self, error: Error, write: &EpochWrite, since: Option<Duration>) -> Error {
        if error.kind() != ErrorKind::Fenced {
            return error;
        }
        let open = since.map(|since| self.clock.monotonic().saturating_sub(since));
        if let Some(open) = open.filter(|open| *open >= self.longest) {
            return Error::unavailable(format!(
                "the transaction of epoch {} of {} was open for {} s, and the broker aborts those open for {} s: raise the \
                 option 'kafka.transaction.timeout.ms' and the broker's 'transaction.max.timeout.ms', or make epochs smaller",
                write.epoch,
                self.name,
                open.as_secs(),
                self.longest.as_secs()
            ))
            .with_source(error);
        }
        let marks = Arc::clone(&self.marks);
        let read = blocking(&self.producer, move |_| marks.read()).await;
        match read
            .ok()
            .flatten()
            .and_then(|mark| mark.by.map(|by| (mark.next, by.run)))
        {
            Some((next, run)) if run != write.run => Error::fenced(format!(
                "{}; run {run} has written up to epoch {next} (not included)",
                error.message()
            )),
            _ => error,
        }
    }

    fn is_ahead(&self, mark: Mark, write: EpochWrite) -> Error {
        let by = mark
            .by
            .map_or_else(String::new, |author| format!(" (by run {})", author.run));
        Error::invalid(format!(
            "{} holds all epochs below {}{by}, but the checkpoint goes on with epoch {}: it is older than the topic (a copy \
             that was put back), or another run is writing; start the query on its newest checkpoint, or with a new one, \
             which writes everything anew",
            self.name, mark.next, write.epoch
        ))
    }

    fn is_unknown(&self, write: EpochWrite) -> Error {
        Error::data(format!(
            "whether {} holds epoch {} cannot be known: an earlier run began it, and the consumer group '{}' has no offset \
             of topic '{}' any more (a broker forgets those of stopped queries after 'offsets.retention.minutes', and \
             those of deleted topics); look whether its rows are in the topic, and start the query once with the option \
             'whenEpochIsUnknown' set to 'skip' if they are, or to 'write' if they are not",
            self.name,
            write.epoch,
            self.marks.group(),
            self.marks.topic()
        ))
    }
}

/// Where a run's partitions stand, for the commit record.
fn told(parts: Vec<PreparedPart>, stage: Stage, run: RunId) -> Vec<PreparedPart> {
    let told = |part: PreparedPart| PreparedPart {
        detail: json!({ "transaction": stage.name(), "run": run }),
        ..part
    };
    parts.into_iter().map(told).collect()
}

#[async_trait]
impl Sink for TransactionalSink {
    fn description(&self) -> String {
        self.name.clone()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        let stage = self.stage(part.write).await?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 && stage != Stage::Adopted {
                self.open(part.write).await?;
                let sent = self.producer.send(part, count, &batch, &self.columns).await;
                if let Err(error) = sent {
                    let since = self.open_since(&part.write).await;
                    return Err(self.explained(error, &part.write, since).await);
                }
            }
            count += batch.num_rows() as u64;
        }
        Ok(PreparedPart {
            partition: part.partition,
            rows: count,
            detail: json!(null),
        })
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        let stage = self.stage(*write).await?;
        let rows = parts.iter().map(|part| part.rows).sum();
        match stage {
            Stage::Open(since) => {
                if let Err(error) = self.producer.all_delivered().await {
                    return Err(self.explained(error, write, Some(since)).await);
                }
                let mark = Mark {
                    next: write.epoch.next(),
                    by: Some(Author {
                        run: write.run,
                        rows,
                    }),
                };
                let mut state = self.state.lock().await;
                self.commit(mark, write, since).await?;
                state.mark = Some(mark);
                state.marked_at = Some(self.clock.monotonic());
                state.attempt = Some(Attempt {
                    write: *write,
                    stage: Stage::Written,
                });
                Ok(told(parts, Stage::Written, write.run))
            }
            Stage::Adopted => {
                let delivered = self.state.lock().await.mark.and_then(|mark| mark.by);
                if let Some(author) = delivered.filter(|it| it.rows != rows) {
                    tracing::warn!(
                        epoch = write.epoch.0,
                        delivered = author.rows,
                        rows,
                        "the epoch that is in Kafka has another number of rows than its replay: has the query changed?"
                    );
                }
                Ok(told(parts, stage, write.run))
            }
            Stage::Empty | Stage::Written => Ok(told(parts, stage, write.run)),
        }
    }

    async fn publish(&self, write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        self.state.lock().await.published = Some(write.epoch);
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        let mut state = self.state.lock().await;
        let Some(attempt) = state.attempt.filter(|attempt| attempt.write == *write) else {
            return Ok(());
        };
        match attempt.stage {
            Stage::Open(_) => self.abort(&mut state).await,
            Stage::Empty | Stage::Written | Stage::Adopted => {
                state.attempt = None;
                Ok(())
            }
        }
    }
}
