//! Statements that define streams, sinks and queries.

use headwater_core::Trigger;

use crate::PipelineQuery;

use super::*;

const CLICKS: &str = "CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT, \
    WATERMARK FOR time AS time - INTERVAL 10 SECONDS) USING memory OPTIONS ('path' 'logs')";

async fn run(session: &Session, text: &str) -> Result<Vec<String>> {
    let rows = session.sql(text).await?.collect().await?;
    Ok(world::shown(&rows))
}

/// A session with the stream `clicks` over the log, in memory.
async fn with_clicks() -> (Session, MemoryStream) {
    let session = Session::new();
    let stream = MemoryStream::new("logs", schema());
    session.connectors().register_memory_stream(&stream);
    stream.add_batch(rows(&log())).expect("rows of the stream");
    run(&session, CLICKS).await.expect("defined");
    (session, stream)
}

#[tokio::test]
async fn a_stream_is_defined_described_shown_and_dropped() {
    let (session, _) = with_clicks().await;
    assert_eq!(
        run(&session, "DESCRIBE clicks").await.expect("described"),
        [
            "host STRING YES ",
            "status BIGINT YES ",
            "time TIMESTAMP YES delay 10 seconds"
        ]
    );
    assert_eq!(
        run(&session, "SHOW STREAMS").await.expect("shown"),
        ["clicks memory time TIMESTAMP, host STRING, status BIGINT time, delay 10 seconds"]
    );
    let again = run(&session, CLICKS).await.expect_err("defined already");
    assert!(
        again
            .to_string()
            .contains("there is a stream 'clicks' already"),
        "{again}"
    );
    let kept = CLICKS.replace("STREAM", "STREAM IF NOT EXISTS");
    run(&session, &kept).await.expect("left as it is");
    let replaced = "CREATE OR REPLACE STREAM clicks USING rate";
    run(&session, replaced).await.expect("replaced");
    let shown = run(&session, "DESCRIBE STREAM clicks")
        .await
        .expect("described");
    assert_eq!(shown, ["timestamp TIMESTAMP YES ", "value BIGINT YES "]);
    run(&session, "DROP STREAM clicks").await.expect("dropped");
    run(&session, "DROP STREAM IF EXISTS clicks")
        .await
        .expect("fine");
    let gone = run(&session, "DROP STREAM clicks").await.expect_err("gone");
    assert!(
        gone.to_string()
            .contains("there is no stream or table 'clicks'"),
        "{gone}"
    );
    assert_eq!(run(&session, "SHOW STREAMS").await.expect("shown"), [""; 0]);
}

#[tokio::test]
async fn inserting_into_a_sink_starts_a_query() {
    let (session, stream) = with_clicks().await;
    run(&session, "CREATE SINK errors USING memory")
        .await
        .expect("defined");
    let started = session
        .sql(
            "INSERT INTO errors (start, host, n) \
             SELECT window.start, host, count(*) FROM clicks WHERE status >= 500 GROUP BY window(time, '10 seconds'), host",
        )
        .await
        .expect("started");
    assert_eq!(started.collect().await.expect("a row")[0].num_rows(), 1);
    let query = session.streams().active().pop().expect("running");
    assert_eq!(query.name(), Some("errors"));
    query.process_all_available().await.expect("it works");
    let expected = [
        "1970-01-01T00:00:00Z a 1",
        "1970-01-01T00:00:00Z b 1",
        "1970-01-01T00:00:10Z a 1",
    ];
    let found = run(&session, "SELECT start, host, n FROM errors").await;
    assert_eq!(found.expect("a table"), expected);

    let shown = run(&session, "SHOW STREAMING QUERIES")
        .await
        .expect("shown");
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].starts_with("errors ") && shown[0].ends_with(" errors append as data comes"),
        "{shown:?}"
    );
    let second = run(&session, "INSERT INTO errors SELECT host FROM clicks").await;
    let second = second.expect_err("one table, one query").to_string();
    assert!(second.contains("'errors' writes to it"), "{second}");
    run(&session, "STOP STREAMING QUERY errors")
        .await
        .expect("stopped");
    assert!(!query.is_active());
    let shown = run(&session, "SHOW STREAMING QUERIES")
        .await
        .expect("shown");
    assert!(shown[0].contains(" ended "), "{shown:?}");
    run(&session, "DROP STREAMING QUERY errors")
        .await
        .expect("dropped");
    assert_eq!(
        run(&session, "SHOW STREAMING QUERIES")
            .await
            .expect("shown"),
        [""; 0]
    );
    drop(stream);
}

