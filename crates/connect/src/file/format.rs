//! The file formats, by the names users give them.

use std::{fmt, str::FromStr};

use headwater_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How rows lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Json,
    /// Separated values, one record a line.
    Csv,
    /// Lines of text, one column.
    Text,
    /// Arrow IPC, file or stream form.
    Arrow,
}

impl FileFormat {
    /// The name users write and the checkpoint remembers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Arrow => "arrow",
        }
    }

    /// The ending of a file of this format, without the dot.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            other => other.name(),
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FileFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "json" | "jsonl" | "ndjson" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "text" => Ok(Self::Text),
            "arrow" | "ipc" | "arrow-ipc" | "feather" => Ok(Self::Arrow),
            _ => Err(Error::invalid(format!(
                "there is no file format '{name}': write parquet, json, csv, text or arrow"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name_in_any_case() {
        assert_eq!(
            "Parquet".parse::<FileFormat>().ok(),
            Some(FileFormat::Parquet)
        );
        assert_eq!(
            "arrow-ipc".parse::<FileFormat>().ok(),
            Some(FileFormat::Arrow)
        );
        let error = "orc".parse::<FileFormat>().expect_err("not supported");
        assert!(
            error
                .message()
                .contains("parquet, json, csv, text or arrow")
        );
    }
}
