//! SIGKILL at random moments.
//!
//! The child is this test binary, asked to run one pipeline: Parquet files → tumbling window with a watermark → append →
//! Parquet files. It says when it begins to recover and when an epoch is done, and is killed a random time after one
//! of these moments: while it plans, runs, commits and publishes, and in the middle of recovery. Meanwhile readers that
//! know nothing of headwater read the folder all the time. The number of kills is `HEADWATER_KILLS` (200 if not set).

use std::{
    fs,
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
use headwater_log::LocalStorage;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    check,
    input::{self, Answer},
    pipeline::Query,
    readers::{OtherReaders, by_datafusion},
    report::say,
};

/// Names the folder in which the child works; unset, the child's test does nothing.
const FOLDER: &str = "HEADWATER_CRASH_FOLDER";

/// How the child's lines begin.
const SAYS: &str = "child: ";

/// Files of input in each round.
const FILES: usize = 40;

/// The pipeline that is killed. Runs only as the child of the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    pipeline(Path::new(&folder))
        .await
        .expect("the pipeline runs to its end");
}

async fn pipeline(folder: &Path) -> Result<()> {
    let path = |name: &str| folder.join(name).to_str().unwrap_or_default().to_owned();
    let session = Session::builder()
        .settings(Settings {
            state_partitions: Some(2),
            min_batches_to_retain: 3,
            ..Settings::default()
        })
        .build()?;
    let input = session
        .read_stream()
        .format("parquet")
        .schema(input::schema())
        .option("maxFilesPerTrigger", "1")
        .load(path("in").as_str())?;
    let checkpoint: Arc<dyn Storage> = Arc::new(LocalStorage::open(folder.join("checkpoint"))?);
    let spec = Query::Windows
        .over(input)?
        .write_stream()
        .query_name("killed")
        .output_mode(OutputMode::Append)
        .format("parquet")
        .checkpoint(checkpoint)
        .trigger(Trigger::available_now())
        .into_spec(path("out").as_str())?;
    println!("{SAYS}recovers");
    let mut driver = Driver::start(spec).await?;
    println!("{SAYS}recovered");
    loop {
        match driver.step_and_begin_next().await? {
            Step::Ran(_) => println!("{SAYS}epoch"),
            Step::Idle => return Err(Error::internal("available-now does not wait")),
            Step::Finished => break,
        }
    }
    driver.shut_down().await;
    Ok(())
}

