//! SIGKILL at random moments: Kafka → tumbling windows → Kafka.
//!
//! The child is this test binary, asked to run one pipeline. It is killed a random time after it said that it begins, has
//! recovered or has done an epoch, while its input is being produced. What it has written is read by the broker's own
//! console consumer, committed messages only, and compared with an answer worked out from the input. The number of kills
//! is `HEADWATER_KAFKA_KILLS` (100 if not set).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use headwater::{
    Clock, Settings, Storage,
    core::SystemClock,
    engine::{Driver, Step},
    prelude::*,
};
use headwater_log::{LocalStorage, LogReader};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::broker::{Broker, Message};
use crate::crash::report::say;

/// Names the folder in which the child works; unset, the child's test does nothing.
const FOLDER: &str = "HEADWATER_KAFKA_CRASH_FOLDER";
const SERVERS: &str = "HEADWATER_KAFKA_CRASH_SERVERS";
/// `true`, or `false` for at least once.
const GUARANTEE: &str = "HEADWATER_KAFKA_CRASH_ONCE";
/// Set, the child ends when everything that there is is written.
const TO_THE_END: &str = "HEADWATER_KAFKA_CRASH_TO_THE_END";
const INPUT: &str = "HEADWATER_KAFKA_CRASH_INPUT";
const OUTPUT: &str = "HEADWATER_KAFKA_CRASH_OUTPUT";

/// How the child's lines begin.
const SAYS: &str = "child: ";

/// Rows that are sent at a time, between two of which (by their times) lie [`STEP`] milliseconds.
const CHUNK: i64 = 200;
const STEP: i64 = 50;
const WINDOW: i64 = 10_000;
const KEYS: i64 = 7;
/// How long a child may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// 2024-01-01, in milliseconds.
const BEGIN: i64 = 1_704_067_200_000;

/// The pipeline that is killed. Runs only as the child of the tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    pipeline(Path::new(&folder))
        .await
        .expect("the pipeline runs until it is killed");
}

async fn pipeline(folder: &Path) -> Result<()> {
    let said = |name: &str| std::env::var(name).unwrap_or_default();
    let session = Session::builder()
        .settings(Settings {
            state_partitions: Some(2),
            // All of them are looked at in the end.
            min_batches_to_retain: 1_000_000,
            ..Settings::default()
        })
        .build()?;
    let input = session
        .read_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", said(SERVERS))
        .option("subscribe", said(INPUT))
        .option("startingOffsets", "earliest")
        .load(None)?;
    let checkpoint: Arc<dyn Storage> = Arc::new(LocalStorage::open(folder)?);
    let trigger = match std::env::var(TO_THE_END) {
        Ok(_) => Trigger::available_now(),
        Err(_) => Trigger::Default,
    };
    let spec = input
        .select_expr([
            "timestamp AS time",
            "CAST(key AS VARCHAR) AS key",
            "CAST(CAST(value AS VARCHAR) AS BIGINT) AS value",
        ])?
        .with_watermark("time", "30 seconds")?
        .group_by([window(col("time"), "10 seconds"), col("key")])?
        .agg([
            count(lit(1)).alias("rows"),
            sum(col("value")).alias("total"),
        ])?
        .select_expr([
            "key",
            "concat(CAST(to_unixtime(window.start) AS VARCHAR), '|', key, '|', CAST(rows AS VARCHAR), '|', \
             CAST(total AS VARCHAR)) AS value",
        ])?
        .write_stream()
        .query_name("killed")
        .output_mode(OutputMode::Append)
        .format("kafka")
        .option("kafka.bootstrap.servers", said(SERVERS))
        .option("topic", said(OUTPUT))
        .option("exactlyOnce", said(GUARANTEE))
        .checkpoint(checkpoint)
        .trigger(trigger)
        .into_spec(None)?;
    println!("{SAYS}recovers");
    let mut driver = Driver::start(spec).await?;
    println!("{SAYS}recovered");
    loop {
        match driver.step().await? {
            Step::Ran(_) => println!("{SAYS}epoch"),
            Step::Idle => driver.changed().await,
            Step::Finished => break,
        }
    }
    driver.shut_down().await;
    Ok(())
}

