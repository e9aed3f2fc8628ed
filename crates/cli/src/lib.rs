//! The `headwater` command: streaming pipelines from SQL text and a terminal.
//!
//! ```text
//!  args ─► commands::{run, sql, check, explain, test, state, checkpoint} ─► headwater
//!            │ script: files and ${NAMES} → text
//!            │ shell: statements as they are typed
//!            │ status: what a person sees while it runs
//!            └ exit: what a shell script sees when it ends
//! ```
//!
//! The command holds no knowledge of streams: whatever it can do, a program can do with the `headwater` crate.

mod args;
mod checkpoint_text;
mod checkpoints;
mod commands;
mod exit;
mod interrupt;
mod memory;
mod pipeline;
mod pipeline_test;
mod screen;
mod script;
mod shell;
mod status;
mod table;
mod variables;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};

use self::{
    args::{Args, Command},
    exit::Failure,
};

/// What is logged where failures of queries are told otherwise.
const QUIET: &str = "warn,headwater_engine::supervise=off";

/// Runs the command with these arguments, the program's name first; what the process is to end with.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and the version are asked for; they are no failure. Nobody reads what cannot be printed.
            let _ = error.print();
            let code = if error.use_stderr() { exit::WRONG } else { 0 };
            return ExitCode::from(code);
        }
    };
    // The shell tells of queries that fail itself.
    let quiet = matches!(args.command, Command::Sql(_)).then_some(QUIET);
    status::log::start(args.log.as_deref().or(quiet));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(args.command));
            // A reader of standard input cannot be cancelled, and nobody waits for it.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::failed(format!("cannot start threads: {error}"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(run) => commands::run::run(run).await,
        Command::Sql(sql) => commands::sql::sql(sql).await,
        Command::Check(check) => commands::check::check(check).await,
        Command::Explain(explain) => commands::explain::explain(explain).await,
        Command::Test(test) => Box::pin(commands::test::test(test)).await,
        Command::State(state) => commands::state::state(state).await,
        Command::Checkpoint(args) => commands::checkpoint::checkpoint(args).await,
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "headwater", &mut out);
            exit::print(&String::from_utf8_lossy(&out))
        }
    }
}
