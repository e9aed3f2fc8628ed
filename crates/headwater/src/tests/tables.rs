//! Streams beside static tables that change while the query runs.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use datafusion::{
    catalog::TableProvider,
    datasource::{MemTable, TableType},
    logical_expr::TableProviderFilterPushDown,
    physical_plan::ExecutionPlan,
};

use super::*;
use crate::{BatchReader, StreamingQuery};

fn names(rows: &[(&str, &str)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("host", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let hosts: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let names: StringArray = rows.iter().map(|row| Some(row.1)).collect();
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(hosts), Arc::new(names)])
        .expect("rows of the schema")
}

/// A stream, and a query that joins it with something.
struct Joined {
    session: Session,
    stream: MemoryStream,
    query: StreamingQuery,
}

impl Joined {
    async fn start(session: Session, stream: MemoryStream, frame: DataFrame) -> Self {
        let query = frame
            .write_stream()
            .format("memory")
            .query_name("out")
            .start(None)
            .await
            .expect("started");
        Self {
            session,
            stream,
            query,
        }
    }

    async fn sql(session: Session, stream: MemoryStream, text: &str) -> Self {
        let frame = session.sql(text).await.expect("a query");
        Self::start(session, stream, frame).await
    }

    /// Gives the stream rows; what the epoch adds to the output, as text.
    async fn epoch(&self, added: &[(i64, &str, i64)]) -> Vec<String> {
        let before = self.output().await;
        self.stream.add_batch(rows(added)).expect("rows");
        let done = self.query.process_all_available().await;
        done.expect("it works");
        let mut after = self.output().await;
        for row in before {
            let place = after.iter().position(|other| *other == row);
            after.remove(place.expect("what came out stays"));
        }
        after
    }

    async fn output(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for batch in table(&self.session, "out").await {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| {
                    datafusion::arrow::util::display::array_value_to_string(column, row)
                        .expect("it can be shown")
                });
                lines.push(cells.collect::<Vec<_>>().join(" "));
            }
        }
        lines.sort_unstable();
        lines
    }
}

const LEFT_JOIN: &str = "SELECT l.host, d.name FROM logs l LEFT JOIN dim d ON l.host = d.host";

#[tokio::test]
async fn rows_inserted_into_a_table_in_memory_are_seen_by_the_next_epoch() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("dim", names(&[("a", "A")]))
        .expect("a table");
    let joined = Joined::sql(session, stream, LEFT_JOIN).await;
    let rows = [(1, "a", 1), (1, "b", 1)];
    assert_eq!(joined.epoch(&rows).await, ["a A", "b "]);
    joined
        .session
        .sql("INSERT INTO dim VALUES ('b', 'B')")
        .await
        .expect("a statement")
        .collect()
        .await
        .expect("inserted");
    assert_eq!(joined.epoch(&rows).await, ["a A", "b B"]);
    assert_eq!(joined.epoch(&rows).await, ["a A", "b B"]);
}

/// A reader of a folder of files with a column `host` and a column `name`.
type Reading = fn(BatchReader) -> BatchReader;
/// A line of such a file.
type Line = fn(&str, &str) -> String;

#[tokio::test]
async fn files_that_come_and_go_are_seen_by_the_next_epoch() {
    let readers: [(Reading, Line); 4] = [
        (csv, csv_line),
        (|reader| csv(reader).schema(names(&[]).schema()), csv_line),
        (|reader| reader.format("json"), json_line),
        (
            |reader| reader.format("json").schema(names(&[]).schema()),
            json_line,
        ),
    ];
    for (reader, line) in readers {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, rows: &[(&str, &str)]| {
            let lines: String = rows.iter().map(|(host, name)| line(host, name)).collect();
            let header = if lines.starts_with('{') {
                ""
            } else {
                "host,name\n"
            };
            let extension = if header.is_empty() { "json" } else { "csv" };
            let path = folder.path().join(format!("{file}.{extension}"));
            std::fs::write(&path, format!("{header}{lines}")).expect("a file");
            path
        };
        let first = write("1", &[("a", "A")]);
        let (session, stream) = streaming("logs");
        let dim = reader(session.read()).load(folder.path()).await;
        session
            .register_view("dim", dim.expect("a table"))
            .expect("a view");
        let joined = Joined::sql(session, stream, LEFT_JOIN).await;
        let rows = [(1, "a", 1), (1, "b", 1)];
        assert_eq!(joined.epoch(&rows).await, ["a A", "b "]);
        write("2", &[("b", "B")]);
        assert_eq!(joined.epoch(&rows).await, ["a A", "b B"]);
        write("2", &[("b", "Bertha")]);
        assert_eq!(joined.epoch(&rows).await, ["a A", "b Bertha"]);
        std::fs::remove_file(first).expect("removed");
        assert_eq!(joined.epoch(&rows).await, ["a ", "b Bertha"]);
    }
}

