//! Which files were taken, are offered, or wait: the bookkeeping of a file source, without any I/O.
//!
//! Files get numbers in the order in which they are offered; an offset is the number of files before it. A name is
//! offered once: `seen` holds every name that was taken, is offered or waits. What a listing found is consumed before
//! the next listing is worth its cost.

use std::collections::{HashMap, VecDeque};

use headwater_core::{Error, Result};

use super::folder::FileEntry;

/// What one epoch may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `maxFilesPerTrigger`.
    pub(crate) files: Option<usize>,
    /// `maxBytesPerTrigger`; one file is taken even if it is larger.
    pub(crate) bytes: Option<u64>,
}

/// How files are ordered and recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IntakeRules {
    /// `latestFirst`: newest first.
    pub(crate) latest_first: bool,
    /// `maxFileAge` in milliseconds before the newest file taken; older names are forgotten and older files ignored.
    pub(crate) max_age: Option<i64>,
    /// `fileNameOnly`: files of the same name in different folders are the same file.
    pub(crate) name_only: bool,
}

#[derive(Debug, Default)]
struct Offer {
    start: u64,
    files: Vec<FileEntry>,
}

/// The bookkeeping of one source.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    rules: IntakeRules,
    seen: HashMap<Box<str>, i64>,
    /// Modification time of the newest file taken.
    newest: Option<i64>,
    /// Ordered, next file first.
    waiting: VecDeque<FileEntry>,
    /// The last offer: its files have numbers, but the offer may still be asked for again.
    offer: Offer,
}

