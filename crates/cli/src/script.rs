//! The text of a pipeline: read, and its variables filled.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
};

use headwater::core::secret::is_secret;

use crate::{
    args::PipelineArgs,
    exit::Failure,
    variables::{self, Unfilled},
};

/// The text of a pipeline and where it came from.
#[derive(Debug)]
pub(crate) struct Script {
    /// What messages call it: the path, or `standard input`.
    pub(crate) origin: String,
    /// The name of the file without its ending, for what is named after it.
    pub(crate) stem: String,
    /// The statements, with values in place of variables.
    pub(crate) text: String,
    values: Values,
}

impl Script {
    /// A message about this pipeline, without values of secret variables.
    pub(crate) fn without_secrets(&self, message: &str) -> String {
        self.values.without_secrets(message)
    }
}

/// What variables stand for: the values given with `--set`, else the environment's.
#[derive(Debug, Default)]
pub(crate) struct Values {
    given: Vec<(String, String)>,
    /// Variables that were used and whose names say that their values are secrets.
    secrets: Vec<(String, String)>,
}

impl Values {
    /// With these from `--set`; the last one of a name counts.
    pub(crate) fn new(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            secrets: Vec::new(),
        }
    }

    fn of(&self, name: &str) -> Option<String> {
        let set = self.given.iter().rev().find(|(set, _)| set == name);
        set.map(|(_, value)| value.clone())
            .or_else(|| std::env::var(name).ok())
    }

    /// A text with values in place of variables, and the variables that it uses.
    ///
    /// # Errors
    /// If a variable has no value or cannot be read; with the line.
    pub(crate) fn fill(&mut self, text: &str) -> Result<(String, BTreeSet<String>), Unfilled> {
        let (text, used) = variables::fill(text, |name| self.of(name))?;
        for name in used.iter().filter(|name| is_secret(name)) {
            let value = self.of(name).filter(|value| !value.is_empty());
            let is_new = |value: &String| !self.secrets.iter().any(|(_, known)| known == value);
            if let Some(value) = value.filter(is_new) {
                self.secrets.push((name.clone(), value));
            }
        }
        Ok((text, used))
    }

    /// A message without values of secret variables.
    pub(crate) fn without_secrets(&self, message: &str) -> String {
        let shown = message.to_owned();
        self.secrets.iter().fold(shown, |shown, (name, value)| {
            shown.replace(value, &format!("${{{name}}}"))
        })
    }
}

/// Reads a pipeline and fills `${NAME}` from `--set`, else from the environment.
///
/// # Errors
/// `Wrong` if it cannot be read, is not UTF-8, or a variable has no value.
pub(crate) fn read(args: &PipelineArgs) -> Result<Script, Failure> {
    let (origin, stem, text) = match args.file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::wrong(format!("cannot read standard input: {error}")))?;
            ("standard input".to_owned(), "pipeline".to_owned(), text)
        }
        false => (
            args.file.display().to_string(),
            stem(&args.file),
            read_file(&args.file)?,
        ),
    };
    let variables = &args.session.variables;
    let mut values = Values::new(variables.clone());
    let (text, used) = values.fill(&text).map_err(|wrong| {
        Failure::wrong(format!("{origin}, line {}: {}", wrong.line, wrong.message))
    })?;
    if let Some((unused, _)) = variables.iter().find(|(name, _)| !used.contains(name)) {
        return Err(Failure::wrong(format!(
            "--set {unused}: there is no ${{{unused}}} in {origin}"
        )));
    }
    Ok(Script {
        values,
        origin,
        stem,
        text,
    })
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy());
    stem.map_or_else(|| "pipeline".to_owned(), |stem| stem.into_owned())
}

/// The text of a file.
///
/// # Errors
/// `Wrong` if it cannot be read or is not UTF-8.
pub(crate) fn read_file(file: &PathBuf) -> Result<String, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::wrong(format!("cannot read the pipeline {shown}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Failure::wrong(format!(
            "the pipeline {shown} is not text in UTF-8: line {line} holds other bytes"
        ))
    })
}
