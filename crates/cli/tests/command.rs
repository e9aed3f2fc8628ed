//! The command as a shell sees it: arguments in, text and an exit code out.

#[path = "command/advice.rs"]
mod advice;
#[path = "command/checkpoint.rs"]
mod checkpoint;
#[path = "command/examples.rs"]
mod examples;
#[path = "command/pipeline_test.rs"]
mod pipeline_test;
#[path = "command/shell.rs"]
mod shell;
#[path = "command/tutorial.rs"]
mod tutorial;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// Errors of servers by host and minute, from files `in/*.json` into files `out/*.parquet`.
const ERRORS: &str = "
CREATE STREAM logs (
    time TIMESTAMP, host STRING, status INT, WATERMARK FOR time AS time - INTERVAL 10 SECONDS
) USING json OPTIONS ('path' '${FOLDER}/in', 'maxFilesPerTrigger' 1);

CREATE SINK errors USING parquet OPTIONS ('path' '${FOLDER}/out');

CREATE STREAMING QUERY errors_by_host AS
INSERT INTO errors
SELECT window.start AS start, host, count(*) AS n FROM logs WHERE status >= 500
GROUP BY window(time, '1 minute'), host;
";

/// What is in `out`, as a table.
const WRITTEN: &str = "
CREATE EXTERNAL TABLE written STORED AS PARQUET LOCATION '${FOLDER}/out/';
SELECT count(*) AS files_rows, count(DISTINCT (start, host)) AS different, sum(n) AS errors FROM written;
";

/// The minutes of the input; the last one stays open.
const MINUTES: u64 = 30;

fn headwater(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command
        .args(args)
        .current_dir(folder)
        .env("FOLDER", ".")
        .env_remove("HEADWATER_LOG")
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    headwater(folder, args).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text in UTF-8")
}

#[track_caller]
fn assert_ends(output: &Output, code: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
}

/// A folder with the pipeline and its input: one file a minute, with one error of each of three hosts.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("errors.sql"), ERRORS).expect("a file");
    fs::write(folder.path().join("written.sql"), WRITTEN).expect("a file");
    fs::create_dir(folder.path().join("in")).expect("a folder");
    for minute in 0..MINUTES {
        let mut lines = String::new();
        for (host, status) in [("a", 500), ("b", 503), ("c", 599), ("a", 200)] {
            let time = format!("2024-01-01T00:{minute:02}:30Z");
            lines.push_str(&format!(
                "{{\"time\":\"{time}\",\"host\":\"{host}\",\"status\":{status}}}\n"
            ));
        }
        fs::write(folder.path().join(format!("in/{minute:02}.json")), lines).expect("a file");
    }
    folder
}

/// Each closed minute is there once, for each host.
fn assert_all_is_written(folder: &Path) {
    let written = run(folder, &["run", "written.sql"]);
    assert_ends(&written, 0);
    let closed = (MINUTES - 1) * 3;
    let row = format!("| {closed}         | {closed}        | {closed}     |");
    let table = text(&written.stdout);
    assert!(table.contains(&row), "{row}\n{table}");
}