fn csv(reader: BatchReader) -> BatchReader {
    reader.format("csv").option("header", true)
}

fn csv_line(host: &str, name: &str) -> String {
    format!("{host},{name}\n")
}

fn json_line(host: &str, name: &str) -> String {
    format!("{{\"host\":\"{host}\",\"name\":\"{name}\"}}\n")
}

#[tokio::test]
async fn lines_of_text_that_come_later_are_seen_by_the_next_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("1.txt"), "a\n").expect("a file");
    let (session, stream) = streaming("logs");
    let known = session.read().text(folder.path()).await.expect("a table");
    session.register_view("known", known).expect("a view");
    let text = "SELECT host FROM logs l LEFT SEMI JOIN known k ON l.host = k.value";
    let joined = Joined::sql(session, stream, text).await;
    let rows = [(1, "a", 1), (1, "b", 1)];
    assert_eq!(joined.epoch(&rows).await, ["a"]);
    std::fs::write(folder.path().join("2.txt"), "b\n").expect("a file");
    assert_eq!(joined.epoch(&rows).await, ["a", "b"]);
}

#[tokio::test]
async fn a_file_that_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("1.csv");
    std::fs::write(&path, "host,name\na,A\n").expect("a file");
    let modified = std::fs::metadata(&path).and_then(|file| file.modified());
    let modified = modified.expect("a time");
    let (session, stream) = streaming("logs");
    let dim = session.read().option("header", true).csv(folder.path());
    session
        .register_view("dim", dim.await.expect("a table"))
        .expect("a view");
    // The first join builds over the table, the second one goes through its rows for each row of the stream.
    let text = "SELECT l.host, d.name, e.name AS other FROM logs l JOIN dim d ON l.host = d.host \
                JOIN dim e ON l.host <= e.host";
    let joined = Joined::sql(session, stream, text).await;
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a A A"]);
    // Nobody can see that the content is another one.
    std::fs::write(&path, "host,name\na,B\n").expect("a file");
    let file = std::fs::File::options().append(true).open(&path);
    let file = file.expect("a file");
    file.set_modified(modified).expect("a time");
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a A A"]);
    let later = modified + std::time::Duration::from_secs(1);
    file.set_modified(later).expect("a time");
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a B B"]);
}