#[tokio::test]
async fn who_carries_a_statement_out_decides_with_what_its_query_starts() {
    let (session, _stream) = with_clicks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().display().to_string();
    let start = move |query: &PipelineQuery| {
        assert_eq!(query.name(), "kept");
        StartOptions {
            checkpoint_root: Some(root.clone()),
            trigger: Some(Trigger::AvailableNow),
        }
    };
    let define = "CREATE SINK kept USING memory";
    let defined = session.sql_with(define, &start).await.expect("a sink");
    assert!(defined.schema().fields().is_empty());
    let insert = "INSERT INTO kept SELECT host FROM clicks";
    session.sql_with(insert, &start).await.expect("started");
    let [query] = &session.started_queries()[..] else {
        panic!("{:?}", session.started_queries());
    };
    query.await_termination().await.expect("it ends by itself");
    assert!(folder.path().join("kept").exists());
    assert_eq!(session.sinks()[0].name, "kept");
    run(&session, "DROP STREAMING QUERY kept")
        .await
        .expect("forgotten");
    assert!(session.started_queries().is_empty());
}

#[tokio::test]
async fn a_query_knows_the_modes_in_which_it_can_run() {
    let (session, _stream) = with_clicks().await;
    for (query, modes) in [
        (
            "SELECT host FROM clicks",
            &[OutputMode::Append, OutputMode::Update][..],
        ),
        (
            "SELECT host, count(*) AS n FROM clicks GROUP BY host",
            &[OutputMode::Update, OutputMode::Complete],
        ),
        (
            "SELECT host, count(*) AS n FROM clicks GROUP BY host ORDER BY n",
            &[OutputMode::Complete],
        ),
    ] {
        let frame = session.sql(query).await.expect(query);
        assert_eq!(
            session.output_modes(&frame).await.expect(query),
            modes,
            "{query}"
        );
    }
    let sorted = session.sql("SELECT host FROM clicks ORDER BY host").await;
    let error = session.output_modes(&sorted.expect("planned")).await;
    let error = error.expect_err("in no mode");
    assert!(
        error.message().contains("ORDER BY over a stream"),
        "{error}"
    );
}

#[tokio::test]
async fn rows_can_be_read_batch_by_batch() {
    use futures::TryStreamExt;

    let session = Session::new();
    let frame = session.sql("SELECT * FROM generate_series(1, 20000)").await;
    let batches = frame.expect("planned").batches().await.expect("computed");
    let batches: Vec<_> = batches.try_collect().await.expect("all of them");
    assert!(batches.len() > 1);
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        20_000
    );
    let (session, _stream) = with_clicks().await;
    let stream = session.sql("SELECT * FROM clicks").await.expect("planned");
    assert!(stream.batches().await.is_err());
}

