//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use headwater::core::options::parse_duration;

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or stopped with Ctrl-C after the running epoch was committed
  1    a query failed, or a test of a pipeline did
  2    the command line or the pipeline is wrong; nothing was started
  130  stopped at once by a second Ctrl-C; the next run goes on from the last commit";

/// Structured streaming from SQL: write a query as if the table were finished, and it is answered as the table grows.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Args {
    /// What to log to standard error: error, warn (the default), info, debug, or a filter such as
    /// headwater_engine=debug
    #[arg(long, global = true, value_name = "FILTER", env = "HEADWATER_LOG")]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the queries of a pipeline until they are done, or until Ctrl-C
    #[command(after_help = "\
Examples:
  headwater run pipeline.sql
  headwater run pipeline.sql --available-now --checkpoint s3://bucket/checkpoints
  headwater run pipeline.sql --set INPUT=data/logs --progress json

Ctrl-C lets the running epoch finish and commits it; a second Ctrl-C stops at once. Either way nothing is lost or
doubled: the next run goes on where this one was.")]
    Run(RunArgs),

    /// Ask tables and streams in SQL, one statement after another
    #[command(after_help = "\
Examples:
  headwater sql
  headwater sql definitions.sql --set INPUT=data/logs
  headwater sql definitions.sql -c 'SELECT host, count(*) AS n FROM requests GROUP BY host'
  echo 'SELECT 1 AS one;' | headwater sql --format json

On a terminal: Tab completes, the arrow keys go through the history, Ctrl-R searches it, and a statement goes on until
its semicolon. A SELECT over a stream is drawn in place until a key is pressed. Ctrl-D leaves; the running epochs of
queries finish first and are committed.

Elsewhere, and with -c: statements are carried out in their order until one fails; a SELECT over a stream answers from
what is there now.")]
    Sql(SqlArgs),

    /// Plan a pipeline and start nothing: for editors and CI
    #[command(after_help = "\
Examples:
  headwater check pipeline.sql
  headwater check - < pipeline.sql

Prints a line for each query. Exit code 2 and the place of the mistake if the pipeline is wrong.")]
    Check(PipelineArgs),

    /// Show how the queries of a pipeline are answered: what is kept in state, for how long, and what is late
    #[command(after_help = "\
Example:
  headwater explain pipeline.sql")]
    Explain(PipelineArgs),

    /// Test a pipeline: recorded rows in, epoch by epoch on a clock of its own, rows out, compared with a file
    #[command(after_help = "\
Examples:
  headwater test pipeline.sql --input logs=logs.json
  headwater test pipeline.sql --input logs=logs.json --expect errors.json --update
  headwater test pipeline.sql --input logs=logs.json --expect errors.json
  headwater test pipeline.sql --input clicks=clicks/ --input ads=ads.csv --expect joined=out.csv --expect joined.late=late.csv

Each file is one epoch of its stream, or several with a line --- between them. Without --expect the rows are printed,
epoch by epoch; with --update they become what is expected. Sinks and checkpoints are not touched.")]
    Test(TestArgs),

    /// Show what the operators of a query remember, while it runs or after
    #[command(after_help = "\
Examples:
  headwater state checkpoints/pipeline/errors
  headwater state checkpoints/pipeline/errors aggregate-0 --version 4
  headwater state checkpoints/pipeline/errors aggregate-0 --changes 3..4
  headwater state checkpoints/pipeline/errors aggregate-0 --sql 'SELECT count(*) FROM state'")]
    State(StateArgs),

    /// Show a query's checkpoint, while it runs or after: its epochs, offsets, watermarks and state; verify every file
    #[command(after_help = "\
Examples:
  headwater checkpoint checkpoints/pipeline/errors
  headwater checkpoint checkpoints/pipeline/errors --verify
  headwater checkpoint s3://bucket/checkpoints/errors --last 100 --json

--verify reads every file that the checkpoint refers to, with its checksums. Exit code 1 if one is damaged or missing.")]
    Checkpoint(CheckpointArgs),

    /// Print a script that completes this command's arguments in a shell
    #[command(after_help = "\
Example:
  headwater completions bash > ~/.local/share/bash-completion/completions/headwater")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A pipeline, and how its session is made.
