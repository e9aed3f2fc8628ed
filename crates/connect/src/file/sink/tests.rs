//! The file sink, by what readers of its folder see.

use std::{fs, num::NonZeroU64, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef},
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    Admission, Discovery, Epoch, EpochWrite, ErrorKind, OffsetRange, Options, OutputMode,
    PartWrite, PreparedPart, QueryId, Result, RunId, Sink, SinkContext, SinkProvider,
    SourceContext, SourceProvider, clock::ManualClock,
};
use headwater_log::MemoryStorage;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use uuid::Uuid;

use super::whole_epochs;
use crate::{
    conformance::{SinkFixture, sink_conformance, sink_schema},
    file::{FileFormat, FileSinkProvider, FileSourceProvider},
};

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().copied().collect()
}

pub(super) fn context(schema: SchemaRef) -> SinkContext {
    SinkContext {
        query: QueryId(Uuid::from_u128(7 << 96)),
        query_name: None,
        schema,
        mode: OutputMode::Append,
        is_late: false,
        storage: Arc::new(MemoryStorage::new()),
        clock: Arc::new(ManualClock::at(0)),
    }
}

pub(super) fn write(epoch: u64, run: u128) -> EpochWrite {
    EpochWrite {
        query: QueryId(Uuid::from_u128(7 << 96)),
        run: RunId(Uuid::from_u128(run << 96)),
        epoch: Epoch(epoch),
        mode: OutputMode::Append,
    }
}

fn provider(
    format: FileFormat,
    folder: &Path,
    pairs: &[(&str, &str)],
    by: &[&str],
) -> FileSinkProvider {
    FileSinkProvider::try_new(
        format,
        folder.to_str().expect("UTF-8"),
        options(pairs),
        by.iter().map(|&column| column.to_owned()).collect(),
    )
    .expect("a sink")
}

async fn prepare(
    sink: &dyn Sink,
    write: EpochWrite,
    partition: usize,
    batches: Vec<RecordBatch>,
) -> PreparedPart {
    sink.prepare(
        PartWrite { write, partition },
        stream::iter(batches.into_iter().map(Ok)).boxed(),
    )
    .await
    .expect("prepared")
}

fn people(ids: &[i64], names: &[&str]) -> RecordBatch {
    RecordBatch::try_new(
        sink_schema(),
        vec![
            Arc::new(Int64Array::from(ids.to_vec())),
            Arc::new(StringArray::from(names.to_vec())),
        ],
    )
    .expect("a batch")
}

/// Files that a reader who lists the folder would open.
fn listed(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(['_', '.']) {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                files.push(
                    path.strip_prefix(folder)
                        .expect("below")
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    files.sort();
    files
}

fn ids_in(folder: &Path) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in listed(folder) {
        let file = fs::File::open(folder.join(file)).expect("opened");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("Parquet")
            .build()
            .expect("a reader");
        for batch in reader {
            let batch = batch.expect("rows");
            ids.extend(
                batch
                    .column_by_name("id")
                    .expect("ids")
                    .as_primitive::<Int64Type>()
                    .values(),
            );
        }
    }
    ids.sort_unstable();
    ids
}

struct Fixture {
    folder: TempDir,
    format: FileFormat,
    partition_by: &'static [&'static str],
}

#[async_trait]
impl SinkFixture for Fixture {
    fn provider(&self) -> Arc<dyn SinkProvider> {
        Arc::new(provider(
            self.format,
            self.folder.path(),
            &[],
            self.partition_by,
        ))
    }

    fn context(&self) -> SinkContext {
        context(sink_schema())
    }

    async fn visible(&self) -> Option<Vec<i64>> {
        let rows = read_back(
            self.format,
            self.folder.path().to_str()?,
            sink_schema(),
            &[],
        )
        .await;
        let rows = rows.expect("what the sink writes the source reads");
        Some(
            rows.iter()
                .flat_map(|batch| {
                    batch
                        .column(0)
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec()
                })
                .collect(),
        )
    }
}

async fn read_back(
    format: FileFormat,
    path: &str,
    schema: SchemaRef,
    pairs: &[(&str, &str)],
) -> Result<Vec<RecordBatch>> {
    let source = FileSourceProvider::try_new(format, Some(schema), path, options(pairs))?
        .create(SourceContext {
            source_id: 0,
            storage: Arc::new(MemoryStorage::new()),
            clock: Arc::new(ManualClock::at(0)),
            retained: NonZeroU64::MIN,
        })
        .await?;
    let Discovery::Increment(increment) = source.discover(None, Admission::All).await? else {
        return Ok(Vec::new());
    };
    let range = OffsetRange {
        start: None,
        end: increment.end,
        detail: increment.detail,
    };
    let mut batches = Vec::new();
    for split in source.splits(&range, 1).await? {
        batches.extend(source.open(&split, None)?.try_collect::<Vec<_>>().await?);
    }
    Ok(batches)
}

