//! Where a folder of files is: a path on this machine or a URL.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use headwater_core::{Error, Options, Result, Storage};
use url::Url;

/// A folder (or, for a source, a single file) as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// Anywhere else; the storage layer knows how to reach it.
    Remote(Url),
}

impl Place {
    /// Reads what the user wrote: a local path, `file:///…`, or another URL.
    ///
    /// # Errors
    /// `Invalid` for an empty path or a malformed URL.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::invalid(
                "the path of the files is empty: write a folder such as 'data/logs' or 's3://bucket/logs'",
            ));
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        let url = Url::parse(text).map_err(|error| {
            Error::invalid(format!(
                "'{text}' is not a URL: write a local path or scheme://place/folder"
            ))
            .with_source(error)
        })?;
        if scheme.eq_ignore_ascii_case("file") {
            return url.to_file_path().map(Self::Local).map_err(|()| {
                Error::invalid(format!(
                    "'{text}' does not name a local folder: write file:///absolute/path"
                ))
            });
        }
        Ok(Self::Remote(url))
    }

    /// Durable storage whose root is this folder; `service` are the options of [`Self::service_options`].
    pub(crate) fn storage(&self, service: &Options) -> Result<Arc<dyn Storage>> {
        match self {
            Self::Local(path) => {
                let url = Url::from_directory_path(absolute(path)).map_err(|()| {
                    Error::invalid(format!("'{}' cannot be written as a URL", path.display()))
                })?;
                headwater_log::storage_for_url(url.as_str(), &Options::new())
            }
            Self::Remote(url) => headwater_log::storage_for_url(url.as_str(), service),
        }
    }

    /// The options that are not `known` to `owner` and belong to the service behind the place (a region, an
    /// endpoint).
    ///
    /// # Errors
    /// `Invalid` if there are any and the place is no service.
    pub(crate) fn service_options(
        &self,
        owner: &str,
        known: &[&str],
        options: &Options,
    ) -> Result<Options> {
        let is_service = matches!(self, Self::Remote(url) if url.scheme() != "memory");
        if !is_service {
            options.deny_unknown(owner, known)?;
        }
        let mut rest = options.clone();
        for name in known {
            rest.take(name);
        }
        Ok(rest)
    }

    /// What stands before the relative path of a file in its full path; ends with `/`.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Local(path) => Url::from_directory_path(absolute(path))
                .map_or_else(|()| format!("{self}/"), |url| url.to_string()),
            Self::Remote(_) => format!("{self}/"),
        }
    }

    /// Whether `other` lies in this folder or is this folder.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(outer), Self::Local(inner)) => {
                absolute(inner).starts_with(absolute(outer))
            }
            (Self::Remote(outer), Self::Remote(inner)) => {
                outer.scheme() == inner.scheme()
                    && outer.authority() == inner.authority()
                    && Path::new(inner.path()).starts_with(outer.path())
            }
            _ => false,
        }
    }
}

/// The path without `.` and `..`, links left as they are.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

impl fmt::Display for Place {
    /// The place without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => {
                let text = path.display().to_string();
                let trimmed = text.trim_end_matches('/');
                f.write_str(if trimmed.is_empty() { &text } else { trimmed })
            }
            Self::Remote(url) => {
                write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or(""))?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path().trim_end_matches('/'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_queries_are_not_shown() {
        let place = Place::parse("s3://key:secret@bucket/logs/?token=1").expect("a URL");
        assert_eq!(place.to_string(), "s3://bucket/logs");
    }

    #[test]
    fn a_path_and_its_file_url_are_the_same_place() {
        assert_eq!(
            Place::parse("file:///data/logs").ok(),
            Place::parse("/data/logs").ok()
        );
    }

    #[test]
    fn a_folder_contains_what_is_below_it_only() {
        let place = |text: &str| Place::parse(text).expect("a place");
        assert!(place("/data/in").contains(&place("/data/in/archive")));
        assert!(place("/data/in").contains(&place("/data/x/../in")));
        assert!(!place("/data/in").contains(&place("/data/input")));
        assert!(place("s3://b/in").contains(&place("s3://b/in/old")));
        assert!(!place("s3://b/in").contains(&place("s3://c/in/old")));
    }
}
