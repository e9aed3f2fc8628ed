//! Sinks as tables: what a query has written, by the sink's name.

use datafusion::arrow::array::ArrayRef;
use tempfile::TempDir;

use super::*;
use crate::PipelineStep;

const TEXTS: [Option<&str>; 6] = [
    Some("plain"),
    Some("with \"quotes\" and, commas"),
    Some("it's; \\ back\\slash\\"),
    Some(""),
    None,
    Some("ä €"),
];

/// The stream `texts`: a number, a text and its group.
fn texts(session: &Session) -> MemoryStream {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("part", DataType::Utf8, true),
    ]));
    let stream = MemoryStream::new("texts", Arc::clone(&schema));
    session.register_memory_stream(&stream).expect("a stream");
    let numbers = Int64Array::from_iter_values(0..TEXTS.len() as i64);
    let parts = StringArray::from_iter_values((0..TEXTS.len()).map(|n| format!("p {}", n % 2)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers),
        Arc::new(StringArray::from(TEXTS.to_vec())),
        Arc::new(parts),
    ];
    let batch = RecordBatch::try_new(schema, columns).expect("three columns");
    stream.add_batch(batch).expect("rows of the stream");
    stream
}

async fn rows_of(steps: &[PipelineStep]) -> Vec<String> {
    let Some(PipelineStep::Rows(frame, _)) = steps.last() else {
        return vec!["no rows".to_owned()];
    };
    let mut rows = world::shown(&frame.clone().collect().await.expect("rows"));
    rows.sort();
    rows
}

#[tokio::test]
async fn a_sink_that_keeps_its_rows_is_a_table_of_them() {
    let expected: Vec<String> = (0..TEXTS.len())
        .map(|n| format!("{n} {} p {}", TEXTS[n].unwrap_or_default(), n % 2))
        .collect();
    // CSV cannot tell a text without characters from none; the others can, and shown they are the same.
    for (format, options) in [
        ("parquet", "'compression' 'zstd'"),
        ("json", "'compression' 'gzip'"),
        ("csv", "'header' true, 'sep' ';'"),
        ("csv", "'escape' '\\'"),
        ("arrow", ""),
        ("memory", ""),
    ] {
        let folder = TempDir::new().expect("a folder");
        let place = folder.path().to_str().expect("UTF-8");
        let session = Session::new();
        let stream = texts(&session);
        let sink = match format {
            "memory" => "CREATE SINK out USING memory".to_owned(),
            _ => format!(
                "CREATE SINK out USING {format} OPTIONS ({options}) LOCATION '{place}/out' PARTITIONED BY (part)"
            ),
        };
        let options = StartOptions {
            checkpoint_root: Some(format!("{place}/checkpoints")),
            trigger: Some(Trigger::AvailableNow),
        };
        let script =
            format!("{sink}; INSERT INTO out SELECT * FROM texts; SELECT n, text, part FROM out");
        let planned = session.pipeline(&script).await.expect("planned");
        assert_eq!(
            rows_of(planned.steps()).await,
            [""; 0],
            "{format}: before the first epoch"
        );
        let query = planned.queries()[0].start(&options).await.expect("started");
        query.await_termination().await.expect("it works");
        assert_eq!(
            rows_of(planned.steps()).await,
            expected,
            "{format} {:?}",
            options
        );
        drop(stream);
    }
}

#[tokio::test]
async fn the_table_goes_with_its_sink_and_makes_room_for_no_other() {
    let session = Session::new();
    let _stream = texts(&session);
    let sink = "CREATE OR REPLACE SINK out USING json LOCATION '/nowhere/out'";
    let plan = async |text: &str| session.pipeline(text).await.map(drop);
    plan(sink).await.expect("defined");
    plan("SELECT * FROM out").await.expect_err("no columns yet");
    plan("INSERT INTO out SELECT n FROM texts")
        .await
        .expect("planned");
    plan("SELECT n FROM out").await.expect("a table");
    plan("INSERT INTO out SELECT text FROM texts")
        .await
        .expect("planned anew");
    plan("SELECT text FROM out")
        .await
        .expect("with its columns");
    plan(sink).await.expect("replaced");
    plan("SELECT * FROM out").await.expect_err("forgotten");

    plan("INSERT INTO out SELECT n FROM texts")
        .await
        .expect("planned");
    plan("DROP SINK out").await.expect("dropped");
    plan("CREATE TABLE out (a BIGINT) AS VALUES (1)")
        .await
        .expect("a free name");
    let taken = plan(sink).await.expect_err("a table has the name");
    assert!(
        taken.to_string().contains("there is a table 'out' already"),
        "{taken}"
    );
}
