//! The file source over temporary folders and memory, by what a query would see of it.

use std::{
    fs,
    num::NonZeroU64,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray},
    compute::concat_batches,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    util::pretty::pretty_format_batches,
};
use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    Admission, Discovery, ErrorKind, Increment, Offset, OffsetRange, Options, Result, Source,
    SourceContext, SourceProvider, clock::ManualClock,
};
use headwater_log::MemoryStorage;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::{
    conformance::{SourceFixture, source_conformance},
    file::{FileFormat, FileSourceProvider},
};

fn context() -> SourceContext {
    SourceContext {
        source_id: 0,
        storage: Arc::new(MemoryStorage::new()),
        clock: Arc::new(ManualClock::at(0)),
        retained: NonZeroU64::MIN,
    }
}

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().copied().collect()
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn people() -> SchemaRef {
    schema(&[("name", DataType::Utf8), ("age", DataType::Int32)])
}

async fn source(
    format: FileFormat,
    schema: Option<SchemaRef>,
    folder: &Path,
    pairs: &[(&str, &str)],
) -> Result<Arc<dyn Source>> {
    FileSourceProvider::try_new(
        format,
        schema,
        folder.to_str().expect("UTF-8"),
        options(pairs),
    )?
    .resolve()
    .await?
    .create(context())
    .await
}

async fn next(source: &dyn Source, start: Option<&Offset>) -> Result<Option<OffsetRange>> {
    Ok(match source.discover(start, Admission::Configured).await? {
        Discovery::Nothing => None,
        Discovery::Increment(Increment { end, detail }) => Some(OffsetRange {
            start: start.cloned(),
            end,
            detail,
        }),
    })
}

async fn read(source: &dyn Source, range: &OffsetRange, parallelism: usize) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for split in source.splits(range, parallelism).await? {
        batches.extend(source.open(&split, None)?.try_collect::<Vec<_>>().await?);
    }
    Ok(concat_batches(&source.schema(), &batches)?)
}

async fn read_everything(source: &dyn Source) -> Result<RecordBatch> {
    match next(source, None).await? {
        Some(range) => read(source, &range, 1).await,
        None => Ok(RecordBatch::new_empty(source.schema())),
    }
}

fn table(batch: &RecordBatch) -> String {
    pretty_format_batches(std::slice::from_ref(batch))
        .expect("a table")
        .to_string()
}

/// Sets a file's age apart from its neighbours'.
fn set_modified(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("the time of a file can be set");
}

fn put(folder: &TempDir, name: &str, seconds: u64, text: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(&path, text).expect("a file");
    set_modified(&path, seconds);
}

fn parquet_bytes(columns: Vec<(&str, ArrayRef)>, row_group_rows: usize) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group_rows))
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.into_inner().expect("bytes")
}

struct Fixture {
    folder: TempDir,
    format: FileFormat,
    clock: Arc<ManualClock>,
    context: SourceContext,
    files: AtomicUsize,
}

impl Fixture {
    fn new(format: FileFormat) -> Self {
        let clock = Arc::new(ManualClock::at(0));
        Self {
            folder: TempDir::new().expect("a folder"),
            format,
            context: SourceContext {
                clock: Arc::clone(&clock) as _,
                ..context()
            },
            clock,
            files: AtomicUsize::new(0),
        }
    }

    fn bytes(&self, file: usize) -> Vec<u8> {
        let ids: Vec<i64> = (0..5).map(|row| (file * 10 + row) as i64).collect();
        match self.format {
            FileFormat::Parquet => parquet_bytes(
                vec![
                    ("id", Arc::new(Int64Array::from(ids.clone()))),
                    (
                        "name",
                        Arc::new(StringArray::from_iter_values(
                            ids.iter().map(|id| format!("n{id}")),
                        )),
                    ),
                ],
                2,
            ),
            FileFormat::Json => ids
                .iter()
                .map(|id| format!("{{\"id\":{id},\"name\":\"n{id}\"}}\n"))
                .collect::<String>()
                .into_bytes(),
            FileFormat::Csv => ids
                .iter()
                .map(|id| format!("{id},n{id}\n"))
                .collect::<String>()
                .into_bytes(),
            FileFormat::Text => ids
                .iter()
                .map(|id| format!("line {id}\n"))
                .collect::<String>()
                .into_bytes(),
            FileFormat::Arrow => {
                let batch = RecordBatch::try_from_iter(vec![
                    ("id", Arc::new(Int64Array::from(ids.clone())) as ArrayRef),
                    (
                        "name",
                        Arc::new(StringArray::from_iter_values(
                            ids.iter().map(|id| format!("n{id}")),
                        )),
                    ),
                ])
                .expect("a batch");
                let mut writer =
                    arrow::ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema())
                        .expect("a writer");
                writer.write(&batch).expect("rows");
                writer.into_inner().expect("bytes")
            }
        }
    }
}

