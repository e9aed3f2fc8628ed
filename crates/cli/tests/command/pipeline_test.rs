//! `headwater test`: recorded rows in, rows out, compared.

use std::{fs, path::Path, process::Output};

use crate::{assert_ends, run, text};

/// Errors by host and minute, late ones kept, and all errors as they come.
const PIPELINE: &str = "
CREATE STREAM logs (
    time TIMESTAMP, host STRING, status INT, WATERMARK FOR time AS time - INTERVAL 10 SECONDS
) USING json OPTIONS ('path' '/nowhere/at/all', 'maxFilesPerTrigger' 1, 'cleanSource' 'delete');
CREATE SINK errors USING parquet OPTIONS ('path' 'out', 'checkpointLocation' 'checkpoint');
CREATE SINK too_late USING json OPTIONS ('path' 'late');
CREATE SINK screen USING console;
CREATE STREAMING QUERY by_host TRIGGER EVERY '1 hour' LATE ROWS INTO too_late AS
INSERT INTO errors
SELECT window.start AS start, host, count(*) AS n FROM logs WHERE status >= 500
GROUP BY window(time, '1 minute'), host;
CREATE STREAMING QUERY hosts OUTPUT MODE complete AS
INSERT INTO screen SELECT host, count(*) AS n FROM logs GROUP BY host;
CREATE STREAMING QUERY changes OUTPUT MODE update AS
INSERT INTO screen SELECT host, count(*) AS n FROM logs GROUP BY host;
";

const LOGS: &str = r#"{"time":"2024-01-01T00:00:10Z","host":"a","status":500}
{"time":"2024-01-01T00:00:20Z","host":"b","status":503}
---
{"time":"2024-01-01T00:00:30Z","host":"a","status":500}
{"time":"2024-01-01T00:01:30Z","host":"a","status":500}
---
{"time":"2024-01-01T00:00:40Z","host":"c","status":500}
---
{"time":"2024-01-01T00:00:50Z","host":"c","status":500}
"#;

const BY_HOST: &str = r#"---
---
{"start":"2024-01-01T00:00:00Z","host":"a","n":2}
{"start":"2024-01-01T00:00:00Z","host":"b","n":1}
{"start":"2024-01-01T00:00:00Z","host":"c","n":1}
"#;