#[tokio::test]
async fn every_format_keeps_the_contract_of_a_sink() {
    for format in [
        FileFormat::Parquet,
        FileFormat::Json,
        FileFormat::Csv,
        FileFormat::Arrow,
    ] {
        for partition_by in [&[][..], &["name"]] {
            sink_conformance(async || Fixture {
                folder: TempDir::new().expect("a folder"),
                format,
                partition_by,
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_folder_listing_shows_an_epoch_only_after_it_is_published_and_never_twice() {
    let folder = TempDir::new().expect("a folder");
    let make = || async {
        provider(FileFormat::Parquet, folder.path(), &[], &[])
            .create(context(sink_schema()))
            .await
            .expect("a sink")
    };
    let sink = make().await;
    let first = prepare(&*sink, write(0, 1), 0, vec![people(&[1, 2], &["a", "b"])]).await;
    assert!(listed(folder.path()).is_empty());
    sink.publish(&write(0, 1), std::slice::from_ref(&first))
        .await
        .expect("published");
    assert_eq!(ids_in(folder.path()), [1, 2]);
    assert_eq!(
        listed(folder.path()),
        ["part-00000-00000-00000001-00000007.parquet"]
    );
    // Epoch 1 dies after one partition, and is run again.
    prepare(&*sink, write(1, 1), 0, vec![people(&[3], &["c"])]).await;
    drop(sink);
    let sink = make().await;
    sink.publish(&write(0, 1), std::slice::from_ref(&first))
        .await
        .expect("published again");
    let again = prepare(&*sink, write(1, 2), 0, vec![people(&[3], &["c"])]).await;
    assert_eq!(ids_in(folder.path()), [1, 2]);
    // A crash in the middle of publishing: some files are there, all are published again.
    let other = prepare(&*sink, write(1, 2), 1, vec![people(&[4], &["d"])]).await;
    sink.publish(&write(1, 2), std::slice::from_ref(&again))
        .await
        .expect("half of it");
    assert_eq!(ids_in(folder.path()), [1, 2, 3]);
    sink.publish(&write(1, 2), &[again, other])
        .await
        .expect("all of it");
    sink.discard(&write(1, 1))
        .await
        .expect("the dead run's files");
    assert_eq!(ids_in(folder.path()), [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_empty_epoch_writes_no_file() {
    let folder = TempDir::new().expect("a folder");
    let sink = provider(FileFormat::Csv, folder.path(), &[("header", "true")], &[])
        .create(context(sink_schema()))
        .await
        .expect("a sink");
    let part = prepare(&*sink, write(0, 1), 0, vec![people(&[], &[])]).await;
    sink.publish(&write(0, 1), &[part])
        .await
        .expect("published");
    sink.close().await.expect("closed");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[tokio::test]
async fn readers_that_want_whole_epochs_get_them() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let sink = provider(FileFormat::Parquet, folder.path(), &[], &[])
        .create(context(sink_schema()))
        .await
        .expect("a sink");
    let mut published = Vec::new();
    for epoch in 0..3 {
        let part = prepare(&*sink, write(epoch, 1), 0, vec![people(&[1], &["a"])]).await;
        let other = prepare(&*sink, write(epoch, 1), 1, vec![people(&[2], &["b"])]).await;
        published.push([part, other]);
    }
    for (epoch, parts) in (0..2).zip(&published) {
        sink.publish(&write(epoch, 1), parts)
            .await
            .expect("published");
    }
    sink.close().await.expect("closed");
    assert_eq!(whole_epochs(path).await.expect("files").len(), 4);
    // Epoch 2 is half published: the storage got one file, the sink has not said that it is whole.
    let half: Vec<headwater_core::Prepared> =
        serde_json::from_value(published[2][0].detail["files"].clone()).expect("files");
    let storage = headwater_log::storage_for_url(path, &Options::new()).expect("a storage");
    storage.publish(&half).await.expect("published");
    assert_eq!(listed(folder.path()).len(), 5);
    assert_eq!(whole_epochs(path).await.expect("files").len(), 4);
    sink.publish(&write(2, 1), &published[2])
        .await
        .expect("published");
    sink.close().await.expect("closed");
    assert_eq!(whole_epochs(path).await.expect("files").len(), 6);
    // Without the mark, the newest epoch is in doubt and no other.
    storage
        .delete(&["_headwater/complete/00000007/00000000000000000002".to_owned()])
        .await
        .expect("deleted");
    assert_eq!(whole_epochs(path).await.expect("files").len(), 4);
}

#[tokio::test]
async fn an_epoch_that_is_in_the_folder_is_not_written_again_by_a_checkpoint_that_forgot_it() {
    let folder = TempDir::new().expect("a folder");
    let provider = provider(FileFormat::Parquet, folder.path(), &[], &[]);
    let sink = provider
        .create(context(sink_schema()))
        .await
        .expect("a sink");
    for epoch in 0..2 {
        let part = prepare(&*sink, write(epoch, 1), 0, vec![people(&[1], &["a"])]).await;
        sink.publish(&write(epoch, 1), &[part])
            .await
            .expect("published");
    }
    sink.close().await.expect("closed");
    let next = provider
        .create(context(sink_schema()))
        .await
        .expect("a sink");
    let part = |epoch| PartWrite {
        write: write(epoch, 2),
        partition: 0,
    };
    let error = next
        .prepare(part(1), stream::empty().boxed())
        .await
        .expect_err("epoch 1 is there");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.message().contains("all epochs up to 1 are already"),
        "{error}"
    );
    next.prepare(part(2), stream::empty().boxed())
        .await
        .expect("epoch 2 is not");
    let other = SinkContext {
        query: QueryId(Uuid::from_u128(8 << 96)),
        ..context(sink_schema())
    };
    let other = provider.create(other).await.expect("a sink");
    other
        .prepare(part(0), stream::empty().boxed())
        .await
        .expect("other queries are nobody's business");
}

#[tokio::test]
async fn partition_columns_come_back_from_the_folders() {
    let folder = TempDir::new().expect("a folder");
    let sink = provider(
        FileFormat::Parquet,
        folder.path(),
        &[("compression", "zstd")],
        &["name"],
    )
    .create(context(sink_schema()))
    .await
    .expect("a sink");
    let part = prepare(
        &*sink,
        write(0, 1),
        0,
        vec![people(&[1, 2, 3], &["x y", "a/b=c", "x y"])],
    )
    .await;
    assert_eq!(part.rows, 3);
    sink.publish(&write(0, 1), &[part])
        .await
        .expect("published");
    assert_eq!(
        listed(folder.path()),
        [
            "name=a%2Fb%3Dc/part-00000-00000-00000001-00000007.parquet",
            "name=x y/part-00000-00000-00000001-00000007.parquet"
        ]
    );
    let path = folder.path().to_str().expect("UTF-8");
    let rows = read_back(FileFormat::Parquet, path, sink_schema(), &[])
        .await
        .expect("rows");
    let mut back: Vec<(i64, String)> = Vec::new();
    for batch in &rows {
        let (ids, names) = (
            batch.column(0).as_primitive::<Int64Type>(),
            batch.column(1).as_string::<i32>(),
        );
        back.extend((0..batch.num_rows()).map(|row| (ids.value(row), names.value(row).to_owned())));
    }
    back.sort();
    assert_eq!(
        back,
        [
            (1, "x y".to_owned()),
            (2, "a/b=c".to_owned()),
            (3, "x y".to_owned())
        ]
    );
}

#[tokio::test]
async fn text_formats_have_their_options() {
    for (format, pairs, expected) in [
        (
            FileFormat::Csv,
            &[("header", "true"), ("sep", ";"), ("nullValue", "NA")][..],
            "id;name\n1;a \"\"b\"\"\n2;NA\n".replace("a \"\"b\"\"", "\"a \"\"b\"\"\""),
        ),
        (
            FileFormat::Csv,
            &[("escape", "\\"), ("sep", "|")],
            "1|\"a \\\"b\\\"\"\n2|\n".to_owned(),
        ),
        (
            FileFormat::Json,
            &[],
            "{\"id\":1,\"name\":\"a \\\"b\\\"\"}\n{\"id\":2}\n".to_owned(),
        ),
        (
            FileFormat::Json,
            &[("ignoreNullFields", "false")],
            "{\"id\":1,\"name\":\"a \\\"b\\\"\"}\n{\"id\":2,\"name\":null}\n".to_owned(),
        ),
    ] {
        let folder = TempDir::new().expect("a folder");
        let sink = provider(format, folder.path(), pairs, &[])
            .create(context(sink_schema()))
            .await
            .expect("a sink");
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\""), None]));
        let batch = RecordBatch::try_new(
            sink_schema(),
            vec![Arc::new(Int64Array::from(vec![1, 2])), names],
        )
        .expect("a batch");
        // Two batches, one header.
        let part = prepare(
            &*sink,
            write(0, 1),
            0,
            vec![batch.slice(0, 1), batch.slice(1, 1)],
        )
        .await;
        sink.publish(&write(0, 1), &[part])
            .await
            .expect("published");
        let file = folder.path().join(&listed(folder.path())[0]);
        assert_eq!(fs::read_to_string(file).expect("text"), expected);
    }
}

#[tokio::test]
async fn text_is_written_zipped_and_read_back() {
    let folder = TempDir::new().expect("a folder");
    let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, true)]));
    let sink = provider(
        FileFormat::Text,
        folder.path(),
        &[("compression", "gzip")],
        &[],
    )
    .create(context(Arc::clone(&schema)))
    .await
    .expect("a sink");
    let lines: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None, Some("three")]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![lines]).expect("a batch");
    let part = prepare(&*sink, write(0, 1), 0, vec![batch.clone(), batch]).await;
    sink.publish(&write(0, 1), &[part])
        .await
        .expect("published");
    assert!(listed(folder.path())[0].ends_with(".txt.gz"));
    let rows = read_back(
        FileFormat::Text,
        folder.path().to_str().expect("UTF-8"),
        schema,
        &[],
    )
    .await
    .expect("rows");
    let values: Vec<&str> = rows
        .iter()
        .flat_map(|rows| rows.column(0).as_string::<i32>().iter().flatten())
        .collect();
    assert_eq!(values, ["one", "", "three", "one", "", "three"]);
}

