//! Runs folders of recorded scenarios and reports what differs.
//!
//! `conformance [--area A,B] [--only NAME] [--differences FILE] [-v] DIR…`: one line for each scenario that fails,
//! then `N passed, M failed, K listed`. Exits with 1 if any failed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use headwater_core::{Error, Result};
use headwater_sim::{
    conformance::{self, Verdict},
    listed,
    scenario::Scenario,
};

/// Runs recorded scenarios and reports what differs.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Arguments {
    /// Folders of scenario files, or single files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only these areas.
    #[arg(long, value_delimiter = ',')]
    area: Vec<String>,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// The page that lists the known differences, instead of this repository's.
    #[arg(long)]
    differences: Option<PathBuf>,
    /// Also names the scenarios that pass or are listed.
    #[arg(short, long)]
    verbose: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("conformance: {error}"));
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report of a command")]
fn say(line: &str) {
    println!("{line}");
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let listed: BTreeMap<String, String> = match &arguments.differences {
        None => listed::parse(listed::DIFFERENCES)?,
        Some(path) => {
            let page = std::fs::read_to_string(path).map_err(|error| {
                Error::unavailable(format!("cannot read {}", path.display())).with_source(error)
            })?;
            listed::parse(&page)?
        }
    };
    let (mut passed, mut failed, mut apart) = (0_usize, 0_usize, 0_usize);
    for file in conformance::scenario_files(&arguments.paths)? {
        if !wanted(arguments, &file) {
            continue;
        }
        let run = conformance::run_file(&file).await;
        let (name, verdict) = (&run.name, &run.verdict);
        match (listed.get(name), verdict) {
            (Some(reason), verdict) => {
                apart += 1;
                if arguments.verbose {
                    say(&format!("listed {name} ({reason}): {verdict}"));
                }
            }
            (None, Verdict::Passed) => {
                passed += 1;
                if arguments.verbose {
                    say(&format!("passed {name}{}", run.remark()));
                }
            }
            (None, verdict) => {
                failed += 1;
                say(&format!("failed {name}: {verdict}"));
            }
        }
    }
    say(&format!("{passed} passed, {failed} failed, {apart} listed"));
    Ok(failed == 0)
}

/// Whether the flags ask for this file; one that cannot be read is never left out.
fn wanted(arguments: &Arguments, file: &Path) -> bool {
    let Ok(scenario) = Scenario::read(file) else {
        return true;
    };
    let area = arguments.area.is_empty() || arguments.area.contains(&scenario.area);
    let only = arguments.only.as_ref();
    area && only.is_none_or(|part| scenario.name.contains(part))
}