/// What a child works on.
struct Job<'a> {
    broker: &'a Broker,
    folder: &'a Path,
    input: &'a str,
    output: &'a str,
    is_once: bool,
}

impl Job<'_> {
    fn start(&self, to_the_end: bool) -> Child {
        let mut command =
            Command::new(std::env::current_exe().expect("the test binary has a path"));
        command
            .args(["kafka::sink::kills::child", "--exact", "--nocapture"])
            .env(FOLDER, self.folder)
            .env(SERVERS, self.broker.servers())
            .env(INPUT, self.input)
            .env(OUTPUT, self.output)
            .env(GUARANTEE, self.is_once.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if to_the_end {
            command.env(TO_THE_END, "");
        }
        command.spawn().expect("the child starts")
    }

    /// Lets the child say `lines` lines and then work for a while, and kills it; gives how many it said.
    async fn run_and_kill(&self, lines: usize, after: Duration) -> usize {
        let mut child = self.start(false);
        let said = BufReader::new(child.stdout.take().expect("it was piped"));
        let heard = Arc::new(AtomicUsize::new(0));
        let (enough, mut is_enough) = tokio::sync::mpsc::channel(1);
        let listener = {
            let heard = Arc::clone(&heard);
            thread::spawn(move || {
                let lines_said = said.lines().map_while(std::result::Result::ok);
                for _ in lines_said.filter(|line| line.contains(SAYS)) {
                    if heard.fetch_add(1, Relaxed) + 1 == lines {
                        let _ = enough.blocking_send(());
                    }
                }
            })
        };
        let said = tokio::time::timeout(PATIENCE, is_enough.recv()).await;
        let is_silent = said.is_err();
        if !matches!(said, Ok(None)) {
            wait(after).await;
            let _ = child.kill();
        }
        let status = child.wait().expect("the child can be waited for");
        listener.join().expect("the listener ends with the child");
        assert!(
            !is_silent,
            "the child says nothing any more: {} lines of {lines}",
            heard.load(Relaxed)
        );
        if status.code().is_some() {
            let mut errors = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = stderr.read_to_string(&mut errors);
            }
            panic!("the child ended by itself: {errors}");
        }
        heard.load(Relaxed)
    }

    /// Lets the child do all there is to do.
    async fn finish(&self) {
        let child = self.start(true);
        let done = tokio::task::spawn_blocking(move || child.wait_with_output());
        let done = done.await.expect("it is waited for").expect("it ends");
        assert!(
            done.status.success(),
            "the child failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Every committed value of the output, by the broker's own consumer.
    fn printed(&self) -> Vec<String> {
        let printed = self.broker.run(&[
            "consume",
            self.output,
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--timeout-ms",
            "10000",
        ]);
        printed.lines().map(str::to_owned).collect()
    }
}

async fn wait(time: Duration) {
    let clock = SystemClock::default();
    let then = clock.now_millis() + i64::try_from(time.as_millis()).unwrap_or(0);
    clock.sleep_until(then).await;
}

/// Row number `n` of the input: (time, key, value).
fn row(n: i64) -> (i64, String, i64) {
    (BEGIN + n * STEP, format!("k{}", n * n % KEYS), n)
}

/// Sends rows until it is told to stop; gives how many there are.
async fn produce(broker: &Broker, topic: &str, stop: &AtomicBool) -> i64 {
    let mut sent = 0;
    while !stop.load(Relaxed) {
        send(broker, topic, sent..sent + CHUNK).await;
        sent += CHUNK;
        wait(Duration::from_millis(100)).await;
    }
    sent
}

async fn send(broker: &Broker, topic: &str, rows: std::ops::Range<i64>) {
    let rows: Vec<(i32, i64, String, String)> = rows
        .map(|n| {
            let (time, key, value) = row(n);
            (i32::from(n % 2 == 1), time, key, value.to_string())
        })
        .collect();
    let messages: Vec<Message<'_>> = rows
        .iter()
        .map(|(partition, time, key, value)| Message {
            partition: Some(*partition),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp: Some(*time),
        })
        .collect();
    broker.send(topic, &messages).await;
}

/// Far behind everything else, in both partitions: closes all windows.
async fn send_the_end(broker: &Broker, topic: &str, rows: i64) {
    let (time, ..) = row(rows);
    for partition in [0, 1] {
        let message = Message {
            partition: Some(partition),
            key: Some(b"end"),
            value: Some(b"0"),
            timestamp: Some(time + 3_600_000),
        };
        broker.send(topic, &[message]).await;
    }
}

/// What must be in the output.
fn answer(rows: i64) -> Vec<String> {
    let mut windows = BTreeMap::<(i64, String), (i64, i64)>::new();
    for (time, key, value) in (0..rows).map(row) {
        let window = windows.entry((time - time % WINDOW, key)).or_default();
        window.0 += 1;
        window.1 += value;
    }
    let mut lines: Vec<String> = windows
        .into_iter()
        .map(|((start, key), (rows, total))| format!("{}|{key}|{rows}|{total}", start / 1000))
        .collect();
    lines.sort();
    lines
}

/// Lives of children, and what became of the epochs.
async fn sweep(is_once: bool, wanted: usize) -> Option<(Vec<String>, Vec<String>)> {
    let broker = Broker::shared()?;
    // The input's times are long ago, and the broker would delete what is older than a week.
    let for_ever = ("retention.ms", "-1");
    let input = broker.topic_with("kills-in", 2, &[for_ever]).await;
    let output = broker.topic("kills-out", 3).await;
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job {
        broker,
        folder: folder.path(),
        input: &input,
        output: &output,
        is_once,
    };
    let stop = AtomicBool::new(false);
    let mut random = StdRng::seed_from_u64(20_261_122);
    let mut heard = BTreeMap::<usize, usize>::new();
    let (rows, ()) = tokio::join!(produce(broker, &input, &stop), async {
        for _ in 0..wanted {
            let lines = random.random_range(1..6);
            let after = Duration::from_millis(random.random_range(0..60));
            let said = job.run_and_kill(lines, after).await;
            *heard.entry(said.min(6)).or_default() += 1;
        }
        stop.store(true, Relaxed);
    });
    send_the_end(broker, &input, rows).await;
    job.finish().await;
    let mut found = tokio::task::block_in_place(|| job.printed());
    found.sort();
    let (epochs, adopted) = deliveries(folder.path()).await;
    say(&format!(
        "{wanted} kills of Kafka → windows → Kafka (exactly once: {is_once}): {rows} rows in, {} out, {epochs} epochs, of \
         which {adopted} were in Kafka before their commit record; lines heard before a kill: {heard:?}",
        found.len()
    ));
    Some((found, answer(rows)))
}

/// How many epochs were committed, and how many of them had been delivered by a run that died before it could.
async fn deliveries(folder: &Path) -> (usize, usize) {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(folder).expect("a folder"));
    let commits = storage.list("commits").await.expect("it can be listed");
    let mut adopted = 0;
    for commit in &commits {
        let bytes = storage.read(&commit.path).await.expect("it can be read");
        let bytes = bytes.expect("it is there");
        adopted += usize::from(String::from_utf8_lossy(&bytes).contains(r#""adopted""#));
    }
    let _ = LogReader::new(storage);
    (commits.len(), adopted)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_the_topic_holds_the_batch_answer() {
    let wanted = std::env::var("HEADWATER_KAFKA_KILLS").ok();
    let wanted = wanted.and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let Some((found, expected)) = sweep(true, wanted).await else {
        return;
    };
    assert!(
        found == expected,
        "missing: {:?}, too many: {:?}",
        expected
            .iter()
            .filter(|it| !found.contains(it))
            .collect::<Vec<_>>(),
        found
            .iter()
            .filter(|it| !expected.contains(it))
            .collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_nothing_is_lost_by_kills() {
    let Some((mut found, expected)) = sweep(false, 10).await else {
        return;
    };
    found.dedup();
    assert_eq!(found, expected);
}
