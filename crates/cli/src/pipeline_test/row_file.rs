//! Which files hold rows, and in which form.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::exit::Failure;

/// The column of lines of text.
pub(crate) const VALUE: &str = "value";

/// How rows lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    Json,
    Csv,
    Parquet,
    /// A line is a row, of one column.
    Text,
}

impl RowFormat {
    /// The format that a file's ending says.
    ///
    /// # Errors
    /// `Wrong` for other endings.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let ending = path.extension().map(|ending| ending.to_string_lossy());
        match ending.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("json" | "jsonl" | "ndjson") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some("txt" | "log") => Ok(Self::Text),
            _ => Err(Failure::wrong(format!(
                "{}: the ending of a file of rows says what it holds, and is .json (or .jsonl, .ndjson: an object a \
                 line), .csv, .parquet or .txt (or .log: lines)",
                path.display()
            ))),
        }
    }

    /// The format's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Text => "text",
        }
    }
}

/// The text of a file.
///
/// # Errors
/// `Wrong` if it cannot be read or is not UTF-8.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::wrong(format!("cannot read {}: {error}", path.display()))
    };
    let bytes = fs::read(path).map_err(|error| wrong(&error))?;
    String::from_utf8(bytes).map_err(|error| wrong(&error))
}

/// The files that a path names: itself or, of a folder, those in it in the order of their names. Hidden ones are passed
/// over.
///
/// # Errors
/// `Wrong` if there is nothing, or the ending of a file says nothing.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong =
        |error: std::io::Error| Failure::wrong(format!("cannot read {}: {error}", path.display()));
    let mut files = Vec::new();
    if fs::metadata(path).map_err(wrong)?.is_dir() {
        for entry in fs::read_dir(path).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            let is_hidden = name.to_string_lossy().starts_with(['_', '.']);
            if !is_hidden && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(Failure::wrong(format!(
                "the folder {} holds no files",
                path.display()
            )));
        }
    } else {
        files.push(path.to_path_buf());
    }
    for file in &files {
        RowFormat::of(file)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format() {
        for (name, format) in [
            ("a.json", Some(RowFormat::Json)),
            ("a.b.JSONL", Some(RowFormat::Json)),
            ("a.ndjson", Some(RowFormat::Json)),
            ("a.csv", Some(RowFormat::Csv)),
            ("a.parquet", Some(RowFormat::Parquet)),
            ("a.json.gz", None),
            ("a.log", Some(RowFormat::Text)),
            ("json", None),
        ] {
            assert_eq!(RowFormat::of(Path::new(name)).ok(), format, "{name}");
        }
    }
}