#[async_trait]
impl SourceFixture for Fixture {
    fn provider(&self) -> Arc<dyn SourceProvider> {
        let schema = match self.format {
            FileFormat::Text => schema(&[("value", DataType::Utf8), ("day", DataType::Int32)]),
            _ => schema(&[
                ("id", DataType::Int64),
                ("name", DataType::Utf8),
                ("day", DataType::Int32),
            ]),
        };
        let provider = FileSourceProvider::try_new(
            self.format,
            Some(schema),
            self.folder.path().to_str().expect("UTF-8"),
            options(&[("maxFilesPerTrigger", "2"), ("metadataColumn", "true")]),
        );
        Arc::new(provider.expect("a source"))
    }

    fn context(&self) -> SourceContext {
        self.context.clone()
    }

    async fn grow(&self) -> usize {
        for _ in 0..3 {
            let file = self.files.fetch_add(1, Ordering::Relaxed);
            put(
                &self.folder,
                &format!("day={}/{file}", file % 2),
                1_000 + file as u64,
                self.bytes(file),
            );
        }
        self.clock.advance(60_000);
        15
    }
}

#[tokio::test]
async fn every_format_keeps_the_contract_of_a_source() {
    for format in [
        FileFormat::Parquet,
        FileFormat::Json,
        FileFormat::Csv,
        FileFormat::Text,
        FileFormat::Arrow,
    ] {
        source_conformance(async || Fixture::new(format)).await;
    }
}

#[tokio::test]
async fn files_come_by_age_and_as_many_as_the_limit_allows() {
    let folder = TempDir::new().expect("a folder");
    for (name, age) in [
        ("b", 10),
        ("a", 30),
        ("c", 20),
        ("_hidden", 1),
        (".hidden", 1),
    ] {
        put(&folder, name, age, format!("{name}\n"));
    }
    let source = source(
        FileFormat::Text,
        None,
        folder.path(),
        &[("maxFilesPerTrigger", "2")],
    )
    .await
    .expect("a source");
    let first = next(&*source, None)
        .await
        .expect("discover")
        .expect("files");
    let rows = read(&*source, &first, 1).await.expect("rows");
    assert_eq!(
        rows.column(0)
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect::<Vec<_>>(),
        ["b", "c"]
    );
    assert_eq!(first.end, Offset::count(2));
    assert_eq!(source.latest().await, Some(Offset::count(3)));
    let second = next(&*source, Some(&first.end))
        .await
        .expect("discover")
        .expect("a file");
    let rows = read(&*source, &second, 1).await.expect("rows");
    assert_eq!(rows.column(0).as_string::<i32>().value(0), "a");
}

#[tokio::test]
async fn a_backlog_costs_one_listing_and_known_files_are_not_examined_again() {
    let folder = TempDir::new().expect("a folder");
    for file in 0..500 {
        fs::write(folder.path().join(format!("{file}")), "x\n").expect("a file");
    }
    let provider = FileSourceProvider::try_new(
        FileFormat::Text,
        None,
        folder.path().to_str().expect("UTF-8"),
        options(&[("maxFilesPerTrigger", "10")]),
    )
    .expect("a provider");
    let source = provider.start(context()).await.expect("a source");
    let mut start = None;
    let mut epochs = 0;
    while let Some(range) = next(&source, start.as_ref()).await.expect("discover") {
        start = Some(range.end);
        epochs += 1;
    }
    assert_eq!(epochs, 50);
    let cost = |source: &super::FileSource| {
        (
            source.cost.listings.load(Ordering::Relaxed),
            source.cost.examined.load(Ordering::Relaxed),
        )
    };
    // One listing for the backlog; then the system tells by name, where it can, that there is nothing more.
    let told = cfg!(target_os = "linux");
    assert_eq!(cost(&source), (if told { 1 } else { 2 }, 500));
    fs::write(folder.path().join("new"), "x\n").expect("a file");
    next(&source, start.as_ref())
        .await
        .expect("discover")
        .expect("the new file");
    assert_eq!(cost(&source), (if told { 1 } else { 3 }, 501));
}

/// A source over text files whose clock the test moves.
async fn watching(folder: &Path, pairs: &[(&str, &str)]) -> (super::FileSource, Arc<ManualClock>) {
    let path = folder.to_str().expect("UTF-8");
    let provider = FileSourceProvider::try_new(FileFormat::Text, None, path, options(pairs))
        .expect("a provider");
    let clock = Arc::new(ManualClock::at(0));
    let context = SourceContext {
        clock: Arc::clone(&clock) as _,
        ..context()
    };
    (provider.start(context).await.expect("a source"), clock)
}

