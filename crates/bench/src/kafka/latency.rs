//! From a program that sends a message to one that gets the answer to it, at a steady rate.
//!
//! The command runs the pipeline as a user's would, with the default trigger. Times are taken in this process: just
//! before a message is handed to its client, and when the client hands out the answer, which has the same key.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use headwater_core::{Clock, Error, Result};
use rdkafka::{
    Message,
    consumer::BaseConsumer,
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    messages,
    queries::BID,
    topics::{Topics, client, failed},
};
use crate::{
    child::Running,
    verdict::{Finding, Target},
};

/// Milliseconds from a message to its answer, in the median.
const MOST_MILLIS: f64 = 20.0;

/// A start, or an answer, that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the consumer waits at once.
const LOOK: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Messages a second.
    pub(super) rate: u32,
    /// Messages in all, after the first one was answered.
    pub(super) messages: usize,
    /// Length of a message.
    pub(super) bytes: usize,
    /// Whether the sink is exactly once.
    pub(super) exactly_once: bool,
}

/// Milliseconds from sending to answer, of each message in its order.
pub(super) fn measure(
    topics: &mut Topics,
    command: &Path,
    load: Load,
    clock: &dyn Clock,
) -> Result<Vec<f64>> {
    let (from, to) = (topics.make("asked")?, topics.make("answered")?);
    let folder = tempfile::tempdir().map_err(|e| {
        Error::unavailable("cannot create a folder for the pipeline").with_source(e)
    })?;
    let file = folder.path().join("prices.sql");
    fs::write(
        &file,
        pipeline(topics.bootstrap(), &from, &to, load.exactly_once),
    )
    .map_err(|e| Error::unavailable("cannot write the pipeline").with_source(e))?;
    let mut answers = Answers {
        consumer: topics.reader(&to)?,
    };
    let producer = producer(topics.bootstrap())?;
    let bids: Vec<String> = messages::bids(load.bytes).take(1_000).collect();

    let mut program = Command::new(command);
    program
        .arg("run")
        .arg(&file)
        .arg("--checkpoint")
        .arg(folder.path().join("checkpoints"))
        .args(["--progress", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut running = Running::start(&mut program)?;

    // The query runs when the first answer is there; a new topic is read from its beginning.
    send(&producer, &from, usize::MAX, &bids[0])?;
    let begun = clock.monotonic();
    while answers.next()?.is_none() {
        running.expect_alive("its first answer")?;
        producer.poll(Duration::ZERO);
        if clock.monotonic() - begun > PATIENCE {
            return Err(late("the first message", &from, &to));
        }
    }

    let sent = Mutex::new(vec![Duration::ZERO; load.messages]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> Result<()> {
            let begun = clock.monotonic();
            for number in 0..load.messages {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let due = begun + Duration::from_secs(1) * number as u32 / load.rate;
                thread::sleep(due.saturating_sub(clock.monotonic()));
                let now = clock.monotonic();
                sent.lock().unwrap_or_else(PoisonError::into_inner)[number] = now;
                send(&producer, &from, number, &bids[number % bids.len()])?;
                producer.poll(Duration::ZERO);
            }
            let flushed = producer.flush(PATIENCE);
            flushed.map_err(|e| failed(topics.bootstrap(), &format!("send to {from}"), e))
        });
        let collected = collect(&mut answers, &sent, clock, &mut running)
            .map_err(|e| e.context(format!("from {from} to {to}")));
        stop.store(true, Ordering::Relaxed);
        let sending = sending.join();
        sending.unwrap_or_else(|_| Err(Error::internal("the thread that sends has panicked")))?;
        collected
    })
}

/// What the times come to. The target is for the sink as it is by default.
pub(super) fn judge(mut millis: Vec<f64>, exactly_once: bool) -> Vec<Finding> {
    millis.sort_by(f64::total_cmp);
    let sink = if exactly_once {
        "exactly once"
    } else {
        "at least once"
    };
    let parts = [
        ("median", 50),
        ("95 of 100", 95),
        ("99 of 100", 99),
        ("longest", 100),
    ];
    let found = parts.map(|(name, percent)| {
        let at = (millis.len() * percent / 100).min(millis.len().saturating_sub(1));
        let target = match (percent, exactly_once) {
            (50, false) => Target::AtMost(MOST_MILLIS),
            _ => Target::Told,
        };
        let measured = millis.get(at).copied().unwrap_or(f64::NAN);
        Finding::new(
            format!("message to answer, {sink}, {name}"),
            measured,
            "ms",
            target,
        )
    });
    found.to_vec()
}

