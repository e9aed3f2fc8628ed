//! The text of a pipeline: read, and its variables filled.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use headwater::core::secret::is_secret;

use crate::{args::PipelineArgs, exit::Failure, variables};

/// The text of a pipeline and where it came from.
#[derive(Debug)]
pub(crate) struct Script {
    /// What messages call it: the path, or `standard input`.
    pub(crate) origin: String,
    /// The name of the file without its ending, for what is named after it.
    pub(crate) stem: String,
    /// The statements, with values in place of variables.
    pub(crate) text: String,
    /// Variables whose names say that their values are secrets.
    secrets: Vec<(String, String)>,
}

impl Script {
    /// A message about this pipeline, without values of secret variables.
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
    let given = |name: &str| {
        let set = args.variables.iter().rev().find(|(set, _)| set == name);
        set.map(|(_, value)| value.clone())
            .or_else(|| std::env::var(name).ok())
    };
    let (text, used) = variables::fill(&text, given).map_err(|wrong| {
        Failure::wrong(format!("{origin}, line {}: {}", wrong.line, wrong.message))
    })?;
    if let Some((unused, _)) = args.variables.iter().find(|(name, _)| !used.contains(name)) {
        return Err(Failure::wrong(format!(
            "--set {unused}: there is no ${{{unused}}} in {origin}"
        )));
    }
    let is_hidden = |name: &String| is_secret(name);
    let secrets = used.into_iter().filter(is_hidden);
    let secrets = secrets.filter_map(|name| given(&name).map(|value| (name, value)));
    Ok(Script {
        secrets: secrets.filter(|(_, value)| !value.is_empty()).collect(),
        origin,
        stem,
        text,
    })
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy());
    stem.map_or_else(|| "pipeline".to_owned(), |stem| stem.into_owned())
}

fn read_file(file: &PathBuf) -> Result<String, Failure> {
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