/// The names in the increment that is discovered now, which is taken.
async fn found(source: &super::FileSource, end: &mut Option<Offset>) -> Vec<String> {
    let Some(range) = next(source, end.as_ref()).await.expect("discover") else {
        return Vec::new();
    };
    let (_, files) = super::splits::files(&range).expect("files");
    *end = Some(range.end);
    files.into_iter().map(|file| file.path).collect()
}

#[tokio::test]
async fn whatever_way_a_file_appears_it_is_found_at_once() {
    let folder = TempDir::new().expect("a folder");
    let elsewhere = TempDir::new_in(folder.path().parent().expect("a parent")).expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (source, _clock) = watching(folder.path(), &[]).await;
    let mut end = None;
    assert!(found(&source, &mut end).await.is_empty());
    // Written in place.
    fs::write(path("a"), "x\n").expect("a file");
    assert_eq!(found(&source, &mut end).await, ["a"]);
    // Hidden, then renamed; one that stays hidden; one that is empty.
    fs::write(path("_b"), "x\n").expect("a file");
    fs::rename(path("_b"), path("b")).expect("a name");
    fs::write(path("_c"), "x\n").expect("a file");
    fs::write(path("empty"), "").expect("a file");
    assert_eq!(found(&source, &mut end).await, ["b"]);
    // Filled later.
    fs::write(path("empty"), "x\n").expect("a file");
    assert_eq!(found(&source, &mut end).await, ["empty"]);
    // Linked, and moved in from elsewhere.
    fs::hard_link(path("_c"), path("d")).expect("a link");
    fs::write(elsewhere.path().join("e"), "x\n").expect("a file");
    fs::rename(elsewhere.path().join("e"), path("e")).expect("a name");
    assert_eq!(found(&source, &mut end).await, ["d", "e"]);
    // A folder made here, and one that is moved in with what it holds.
    fs::create_dir(path("day=1")).expect("a folder");
    fs::write(path("day=1/f"), "x\n").expect("a file");
    assert_eq!(found(&source, &mut end).await, ["day=1/f"]);
    fs::create_dir(elsewhere.path().join("day=2")).expect("a folder");
    fs::write(elsewhere.path().join("day=2/g"), "x\n").expect("a file");
    fs::rename(elsewhere.path().join("day=2"), path("day=2")).expect("a name");
    assert_eq!(found(&source, &mut end).await, ["day=2/g"]);
    fs::write(path("day=2/h"), "x\n").expect("a file");
    assert_eq!(found(&source, &mut end).await, ["day=2/h"]);
    assert!(found(&source, &mut end).await.is_empty());
}

#[tokio::test]
async fn a_folder_is_listed_by_the_clock_even_where_names_are_told() {
    let folder = TempDir::new().expect("a folder");
    let (source, clock) = watching(folder.path(), &[("pollInterval", "5s")]).await;
    let listings = || source.cost.listings.load(Ordering::Relaxed);
    let mut end = None;
    for (millis, listed) in [(0, 1), (4_999, 1), (1, 2), (4_999, 2), (1, 3)] {
        clock.advance(millis);
        assert!(found(&source, &mut end).await.is_empty());
        if cfg!(target_os = "linux") {
            assert_eq!(listings(), listed, "after {millis} more milliseconds");
        }
    }
}

#[tokio::test]
async fn after_a_new_folder_listings_go_on_until_its_files_are_heard_of() {
    let folder = TempDir::new().expect("a folder");
    let (source, clock) = watching(folder.path(), &[("pollInterval", "60s")]).await;
    let listings = || source.cost.listings.load(Ordering::Relaxed);
    let mut end = None;
    assert!(found(&source, &mut end).await.is_empty());
    fs::create_dir(folder.path().join("day=1")).expect("a folder");
    for (millis, listed) in [(0, 2), (500, 3), (499, 4), (1, 5), (1, 5), (1_000, 5)] {
        clock.advance(millis);
        assert!(found(&source, &mut end).await.is_empty());
        if cfg!(target_os = "linux") {
            assert_eq!(listings(), listed, "after {millis} more milliseconds");
        }
    }
}

