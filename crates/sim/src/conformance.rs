//! Runs scenario files and judges each.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use headwater_core::{Error, Result};

use crate::{
    compare::{self, Difference, Outcome},
    run,
    scenario::{AREAS, Scenario},
};

/// A scenario that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(120);

/// What became of one scenario.
#[derive(Debug)]
pub enum Verdict {
    /// Everything as recorded.
    Passed,
    /// The first difference.
    Differs(Difference),
    /// The scenario could not be played.
    Unplayable(Error),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Passed => "as recorded".to_owned(),
            Self::Differs(difference) => difference.to_string(),
            Self::Unplayable(error) => format!("cannot be played: {error}"),
        };
        // One line a scenario, whatever the messages hold.
        f.write_str(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// One scenario and what became of it.
#[derive(Debug)]
pub struct Run {
    /// The scenario's name, or the file's if it is none.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why the query was refused or failed, as was expected.
    pub error: Option<String>,
}

impl Run {
    /// The expected error, for a report.
    pub fn remark(&self) -> String {
        match &self.error {
            None => String::new(),
            Some(error) => format!(
                ": {}",
                error.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        }
    }
}

/// The scenario files in these folders (not in folders below), by name; a path that is a file is taken as it is.
///
/// # Errors
/// `Unavailable` if a folder cannot be listed.
pub fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_file() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |error| {
            Error::unavailable(format!("cannot list {}", path.display())).with_source(error)
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.push(file);
            }
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Plays one scenario file. Nothing that goes wrong in it ends the program.
pub async fn run_file(file: &Path) -> Run {
    let scenario = match Scenario::read(file) {
        Ok(scenario) => scenario,
        Err(error) => {
            return Run {
                name: file
                    .file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                verdict: Verdict::Unplayable(error),
                error: None,
            };
        }
    };
    let name = scenario.name.clone();
    // In a task of its own, so that a panic is this scenario's failure only.
    let task = tokio::spawn(async move { judge(&scenario).await });
    let abort = task.abort_handle();
    let (verdict, error) = match tokio::time::timeout(LONGEST, task).await {
        Ok(Ok(judged)) => judged,
        Ok(Err(panic)) => (
            Verdict::Unplayable(Error::internal("the engine panicked").with_source(panic)),
            None,
        ),
        Err(_) => {
            abort.abort();
            let seconds = LONGEST.as_secs();
            let error = Error::internal(format!("it did not end within {seconds} seconds"));
            (Verdict::Unplayable(error), None)
        }
    };
    Run {
        name,
        verdict,
        error,
    }
}

async fn judge(scenario: &Scenario) -> (Verdict, Option<String>) {
    if !AREAS.contains(&scenario.area.as_str()) {
        let error = Error::data(format!("unknown area '{}'", scenario.area));
        return (Verdict::Unplayable(error), None);
    }
    let found = match Box::pin(run::play(scenario)).await {
        Ok(found) => found,
        Err(error) => return (Verdict::Unplayable(error), None),
    };
    let verdict = match compare::compare(scenario, &found) {
        Ok(None) => Verdict::Passed,
        Ok(Some(difference)) => Verdict::Differs(difference),
        Err(error) => Verdict::Unplayable(error),
    };
    let error = match &found.outcome {
        Outcome::Ok => None,
        Outcome::RefusedBuilding(error)
        | Outcome::RefusedStarting(error)
        | Outcome::Failed(error) => Some(error.to_string()),
    };
    (verdict, error)
}
