//! Readers that know nothing of headwater.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use serde_json::{Value, json};

use super::{check, input::Answer};

/// What DataFusion finds in a folder.
///
/// # Errors
/// A key that is there twice, or a file that cannot be read: failures at any moment.
pub(crate) async fn by_datafusion(folder: &Path) -> Result<Answer, String> {
    let mut answer = Answer::new();
    if !has_parquet(folder) {
        return Ok(answer);
    }
    let context = SessionContext::new();
    let path = folder.to_str().expect("a path in UTF-8");
    let batches = context
        .read_parquet(path, ParquetReadOptions::default())
        .await
        .map_err(|error| error.to_string())?
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    for (start, key, measures) in batches.iter().flat_map(check::rows) {
        check::insert(&mut answer, (start, key), measures)?;
    }
    Ok(answer)
}

fn has_parquet(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ext| ext == "parquet"))
        })
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The interpreter that has the readers and the S3 server: `HEADWATER_READERS_PYTHON`, or the one that
/// `scripts/readers-env` makes.
pub(crate) fn python() -> String {
    std::env::var("HEADWATER_READERS_PYTHON").unwrap_or_else(|_| {
        let made = Command::new(root().join("scripts/readers-env"))
            .stderr(Stdio::inherit())
            .output()
            .expect("scripts/readers-env can be run: it needs bash and Python 3.11 with venv");
        assert!(
            made.status.success(),
            "DuckDB, Polars and pyarrow could not be installed: run scripts/readers-env by hand to see why"
        );
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    })
}

/// DuckDB, Polars and pyarrow in a process of their own, asked line by line.
pub(crate) struct OtherReaders {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl OtherReaders {
    /// Starts them.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts them with these variables in their environment.
    pub(crate) fn start_with(environment: &[(&'static str, String)]) -> Self {
        let mut process = Command::new(python())
            .arg(root().join("scripts/read_parquet.py"))
            .arg("--serve")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the readers start");
        let input = process.stdin.take().expect("it was piped");
        let output = BufReader::new(process.stdout.take().expect("it was piped"));
        Self {
            process,
            input,
            output,
        }
    }

    /// What each reader sees: rows, and duplicates of `key`.
    pub(crate) fn read(&mut self, folder: &str, key: &[&str]) -> BTreeMap<String, Value> {
        writeln!(self.input, "{}", json!({ "folder": folder, "key": key }))
            .expect("the readers listen");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the readers answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the answer {line:?}"))
    }

    /// No reader sees a key twice, whatever is going on.
    pub(crate) fn see_nothing_twice(&mut self, folder: &str, key: &[&str]) {
        for (reader, saw) in self.read(folder, key) {
            assert!(saw.get("error").is_none(), "{reader}: {saw}");
            if saw.get("refused").is_none() {
                assert_eq!(saw["duplicates"], 0, "{reader}: {saw}");
            }
        }
    }

    /// At rest every reader sees `rows` rows, none twice.
    pub(crate) fn see_everything_once(&mut self, folder: &str, key: &[&str], rows: usize) {
        for (reader, saw) in self.read(folder, key) {
            assert_eq!(saw["rows"], rows, "{reader}: {saw}");
            assert_eq!(saw["duplicates"], 0, "{reader}: {saw}");
        }
    }
}

impl Drop for OtherReaders {
    fn drop(&mut self) {
        // It ends with its input; killed here so that a failed test leaves nothing behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A link to nothing is what a reader finds that listed a staged file just before it was published.
#[cfg(unix)]
#[test]
fn a_staged_file_that_is_gone_when_it_is_looked_at_is_no_failure_of_a_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = folder.path().join("_headwater/staging");
    std::fs::create_dir_all(&staging).expect("a folder");
    super::input::write(folder.path(), &super::input::rows(1, 5, 0));
    std::os::unix::fs::symlink("gone", staging.join("tmp-1")).expect("a link");
    let mut others = OtherReaders::start();
    let text = folder.path().to_str().expect("a path in UTF-8");
    let saw = others.read(text, &["time", "key"]);
    assert!(saw["polars_folder"].get("refused").is_some(), "{saw:?}");
    others.see_nothing_twice(text, &["time", "key"]);

    // One of the output itself that is gone stays a failure.
    std::os::unix::fs::symlink("gone", folder.path().join("part-9.parquet")).expect("a link");
    let saw = others.read(text, &["time", "key"]);
    assert!(saw["polars_glob"].get("error").is_some(), "{saw:?}");
}
