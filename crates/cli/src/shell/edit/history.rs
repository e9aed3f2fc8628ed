//! What was typed before, in this shell and in others.
//!
//! The file holds an entry a line, the oldest first: `\n` stands for a line end and `\\` for a backslash. Entries are only
//! ever appended, so that several shells can share it.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Entries that are kept when a shell begins.
const KEPT: usize = 1_000;

/// The entries, and which of them is shown.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Vec<String>,
    file: Option<PathBuf>,
    /// The entry that is shown; none while something new is typed.
    at: Option<usize>,
    /// What was typed before going back.
    draft: String,
}

/// Where the history is kept: in the folder for what programs remember, as the XDG base directory specification names it.
/// Nowhere if nobody has a home.
pub(crate) fn place(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state.and_then(absolute);
    let home = home.and_then(absolute);
    let state = state.or_else(|| home.map(|home| home.join(".local").join("state")));
    state.map(|state| state.join("headwater").join("history"))
}

impl History {
    /// What the file holds; nothing is remembered where it cannot be read or made.
    pub(crate) fn load(file: Option<PathBuf>) -> Self {
        let text = file.as_ref().and_then(|file| fs::read(file).ok());
        let text = text.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.is_empty());
        let mut entries: Vec<String> = lines.map(unescaped).collect();
        if entries.len() > 2 * KEPT {
            entries.drain(..entries.len() - KEPT);
            if let Some(file) = &file {
                // Next time, then.
                let _ = rewrite(file, &entries);
            }
        }
        Self {
            entries,
            file,
            ..Self::default()
        }
    }

    /// Adds an entry, unless it is the last one again. What is private is not remembered at all.
    pub(crate) fn add(&mut self, entry: &str, is_private: bool) {
        self.at = None;
        let entry = entry.trim();
        if is_private || entry.is_empty() || self.entries.last().is_some_and(|last| last == entry) {
            return;
        }
        self.entries.push(entry.to_owned());
        if let Some(file) = &self.file
            && append(file, entry).is_err()
        {
            // A folder that cannot be written to now will not be able to later.
            self.file = None;
        }
    }

    /// The entry before the one that is shown; `typed` comes back behind the last.
    pub(crate) fn earlier(&mut self, typed: &str) -> Option<&str> {
        let at = match self.at {
            Some(at) => at.checked_sub(1)?,
            None => {
                let last = self.entries.len().checked_sub(1)?;
                self.draft = typed.to_owned();
                last
            }
        };
        self.at = Some(at);
        self.entries.get(at).map(String::as_str)
    }

    /// The entry behind the one that is shown, or what was typed.
    pub(crate) fn later(&mut self) -> Option<&str> {
        let at = self.at? + 1;
        match self.entries.get(at) {
            Some(entry) => {
                self.at = Some(at);
                Some(entry)
            }
            None => {
                self.at = None;
                Some(&self.draft)
            }
        }
    }

    /// Shows something new again.
    pub(crate) fn begin_new(&mut self) {
        self.at = None;
    }

    /// The last entry before `before` that contains a text, in any case, and its number.
    pub(crate) fn find(&self, text: &str, before: usize) -> Option<(usize, &str)> {
        let text = text.to_lowercase();
        let before = before.min(self.entries.len());
        let mut earlier = self.entries[..before].iter().enumerate().rev();
        let found = earlier.find(|(_, entry)| entry.to_lowercase().contains(&text));
        found.map(|(number, entry)| (number, entry.as_str()))
    }
}

fn append(file: &Path, entry: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let line = format!("{}\n", escaped(entry));
    private(fs::OpenOptions::new().create(true).append(true))
        .open(file)?
        .write_all(line.as_bytes())
}

/// Replaces the file as a whole.
fn rewrite(file: &Path, entries: &[String]) -> io::Result<()> {
    let text: String = entries
        .iter()
        .map(|entry| format!("{}\n", escaped(entry)))
        .collect();
    let new = file.with_extension(format!("{}.new", std::process::id()));
    private(
        fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true),
    )
    .open(&new)?
    .write_all(text.as_bytes())?;
    fs::rename(new, file)
}

/// Nobody else is to read what somebody has typed.
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => entry.push('\n'),
                Some(other) => entry.push(other),
                None => {}
            },
            c => entry.push(c),
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_outlive_the_shell_and_the_private_ones_are_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state/headwater/history");
        let mut history = History::load(Some(file.clone()));
        history.add("SELECT 'a\\n'\nFROM t;\n", false);
        history.add("SELECT 2;", false);
        history.add("SELECT 2;", false);
        history.add("CREATE SINK s USING x OPTIONS (password 'hush')", true);
        history.add("  ", false);
        let text = fs::read_to_string(&file).expect("it is there");
        assert_eq!(text, "SELECT 'a\\\\n'\\nFROM t;\nSELECT 2;\n");
        let mut again = History::load(Some(file));
        assert_eq!(again.earlier("typed"), Some("SELECT 2;"));
        assert_eq!(again.earlier(""), Some("SELECT 'a\\n'\nFROM t;"));
        assert_eq!(again.earlier(""), None);
        assert_eq!(again.later(), Some("SELECT 2;"));
        assert_eq!(again.later(), Some("typed"));
        assert_eq!(again.later(), None);
    }

    #[test]
    fn a_long_history_is_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("history");
        let lines: String = (0..=2 * KEPT).map(|n| format!("SELECT {n};\n")).collect();
        fs::write(&file, lines).expect("a file");
        let history = History::load(Some(file.clone()));
        assert_eq!(history.entries.len(), KEPT);
        let text = fs::read_to_string(&file).expect("it is there");
        assert_eq!(text.lines().count(), KEPT);
        assert!(text.ends_with(&format!("SELECT {};\n", 2 * KEPT)));
    }

    #[test]
    fn entries_are_found_by_what_they_contain() {
        let mut history = History::default();
        for entry in ["SELECT a", "select B", "DROP c"] {
            history.add(entry, false);
        }
        assert_eq!(history.find("Select", usize::MAX), Some((1, "select B")));
        assert_eq!(history.find("select", 1), Some((0, "SELECT a")));
        assert_eq!(history.find("select", 0), None);
        assert_eq!(history.find("x", usize::MAX), None);
    }

    #[test]
    fn the_file_is_in_the_state_folder() {
        let at = |state: Option<&str>, home: Option<&str>| {
            let place = place(state.map(OsString::from), home.map(OsString::from));
            place.map(|path| path.display().to_string())
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(at(Some("/s"), Some("/h")), some("/s/headwater/history"));
        assert_eq!(
            at(Some("relative"), Some("/h")),
            some("/h/.local/state/headwater/history")
        );
        assert_eq!(
            at(None, Some("/h")),
            some("/h/.local/state/headwater/history")
        );
        assert_eq!(at(None, None), None);
        assert_eq!(at(Some(""), Some("")), None);
    }
}