#[tokio::test]
async fn every_kind_of_join_with_a_table_gives_the_batch_answer() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let known = names(&[("a", "A"), ("a", "Anna"), ("c", "C")]);
    session.register_batch("dim", known).expect("a table");
    stream.add_batch(rows(&log())).expect("rows");
    for text in [
        "SELECT l.host, l.status, d.name FROM logs l JOIN dim d ON l.host = d.host",
        "SELECT l.host, l.status, d.name FROM dim d JOIN logs l ON l.host = d.host AND d.name <> 'A'",
        "SELECT l.host, l.status, d.name FROM logs l LEFT JOIN dim d ON l.host = d.host AND l.status > 200",
        "SELECT l.host, l.status, d.name FROM dim d RIGHT JOIN logs l ON d.host = l.host",
        "SELECT l.host, l.status FROM logs l LEFT SEMI JOIN dim d ON l.host = d.host",
        "SELECT l.host, l.status FROM logs l LEFT ANTI JOIN dim d ON l.host = d.host",
        "SELECT host, status FROM logs WHERE host NOT IN (SELECT host FROM dim)",
        "SELECT host, status FROM logs WHERE host IN (SELECT host FROM dim WHERE name <> 'A')",
        "SELECT host, status FROM logs l WHERE EXISTS (SELECT 1 FROM dim d WHERE d.host = l.host) OR status < 300",
        "SELECT host, status FROM logs WHERE host > (SELECT min(host) FROM dim)",
        "SELECT host, (SELECT count(*) FROM dim) AS n FROM logs",
        "SELECT l.host, d.name FROM logs l CROSS JOIN dim d",
        "SELECT l.host, d.name FROM logs l JOIN dim d ON l.host < d.host",
        "SELECT l.host, d.name FROM logs l LEFT JOIN dim d ON l.host < d.host",
        "SELECT host, status FROM logs l WHERE NOT EXISTS (SELECT 1 FROM dim d WHERE d.host > l.host)",
        "SELECT l.host, d.n FROM logs l JOIN (SELECT host, count(*) AS n FROM dim GROUP BY host) d ON l.host = d.host",
        "SELECT host, name FROM logs NATURAL JOIN dim",
        "SELECT l.host, d.name, e.name AS other FROM logs l JOIN dim d ON l.host = d.host \
         LEFT JOIN dim e ON e.name > d.name",
    ] {
        let frame = session.sql(text).await.expect(text);
        let query = frame
            .write_stream()
            .format("memory")
            .query_name("out")
            .trigger(Trigger::available_now())
            .start(None)
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let ended = query.await_termination().await;
        ended.unwrap_or_else(|error| panic!("{text}: {error}"));
        let batch = session.sql(&text.replace("logs", "finished")).await;
        let batch = batch.expect(text).collect().await.expect(text);
        let lines = |batches: &[RecordBatch]| {
            let shown = datafusion::arrow::util::pretty::pretty_format_batches(batches);
            let mut lines: Vec<String> = shown
                .expect("it can be shown")
                .to_string()
                .lines()
                .map(str::to_owned)
                .collect();
            lines.sort_unstable();
            lines
        };
        let rows =
            |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let found = table(&session, "out").await;
        assert_eq!(rows(&found), rows(&batch), "{text}");
        if rows(&batch) > 0 {
            assert_eq!(lines(&found), lines(&batch), "{text}");
        }
    }
}

#[tokio::test]
async fn a_subquery_over_a_table_is_seen_to_change() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("dim", names(&[("a", "A")]))
        .expect("a table");
    let text = "SELECT host, (SELECT max(name) FROM dim) AS name FROM logs \
                WHERE host IN (SELECT host FROM dim)";
    let joined = Joined::sql(session, stream, text).await;
    let rows = [(1, "a", 1), (1, "b", 1)];
    assert_eq!(joined.epoch(&rows).await, ["a A"]);
    let insert = joined
        .session
        .sql("INSERT INTO dim VALUES ('b', 'B')")
        .await;
    let inserted = insert.expect("a statement").collect().await;
    inserted.expect("inserted");
    assert_eq!(joined.epoch(&rows).await, ["a B", "b B"]);
}

#[tokio::test]
async fn rows_come_through_a_join_in_the_order_of_their_arrival() {
    let (session, stream) = streaming("logs");
    let hosts: Vec<(&str, &str)> = vec![("a", "A"), ("b", "B")];
    session
        .register_batch("dim", names(&hosts))
        .expect("a table");
    for block in 0..20 {
        let block: Vec<_> = (0..50).map(|n| (1, "a", 50 * block + n)).collect();
        stream.add_batch(rows(&block)).expect("rows");
    }
    let frame = session
        .sql(
            "SELECT first_value(l.status) AS first, last_value(l.status) AS last \
             FROM logs l JOIN dim d ON l.host = d.host",
        )
        .await
        .expect("a query");
    let query = frame
        .write_stream()
        .format("memory")
        .query_name("out")
        .output_mode(OutputMode::Complete)
        .trigger(Trigger::available_now())
        .start(None)
        .await
        .expect("started");
    query.await_termination().await.expect("it works");
    assert_batches_sorted_eq!(
        [
            "+-------+------+",
            "| first | last |",
            "+-------+------+",
            "| 0     | 999  |",
            "+-------+------+",
        ],
        &table(&session, "out").await
    );
}