#[tokio::test]
async fn a_log_that_keeps_plans_lets_files_be_listed_many_at_a_time() {
    let folder = TempDir::new().expect("a folder");
    for number in 0..40 {
        put(&folder, &format!("{number:02}"), 0, "x\n");
    }
    let provider = FileSourceProvider::try_new(
        FileFormat::Text,
        None,
        folder.path().to_str().expect("UTF-8"),
        [("maxFilesPerTrigger", "1")].into_iter().collect(),
    )
    .expect("a provider");
    let context = SourceContext {
        retained: NonZeroU64::new(100).expect("more than none"),
        ..context()
    };
    let source = provider.start(context.clone()).await.expect("a source");
    let mut start = None;
    while let Some(range) = next(&source, start.as_ref()).await.expect("discover") {
        source.acknowledge(&range).await.expect("acknowledged");
        start = Some(range.end);
    }
    let objects = context.storage.list("seen").await.expect("a listing");
    let names: Vec<&str> = objects.iter().map(|object| object.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "seen/00000000000000000000-00000000000000000016.0",
            "seen/00000000000000000016-00000000000000000032.0",
            "seen/00000000000000000032-00000000000000000040.0",
        ]
    );
}

#[tokio::test]
async fn the_list_of_files_read_is_appended_to_and_survives() {
    let folder = TempDir::new().expect("a folder");
    let context = context();
    let provider = FileSourceProvider::try_new(
        FileFormat::Text,
        None,
        folder.path().to_str().expect("UTF-8"),
        Options::new(),
    )
    .expect("a provider");
    let mut start = None;
    for round in 0..100 {
        put(&folder, &format!("{round}"), round, "x\n");
        // A new process every time; the query's log has nothing.
        let source = provider.start(context.clone()).await.expect("a source");
        let range = next(&source, start.as_ref())
            .await
            .expect("discover")
            .expect("the new file");
        assert_eq!(range.end, Offset::count(round + 1));
        source.acknowledge(&range).await.expect("acknowledged");
        source.ledger.finish().await.expect("put away");
        start = Some(range.end);
    }
    let objects = context.storage.list("seen").await.expect("a listing");
    // 100 increments: three merged lists of 32, and the rest.
    assert_eq!(objects.len(), 3 + 4);
    // A crash in the middle of a merge leaves what was merged beside the result.
    context
        .storage
        .create(
            "seen/00000000000000000000-00000000000000000001.0",
            "junk".into(),
        )
        .await
        .expect("created");
    let source = provider.create(context.clone()).await.expect("a source");
    assert!(
        next(&*source, start.as_ref())
            .await
            .expect("discover")
            .is_none()
    );
    assert_eq!(
        context.storage.list("seen").await.expect("a listing").len(),
        7
    );
    // A flipped bit is noticed.
    let path = objects[0].path.clone();
    let mut bytes = context
        .storage
        .read(&path)
        .await
        .expect("read")
        .expect("there")
        .to_vec();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    context
        .storage
        .replace(&path, bytes.into())
        .await
        .expect("replaced");
    let error = provider.create(context).await.expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains(&path), "{error}");
}

