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
fn plans_are_printed_as_they_are() {
    let folder = world();
    fs::write(folder.path().join("logs.sql"), LOGS).expect("a file");
    let query = "EXPLAIN STREAMING SELECT host, count(*) AS n FROM logs GROUP BY host";
    let explained = run(folder.path(), &["sql", "logs.sql", "-c", query]);
    assert_ends(&explained, 0);
    let plan = text(&explained.stdout);
    assert!(plan.starts_with("in update mode:\nreads "), "{plan}");
    let json = ["sql", "logs.sql", "--format", "json", "-c", query];
    let json = run(folder.path(), &json);
    assert!(text(&json.stdout).starts_with("{\"plan\":\"in update mode:\"}\n"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_queries_in_good_order() {
    let folder = world();
    let mut child = headwater(folder.path(), &["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("it is ours");
    writeln!(
        stdin,
        "{LOGS} CREATE SINK kept USING parquet LOCATION 'out'; INSERT INTO kept SELECT * FROM logs; SELECT 1 AS one;"
    )
    .expect("it reads");
    let mut lines = BufReader::new(child.stdout.take().expect("it is ours")).lines();
    let answer = [lines.next(), lines.next()].map(|line| line.expect("a line").expect("text"));
    assert_eq!(answer, ["one", "1"]);
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let ended = child.wait_with_output().expect("it ends");
    assert_ends(&ended, 130);
    let said = text(&ended.stderr);
    assert!(
        said.contains("\nkept: ") && said.contains("error: interrupted: "),
        "{said}"
    );
    drop(stdin);
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

/// A shell at a terminal of its own, which Python makes: its input comes from a pipe, its output goes into one.
#[cfg(unix)]
mod terminal {
    use std::{
        io::Read,
        path::PathBuf,
        process::{Child, ChildStdin, ChildStdout, Command},
    };

    use super::*;

    const TERMINAL: &str = "import os, pty, sys\n\
        sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

    struct Terminal {
        child: Child,
        keys: ChildStdin,
        screen: ChildStdout,
        seen: String,
    }

    impl Terminal {
        /// None where there is no Python that can do it.
        fn open(folder: &Path) -> Option<Self> {
            let is_there = Command::new("python3")
                .args(["-c", "import os, pty; os.waitstatus_to_exitcode"])
                .stderr(Stdio::null())
                .status();
            if !is_there.is_ok_and(|status| status.success()) {
                return None;
            }
            let mut child = Command::new("python3")
                .args([
                    "-c",
                    TERMINAL,
                    env!("CARGO_BIN_EXE_headwater"),
                    "sql",
                    "logs.sql",
                ])
                .current_dir(folder)
                .env("FOLDER", ".")
                .env("TERM", "xterm")
                .env("XDG_STATE_HOME", folder.join("state"))
                .env_remove("HEADWATER_LOG")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            let keys = child.stdin.take().expect("it is ours");
            let screen = child.stdout.take().expect("it is ours");
            Some(Self {
                child,
                keys,
                screen,
                seen: String::new(),
            })
        }

        fn press(&mut self, keys: &str) {
            self.keys.write_all(keys.as_bytes()).expect("it reads");
            self.keys.flush().expect("it reads");
        }

        /// Waits until the terminal has shown a text, behind whatever was waited for before.
        #[track_caller]
        fn shows(&mut self, text: &str) {
            let mut bytes = [0; 4_096];
            while !self.seen.contains(text) {
                let read = self.screen.read(&mut bytes).expect("it writes");
                assert!(read > 0, "'{text}' never came, but {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            let end = self.seen.find(text).expect("it is there") + text.len();
            self.seen.drain(..end);
        }
    }

    fn history(folder: &Path) -> PathBuf {
        folder.join("state/headwater/history")
    }

    #[test]
    fn somebody_asks_looks_and_leaves() {
        let folder = world();
        fs::write(folder.path().join("logs.sql"), LOGS).expect("a file");
        let Some(mut terminal) = Terminal::open(folder.path()) else {
            return;
        };
        terminal.shows("headwater> ");
        terminal.press("SELECT 1 +\r");
        terminal.press("1 AS two;\r");
        terminal.shows("|   2 |");
        terminal.shows("1 row (");
        terminal.shows("headwater> ");
        terminal.press("SELECT tiem FROM logs;\r");
        terminal.shows("did you mean 'time'?");
        terminal.shows("headwater> ");
        terminal.press("SELECT host, count(*) AS n FROM lo\t");
        terminal.shows("logs");
        terminal.press(" GROUP BY host ORDER BY host;\r");
        terminal.shows("| a    | 60 |");
        terminal.press("q");
        terminal.shows("120 rows in");
        terminal.shows("headwater> ");
        terminal.press("CREATE SINK s USING noop OPTIONS ('password' 'hush');\r");
        terminal.shows("error: ");
        terminal.shows("headwater> ");
        terminal.press("CREATE SINK kept USING parquet LOCATION 'out'; INSERT INTO kept SELECT host FROM logs;\r");
        terminal.shows("kept: started, into kept, checkpoint checkpoints/sql/kept");
        terminal.shows("headwater> ");
        terminal.press("\x04");
        terminal.shows("stopping kept");
        terminal.shows("kept: ");
        let ended = terminal.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}");
        let history = fs::read_to_string(history(folder.path())).expect("it is kept");
        assert!(history.contains("SELECT 1 +\\n1 AS two;"), "{history}");
        assert!(!history.contains("hush"), "{history}");
    }
}