#[derive(Debug, ClapArgs)]
pub(crate) struct PipelineArgs {
    /// The file with the SQL statements; - reads standard input
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// How a session is made, and what ${NAME} means in its statements.
#[derive(Debug, ClapArgs)]
pub(crate) struct SessionArgs {
    /// Fills ${NAME} in the statements; goes before the environment. Can be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) variables: Vec<(String, String)>,

    /// Functions and types of Spark instead of DataFusion's
    #[arg(long)]
    pub(crate) spark: bool,

    /// Time zone in which timestamps are shown as dates and hours
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) time_zone: String,
}

/// How to run a pipeline.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,

    /// Folder or URL in which each query keeps its checkpoint, under its name. Without it, queries that write files or
    /// the like use checkpoints/FILE, and those that print use none
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<String>,

    /// One epoch for each query, with everything that its limits let in
    #[arg(long, conflicts_with = "available_now")]
    pub(crate) once: bool,

    /// Work through what is there now, in as many epochs as the limits ask for, and end
    #[arg(long)]
    pub(crate) available_now: bool,

    /// How to tell what is going on: live on a terminal and log lines elsewhere (auto), or always one of them, or one
    /// line of JSON for each epoch on standard output
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,
}

/// How a run tells what is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Live on a terminal, log lines elsewhere
    Auto,
    /// A status that is drawn again and again, on standard error
    Live,
    /// A line for each epoch, on standard error
    Log,
    /// A line of JSON for each epoch, on standard output
    Json,
    /// Nothing
    None,
}

/// What to feed a pipeline, and what is to come out.
#[derive(Debug, ClapArgs)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,

    /// Rows of a stream: a .json (an object a line), .csv, .parquet or .txt (lines) file, or a folder of such. Each file is one epoch,
    /// or several with a line --- between them. Can be given several times, for one stream too
    #[arg(long = "input", value_name = "STREAM=FILE", value_parser = name_and_file)]
    pub(crate) inputs: Vec<(String, PathBuf)>,

    /// The rows that are to come out of the query, or into its sink of late rows (QUERY.late): of the run as a whole,
    /// or epoch by epoch with a line --- between them. Without it, rows are printed
    #[arg(long = "expect", value_name = "[QUERY=]FILE", value_parser = file_of_query)]
    pub(crate) expected: Vec<(Option<String>, PathBuf)>,

    /// Rows must come in the order of the file
    #[arg(long)]
    pub(crate) ordered: bool,

    /// Write what comes out into the expected files
    #[arg(long, visible_alias = "write", requires = "expected")]
    pub(crate) update: bool,

    /// What time it is in the first epoch, in UTC
    #[arg(long, value_name = "TIME", default_value = "2024-01-01T00:00:00Z", value_parser = instant)]
    pub(crate) start: i64,

    /// How much later it is in each following epoch
    #[arg(long, value_name = "INTERVAL", default_value = "1 second", value_parser = interval)]
    pub(crate) step: Duration,
}

fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(file)))
        }
        _ => Err("write STREAM=FILE, such as clicks=clicks.json".to_owned()),
    }
}

/// What stands before `=` is a query if it could be one and no folder.
fn file_of_query(text: &str) -> Result<(Option<String>, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !name.contains(['/', '\\']) => match file {
            "" => Err("write QUERY=FILE, such as errors=errors.json".to_owned()),
            file => Ok((Some(name.to_owned()), PathBuf::from(file))),
        },
        _ => Ok((None, PathBuf::from(text))),
    }
}

/// Milliseconds since 1970.
fn instant(text: &str) -> Result<i64, String> {
    let nanos = string_to_timestamp_nanos(text)
        .map_err(|_| "write a time such as 2024-01-01T00:00:00Z".to_owned())?;
    Ok(nanos.div_euclid(1_000_000))
}