#[tokio::test]
async fn parquet_columns_are_bound_by_name_and_widened() {
    let folder = TempDir::new().expect("a folder");
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    put(
        &folder,
        "a.parquet",
        1,
        parquet_bytes(vec![("extra", Arc::clone(&narrow)), ("n", narrow)], 10),
    );
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![3]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    put(
        &folder,
        "b.parquet",
        2,
        parquet_bytes(vec![("N", wide), ("s", Arc::clone(&text))], 10),
    );
    let wanted = schema(&[("s", DataType::Utf8View), ("n", DataType::Int64)]);
    let source_ = source(FileFormat::Parquet, Some(wanted), folder.path(), &[])
        .await
        .expect("a source");
    let rows = read_everything(&*source_).await.expect("rows");
    assert_eq!(
        rows.column(1).as_primitive::<Int64Type>().values(),
        &[1, 2, 3]
    );
    assert_eq!(rows.column(0).null_count(), 2);
    put(
        &folder,
        "c.parquet",
        3,
        parquet_bytes(vec![("n", text)], 10),
    );
    let range = next(&*source_, Some(&Offset::count(2)))
        .await
        .expect("discover")
        .expect("a file");
    let error = read(&*source_, &range, 1)
        .await
        .expect_err("text is no number");
    assert_eq!(error.kind(), ErrorKind::Data);
    for part in ["'n'", "c.parquet", "Utf8", "Int64"] {
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn text_of_parquet_comes_as_views_where_the_reader_likes_them() {
    let folder = TempDir::new().expect("a folder");
    let texts = |values: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let first = vec![
        ("n", numbers),
        ("a", texts(["short", "a text that is too long for a view"])),
        ("b", texts(["x", "y"])),
    ];
    put(&folder, "day=mon/1.parquet", 1, parquet_bytes(first, 10));
    // This file lacks one of the texts.
    let second = vec![("a", texts(["p", "q"]))];
    put(&folder, "day=tue/2.parquet", 2, parquet_bytes(second, 10));
    let text = DataType::Utf8;
    let columns = [
        ("a", text.clone()),
        ("n", DataType::Int64),
        ("b", text.clone()),
        ("day", text.clone()),
    ];
    let source = source(
        FileFormat::Parquet,
        Some(schema(&columns)),
        folder.path(),
        &[],
    )
    .await
    .expect("a source");
    let range = next(&*source, None)
        .await
        .expect("discover")
        .expect("files");
    for split in source.splits(&range, 1).await.expect("splits") {
        // Places among the wanted columns b, day, n, a; n is no text, and what a folder says stays as it is.
        let wanted = [2, 3, 1, 0];
        let plain = source.open(&split, Some(&wanted)).expect("opened");
        let plain: Vec<_> = plain.try_collect().await.expect("rows");
        let views = source.open_with_views(&split, Some(&wanted), &[0, 1, 2, 3]);
        let views: Vec<_> = views.expect("opened").try_collect().await.expect("rows");
        assert_eq!(plain.len(), views.len());
        for (plain, views) in plain.iter().zip(&views) {
            assert_eq!(table(plain), table(views));
            let types = views
                .columns()
                .iter()
                .map(|column| column.data_type().clone());
            let expected = [
                DataType::Utf8View,
                text.clone(),
                DataType::Int64,
                DataType::Utf8View,
            ];
            assert_eq!(types.collect::<Vec<_>>(), expected);
        }
    }
}

#[tokio::test]
async fn one_large_parquet_file_is_read_by_several_tasks() {
    let folder = TempDir::new().expect("a folder");
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..600_000).map(|n| n * 7_919 % 1_000_003),
    ));
    put(
        &folder,
        "a.parquet",
        1,
        parquet_bytes(vec![("n", values)], 50_000),
    );
    let source = source(FileFormat::Parquet, None, folder.path(), &[])
        .await
        .expect("a source");
    let range = next(&*source, None)
        .await
        .expect("discover")
        .expect("a file");
    let splits = source.splits(&range, 2).await.expect("splits");
    assert!(splits.len() >= 2, "{splits:?}");
    assert_eq!(
        splits
            .iter()
            .filter_map(|split| split.estimated_rows)
            .sum::<u64>(),
        600_000
    );
    let whole = read(&*source, &range, 1).await.expect("rows");
    assert_eq!(read(&*source, &range, 2).await.expect("rows"), whole);
    assert_eq!(whole.num_rows(), 600_000);
}

#[tokio::test]
async fn damaged_and_vanished_files_are_named() {
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
    let whole = parquet_bytes(vec![("n", Arc::clone(&values))], 100);
    let mut flipped = whole.clone();
    for at in (40..whole.len() - 200).step_by(3) {
        flipped[at] ^= 0x55;
    }
    let mut stream = arrow::ipc::writer::StreamWriter::try_new(
        Vec::new(),
        &RecordBatch::try_from_iter(vec![("n", Arc::clone(&values))])
            .expect("a batch")
            .schema(),
    )
    .expect("a writer");
    stream
        .write(&RecordBatch::try_from_iter(vec![("n", values)]).expect("a batch"))
        .expect("rows");
    let ipc = stream.into_inner().expect("bytes");
    for (format, bytes) in [
        (FileFormat::Parquet, whole[..whole.len() / 2].to_vec()),
        (FileFormat::Parquet, whole[..7].to_vec()),
        (FileFormat::Parquet, flipped),
        (FileFormat::Arrow, ipc[..ipc.len() / 2].to_vec()),
        (FileFormat::Arrow, b"ARROW1\0\0garbage".to_vec()),
        (FileFormat::Arrow, b"garbage, no arrow at all".to_vec()),
    ] {
        let folder = TempDir::new().expect("a folder");
        put(&folder, "bad.file", 1, &bytes);
        let wanted = schema(&[("n", DataType::Int64)]);
        let source = source(format, Some(wanted), folder.path(), &[])
            .await
            .expect("a source");
        let error = read_everything(&*source).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.message().contains("bad.file"), "{error}");
    }
    let folder = TempDir::new().expect("a folder");
    put(&folder, "gone.txt", 1, "x\n");
    put(&folder, "short.txt", 2, "a long line\n");
    let source = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    let range = next(&*source, None)
        .await
        .expect("discover")
        .expect("files");
    fs::remove_file(folder.path().join("gone.txt")).expect("removed");
    let error = read(&*source, &range, 1).await.expect_err("gone");
    assert!(
        error.message().contains("gone.txt") && error.message().contains("is gone"),
        "{error}"
    );
    fs::write(folder.path().join("gone.txt"), "x\n").expect("put back");
    fs::write(folder.path().join("short.txt"), "a\n").expect("cut");
    let error = read(&*source, &range, 1).await.expect_err("cut");
    assert!(error.message().contains("short.txt is shorter"), "{error}");
}

