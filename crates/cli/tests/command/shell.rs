//! `headwater sql` without a terminal: statements in, rows out.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Output, Stdio},
};

use crate::{assert_all_is_written, assert_ends, headwater, run, text, world};

/// The stream of the world, and nothing that runs.
const LOGS: &str = "
CREATE STREAM logs (
    time TIMESTAMP, host STRING, status INT, WATERMARK FOR time AS time - INTERVAL 10 SECONDS
) USING json OPTIONS ('path' '${FOLDER}/in', 'maxFilesPerTrigger' 7);
";

/// What `headwater sql` does with this standard input.
fn said(folder: &Path, args: &[&str], input: &str) -> Output {
    let args = [&["sql"], args].concat();
    let mut child = headwater(folder, &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("it is ours");
    // A command that has failed reads no more.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn statements_are_carried_out_in_their_order() {
    let folder = world();
    let input = "CREATE VIEW v AS -- not; yet\nSELECT 'a,b' AS t, 1 AS n\nUNION ALL SELECT NULL, 2; SELECT * FROM v ORDER BY n;;
        SELECT '' AS empty";
    let csv = said(folder.path(), &[], input);
    assert_ends(&csv, 0);
    assert_eq!(
        text(&csv.stdout),
        "t,n\n\"a,b\",1\n,2\n\nempty\n\"\"\n",
        "{}",
        text(&csv.stderr)
    );
    let json = said(folder.path(), &["--format", "json"], input);
    assert_ends(&json, 0);
    assert_eq!(
        text(&json.stdout),
        "{\"t\":\"a,b\",\"n\":1}\n{\"t\":null,\"n\":2}\n{\"empty\":\"\"}\n"
    );
    let table = run(
        folder.path(),
        &["sql", "--format", "table", "-c", "SELECT 1 AS one"],
    );
    assert_ends(&table, 0);
    assert_eq!(
        text(&table.stdout),
        "+-----+\n| one |\n+-----+\n| 1   |\n+-----+\n"
    );
}

#[test]
fn a_stream_is_answered_from_what_is_there() {
    let folder = world();
    fs::write(folder.path().join("logs.sql"), LOGS).expect("a file");
    for (query, answer) in [
        (
            "SELECT host, count(*) AS n FROM logs WHERE status >= 500 GROUP BY host ORDER BY host DESC LIMIT 2",
            "host,n\nc,30\nb,30\n",
        ),
        (
            "SELECT host, status FROM logs WHERE status = 200 LIMIT 2",
            "host,status\na,200\na,200\n",
        ),
        ("SELECT host FROM logs WHERE status = 1", "host\n"),
    ] {
        let asked = run(folder.path(), &["sql", "logs.sql", "-c", query]);
        assert_ends(&asked, 0);
        assert_eq!(text(&asked.stdout), answer, "{query}");
    }
    assert!(!folder.path().join("checkpoints").exists());
}

#[test]
fn what_is_wrong_ends_it_with_its_place() {
    let folder = world();
    fs::write(
        folder.path().join("wrong.sql"),
        "SELECT 1 AS a;\n\n  SELECT tiem;",
    )
    .expect("a file");
    let cases: [(&[&str], &str, i32, &str, &str); 6] = [
        (
            &[],
            "SELECT 1 AS a;\nSELECT\n tiem FROM (SELECT 1 AS time);\nSELECT 3;",
            2,
            "a\n1\n",
            "error: standard input: line 3, column 2: ",
        ),
        (
            &["wrong.sql"],
            "SELECT 2;",
            2,
            "a\n1\n",
            "error: wrong.sql: line 3, column 10: ",
        ),
        (
            &["-c", "SELECT 1; SELECT ${NONE};"],
            "",
            2,
            "",
            "error: line 1: ${NONE} has no value",
        ),
        (
            &[],
            "SELECT 1 AS a;\nSELECT 'open",
            2,
            "a\n1\n",
            "error: standard input: line 2, column 8: ",
        ),
        (
            &[
                "-c",
                "SELECT 1 AS a; SELECT 1 / n AS b FROM (VALUES (0)) AS t (n)",
            ],
            "",
            1,
            "a\n1\n\nb\n",
            "error: line 1: ",
        ),
        (
            &["none.sql"],
            "",
            2,
            "",
            "error: cannot read the pipeline none.sql",
        ),
    ];
    for (args, input, code, out, error) in cases {
        let output = said(folder.path(), args, input);
        assert_ends(&output, code);
        assert_eq!(text(&output.stdout), out, "{args:?} {input}");
        let said = text(&output.stderr);
        assert!(said.starts_with(error), "{args:?} {input}: {said}");
    }
}

#[test]
fn a_statement_is_carried_out_as_soon_as_it_is_there() {
    let folder = world();
    let mut child = headwater(folder.path(), &["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("it is ours");
    let mut lines = BufReader::new(child.stdout.take().expect("it is ours")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    writeln!(stdin, "SELECT 1 AS a; SELECT").expect("it reads");
    assert_eq!([line(), line()], ["a", "1"]);
    writeln!(stdin, "  2 AS b; ").expect("it reads");
    assert_eq!([line(), line(), line()], ["", "b", "2"]);
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn queries_run_beside_and_those_that_end_are_waited_for() {
    let folder = world();
    let input = format!(
        "{LOGS}
        CREATE SINK hosts USING memory; CREATE SINK nothing USING noop; CREATE SINK errors USING parquet LOCATION 'out';
        INSERT INTO nothing SELECT * FROM logs;
        CREATE STREAMING QUERY q TRIGGER AVAILABLE NOW OUTPUT MODE complete AS
            INSERT INTO hosts SELECT host, count(*) AS n FROM logs GROUP BY host;
        CREATE STREAMING QUERY errors_by_host TRIGGER AVAILABLE NOW AS
            INSERT INTO errors SELECT window.start AS start, host, count(*) AS n FROM logs WHERE status >= 500
            GROUP BY window(time, '1 minute'), host;
        SELECT * FROM hosts ORDER BY host;
        STOP STREAMING QUERY nothing;"
    );
    for round in 0..2 {
        let output = said(folder.path(), &["--checkpoint", "checks"], &input);
        assert_ends(&output, 0);
        if round == 0 {
            assert_eq!(text(&output.stdout), "host,n\na,60\nb,30\nc,30\n");
        }
        let said = text(&output.stderr);
        let started = "errors_by_host: started, into errors, checkpoint checks/errors_by_host\n";
        assert!(said.contains(started), "{said}");
    }
    assert_all_is_written(folder.path());
}

#[test]
fn values_of_secret_variables_are_not_told() {
    let folder = world();
    let input = "CREATE STREAM t USING rate OPTIONS ('rowsPerSecond' '${API_TOKEN}');";
    let output = said(folder.path(), &["--set", "API_TOKEN=hush-4711"], input);
    assert_ends(&output, 2);
    let error = text(&output.stderr);
    assert!(
        error.contains("${API_TOKEN}") && !error.contains("4711"),
        "{error}"
    );
}
