//! A query over a folder of input on a real disk, as a user runs it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use headwater::{Settings, prelude::*};
use tempfile::TempDir;

use crate::crash::{
    check,
    input::{self, Answer, Row},
    pipeline::Query,
    readers::by_datafusion,
};

/// How the input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Json,
}

/// Input, checkpoint and output of one query.
pub(super) struct Shop {
    folder: TempDir,
    pub(super) files: Vec<Vec<Row>>,
    format: Format,
    /// Numbers of the files before which a run has come to its end.
    pub(super) ends: Vec<usize>,
    /// Partitions of the state at the next start.
    pub(super) partitions: usize,
}

impl Shop {
    /// A shop whose input has this many files, and the two at the end.
    pub(super) fn new(files: usize, format: Format) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["in", "out", "checkpoint"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self {
            folder,
            files: input::rows(files, 30, 11),
            format,
            ends: Vec::new(),
            partitions: 2,
        }
    }

    /// As [`Self::new`], with the input written.
    pub(super) fn open(files: usize, format: Format) -> Self {
        let shop = Self::new(files, format);
        shop.write_input(0..shop.files.len());
        shop
    }

    /// Some of the files arrive.
    pub(super) fn write_input(&self, files: std::ops::Range<usize>) {
        for number in files {
            match self.format {
                Format::Parquet => input::write_file(&self.input(number), &self.files[number]),
                Format::Json => input::write_json(&self.input(number), &self.files[number]),
            }
        }
    }

    /// Where an input file lies.
    pub(super) fn input(&self, number: usize) -> PathBuf {
        let ending = match self.format {
            Format::Parquet => "parquet",
            Format::Json => "json",
        };
        self.at("in").join(format!("{number:05}.{ending}"))
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self) -> Result<StreamingQuery> {
        let path = |name: &str| self.at(name).to_str().expect("a path in UTF-8").to_owned();
        let session = Session::builder()
            .settings(Settings {
                state_partitions: Some(self.partitions),
                min_batches_to_retain: 4,
                ..Settings::default()
            })
            .build()?;
        let reader = session.read_stream().schema(input::schema());
        let reader = match self.format {
            Format::Parquet => reader.format("parquet"),
            Format::Json => reader.format("json").option("mode", "FAILFAST"),
        };
        let table = reader
            .option("maxFilesPerTrigger", "1")
            .load(path("in").as_str())?;
        Query::Windows
            .over(table)?
            .write_stream()
            .query_name("shop")
            .format("parquet")
            .option("checkpointLocation", path("checkpoint"))
            .trigger(Trigger::available_now())
            .start(path("out").as_str())
            .await
    }

    /// Runs the query until it ends.
    pub(super) async fn run(&self) -> Result<()> {
        let query = self.start().await?;
        let outcome = query.await_termination().await;
        assert!(!query.is_active());
        assert_eq!(query.exception().is_some(), outcome.is_err());
        outcome
    }

    fn answer(&self) -> Answer {
        input::closed_windows_in_runs(&self.files, &self.ends)
    }

    async fn seen(&self) -> Answer {
        let seen = by_datafusion(&self.at("out")).await;
        seen.expect("the output can be read, and no row is there twice")
    }

    /// The query stops with an error that has these words, twice if it is started again, and has written nothing wrong.
    pub(super) async fn assert_stops(&self, words: &[&str]) -> Error {
        let error = self.run().await.expect_err("it cannot go on");
        assert_says(&error, words);
        let again = self.run().await.expect_err("the cause is still there");
        assert_says(&again, words);
        check::only_expected(&self.seen().await, &self.answer()).expect("nothing wrong is written");
        error
    }

    /// The query ends, and has written what it would have without a mishap.
    pub(super) async fn assert_completes(&self) {
        self.run().await.expect("the cause is gone");
        check::everything(&self.seen().await, &self.answer()).expect("nothing is lost");
    }

    /// Everything on disk but the input, by path in the shop.
    pub(super) fn save(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for name in ["checkpoint", "out"] {
            read_all(&self.at(name), &mut files);
        }
        files
    }

    /// Puts everything back as it was saved.
    pub(super) fn restore(&self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        for name in ["checkpoint", "out"] {
            fs::remove_dir_all(self.at(name)).expect("a folder");
            fs::create_dir(self.at(name)).expect("a folder");
        }
        for (path, bytes) in files {
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    }
}

/// An error for the user: it names the object, and is no panic.
pub(super) fn assert_says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert_ne!(error.kind(), ErrorKind::Internal, "{text}");
}

/// Changes a file's bytes and leaves its time as it was.
pub(super) fn damage(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let modified = fs::metadata(path).and_then(|it| it.modified());
    let bytes = fs::read(path).expect("the file is there");
    fs::write(path, change(bytes)).expect("the file can be written");
    let file = File::options()
        .append(true)
        .open(path)
        .expect("the file is there");
    file.set_modified(modified.expect("it has a time"))
        .expect("its time can be set");
}

fn read_all(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, files);
        } else {
            let bytes = fs::read(&path).expect("a file");
            files.insert(path, bytes);
        }
    }
}