#[tokio::test]
async fn a_file_is_read_as_long_as_it_was_when_it_was_listed() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "log.txt", 1, "one\n");
    let source = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    let range = next(&*source, None)
        .await
        .expect("discover")
        .expect("a file");
    put(&folder, "log.txt", 2, "one\ntwo\n");
    assert_eq!(read(&*source, &range, 1).await.expect("rows").num_rows(), 1);
}

const MALFORMED_JSON: &str = r#"{"name":"ann","age":1}
{"name":"bob","age":"old"}

{"name":"cut
{"name":"dan","age":4} {"name":"eve","age":5}
[1,2]
{"age":6,"other":[1]}
"#;

#[tokio::test]
async fn permissive_json_keeps_what_can_be_read_and_the_text_of_what_cannot() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.json", 1, MALFORMED_JSON);
    let wanted = schema(&[
        ("name", DataType::Utf8),
        ("age", DataType::Int32),
        ("_corrupt_record", DataType::Utf8),
    ]);
    let source = source(FileFormat::Json, Some(wanted), folder.path(), &[])
        .await
        .expect("a source");
    let rows = read_everything(&*source).await.expect("rows");
    assert_eq!(
        table(&rows),
        "\
+------+-----+-----------------------------------------------+
| name | age | _corrupt_record                               |
+------+-----+-----------------------------------------------+
| ann  | 1   |                                               |
| bob  |     | {\"name\":\"bob\",\"age\":\"old\"}                    |
|      |     | {\"name\":\"cut                                  |
|      |     | {\"name\":\"dan\",\"age\":4} {\"name\":\"eve\",\"age\":5} |
|      |     | [1,2]                                         |
|      | 6   |                                               |
+------+-----+-----------------------------------------------+"
    );
}

#[tokio::test]
async fn malformed_json_is_dropped_or_fails_with_file_and_line() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.json", 1, MALFORMED_JSON);
    let dropping = source(
        FileFormat::Json,
        Some(people()),
        folder.path(),
        &[("mode", "dropmalformed")],
    )
    .await
    .expect("a source");
    let range = next(&*dropping, None)
        .await
        .expect("discover")
        .expect("a file");
    assert_eq!(
        read(&*dropping, &range, 1).await.expect("rows").num_rows(),
        2
    );
    // Which rows are malformed does not depend on the columns that are read.
    let splits = dropping.splits(&range, 1).await.expect("splits");
    let names: Vec<RecordBatch> = dropping
        .open(&splits[0], Some(&[0]))
        .expect("opened")
        .try_collect()
        .await
        .expect("rows");
    assert_eq!(names.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let failing = source(
        FileFormat::Json,
        Some(people()),
        folder.path(),
        &[("mode", "FAILFAST")],
    )
    .await
    .expect("a source");
    let error = read_everything(&*failing).await.expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .message()
            .starts_with("line 2 of file a.json is malformed"),
        "{error}"
    );
}

#[tokio::test]
async fn many_malformed_rows_among_many_good_ones_are_found() {
    let folder = TempDir::new().expect("a folder");
    let text: String = (0..20_000)
        .map(|n| match n % 1_000 {
            7 => format!("{{\"name\":{n}, oops\n"),
            _ => format!("{{\"name\":\"n{n}\",\"age\":{n}}}\n"),
        })
        .collect();
    put(&folder, "a.json", 1, text);
    let source = source(
        FileFormat::Json,
        Some(people()),
        folder.path(),
        &[("mode", "DROPMALFORMED")],
    )
    .await
    .expect("a source");
    assert_eq!(
        read_everything(&*source).await.expect("rows").num_rows(),
        20_000 - 20
    );
}

#[tokio::test]
async fn csv_reads_its_dialect_and_its_malformed_rows() {
    let folder = TempDir::new().expect("a folder");
    put(
        &folder,
        "a.csv",
        1,
        "name;age\n# no row\n'ann; a';1\nbob;NA\ncarl;many\n\ndora\neve;5;6\n",
    );
    let wanted = schema(&[
        ("name", DataType::Utf8),
        ("age", DataType::Int32),
        ("bad", DataType::Utf8),
    ]);
    let dialect = [
        ("sep", ";"),
        ("header", "true"),
        ("comment", "#"),
        ("quote", "'"),
        ("nullValue", "NA"),
        ("columnNameOfCorruptRecord", "bad"),
    ];
    let source = source(FileFormat::Csv, Some(wanted), folder.path(), &dialect)
        .await
        .expect("a source");
    let rows = read_everything(&*source).await.expect("rows");
    assert_eq!(
        table(&rows),
        "\
+--------+-----+-----------+
| name   | age | bad       |
+--------+-----+-----------+
| ann; a | 1   |           |
| bob    |     |           |
| carl   |     | carl;many |
| dora   |     | dora      |
| eve    | 5   | eve;5;6   |
+--------+-----+-----------+"
    );
}

#[tokio::test]
async fn csv_values_span_lines_only_where_that_was_asked_for() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.csv", 1, "\"a\nb\",1\n\"c \"\"d\"\"\",2");
    let spanning = source(
        FileFormat::Csv,
        Some(people()),
        folder.path(),
        &[("multiLine", "true")],
    )
    .await
    .expect("a source");
    let rows = read_everything(&*spanning).await.expect("rows");
    let names = rows.column(0).as_string::<i32>();
    assert_eq!((names.value(0), names.value(1)), ("a\nb", "c \"d\""));
    let by_line = source(
        FileFormat::Csv,
        Some(people()),
        folder.path(),
        &[("mode", "DROPMALFORMED")],
    )
    .await
    .expect("a source");
    // `"a` has too few values; `b",1` is a row of its own.
    assert_eq!(
        read_everything(&*by_line).await.expect("rows").num_rows(),
        2
    );
}