#[tokio::test]
async fn what_a_sink_cannot_receive_is_refused_with_the_remedy() {
    let folder = TempDir::new().expect("a folder");
    let nested = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
    let nested = Arc::new(Schema::new(vec![Field::new(
        "s",
        DataType::Struct(nested),
        true,
    )]));
    let twice = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("a", DataType::Int64, true),
    ]));
    for (format, mode, schema, by, remedy) in [
        (
            FileFormat::Parquet,
            OutputMode::Update,
            sink_schema(),
            &[][..],
            "set append mode",
        ),
        (
            FileFormat::Parquet,
            OutputMode::Complete,
            sink_schema(),
            &[],
            "foreach_batch",
        ),
        (
            FileFormat::Csv,
            OutputMode::Append,
            Arc::clone(&nested),
            &[],
            "json or parquet",
        ),
        (
            FileFormat::Text,
            OutputMode::Append,
            sink_schema(),
            &[],
            "exactly one column of text",
        ),
        (FileFormat::Json, OutputMode::Append, twice, &[], "alias"),
        (
            FileFormat::Json,
            OutputMode::Append,
            sink_schema(),
            &["day"],
            "it has id, name",
        ),
        (
            FileFormat::Json,
            OutputMode::Append,
            sink_schema(),
            &["id", "name"],
            "leave one of them out",
        ),
    ] {
        let error = provider(format, folder.path(), &[], by)
            .check(mode, &schema)
            .expect_err(remedy);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(remedy), "{error}");
    }
    assert!(
        provider(FileFormat::Json, folder.path(), &[], &[])
            .check(OutputMode::Append, &nested)
            .is_ok()
    );
}

#[tokio::test]
async fn memory_is_a_place_for_output_and_a_value_has_one_file_per_partition() {
    let url = "memory://file-sink-test/out";
    let sink = FileSinkProvider::try_new(
        FileFormat::Json,
        url,
        Options::new(),
        vec!["name".to_owned()],
    )
    .expect("a sink")
    .create(context(sink_schema()))
    .await
    .expect("a sink");
    let names: Vec<String> = (0..300).map(|n| format!("n{}", n % 150)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let batch = people(&(0..300).collect::<Vec<i64>>(), &names);
    let part = prepare(&*sink, write(0, 1), 0, vec![batch]).await;
    sink.publish(&write(0, 1), &[part])
        .await
        .expect("published");
    let rows = read_back(FileFormat::Json, url, sink_schema(), &[])
        .await
        .expect("rows");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 300);
    assert_eq!(
        whole_epochs(url)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Ok(())
    );
}