/// Waits for the answers to all messages.
fn collect(
    answers: &mut Answers,
    sent: &Mutex<Vec<Duration>>,
    clock: &dyn Clock,
    running: &mut Running,
) -> Result<Vec<f64>> {
    let wanted = sent.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut millis = vec![f64::NAN; wanted];
    let (mut found, mut last) = (0, clock.monotonic());
    while found < wanted {
        running.expect_alive("its last answer")?;
        let Some(number) = answers.next()? else {
            if clock.monotonic() - last > PATIENCE {
                return Err(Error::unavailable(format!(
                    "{found} of {wanted} messages were answered, and then none for {} s",
                    PATIENCE.as_secs()
                )));
            }
            continue;
        };
        last = clock.monotonic();
        let slot = millis.get_mut(number).filter(|slot| slot.is_nan());
        // At least once: an answer may come twice.
        if let Some(slot) = slot {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner)[number];
            *slot = (last - sent).as_secs_f64() * 1_000.0;
            found += 1;
        }
    }
    Ok(millis)
}

fn late(what: &str, from: &str, to: &str) -> Error {
    Error::unavailable(format!(
        "{what} in topic {from} was not answered in topic {to} within {} s",
        PATIENCE.as_secs()
    ))
}

fn pipeline(bootstrap: &str, from: &str, to: &str, exactly_once: bool) -> String {
    format!(
        "CREATE STREAM bids USING kafka OPTIONS (
             'kafka.bootstrap.servers' '{bootstrap}', 'subscribe' '{from}', 'startingOffsets' 'earliest');
         CREATE SINK prices USING kafka OPTIONS (
             'kafka.bootstrap.servers' '{bootstrap}', 'topic' '{to}', 'exactlyOnce' '{exactly_once}');
         CREATE STREAMING QUERY prices AS INSERT INTO prices
         SELECT key, to_json(named_struct('auction', bid.auction, 'price', bid.price, 'at', bid.date_time)) AS value
         FROM (SELECT key, from_json(value, '{BID}') AS bid FROM bids) AS parsed;\n"
    )
}

fn producer(bootstrap: &str) -> Result<BaseProducer> {
    // What is sent is to be on its way at once.
    let producer = client(bootstrap).set("linger.ms", "0").create();
    producer.map_err(|e| failed(bootstrap, "make a producer", e))
}

fn send(producer: &BaseProducer, topic: &str, number: usize, bid: &str) -> Result<()> {
    let key = number.to_string();
    let record = BaseRecord::to(topic).key(&key).payload(bid);
    producer.send(record).map_err(|(error, _)| {
        Error::unavailable(format!("cannot send to topic {topic}")).with_source(error)
    })
}

/// Who gets the answers.
struct Answers {
    consumer: BaseConsumer,
}

impl Answers {
    /// The number of the message that was answered next; nothing if none is there soon.
    fn next(&mut self) -> Result<Option<usize>> {
        let message = match self.consumer.poll(LOOK) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(message) => message,
        };
        let message =
            message.map_err(|e| Error::unavailable("cannot read the answers").with_source(e))?;
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let number = key.and_then(|key| key.parse().ok());
        number.map(Some).ok_or_else(|| {
            Error::data(format!(
                "an answer at offset {} of partition {} has no number as its key",
                message.offset(),
                message.partition()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_has_a_target_where_the_sink_is_as_by_default() {
        let millis: Vec<f64> = (0..1_000).rev().map(f64::from).collect();
        let found = judge(millis.clone(), false);
        let measured: Vec<_> = found.iter().map(|finding| finding.measured).collect();
        assert_eq!(measured, [500.0, 950.0, 990.0, 999.0]);
        assert_eq!(found[0].is_met(), Some(false));
        assert_eq!(found[1].is_met(), None);
        assert_eq!(judge(millis, true)[0].is_met(), None);
        assert_eq!(judge(Vec::new(), false)[0].is_met(), Some(false));
    }
}