#[tokio::test]
async fn a_header_that_does_not_fit_is_refused_where_it_counts() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.csv", 1, "age,name\n1,ann\n");
    let options = [("header", "true"), ("enforceSchema", "false")];
    let source = source(FileFormat::Csv, Some(people()), folder.path(), &options)
        .await
        .expect("a source");
    let error = read_everything(&*source)
        .await
        .expect_err("the other way round");
    assert!(
        error.message().contains("age,name") && error.message().contains("name,age"),
        "{error}"
    );
}

#[tokio::test]
async fn text_is_lines_or_whole_files_zipped_or_not() {
    use std::io::Write;
    let folder = TempDir::new().expect("a folder");
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zip.write_all(b"three\nfour").expect("zipped");
    put(&folder, "a.txt", 1, b"\xef\xbb\xbfone\r\n\xfftwo\n");
    put(&folder, "b.txt.gz", 2, zip.finish().expect("zipped"));
    let lines = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    let rows = read_everything(&*lines).await.expect("rows");
    let values: Vec<_> = rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(values, ["one", "\u{fffd}two", "three", "four"]);
    let files = source(
        FileFormat::Text,
        None,
        folder.path(),
        &[("wholetext", "true")],
    )
    .await
    .expect("a source");
    assert_eq!(read_everything(&*files).await.expect("rows").num_rows(), 2);
    let other = source(FileFormat::Text, None, folder.path(), &[("lineSep", "e")])
        .await
        .expect("a source");
    assert_eq!(read_everything(&*other).await.expect("rows").num_rows(), 5);
}

#[tokio::test]
async fn schemas_are_inferred_from_the_first_file_and_its_folders() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "day=2/a.json", 2, "{\"b\":\"x\"}\n");
    put(&folder, "day=1/a.json", 1, "{\"a\":1}\n");
    let refused = FileSourceProvider::try_new(
        FileFormat::Json,
        None,
        folder.path().to_str().expect("UTF-8"),
        Options::new(),
    );
    assert!(
        refused
            .expect_err("a schema is needed")
            .message()
            .contains("inferSchema")
    );
    let source_ = source(
        FileFormat::Json,
        None,
        folder.path(),
        &[("inferSchema", "true")],
    )
    .await
    .expect("a source");
    let expected = schema(&[("a", DataType::Int64), ("day", DataType::Utf8)]);
    assert_eq!(source_.schema(), expected);
    let none = TempDir::new().expect("a folder");
    let error = source(FileFormat::Parquet, None, none.path(), &[])
        .await
        .expect_err("no files");
    assert!(error.message().contains("give a schema"), "{error}");
}