#[tokio::test]
async fn a_named_query_has_its_own_trigger_mode_and_late_rows() {
    let (session, stream) = with_clicks().await;
    for text in [
        "CREATE SINK counts USING memory",
        "CREATE SINK late USING memory",
        "CREATE STREAMING QUERY per_host TRIGGER AVAILABLE NOW OUTPUT MODE update LATE ROWS INTO late \
         AS INSERT INTO counts SELECT window.start AS start, count(*) AS n FROM STREAM clicks \
         GROUP BY window(time, '10 seconds')",
    ] {
        run(&session, text).await.expect(text);
    }
    for query in session.streams().active() {
        query.await_termination().await.expect("it works");
    }
    let found = run(&session, "SELECT start, n FROM counts")
        .await
        .expect("a table");
    assert_eq!(found.len(), 3);
    // Within one run of a query: the watermark is at 50 seconds by now.
    let lasting = "CREATE OR REPLACE STREAMING QUERY per_host OUTPUT MODE update LATE ROWS INTO late \
         AS INSERT INTO counts SELECT window.start AS start, count(*) AS n FROM clicks \
         GROUP BY window(time, '10 seconds')";
    run(&session, lasting).await.expect("started");
    let query = session.streams().active().pop().expect("running");
    query.process_all_available().await.expect("it works");
    stream.add_batch(rows(&[(3, "late", 500)])).expect("a row");
    query.process_all_available().await.expect("it works");
    let late = run(&session, "SELECT host, late_operator FROM late").await;
    assert_eq!(late.expect("a table"), ["late aggregate-0"]);
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn files_are_written_once_with_a_checkpoint_of_their_own() {
    let (session, _) = with_clicks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("text");
    let sink = format!(
        "CREATE SINK files USING json OPTIONS ('path' '{place}/out', checkpointLocation = '{place}/checkpoint') PARTITIONED BY (host)"
    );
    run(&session, &sink).await.expect("defined");
    for _ in 0..2 {
        let text = "CREATE OR REPLACE STREAMING QUERY copy TRIGGER ONCE AS INSERT INTO files SELECT host, status FROM clicks";
        run(&session, text).await.expect("started");
        for query in session.streams().active() {
            query.await_termination().await.expect("it works");
        }
    }
    let written = session
        .read()
        .format("json")
        .load(format!("{place}/out"))
        .await;
    let written = written.expect("files").collect().await.expect("rows");
    assert_eq!(written.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
}

#[tokio::test]
async fn a_script_is_planned_as_a_whole_and_started_by_its_user() {
    let (session, _) = with_clicks().await;
    session
        .register_batch("hosts", rows(&log()))
        .expect("a table");
    let text = "
        -- two queries into two sinks
        CREATE SINK screen USING noop;
        CREATE VIEW failures AS SELECT * FROM clicks WHERE status >= 500;
        INSERT INTO screen SELECT host FROM failures;
        SELECT count(*) AS n FROM hosts;
        INSERT INTO screen SELECT status FROM failures;
        CREATE STREAMING QUERY slow TRIGGER EVERY INTERVAL 1 MINUTE 30 SECONDS OPTIONS ('checkpointLocation' 'dir')
            AS INSERT INTO screen SELECT status FROM failures;
        SHOW SINKS;
    ";
    let pipeline = session.pipeline(text).await.expect("planned");
    let found: Vec<_> = pipeline
        .queries()
        .iter()
        .map(|query| {
            (
                query.name(),
                query.sink().name.as_str(),
                query.trigger(),
                query.line(),
            )
        })
        .collect();
    let every = Trigger::processing_time(std::time::Duration::from_secs(90));
    assert_eq!(
        found,
        [
            ("screen", "screen", Trigger::Default, 5),
            ("screen_2", "screen", Trigger::Default, 7),
            ("slow", "screen", every, 8),
        ]
    );
    let places: Vec<_> = pipeline
        .queries()
        .iter()
        .map(|query| query.checkpoint_in(Some("s3://bucket/run/")))
        .collect();
    assert_eq!(
        places,
        [
            Some("s3://bucket/run/screen".to_owned()),
            Some("s3://bucket/run/screen_2".to_owned()),
            Some("dir".to_owned()),
        ]
    );
    assert!(session.streams().active().is_empty(), "nothing is started");
    let steps: Vec<_> = pipeline
        .steps()
        .iter()
        .map(|step| match step {
            crate::PipelineStep::Query(number) => format!("query {number}"),
            crate::PipelineStep::Rows(_, line) => format!("rows of line {line}"),
        })
        .collect();
    assert_eq!(
        steps,
        [
            "query 0",
            "rows of line 6",
            "query 1",
            "query 2",
            "rows of line 10"
        ]
    );
    let options = StartOptions {
        trigger: Some(Trigger::AvailableNow),
        ..StartOptions::default()
    };
    let query = pipeline.queries()[0]
        .start(&options)
        .await
        .expect("started");
    query.await_termination().await.expect("it works");
    assert_eq!(query.last_progress().expect("a report").num_input_rows, 5);
}

#[tokio::test]
async fn a_script_reads_what_its_test_gives_it() {
    let session = Session::new();
    let given = MemoryStream::new("given", schema());
    given.add_batch(rows(&log())).expect("rows of the stream");
    let text = "
        CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT) USING json LOCATION '/nowhere';
        CREATE SINK errors USING memory;
        INSERT INTO errors SELECT host FROM clicks WHERE status = 503;
    ";
    let input = move |stream: &crate::StreamDefinition| {
        assert_eq!(stream.schema, Some(schema()));
        Ok(Some(
            Arc::new(given.provider()) as Arc<dyn crate::SourceProvider>
        ))
    };
    let pipeline = session
        .pipeline_with(text, Some(&input))
        .await
        .expect("planned");
    let query = pipeline.queries()[0]
        .start(&StartOptions::default())
        .await
        .expect("started");
    query.process_all_available().await.expect("it works");
    assert_eq!(
        run(&session, "SELECT * FROM errors")
            .await
            .expect("a table"),
        ["b"]
    );
    query.stop().await.expect("stopped");
}

#[tokio::test]
async fn errors_show_the_line_they_are_about() {
    let (session, _) = with_clicks().await;
    let text = "CREATE SINK screen USING noop;\nINSERT INTO screen\n  SELECT host FROM clicks WATERMARK time";
    let error = session.pipeline(text).await.expect_err("no delay");
    assert_eq!(
        error.to_string(),
        "line 3, column 27: WATERMARK has no delay: write `WATERMARK <column> DELAY OF INTERVAL 10 SECONDS`\n  \
         3 |   SELECT host FROM clicks WATERMARK time\n    \
         |                           ^^^^^^^^^"
    );
    let error = session
        .sql("INSERT INTO scren SELECT host FROM clicks")
        .await;
    assert!(
        error
            .expect_err("no sink")
            .to_string()
            .starts_with("line 1, column 13: there is no sink 'scren'")
    );
}

#[tokio::test]
async fn names_and_texts_are_quoted_as_the_session_has_it() {
    let text = r#"SELECT "Host" AS "The Host", 'a\nb' AS t FROM (SELECT 'x' AS "Host") AS q"#;
    let frame = Session::new().sql(text).await.expect("names");
    let found = frame.collect().await.expect("rows");
    assert_eq!(found[0].schema().field(0).name(), "The Host");
    assert_eq!(world::shown(&found), [r"x a\nb"]);

    let spark = Session::builder().spark_functions(true).build();
    let spark = spark.expect("a session");
    let text = r#"SELECT "Host" AS `The Host`, 'a\nb' AS t"#;
    assert_eq!(run(&spark, text).await.expect("texts"), ["Host a\nb"]);

    let (session, _stream) = with_clicks().await;
    let text = r#"CREATE VIEW "Marked" AS SELECT time AS "Time", "status" FROM "clicks""#;
    run(&session, text).await.expect("names");
    let columns = run(&session, r#"DESCRIBE "Marked""#)
        .await
        .expect("described");
    assert!(columns[0].starts_with("Time "), "{columns:?}");
    run(&session, r#"CREATE SINK "Out" USING memory"#)
        .await
        .expect("a sink");
    let insert = r#"INSERT INTO "Out" ("When") SELECT "Time" FROM "Marked""#;
    run(&session, insert).await.expect("started");
    run(&session, r#"SELECT "When" FROM "Out""#)
        .await
        .expect("a table");
    run(&session, "SELECT 1 FROM out")
        .await
        .expect_err("another name");
}

#[tokio::test]
async fn windows_of_a_table_function_have_their_parts_by_every_name() {
    let (session, stream) = with_clicks().await;
    for (number, (parts, key)) in [
        ("window.start AS s, window.end AS e", "window"),
        ("window['start'] AS s, window['end'] AS e", "window"),
        (
            "window_start AS s, window_end AS e",
            "window_start, window_end",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let sink = format!("windows_{number}");
        run(&session, &format!("CREATE SINK {sink} USING memory"))
            .await
            .expect("defined");
        let insert = format!(
            "CREATE STREAMING QUERY {sink} TRIGGER AVAILABLE NOW AS INSERT INTO {sink} SELECT {parts}, count(*) AS n \
             FROM TUMBLE(TABLE clicks, DESCRIPTOR(time), INTERVAL 10 SECONDS) GROUP BY {key}"
        );
        run(&session, &insert).await.expect(&insert);
        for query in session.streams().active() {
            query.await_termination().await.expect("it works");
        }
        let found = run(&session, &format!("SELECT s, e, n FROM {sink} ORDER BY s")).await;
        let expected = [
            "1970-01-01T00:00:00Z 1970-01-01T00:00:10Z 3",
            "1970-01-01T00:00:10Z 1970-01-01T00:00:20Z 1",
        ];
        assert_eq!(found.expect("rows"), expected, "{parts}");
    }
    drop(stream);
}

#[tokio::test]
async fn a_window_has_the_name_that_it_is_asked_for_by() {
    for spark in [false, true] {
        let session = Session::builder().spark_functions(spark).build();
        let session = session.expect("a session");
        let stream = MemoryStream::new("logs", schema());
        session.connectors().register_memory_stream(&stream);
        run(&session, CLICKS).await.expect("defined");
        let inner = "SELECT window, window.start, count(*) AS n FROM clicks GROUP BY window(time, '10 seconds')";
        let frame = session.sql(inner).await.expect("planned");
        let names: Vec<&str> = frame
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        assert_eq!(names, ["window", "start", "n"], "spark: {spark}");
        let outer = format!("SELECT window.end, n FROM ({inner}) AS counted WHERE n > 1");
        session.sql(&outer).await.expect("its name is known above");
    }
}