/// How one life of the child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It did all there was to do.
    Done,
    /// It was killed while it recovered.
    Recovering,
    /// It was killed in its first epoch, or a later one.
    InEpoch { done: usize },
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the test binary has a path"))
        .args(["crash::kill::child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

/// Lets the child say `lines` lines and then work for a while, and kills it.
async fn run_and_kill(folder: &Path, lines: usize, after: Duration) -> End {
    let mut child = start_child(folder);
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
    // None if the child came to its end before it said as much.
    if is_enough.recv().await.is_some() {
        let clock = SystemClock::default();
        let then = clock.now_millis() + i64::try_from(after.as_millis()).unwrap_or(0);
        clock.sleep_until(then).await;
        // One that has just ended by itself cannot be killed any more: its status says so.
        let _ = child.kill();
    }
    let status = child.wait().expect("the child can be waited for");
    listener.join().expect("the listener ends with the child");
    let heard = heard.load(Relaxed);
    match status.code() {
        Some(0) => End::Done,
        Some(_) => {
            let mut errors = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = stderr.read_to_string(&mut errors);
            }
            panic!("the child failed: {errors}");
        }
        None if heard < 2 => End::Recovering,
        None => End::InEpoch { done: heard - 2 },
    }
}

/// Reads a folder again and again with the other readers, until it is told to stop.
struct Watch {
    stop: Arc<AtomicBool>,
    reading: thread::JoinHandle<(OtherReaders, usize)>,
}

impl Watch {
    fn begin(mut others: OtherReaders, folder: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reading = thread::spawn(move || {
            let mut times = 0;
            while !stopped.load(Relaxed) {
                others.see_nothing_twice(&folder, &["start", "key"]);
                times += 1;
            }
            (others, times)
        });
        Self { stop, reading }
    }

    /// The readers, and how often they have read.
    fn end(self) -> (OtherReaders, usize) {
        self.stop.store(true, Relaxed);
        self.reading.join().expect("no reader sees a row twice")
    }
}

/// Kills by when they came.
#[derive(Debug, Default)]
struct Kills {
    while_recovering: usize,
    before_first_output: usize,
    in_first_epoch_of_a_run: usize,
    in_later_epochs: usize,
    /// The newest epoch was planned and not committed.
    with_an_epoch_open: usize,
    /// Something was prepared or committed, and not published.
    with_hidden_output: usize,
}

impl Kills {
    fn all(&self) -> usize {
        self.while_recovering + self.in_first_epoch_of_a_run + self.in_later_epochs
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries.filter_map(name).collect()
}

fn is_epoch_open(folder: &Path) -> bool {
    let newest = |kind: &str| {
        names(&folder.join("checkpoint").join(kind))
            .into_iter()
            .max()
    };
    newest("plans") > newest("commits")
}

fn has_hidden_output(folder: &Path) -> bool {
    let staged = names(&folder.join("out/_headwater/staging"));
    staged.iter().any(|name| !name.starts_with("tmp-"))
}

async fn seen(out: &Path, expected: &Answer, when: &str) -> Answer {
    let seen = by_datafusion(out).await;
    let seen = seen.unwrap_or_else(|wrong| panic!("{when}: {wrong}"));
    check::only_expected(&seen, expected).unwrap_or_else(|wrong| panic!("{when}: {wrong}"));
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_nothing_is_lost_and_nothing_is_doubled() {
    let wanted: usize = std::env::var("HEADWATER_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(200);
    let mut random = StdRng::seed_from_u64(20_261_121);
    let mut others = OtherReaders::start();
    let mut kills = Kills::default();
    let (mut rounds, mut read) = (0, 0);
    while kills.all() < wanted {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["in", "out"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let files = input::rows(FILES, 50, rounds);
        input::write(&folder.path().join("in"), &files);
        let expected = input::closed_windows(&files);
        let out = folder.path().join("out");
        let out_text = out.to_str().expect("a path in UTF-8").to_owned();
        rounds += 1;
        let (killed_before, mut epochs) = (kills.all(), 0);
        let watch = Watch::begin(others, out_text.clone());
        loop {
            let lines = random.random_range(1..6);
            let after = Duration::from_millis(random.random_range(0..60));
            let before = seen(&out, &expected, "before a start").await;
            match run_and_kill(folder.path(), lines, after).await {
                End::Done => break,
                End::Recovering => kills.while_recovering += 1,
                End::InEpoch { done } => {
                    epochs += done;
                    match done {
                        0 => kills.in_first_epoch_of_a_run += 1,
                        _ => kills.in_later_epochs += 1,
                    }
                }
            }
            kills.with_an_epoch_open += usize::from(is_epoch_open(folder.path()));
            kills.with_hidden_output += usize::from(has_hidden_output(folder.path()));
            kills.before_first_output += usize::from(before.is_empty());
        }
        (others, read) = {
            let (others, times) = watch.end();
            (others, read + times)
        };
        let at_rest = seen(&out, &expected, "at rest").await;
        check::everything(&at_rest, &expected)
            .unwrap_or_else(|wrong| panic!("round {rounds}: {wrong}"));
        others.see_everything_once(&out_text, &["start", "key"], expected.len());
        say(&format!(
            "round {rounds}: {} kills, {epochs} epochs done in runs that were killed, of {}",
            kills.all() - killed_before,
            FILES + 2
        ));
    }
    say(&format!(
        "{} kills in {rounds} rounds: {kills:?}; the other readers read {read} times meanwhile",
        kills.all()
    ));
    assert!(kills.with_an_epoch_open > wanted / 4, "{kills:?}");
    assert!(kills.in_later_epochs > wanted / 4, "{kills:?}");
    assert!(kills.while_recovering > wanted / 20, "{kills:?}");
}