#[tokio::test]
async fn files_that_were_read_are_deleted_or_archived_when_acknowledged() {
    for clean in ["delete", "archive", "off"] {
        let folder = TempDir::new().expect("a folder");
        let archive = TempDir::new().expect("a folder");
        put(&folder, "a.txt", 1, "x\n");
        let pairs = [
            ("cleanSource", clean),
            ("sourceArchiveDir", archive.path().to_str().expect("UTF-8")),
        ];
        let source = source(FileFormat::Text, None, folder.path(), &pairs)
            .await
            .expect("a source");
        let range = next(&*source, None)
            .await
            .expect("discover")
            .expect("a file");
        assert!(folder.path().join("a.txt").exists());
        source.acknowledge(&range).await.expect("acknowledged");
        source.acknowledge(&range).await.expect("again");
        assert_eq!(folder.path().join("a.txt").exists(), clean == "off");
        let kept = archive
            .path()
            .join(folder.path().strip_prefix("/").expect("absolute"))
            .join("a.txt");
        assert_eq!(kept.exists(), clean == "archive");
        assert!(
            next(&*source, Some(&range.end))
                .await
                .expect("discover")
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_single_file_and_memory_are_places_too() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.txt", 1, "one\n");
    put(&folder, "b.txt", 1, "two\n");
    let source_ = source(FileFormat::Text, None, &folder.path().join("b.txt"), &[])
        .await
        .expect("a source");
    assert_eq!(
        read_everything(&*source_).await.expect("rows").num_rows(),
        1
    );
    let url = "memory://file-source-test/in";
    let storage = headwater_log::storage_for_url(url, &Options::new()).expect("a storage");
    storage
        .create("day=1/a.txt", "one\ntwo\n".into())
        .await
        .expect("created");
    storage
        .create("other/b.txt", "three\n".into())
        .await
        .expect("created");
    let provider = FileSourceProvider::try_new(
        FileFormat::Text,
        None,
        url,
        options(&[("metadataColumn", "true")]),
    )
    .expect("a provider")
    .resolve()
    .await
    .expect("resolved");
    let source_ = provider.create(context()).await.expect("a source");
    let rows = read_everything(&*source_).await.expect("rows");
    assert_eq!(rows.num_rows(), 2);
    let facts = rows.column_by_name("_metadata").expect("the column");
    let path = facts.as_struct().column(0);
    assert_eq!(
        path.as_string::<i32>().value(0),
        "memory://file-source-test/in/day=1/a.txt"
    );
}

#[tokio::test]
async fn a_missing_folder_and_an_overwritten_list_are_clear_errors() {
    let error =
        FileSourceProvider::try_new(FileFormat::Text, None, "no/such/folder", Options::new())
            .expect("a provider")
            .create(context())
            .await
            .expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("create it"), "{error}");
    let folder = TempDir::new().expect("a folder");
    let source = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    let gap = OffsetRange {
        start: Some(Offset::count(5)),
        end: Offset::count(6),
        detail: serde_json::json!({"files": [["a", 1, 1]]}),
    };
    let error = source
        .resume(&gap)
        .await
        .expect_err("five files are missing");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_file_that_was_replaced_after_a_failure_is_read_as_it_is_now() {
    let folder = TempDir::new().expect("a folder");
    let url = "memory://file-source-replaced/in";
    let storage = headwater_log::storage_for_url(url, &Options::new()).expect("a storage");
    put(&folder, "a.txt", 1, "damaged\n");
    storage
        .replace("a.txt", "damaged\n".into())
        .await
        .expect("written");
    let local = folder.path().to_str().expect("UTF-8");
    for place in [local, url] {
        let made = || source(FileFormat::Text, None, Path::new(place), &[]);
        let first = made().await.expect("a source");
        let range = next(&*first, None).await.expect("discover");
        let range = range.expect("a file");
        put(&folder, "a.txt", 2, "mended\nand whole\n");
        storage
            .replace("a.txt", "mended\nand whole\n".into())
            .await
            .expect("written");
        let second = made().await.expect("a source");
        second.resume(&range).await.expect("resumed");
        let rows = read(&*second, &range, 1).await.expect("rows");
        assert_eq!(rows.num_rows(), 2, "{place}");
    }
}

#[tokio::test]
async fn an_empty_file_waits_until_something_is_in_it() {
    let folder = TempDir::new().expect("a folder");
    put(&folder, "a.txt", 1, "");
    let source = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    assert!(next(&*source, None).await.expect("discover").is_none());
    put(&folder, "a.txt", 2, "x\n");
    assert!(next(&*source, None).await.expect("discover").is_some());
}

#[test]
fn a_path_with_wildcards_is_refused_with_what_to_write_instead() {
    let error =
        FileSourceProvider::try_new(FileFormat::Text, None, "logs/2024-*/*.txt", Options::new())
            .expect_err("no folder is called that");
    assert!(error.message().contains("pathGlobFilter"), "{error}");
}

#[tokio::test]
async fn the_file_system_tells_about_a_new_file() {
    let folder = TempDir::new().expect("a folder");
    let source = source(FileFormat::Text, None, folder.path(), &[])
        .await
        .expect("a source");
    assert!(next(&*source, None).await.expect("discover").is_none());
    // The clock stands still: only the file system can say so.
    put(&folder, "a.txt", 1, "x\n");
    tokio::time::timeout(std::time::Duration::from_secs(30), source.changed())
        .await
        .expect("told");
    assert!(next(&*source, None).await.expect("discover").is_some());
}