#[test]
fn a_pipeline_is_checked_without_being_started() {
    let folder = world();
    let checked = run(folder.path(), &["check", "errors.sql"]);
    assert_ends(&checked, 0);
    assert_eq!(
        text(&checked.stdout),
        "errors_by_host: line 8, append mode, into errors (parquet)\nerrors.sql: 1 streaming query, all right\n"
    );
    assert!(!folder.path().join("out").exists());
    assert!(!folder.path().join("checkpoints").exists());
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_nothing_is_started() {
    let folder = world();
    let wrong = ERRORS.replace("window(time, '1 minute')", "window(tiem, '1 minute')");
    fs::write(folder.path().join("wrong.sql"), wrong).expect("a file");
    let unset = ERRORS.replace("${FOLDER}/out", "${OUT}");
    fs::write(folder.path().join("unset.sql"), unset).expect("a file");
    fs::write(
        folder.path().join("idle.sql"),
        "CREATE STREAM t USING rate;",
    )
    .expect("a file");
    for (args, words) in [
        (
            &["check", "wrong.sql"][..],
            &["wrong.sql", "line ", "tiem"][..],
        ),
        (&["run", "wrong.sql"], &["wrong.sql", "line ", "tiem"]),
        (
            &["run", "unset.sql"],
            &["unset.sql, line 6", "${OUT} has no value", "--set OUT="],
        ),
        (
            &["run", "errors.sql", "--set", "HOST=a"],
            &["--set HOST", "${HOST}"],
        ),
        (
            &["run", "idle.sql"],
            &["idle.sql runs nothing", "INSERT INTO"],
        ),
        (&["run", "none.sql"], &["cannot read the pipeline none.sql"]),
        (
            &["run", "errors.sql", "--once", "--available-now"],
            &["cannot be used with"],
        ),
        (&["run", "errors.sql", "--set", "x"], &["write NAME=VALUE"]),
        (&["state", "in"], &["there is no checkpoint in"]),
        (&["rum"], &["unrecognized subcommand", "run"]),
    ] {
        let output = run(folder.path(), args);
        assert_ends(&output, 2);
        let error = text(&output.stderr);
        for word in words {
            assert!(
                error.to_lowercase().contains(&word.to_lowercase()),
                "{args:?}: '{word}' is not in {error}"
            );
        }
    }
    assert!(!folder.path().join("out").exists());
}

#[test]
fn values_of_secret_variables_are_in_no_message() {
    let folder = world();
    let text = "CREATE STREAM t USING rate OPTIONS ('rowsPerSecond' '${API_TOKEN}'); CREATE SINK s USING noop;
        INSERT INTO s SELECT value FROM t;";
    fs::write(folder.path().join("secret.sql"), text).expect("a file");
    let mut command = headwater(folder.path(), &["run", "secret.sql"]);
    let output = command
        .env("API_TOKEN", "hush-4711")
        .output()
        .expect("it runs");
    assert_ends(&output, 2);
    let error = self::text(&output.stderr);
    assert!(error.contains("rowsPerSecond"), "{error}");
    assert!(
        error.contains("${API_TOKEN}") && !error.contains("4711"),
        "{error}"
    );
}

#[test]
fn a_run_works_through_what_is_there_and_the_next_goes_on() {
    let folder = world();
    let first = run(folder.path(), &["run", "errors.sql", "--available-now"]);
    assert_ends(&first, 0);
    let said = text(&first.stderr);
    assert!(
        said.contains("errors_by_host: 31 epochs, 120 rows in, 87 out"),
        "{said}"
    );
    assert_all_is_written(folder.path());
    let again = run(
        folder.path(),
        &["run", "errors.sql", "--available-now", "--progress", "json"],
    );
    assert_ends(&again, 0);
    assert_eq!((text(&again.stdout), text(&again.stderr)), ("", ""));
    assert_all_is_written(folder.path());

    let checkpoint = "checkpoints/errors/errors_by_host";
    let state = run(folder.path(), &["state", checkpoint]);
    assert_ends(&state, 0);
    assert!(
        text(&state.stdout).contains("aggregate-0"),
        "{}",
        text(&state.stdout)
    );
    let rows = ["state", checkpoint, "aggregate-0", "--limit", "2"];
    let rows = run(folder.path(), &rows);
    assert_ends(&rows, 0);
    assert!(text(&rows.stdout).ends_with("the first 2 rows; --limit 0 shows all\n"));
    let sql = [
        "state",
        checkpoint,
        "aggregate-0",
        "--sql",
        "SELECT count(*) AS keys FROM state",
    ];
    let counted = run(folder.path(), &sql);
    assert_ends(&counted, 0);
    assert!(
        text(&counted.stdout).contains("| 3    |"),
        "{}",
        text(&counted.stdout)
    );
}

/// Reads what the child says until a line holds `word`; whether one did.
fn has_said(child: &mut Child, word: &str) -> bool {
    let said = child.stderr.take().expect("it is caught");
    let mut lines = BufReader::new(said);
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        if lines.read_line(&mut line).expect("text") == 0 {
            return false;
        }
    }
    child.stderr = Some(lines.into_inner());
    true
}

#[cfg(unix)]
#[test]
fn ctrl_c_lets_the_epoch_finish_and_the_next_run_loses_and_doubles_nothing() {
    let folder = world();
    for signal in ["-INT", "-TERM"] {
        let mut child = headwater(folder.path(), &["run", "errors.sql"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        assert!(has_said(&mut child, "started"));
        let killed = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(killed.expect("kill runs").success());
        let ended = child.wait_with_output().expect("it ends");
        assert_ends(&ended, 0);
    }
    let rest = run(folder.path(), &["run", "errors.sql", "--available-now"]);
    assert_ends(&rest, 0);
    assert_all_is_written(folder.path());
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_stops_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // One epoch over all that could have happened since 1970.
    let endless = "CREATE STREAM bids USING nexmark OPTIONS ('table' 'bid', 'eventsPerSecond' 1000000, 'startTimestamp' 0);
        CREATE SINK nothing USING noop; INSERT INTO nothing SELECT price FROM bids WHERE price < 0;";
    fs::write(folder.path().join("endless.sql"), endless).expect("a file");
    let mut child = headwater(folder.path(), &["run", "endless.sql", "--progress", "log"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    for line in ["started", "stopping"] {
        assert!(has_said(&mut child, line), "{line}");
        let killed = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(killed.expect("kill runs").success());
    }
    let ended = child.wait_with_output().expect("it ends");
    assert_ends(&ended, 130);
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_anywhere_loses_and_doubles_nothing() {
    let folder = world();
    for epochs in [1, 2, 5] {
        let mut child = headwater(folder.path(), &["run", "errors.sql", "--progress", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command runs");
        let reports = BufReader::new(child.stdout.take().expect("it is caught"));
        for report in reports.lines().take(epochs) {
            assert!(report.expect("text").starts_with("{\"id\""));
        }
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
    let rest = run(folder.path(), &["run", "errors.sql", "--available-now"]);
    assert_ends(&rest, 0);
    assert_all_is_written(folder.path());
}
