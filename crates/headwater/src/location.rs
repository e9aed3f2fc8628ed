//! How a path or URL is given: as text, as a path, or not at all.

use std::path::{Path, PathBuf};

use headwater_core::{Error, Result};

/// What `load` and `start` take: text, a path, or `None` for a source or sink that has no place.
///
/// ```
/// # use headwater::IntoLocation;
/// # fn main() -> headwater::Result<()> {
/// let folder = String::from("data/logs");
/// assert_eq!((&folder).into_location()?, Some(folder.clone()));
/// assert_eq!(std::path::Path::new("data/logs").into_location()?, Some(folder));
/// assert_eq!(None.into_location()?, None);
/// # Ok(())
/// # }
/// ```
pub trait IntoLocation {
    /// The location as text.
    ///
    /// # Errors
    /// `Invalid` for a path that is not UTF-8.
    fn into_location(self) -> Result<Option<String>>;
}

impl IntoLocation for &str {
    fn into_location(self) -> Result<Option<String>> {
        Ok(Some(self.to_owned()))
    }
}

impl IntoLocation for String {
    fn into_location(self) -> Result<Option<String>> {
        Ok(Some(self))
    }
}

impl IntoLocation for &String {
    fn into_location(self) -> Result<Option<String>> {
        Ok(Some(self.clone()))
    }
}

impl IntoLocation for Option<&str> {
    fn into_location(self) -> Result<Option<String>> {
        Ok(self.map(str::to_owned))
    }
}

impl IntoLocation for &Path {
    fn into_location(self) -> Result<Option<String>> {
        match self.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(Error::invalid(format!(
                "the path '{}' is not UTF-8: rename it, or reach it through a link",
                self.display()
            ))),
        }
    }
}

impl IntoLocation for &PathBuf {
    fn into_location(self) -> Result<Option<String>> {
        self.as_path().into_location()
    }
}

impl IntoLocation for PathBuf {
    fn into_location(self) -> Result<Option<String>> {
        self.as_path().into_location()
    }
}