#[tokio::test]
async fn another_table_or_view_of_the_same_name_is_followed() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("known", names(&[("a", "A")]))
        .expect("a table");
    let known = session.table("known").await.expect("registered");
    session.register_view("dim", known).expect("a view");
    let frame = session
        .sql(
            "SELECT l.host, d.name, k.name AS known FROM logs l LEFT JOIN dim d ON l.host = d.host \
             LEFT JOIN known k ON l.host = k.host",
        )
        .await
        .expect("a query");
    let joined = Joined::start(session, stream, frame).await;
    let rows = [(1, "a", 1), (1, "b", 1)];
    assert_eq!(joined.epoch(&rows).await, ["a A A", "b  "]);
    let session = &joined.session;
    session
        .register_batch("known", names(&[("b", "B")]))
        .expect("a table");
    // The view was made of the table that was there when it was made.
    assert_eq!(joined.epoch(&rows).await, ["a A ", "b  B"]);
    let known = session.sql("SELECT host, lower(name) AS name FROM known");
    let known = known.await.expect("a query");
    session.register_view("dim", known).expect("a view");
    assert_eq!(joined.epoch(&rows).await, ["a  ", "b b B"]);
}

#[tokio::test]
async fn a_table_replaced_by_one_with_other_columns_ends_the_query_and_says_so() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("dim", names(&[("a", "A")]))
        .expect("a table");
    let joined = Joined::sql(session, stream, LEFT_JOIN).await;
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a A"]);
    joined
        .session
        .register_batch("dim", rows(&[(1, "a", 1)]))
        .expect("a table");
    joined.stream.add_batch(rows(&[(1, "a", 1)])).expect("rows");
    let error = joined.query.process_all_available().await;
    let error = error.expect_err("it cannot go on");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for part in ["'dim'", "expected (host: Utf8", "found (time: Timestamp"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn beside_an_empty_table_the_stream_is_read_all_the_same() {
    let (session, stream) = streaming("logs");
    session.register_batch("dim", names(&[])).expect("a table");
    let counts = "SELECT host, window.start AS start, count(*) AS n FROM logs \
                  WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY host, window(time, '10 seconds')";
    let text =
        format!("SELECT l.host, l.n, d.name FROM ({counts}) l JOIN dim d ON l.host = d.host");
    let joined = Joined::sql(session, stream, &text).await;
    assert!(joined.epoch(&[(1, "a", 1), (15, "a", 1)]).await.is_empty());
    let progress = joined.query.last_progress().expect("an epoch ran");
    assert_eq!(progress.state_operators[0].num_rows_total, 1);
    assert!(joined.epoch(&[(16, "b", 1)]).await.is_empty());
    let dim = &joined.session;
    dim.register_batch("dim", names(&[("a", "A"), ("b", "B")]))
        .expect("a table");
    assert_eq!(joined.epoch(&[(40, "c", 1)]).await, ["a 1 A", "b 1 B"]);
}

#[tokio::test]
async fn a_filter_over_a_table_sees_the_time_of_each_epoch() {
    let (session, stream) = streaming("logs");
    session
        .register_batch("dim", names(&[("a", "A")]))
        .expect("a table");
    let text = "SELECT l.host, d.name FROM logs l LEFT JOIN \
                (SELECT * FROM dim WHERE now() > TIMESTAMP '2000-01-01T00:00:00Z') d ON l.host = d.host";
    let joined = Joined::sql(session, stream, text).await;
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a A"]);
    joined
        .session
        .register_batch("dim", names(&[("a", "Anna")]))
        .expect("a table");
    assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a Anna"]);
}

/// A table that counts its scans.
struct Counted {
    table: MemTable,
    scans: Arc<AtomicUsize>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Counted {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn datafusion::catalog::Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        self.scans.fetch_add(1, SeqCst);
        self.table.scan(state, projection, filters, limit).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }
}

#[tokio::test]
async fn a_table_of_which_nothing_is_known_is_read_in_each_epoch() {
    let (session, stream) = streaming("logs");
    let scans = Arc::new(AtomicUsize::new(0));
    let batch = names(&[("a", "A")]);
    let counted = Counted {
        table: MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table"),
        scans: Arc::clone(&scans),
    };
    session
        .register_table("dim", Arc::new(counted))
        .expect("a table");
    let joined = Joined::sql(session, stream, LEFT_JOIN).await;
    let planned = scans.load(SeqCst);
    for epochs in 1..=3 {
        assert_eq!(joined.epoch(&[(1, "a", 1)]).await, ["a A"]);
        assert_eq!(scans.load(SeqCst) - planned, epochs);
    }
}