fn interval(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// What to ask, and how to answer.
#[derive(Debug, ClapArgs)]
pub(crate) struct SqlArgs {
    /// Files of statements that are carried out first; - reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) session: SessionArgs,

    /// Carries these statements out, and ends
    #[arg(short = 'c', long = "command", value_name = "STATEMENTS")]
    pub(crate) command: Option<String>,

    /// Folder or URL in which each query keeps its checkpoint, under its name. Without it, queries that write files or
    /// the like use checkpoints/sql, and those that print use none
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<String>,

    /// How rows are printed; auto is a table on a terminal, and csv elsewhere
    #[arg(long, value_enum, default_value_t = RowFormat::Auto)]
    pub(crate) format: RowFormat,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// A table on a terminal, CSV elsewhere
    Auto,
    /// A table for people
    Table,
    /// Values with commas between them, after a line of names
    Csv,
    /// An object for each row, a line each
    Json,
}

/// Whose state to show, and as of when.
#[derive(Debug, ClapArgs)]
pub(crate) struct StateArgs {
    /// The checkpoint of a query: a folder or URL
    pub(crate) checkpoint: String,

    /// The operator whose rows to show; without it, the operators are listed
    pub(crate) operator: Option<String>,

    /// One of the operator's stores, such as one side of a join
    #[arg(long, value_name = "NAME", requires = "operator")]
    pub(crate) store: Option<String>,

    /// As it was after this epoch; the newest is shown without it
    #[arg(
        long,
        value_name = "EPOCH",
        requires = "operator",
        conflicts_with = "changes"
    )]
    pub(crate) version: Option<u64>,

    /// What changed between two epochs: FROM..TO, or ..TO from the beginning on
    #[arg(long, value_name = "FROM..TO", requires = "operator", value_parser = versions)]
    pub(crate) changes: Option<Versions>,

    /// A query over the rows, which are the table 'state'
    #[arg(long, value_name = "QUERY", requires = "operator")]
    pub(crate) sql: Option<String>,

    /// How many rows to show; 0 shows all
    #[arg(long, value_name = "ROWS", default_value_t = 50)]
    pub(crate) limit: usize,
}

/// Which checkpoint to show, and how.
#[derive(Debug, ClapArgs)]
pub(crate) struct CheckpointArgs {
    /// The checkpoint of a query: a folder or URL
    pub(crate) checkpoint: String,

    /// How many of the newest epochs to show; 0 shows all that are kept
    #[arg(long, value_name = "EPOCHS", default_value_t = 10)]
    pub(crate) last: usize,

    /// Read every file that the checkpoint refers to, and check sizes and checksums
    #[arg(long)]
    pub(crate) verify: bool,

    /// One object of JSON, with offsets whole
    #[arg(long)]
    pub(crate) json: bool,
}

/// Two versions of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// None: before the first epoch.
    pub(crate) from: Option<u64>,
    pub(crate) to: u64,
}

fn versions(text: &str) -> Result<Versions, String> {
    let wrong = || "write FROM..TO, two numbers of epochs, or ..TO".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let from = match from {
        "" => None,
        from => Some(from.parse().map_err(|_| wrong())?),
    };
    let to = to.parse().map_err(|_| wrong())?;
    Ok(Versions { from, to })
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if crate::variables::is_name(name) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE, the name in letters, digits and _".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_variable_has_a_name_and_a_value() {
        let set = |text| name_and_value(text).map_err(drop);
        assert_eq!(set("A_1=b=c"), Ok(("A_1".to_owned(), "b=c".to_owned())));
        assert_eq!(set("A="), Ok(("A".to_owned(), String::new())));
        for wrong in ["", "A", "=b", "1A=b", "a-b=c"] {
            assert_eq!(set(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn an_expected_file_may_say_its_query() {
        let file = |text| file_of_query(text).map_err(drop);
        let of =
            |name: Option<&str>, file: &str| Ok((name.map(str::to_owned), PathBuf::from(file)));
        assert_eq!(file("a.json"), of(None, "a.json"));
        assert_eq!(file("q=a.json"), of(Some("q"), "a.json"));
        assert_eq!(file("q.late=a=b.json"), of(Some("q.late"), "a=b.json"));
        assert_eq!(file("out/day=1.json"), of(None, "out/day=1.json"));
        assert_eq!(file("q="), Err(()));
        assert!(name_and_file("clicks").is_err());
    }

    #[test]
    fn a_test_begins_at_an_instant_in_utc() {
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(instant("1970-01-01 00:00:01.5"), Ok(1_500));
        assert_eq!(instant("1969-12-31T23:59:59.999Z"), Ok(-1));
        assert!(instant("soon").is_err());
    }

    #[test]
    fn changes_lie_between_two_versions() {
        let parsed = |text| versions(text).map_err(drop);
        let between = |from, to| Ok(Versions { from, to });
        assert_eq!(parsed("3..7"), between(Some(3), 7));
        assert_eq!(parsed("..7"), between(None, 7));
        for wrong in ["", "3", "3..", "..", "a..7", "3...7", "-1..7"] {
            assert_eq!(parsed(wrong), Err(()), "{wrong}");
        }
    }
}
