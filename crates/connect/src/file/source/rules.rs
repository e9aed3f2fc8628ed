//! Which names in the input folder are input.
//!
//! Names that begin with `_` or `.` are hidden, files and folders alike: writers keep there what is not finished.
//! Folders named `column=value` are always entered, other ones only with `recursiveFileLookup`.

use crate::file::hive;

/// The rules of one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListRules {
    /// `pathGlobFilter`: what a file's name must match.
    pub(crate) glob: Option<glob::Pattern>,
    /// `recursiveFileLookup`: enter every folder and derive no columns from their names.
    pub(crate) recursive: bool,
    /// The source is this one file.
    pub(crate) only: Option<String>,
}

impl ListRules {
    /// Whether a folder of this name is entered.
    pub(crate) fn admits_folder(&self, name: &str) -> bool {
        self.only.is_none() && !is_hidden(name) && (self.recursive || hive::parse(name).is_some())
    }

    /// Whether a file of this name is input.
    pub(crate) fn admits_file(&self, name: &str) -> bool {
        if let Some(only) = &self.only {
            return only == name;
        }
        !is_hidden(name) && self.glob.as_ref().is_none_or(|glob| glob.matches(name))
    }

    /// Whether a file at this path is input.
    pub(crate) fn admits(&self, path: &str) -> bool {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.admits_file(name)
            && folders
                .split('/')
                .filter(|folder| !folder.is_empty())
                .all(|folder| self.admits_folder(folder))
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_and_plain_folders_are_left_out() {
        let rules = ListRules::default();
        for (path, input) in [
            ("a.json", true),
            ("_a.json", false),
            (".a.json", false),
            ("day=1/a.json", true),
            ("_day=1/a.json", true),
            ("sub/a.json", false),
            ("_headwater/complete/x", false),
            ("day=1/_tmp/a.json", false),
        ] {
            assert_eq!(rules.admits(path), input, "{path}");
        }
        let recursive = ListRules {
            recursive: true,
            ..ListRules::default()
        };
        assert!(recursive.admits("sub/deeper/a.json"));
        assert!(!recursive.admits("_headwater/complete/x"));
    }

    #[test]
    fn a_glob_looks_at_the_name_only() {
        let rules = ListRules {
            glob: glob::Pattern::new("*.json").ok(),
            recursive: true,
            only: None,
        };
        assert!(rules.admits("x/a.json"));
        assert!(!rules.admits("x.json/a.csv"));
    }
}