fn world(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn logs() -> tempfile::TempDir {
    world(&[("p.sql", PIPELINE), ("logs.json", LOGS)])
}

/// `headwater test p.sql --input logs=logs.json` and more.
fn test(folder: &Path, more: &[&str]) -> Output {
    let args = ["test", "p.sql", "--input", "logs=logs.json"];
    run(folder, &[&args[..], more].concat())
}

fn out(output: &Output) -> &str {
    text(&output.stdout)
}

fn err(output: &Output) -> &str {
    text(&output.stderr)
}

/// The files of a folder, by name.
fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|it| it.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_expected_passes_and_nothing_else_is_touched() {
    let folder = logs();
    fs::write(folder.path().join("by_host.json"), BY_HOST).expect("a file");
    let late = "time,host,status,late_operator,late_input,late_window_start,late_window_end,late_watermark,late_epoch
2024-01-01T00:00:50Z,c,500,aggregate-0,,2024-01-01T00:00:00Z,2024-01-01T00:01:00Z,2024-01-01T00:01:20Z,3
";
    fs::write(folder.path().join("late.csv"), late).expect("a file");
    // The final table, and the last one that each epoch gave.
    fs::write(folder.path().join("hosts.csv"), "host,n\na,3\nb,1\nc,2\n").expect("a file");
    let changes = "host,n\na,1\nb,1\n---\na,3\n---\nc,1\n---\nc,2\n";
    fs::write(folder.path().join("changes.csv"), changes).expect("a file");
    let before = listed(folder.path());
    let args = [
        "--expect",
        "by_host=by_host.json",
        "--expect",
        "by_host.late=late.csv",
        "--expect",
        "hosts=hosts.csv",
        "--expect",
        "changes=changes.csv",
    ];
    let tested = test(folder.path(), &args);
    assert_ends(&tested, 0);
    assert_eq!(
        out(&tested),
        "ok by_host: 3 rows in 4 epochs\nok by_host.late: 1 row in 4 epochs\n\
         ok hosts: 3 rows at the end of 4 epochs\nok changes: 5 rows in 4 epochs\n"
    );
    assert_eq!(listed(folder.path()), before);
}

#[test]
fn a_difference_shows_its_rows_and_epoch() {
    let folder = logs();
    let wrong = BY_HOST.replace(r#""host":"a","n":2"#, r#""host":"a","n":3"#);
    fs::write(folder.path().join("by_epoch.json"), &wrong).expect("a file");
    fs::write(folder.path().join("whole.json"), wrong.replace("---\n", "")).expect("a file");
    let by_epoch = test(folder.path(), &["--expect", "by_host=by_epoch.json"]);
    assert_ends(&by_epoch, 1);
    assert_eq!(
        out(&by_epoch),
        "FAILED by_host: 3 rows in 4 epochs, not those of by_epoch.json\n  epoch 2:\n    \
         - {\"start\":\"2024-01-01T00:00:00Z\",\"host\":\"a\",\"n\":3}\n    \
         + {\"start\":\"2024-01-01T00:00:00Z\",\"host\":\"a\",\"n\":2}\n"
    );
    assert!(err(&by_epoch).contains("1 of 1 not as expected: by_host"));
    let whole = test(folder.path(), &["--expect", "by_host=whole.json"]);
    assert_ends(&whole, 1);
    assert!(
        out(&whole).contains("\"n\":2}  (epoch 2)\n"),
        "{}",
        out(&whole)
    );
    // The same rows an epoch too early.
    let early = BY_HOST.replacen("---\n", "", 1);
    fs::write(folder.path().join("early.json"), early).expect("a file");
    let early = test(folder.path(), &["--expect", "by_host=early.json"]);
    assert_ends(&early, 1);
    assert!(
        out(&early).contains("  epoch 1:\n    - {"),
        "{}",
        out(&early)
    );
    assert!(
        out(&early).contains("  epoch 2:\n    + {"),
        "{}",
        out(&early)
    );
}

#[test]
fn update_writes_what_then_passes() {
    let folder = logs();
    for file in ["e.json", "e.csv", "e.parquet", "tests/new/e.jsonl"] {
        for query in ["by_host", "by_host.late", "hosts", "changes"] {
            let expect = format!("{query}={file}");
            let first = test(folder.path(), &["--expect", &expect, "--update"]);
            assert_ends(&first, 0);
            assert!(out(&first).starts_with("wrote "), "{}", out(&first));
            let again = test(folder.path(), &["--expect", &expect, "--update"]);
            assert!(out(&again).starts_with("unchanged "), "{}", out(&again));
            assert_ends(&test(folder.path(), &["--expect", &expect]), 0);
        }
    }
    let by_host = test(folder.path(), &["--expect", "by_host=b.json", "--write"]);
    assert_ends(&by_host, 0);
    let written = fs::read_to_string(folder.path().join("b.json")).expect("a file");
    assert_eq!(written, BY_HOST);
    // A file that is not divided stays so.
    fs::write(folder.path().join("w.json"), "").expect("a file");
    let whole = test(folder.path(), &["--expect", "by_host=w.json", "--update"]);
    assert_ends(&whole, 0);
    let written = fs::read_to_string(folder.path().join("w.json")).expect("a file");
    assert_eq!(written, BY_HOST.replace("---\n", ""));
}

#[test]
fn without_an_expectation_the_rows_are_shown_by_epoch() {
    let folder = logs();
    let shown = test(folder.path(), &[]);
    assert_ends(&shown, 0);
    for words in [
        "by_host, epoch 0: no rows\n",
        "by_host, epoch 2: 3 rows\n",
        "| 2024-01-01T00:00:00Z | a    | 2 |",
        "by_host.late, epoch 3: 1 row\n",
        "hosts, epoch 3: 3 rows\n",
        "changes, epoch 1: 1 row\n",
    ] {
        assert!(out(&shown).contains(words), "{words}\n{}", out(&shown));
    }
}

#[test]
fn windows_that_the_last_rows_close_come_out_after_them() {
    let folder = logs();
    let rows = r#"{"time":"2024-01-01T00:00:10Z","host":"a","status":500}
{"time":"2024-01-01T00:01:10Z","host":"a","status":500}"#;
    fs::write(folder.path().join("logs.json"), rows).expect("a file");
    let shown = test(folder.path(), &[]);
    assert_ends(&shown, 0);
    let words = "by_host, epoch 1 (after the last input): 1 row\n";
    assert!(out(&shown).contains(words), "{}", out(&shown));
    // What the watermark has not passed stays open.
    assert!(
        !out(&shown).contains("2024-01-01T00:01:00Z"),
        "{}",
        out(&shown)
    );
}

#[test]
fn order_counts_only_if_it_is_asked_for() {
    let pipeline = "
        CREATE STREAM logs (n INT) USING json OPTIONS ('path' '/nowhere');
        CREATE SINK out USING noop;
        INSERT INTO out SELECT n FROM logs;";
    let folder = world(&[
        ("p.sql", pipeline),
        ("logs.json", "{\"n\":2}\n{\"n\":1}\n{\"n\":3}\n"),
        ("e.csv", "n\n1\n2\n3\n"),
    ]);
    assert_ends(&test(folder.path(), &["--expect", "e.csv"]), 0);
    let ordered = test(folder.path(), &["--expect", "e.csv", "--ordered"]);
    assert_ends(&ordered, 1);
    let words = "in another order, from row 1 on:\n    - {\"n\":1}\n    + {\"n\":2}\n";
    assert!(out(&ordered).contains(words), "{}", out(&ordered));
    let update = ["--expect", "e.csv", "--ordered", "--update"];
    assert_ends(&test(folder.path(), &update), 0);
    let written = fs::read_to_string(folder.path().join("e.csv")).expect("a file");
    assert_eq!(written, "n\n2\n1\n3\n");
}

#[test]
fn the_time_is_that_of_the_test() {
    let pipeline = "
        CREATE STREAM logs (n INT) USING json OPTIONS ('path' '/nowhere');
        CREATE SINK out USING noop;
        CREATE STREAMING QUERY a TRIGGER EVERY '1 day' AS
            INSERT INTO out SELECT n, current_timestamp() AS at FROM logs;
        CREATE STREAMING QUERY b AS INSERT INTO out SELECT current_timestamp() AS at FROM logs;";
    let rows = "{\"n\":1}\n---\n{\"n\":2}\n---\n---\n{\"n\":3}\n";
    let folder = world(&[("p.sql", pipeline), ("logs.json", rows)]);
    for (more, times) in [
        (
            &[][..],
            [
                "2024-01-01T00:00:00Z",
                "2024-01-01T00:00:01Z",
                "2024-01-01T00:00:03Z",
            ],
        ),
        (
            &[
                "--start",
                "2030-05-01 10:00:00",
                "--step",
                "INTERVAL 2 minutes",
            ],
            [
                "2030-05-01T10:00:00Z",
                "2030-05-01T10:02:00Z",
                "2030-05-01T10:06:00Z",
            ],
        ),
    ] {
        let expected = times.map(|at| format!("{{\"at\":\"{at}\"}}\n")).concat();
        fs::write(folder.path().join("b.json"), expected).expect("a file");
        let expected = times.map(|at| format!("{{\"at\":\"{at}\",\"n\":1}}\n"));
        let expected = [
            expected[0].clone(),
            expected[1].replace(":1}", ":2}"),
            String::new(),
            expected[2].replace(":1}", ":3}"),
        ];
        fs::write(folder.path().join("a.json"), expected.join("---\n")).expect("a file");
        let expect = ["--expect", "a=a.json", "--expect", "b=b.json"];
        let tested = test(folder.path(), &[&expect[..], more].concat());
        assert_ends(&tested, 0);
    }
}

#[test]
fn streams_of_all_kinds_are_fed() {
    let pipeline = "
        CREATE STREAM ticks USING rate OPTIONS ('rowsPerSecond' 10);
        CREATE STREAM guessed USING parquet OPTIONS ('path' '/nowhere');
        CREATE STREAM plain (name STRING, n INT) USING csv OPTIONS ('path' '/nowhere', 'sep' ';');
        CREATE STREAM lines USING text OPTIONS ('path' '/nowhere');
        CREATE STREAM unused (x INT) USING json OPTIONS ('path' '/nowhere');
        CREATE TABLE names (name STRING, long STRING);
        INSERT INTO names VALUES ('a', 'alpha'), ('b', 'beta');
        COPY (SELECT 1) TO 'copied.csv';
        CREATE SINK out USING console;
        CREATE STREAMING QUERY doubled AS INSERT INTO out
            SELECT value FROM ticks UNION ALL SELECT value * 10 AS value FROM ticks;
        CREATE STREAMING QUERY guesses AS INSERT INTO out SELECT upper(word) AS word FROM guessed;
        CREATE STREAMING QUERY named AS INSERT INTO out
            SELECT long, n FROM plain JOIN names ON plain.name = names.name;
        CREATE STREAMING QUERY shouted AS INSERT INTO out SELECT upper(value) AS line FROM lines;
        CREATE STREAMING QUERY nothing AS INSERT INTO out SELECT x FROM unused;";
    let folder = world(&[
        ("p.sql", pipeline),
        ("word.csv", "word\nx\n---\ny\n"),
        ("lines.txt", "x\n\n---\n{\"y\"\n"),
        (
            "shouted.json",
            "{\"line\":\"X\"}\n{\"line\":\"\"}\n---\n{\"line\":\"{\\\"Y\\\"\"}\n",
        ),
        ("plain.csv", "a;1\n---\nb;2\nc;3\n"),
        ("doubled.csv", "value\n1\n10\n---\n2\n20\n3\n30\n"),
        ("guesses.json", "{\"word\":\"X\"}\n---\n{\"word\":\"Y\"}\n"),
        (
            "named.json",
            "{\"long\":\"alpha\",\"n\":1}\n---\n{\"long\":\"beta\",\"n\":2}\n",
        ),
    ]);
    fs::create_dir(folder.path().join("ticks")).expect("a folder");
    for (file, row) in [
        (
            "1.json",
            "{\"timestamp\":\"2024-01-01T00:00:00Z\",\"value\":1}",
        ),
        (
            "2.csv",
            "timestamp,value\n2024-01-01T00:00:01Z,2\n2024-01-01T00:00:02Z,3",
        ),
    ] {
        fs::write(folder.path().join("ticks").join(file), row).expect("a file");
    }
    let args = [
        "test",
        "p.sql",
        "--input",
        "ticks=ticks",
        "--input",
        "guessed=word.csv",
        "--input",
        "plain=plain.csv",
        "--input",
        "lines=lines.txt",
        "--expect",
        "doubled=doubled.csv",
        "--expect",
        "guesses=guesses.json",
        "--expect",
        "named=named.json",
        "--expect",
        "shouted=shouted.json",
    ];
    let tested = run(folder.path(), &args);
    assert_ends(&tested, 0);
    assert!(!folder.path().join("copied.csv").exists());
    // All queries run where nothing is expected, and then this one lacks its input.
    let all = run(folder.path(), &args[..10]);
    assert_ends(&all, 2);
    let words = "stream 'unused' has no input: give it rows with --input unused=FILE";
    assert!(err(&all).contains(words), "{}", err(&all));
}

#[test]
fn joins_of_streams_and_of_a_stream_with_itself() {
    let pipeline = "
        CREATE STREAM ads (id INT, t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL 5 SECONDS)
            USING json OPTIONS ('path' '/nowhere');
        CREATE STREAM clicks (id INT, t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL 5 SECONDS)
            USING json OPTIONS ('path' '/nowhere');
        CREATE SINK out USING noop;
        CREATE STREAMING QUERY clicked AS INSERT INTO out SELECT ads.id, clicks.t FROM ads LEFT JOIN clicks
            ON ads.id = clicks.id AND clicks.t BETWEEN ads.t AND ads.t + INTERVAL 10 SECONDS;
        CREATE STREAMING QUERY pairs AS INSERT INTO out SELECT a.id AS first, b.id AS second FROM ads a JOIN ads b
            ON a.id = b.id - 1 AND b.t BETWEEN a.t AND a.t + INTERVAL 10 SECONDS;";
    let ads = "id,t\n1,2024-01-01T00:00:00Z\n2,2024-01-01T00:00:01Z\n---\n3,2024-01-01T00:01:00Z\n";
    let clicks = "id,t\n1,2024-01-01T00:00:05Z\n---\n---\n9,2024-01-01T00:01:00Z\n";
    let folder = world(&[
        ("p.sql", pipeline),
        ("ads.csv", ads),
        ("clicks.csv", clicks),
        // The second ad was not clicked, as the watermark says after the last click.
        (
            "clicked.csv",
            "id,t\n1,2024-01-01T00:00:05Z\n---\n---\n---\n2,\n",
        ),
        ("pairs.csv", "first,second\n1,2\n"),
    ]);
    let args = [
        "test",
        "p.sql",
        "--input",
        "ads=ads.csv",
        "--input",
        "clicks=clicks.csv",
        "--expect",
        "clicked=clicked.csv",
        "--expect",
        "pairs=pairs.csv",
    ];
    let tested = run(folder.path(), &args);
    assert_ends(&tested, 0);
    assert_eq!(
        out(&tested),
        "ok clicked: 2 rows in 4 epochs\nok pairs: 1 row in 3 epochs\n"
    );
}

#[test]
fn what_cannot_be_tested_is_told_with_its_place() {
    let folder = logs();
    let file = |name: &str, text: String| fs::write(folder.path().join(name), text);
    file("bad.json", LOGS.replace("503", "\"many\"")).expect("a file");
    file(
        "cut.json",
        LOGS.replace(
            "500}\n---\n{\"time\":\"2024-01-01T00:00:50Z\"",
            "500}\n---\n{\"time\"",
        ),
    )
    .expect("a file");
    file(
        "bad.csv",
        "time,host,status\n---\n2024-01-01T00:00:10Z,a,many\n".to_owned(),
    )
    .expect("a file");
    file(
        "order.csv",
        "host,time,status\na,2024-01-01T00:00:10Z,1\n".to_owned(),
    )
    .expect("a file");
    file("late.csv", "---\ntime,host,status\n".to_owned()).expect("a file");
    file("typo.json", BY_HOST.replace("\"n\":1", "\"m\":1")).expect("a file");
    file("type.json", BY_HOST.replace("\"n\":1", "\"n\":\"x\"")).expect("a file");
    file("defines.sql", "CREATE STREAM t USING rate;".to_owned()).expect("a file");
    file("lines.txt", "a line".to_owned()).expect("a file");
    let hosts = ["--expect", "hosts=hosts.parquet", "--update"];
    assert_ends(&test(folder.path(), &hosts), 0);
    let good = ["test", "p.sql", "--input", "logs=logs.json"];
    for (args, words) in [
        (
            &["test", "p.sql"][..],
            &[
                "p.sql: line 8",
                "stream 'logs' has no input",
                "--input logs=FILE",
            ][..],
        ),
        (
            &["test", "p.sql", "--input", "lgos=logs.json"],
            &["--input lgos", "did you mean 'logs'"],
        ),
        (
            &["test", "p.sql", "--input", "logs=none.json"],
            &["cannot read none.json"],
        ),
        (
            &["test", "p.sql", "--input", "logs=p.sql"],
            &["p.sql", "ending", ".parquet"],
        ),
        (
            &["test", "p.sql", "--input", "logs"],
            &["write STREAM=FILE"],
        ),
        (
            &["test", "p.sql", "--input", "logs=bad.json"],
            &["bad.json, line 2", "stream 'logs'", "status", "many"],
        ),
        (
            &["test", "p.sql", "--input", "logs=cut.json"],
            &["cut.json, line 9", "stream 'logs'"],
        ),
        (
            &["test", "p.sql", "--input", "logs=bad.csv"],
            &["bad.csv, line 3", "many"],
        ),
        (
            &["test", "p.sql", "--input", "logs=late.csv"],
            &[
                "late.csv begins with ---: the header comes first",
                "time,host,status",
            ],
        ),
        (
            &["test", "p.sql", "--input", "logs=order.csv"],
            &[
                "order.csv: its header is host,time,status",
                "are time,host,status",
            ],
        ),
        (
            &["test", "p.sql", "--input", "logs=lines.txt"],
            &["lines.txt", "column 'value'", "time, host, status"],
        ),
        (
            &[&good[..], &["--expect", "by_host=lines.txt"]].concat(),
            &["lines.txt", ".json, .csv or .parquet"],
        ),
        (
            &[
                &good[..],
                &[
                    "--update",
                    "--expect",
                    "hosts=x.json",
                    "--expect",
                    "changes=x.json",
                ],
            ]
            .concat(),
            &["x.json", "a file of its own"],
        ),
        (
            &[&good[..], &["--expect", "by_host=hosts.parquet"]].concat(),
            &[
                "hosts.parquet has the columns host, n",
                "by_host are host, n, start",
            ],
        ),
        (
            &["test", "defines.sql"],
            &["defines.sql has nothing to test", "INSERT INTO"],
        ),
        (&[&good[..], &["--update"]].concat(), &["--expect"]),
        (
            &[&good[..], &["--expect", "by_host.json"]].concat(),
            &[
                "say which one is meant: --expect by_host=by_host.json",
                "by_host.late, hosts",
            ],
        ),
        (
            &[&good[..], &["--expect", "by_hosts=x.json"]].concat(),
            &["--expect by_hosts", "did you mean 'by_host'"],
        ),
        (
            &[&good[..], &["--expect", "by_host=none.json"]].concat(),
            &["there is no file none.json", "--update writes it"],
        ),
        (
            &[&good[..], &["--expect", "by_host=typo.json"]].concat(),
            &["typo.json, line 4: by_host has no column 'm': it has start, host, n"],
        ),
        (
            &[&good[..], &["--expect", "by_host=type.json"]].concat(),
            &["type.json, line 4", "the rows of by_host", "\"x\""],
        ),
        (
            &[&good[..], &["--start", "soon"]].concat(),
            &["2024-01-01T00:00:00Z"],
        ),
        (
            &[&good[..], &["--step", "soon"]].concat(),
            &["not an interval"],
        ),
    ] {
        let output = run(folder.path(), args);
        assert_ends(&output, 2);
        for word in words {
            assert!(
                err(&output).contains(word),
                "{args:?}: '{word}' is not in {}",
                err(&output)
            );
        }
    }
}

#[test]
fn a_query_that_fails_is_told_as_a_failure() {
    let pipeline = "
        CREATE STREAM logs (n INT) USING json OPTIONS ('path' '/nowhere');
        CREATE SINK out USING noop;
        INSERT INTO out SELECT 10 / n AS q FROM logs;";
    let folder = world(&[
        ("p.sql", pipeline),
        ("logs.json", "{\"n\":1}\n---\n{\"n\":0}\n"),
    ]);
    let failed = test(folder.path(), &[]);
    assert_ends(&failed, 1);
    for word in ["p.sql: line 4", "epoch 1", "ivi"] {
        assert!(
            err(&failed).contains(word),
            "'{word}' is not in {}",
            err(&failed)
        );
    }
}

#[test]
fn values_that_a_format_does_not_keep_are_refused() {
    let pipeline = "
        CREATE STREAM logs (t STRING) USING json OPTIONS ('path' '/nowhere');
        CREATE SINK out USING noop;
        INSERT INTO out SELECT t FROM logs;";
    let rows = "{\"t\":\"\"}\n{\"t\":null}\n";
    let folder = world(&[("p.sql", pipeline), ("logs.json", rows)]);
    let csv = test(folder.path(), &["--expect", "e.csv", "--update"]);
    assert_ends(&csv, 2);
    assert!(
        err(&csv).contains("cannot be written as csv"),
        "{}",
        err(&csv)
    );
    assert!(!folder.path().join("e.csv").exists());
    assert_ends(&test(folder.path(), &["--expect", "e.json", "--update"]), 0);
    assert_ends(&test(folder.path(), &["--expect", "e.json"]), 0);
}

#[test]
fn the_example_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pipelines");
    let args = [
        "test",
        "request_floods.sql",
        "--input",
        "requests=tests/requests.json",
        "--expect",
        "floods=tests/floods.json",
        "--expect",
        "floods.late=tests/too_late.json",
        "--set",
        "INPUT=data",
        "--set",
        "OUTPUT=out",
    ];
    let tested = run(&root, &args);
    assert_ends(&tested, 0);
    assert_eq!(
        out(&tested),
        "ok floods: 1 row in 4 epochs\nok floods.late: 1 row in 4 epochs\n"
    );
}
