//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

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

    /// Show what the operators of a query remember, while it runs or after
    #[command(after_help = "\
Examples:
  headwater state checkpoints/pipeline/errors
  headwater state checkpoints/pipeline/errors aggregate-0 --version 4
  headwater state checkpoints/pipeline/errors aggregate-0 --changes 3..4
  headwater state checkpoints/pipeline/errors aggregate-0 --sql 'SELECT count(*) FROM state'")]
    State(StateArgs),

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

    /// Fills ${NAME} in the file; goes before the environment. Can be given several times
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