impl Intake {
    pub(crate) fn new(rules: IntakeRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Continues after `count` files, of which these names are remembered.
    pub(crate) fn restore(&mut self, count: u64, seen: Vec<(String, i64)>) {
        for (name, modified) in seen {
            self.newest = self.newest.max(Some(modified));
            self.seen.insert(name.into(), modified);
        }
        self.offer = Offer {
            start: count,
            files: Vec::new(),
        };
        self.forget_old();
    }

    /// What is remembered of a file: its path, or its name only.
    pub(crate) fn key<'a>(&self, path: &'a str) -> &'a str {
        if self.rules.name_only {
            path.rsplit_once('/').map_or(path, |(_, name)| name)
        } else {
            path
        }
    }

    pub(crate) fn is_known(&self, path: &str) -> bool {
        self.seen.contains_key(self.key(path))
    }

    /// Whether files wait to be offered.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Number of files that have a number.
    pub(crate) fn offered_end(&self) -> u64 {
        self.offer.start + self.offer.files.len() as u64
    }

    /// Number of files known of, waiting ones included.
    pub(crate) fn known_end(&self) -> u64 {
        self.offered_end() + self.waiting.len() as u64
    }

    /// Adds what a listing found; known and too old files are left out.
    pub(crate) fn add(&mut self, listing: Vec<FileEntry>) {
        let oldest = self.oldest_admitted();
        let mut added = false;
        for file in listing {
            let key = self.key(&file.path);
            if file.modified < oldest || self.seen.contains_key(key) {
                continue;
            }
            self.seen.insert(key.into(), file.modified);
            self.waiting.push_back(file);
            added = true;
        }
        if added {
            self.sort();
        }
    }

    /// Goes to `start`, before the next offer: the start of the last offer takes it back, to be made anew (it may have
    /// grown meanwhile); the end of the last offer says that it was taken.
    pub(crate) fn seek(&mut self, start: u64) -> Result<()> {
        if start == self.offer.start {
            self.withdraw();
        } else if start == self.offered_end() {
            self.take();
        } else {
            return Err(Error::internal(format!(
                "file source was asked for files after number {start}, but it offered numbers {} to {}",
                self.offer.start,
                self.offered_end()
            )));
        }
        Ok(())
    }

    /// The next files; [`Self::seek`] comes before.
    pub(crate) fn offer(&mut self, limits: Limits) -> &[FileEntry] {
        let count = self.admitted(limits);
        self.offer.files = self.waiting.drain(..count).collect();
        &self.offer.files
    }

    /// The files that will be offered after the present offer is taken, up to number `start`, unless others come
    /// first; `None` if that cannot be told, or no file waits.
    pub(crate) fn peek(&self, start: u64, limits: Limits) -> Option<Vec<FileEntry>> {
        if start != self.offered_end() || self.rules.latest_first || self.waiting.is_empty() {
            return None;
        }
        let count = self.admitted(limits);
        Some(self.waiting.iter().take(count).cloned().collect())
    }

    /// How many of the waiting files one epoch may take.
    fn admitted(&self, limits: Limits) -> usize {
        let mut bytes = 0_u64;
        let mut count = 0;
        for file in &self.waiting {
            bytes = bytes.saturating_add(file.size);
            let over = limits.files.is_some_and(|most| count >= most.max(1))
                || limits.bytes.is_some_and(|most| count > 0 && bytes > most);
            if over {
                break;
            }
            count += 1;
        }
        count
    }

    /// Learns of a range that was planned before a restart. A range that is known already changes nothing.
    pub(crate) fn resume(&mut self, start: u64, files: Vec<FileEntry>) -> Result<()> {
        let end = start + files.len() as u64;
        let known = self.offered_end();
        if end <= known {
            return Ok(());
        }
        if start != known {
            return Err(Error::data(format!(
                "the names of the files numbered {known} to {start} are lost: a file in the source's folder of the checkpoint is missing"
            )));
        }
        self.take();
        for file in &files {
            self.newest = self.newest.max(Some(file.modified));
            self.seen.insert(self.key(&file.path).into(), file.modified);
        }
        self.offer.start = end;
        Ok(())
    }

    fn withdraw(&mut self) {
        if self.offer.files.is_empty() {
            return;
        }
        for file in self.offer.files.drain(..).rev() {
            self.waiting.push_front(file);
        }
        if self.rules.latest_first {
            self.sort();
        }
    }

    fn take(&mut self) {
        self.offer.start = self.offered_end();
        let newest = self.offer.files.drain(..).map(|file| file.modified).max();
        if newest > self.newest {
            self.newest = newest;
            self.forget_old();
        }
    }

    fn sort(&mut self) {
        let latest_first = self.rules.latest_first;
        self.waiting.make_contiguous().sort_unstable_by(|a, b| {
            let order = (a.modified, &a.path).cmp(&(b.modified, &b.path));
            if latest_first { order.reverse() } else { order }
        });
    }

    fn oldest_admitted(&self) -> i64 {
        match (self.newest, self.rules.max_age) {
            (Some(newest), Some(age)) => newest.saturating_sub(age),
            _ => i64::MIN,
        }
    }

    /// The modification time from which on names are remembered.
    pub(crate) fn remembered_from(&self) -> i64 {
        self.oldest_admitted()
    }

    fn forget_old(&mut self) {
        let oldest = self.oldest_admitted();
        if oldest > i64::MIN {
            self.seen.retain(|_, modified| *modified >= oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, modified: i64, size: u64) -> FileEntry {
        FileEntry {
            path: path.to_owned(),
            size,
            modified,
        }
    }

    fn next(intake: &mut Intake, start: u64, limits: Limits) -> Vec<String> {
        intake.seek(start).expect("a known position");
        let files = intake.offer(limits);
        files.iter().map(|file| file.path.clone()).collect()
    }

    const ONE: Limits = Limits {
        files: Some(1),
        bytes: None,
    };

    #[test]
    fn files_are_offered_by_time_then_name_and_none_twice() {
        let mut intake = Intake::new(IntakeRules::default());
        intake.add(vec![file("c", 1, 1), file("a", 2, 1), file("b", 1, 1)]);
        assert_eq!(next(&mut intake, 0, ONE), ["b"]);
        assert_eq!(next(&mut intake, 0, ONE), ["b"]);
        assert_eq!(next(&mut intake, 1, ONE), ["c"]);
        intake.add(vec![file("b", 9, 9), file("a", 2, 1)]);
        assert_eq!(next(&mut intake, 2, ONE), ["a"]);
        assert!(next(&mut intake, 3, ONE).is_empty());
        assert!(intake.seek(1).is_err());
    }

    #[test]
    fn what_is_peeked_at_is_offered_next_unless_something_comes_first() {
        let mut intake = Intake::new(IntakeRules::default());
        intake.add(vec![file("a", 1, 1), file("b", 2, 1), file("c", 3, 1)]);
        let peek = |intake: &Intake, start| {
            let files = intake.peek(start, ONE)?;
            Some(files.into_iter().map(|file| file.path).collect::<Vec<_>>())
        };
        assert_eq!(next(&mut intake, 0, ONE), ["a"]);
        for _ in 0..2 {
            assert_eq!(
                peek(&intake, 1).as_deref(),
                Some(["b".to_owned()].as_slice())
            );
        }
        // The present offer may still be asked for again.
        assert_eq!(peek(&intake, 0), None);
        assert_eq!(next(&mut intake, 0, ONE), ["a"]);
        assert_eq!(next(&mut intake, 1, ONE), ["b"]);
        assert_eq!(next(&mut intake, 2, ONE), ["c"]);
        assert_eq!(peek(&intake, 3), None);
        let mut newest_first = Intake::new(IntakeRules {
            latest_first: true,
            ..IntakeRules::default()
        });
        newest_first.add(vec![file("a", 1, 1), file("b", 2, 1)]);
        assert_eq!(next(&mut newest_first, 0, ONE), ["b"]);
        assert_eq!(peek(&newest_first, 1), None);
    }

    #[test]
    fn latest_first_lets_a_newer_file_overtake_the_waiting_ones() {
        let mut intake = Intake::new(IntakeRules {
            latest_first: true,
            ..IntakeRules::default()
        });
        intake.add(vec![
            file("old", 1, 1),
            file("new", 5, 1),
            file("mid", 3, 1),
        ]);
        assert_eq!(next(&mut intake, 0, ONE), ["new"]);
        intake.add(vec![file("newest", 9, 1)]);
        assert_eq!(next(&mut intake, 1, ONE), ["newest"]);
        assert_eq!(next(&mut intake, 2, ONE), ["mid"]);
    }

    #[test]
    fn a_byte_limit_admits_at_least_one_file() {
        let mut intake = Intake::new(IntakeRules::default());
        intake.add(vec![
            file("a", 1, 100),
            file("b", 2, 4),
            file("c", 3, 4),
            file("d", 4, 4),
        ]);
        let limits = Limits {
            files: None,
            bytes: Some(10),
        };
        assert_eq!(next(&mut intake, 0, limits), ["a"]);
        assert_eq!(next(&mut intake, 1, limits), ["b", "c"]);
    }

    #[test]
    fn names_older_than_the_maximum_age_are_forgotten_and_ignored() {
        let mut intake = Intake::new(IntakeRules {
            max_age: Some(10),
            ..IntakeRules::default()
        });
        intake.add(vec![file("a", 1, 1), file("b", 100, 1)]);
        assert_eq!(next(&mut intake, 0, Limits::default()), ["a", "b"]);
        assert!(next(&mut intake, 2, Limits::default()).is_empty());
        assert!(!intake.is_known("a"));
        intake.add(vec![file("a", 1, 1), file("late", 95, 1)]);
        assert_eq!(next(&mut intake, 2, Limits::default()), ["late"]);
    }

    #[test]
    fn resume_fills_in_what_the_own_log_lacks_and_refuses_a_gap() {
        let mut intake = Intake::new(IntakeRules::default());
        intake.restore(2, vec![("a".to_owned(), 1), ("b".to_owned(), 1)]);
        intake.resume(1, vec![file("b", 1, 1)]).expect("known");
        intake.resume(2, vec![file("c", 1, 1)]).expect("next");
        assert!(intake.resume(7, vec![file("d", 1, 1)]).is_err());
        intake.add(vec![file("a", 1, 1), file("c", 1, 1), file("e", 1, 1)]);
        assert_eq!(next(&mut intake, 3, ONE), ["e"]);
    }

    #[test]
    fn with_names_only_a_copy_in_another_folder_is_known() {
        let mut intake = Intake::new(IntakeRules {
            name_only: true,
            ..IntakeRules::default()
        });
        intake.add(vec![file("x/a", 1, 1)]);
        assert!(intake.is_known("y/a"));
    }
}
