//! Files of lines, divided into epochs by lines that hold nothing but `---`.

use std::path::Path;

use super::row_file;
use crate::exit::Failure;

/// The line that ends an epoch and begins the next.
pub(crate) const MARKER: &str = "---";

/// The lines of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// How many lines of the file stand before it.
    pub(crate) before: usize,
    pub(crate) text: &'a str,
}

impl Section<'_> {
    /// Whether it holds nothing but white space.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Its lines at the places where they stand in the file, so that a reader that counts lines counts those of the
    /// file. `header` is put first.
    pub(crate) fn in_place(&self, header: Option<&str>) -> String {
        let mut text = String::with_capacity(self.before + self.text.len());
        let mut blank = self.before;
        if let Some(header) = header {
            text.push_str(header);
            text.push('\n');
            blank = blank.saturating_sub(1);
        }
        text.extend(std::iter::repeat_n('\n', blank));
        text.push_str(self.text);
        text
    }
}

/// The sections of a file: one more than it has markers.
pub(crate) fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    let (mut start, mut before, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == MARKER {
            sections.push(Section {
                before,
                text: &text[start..at],
            });
            start = at + line.len();
            before = number + 1;
        }
        at += line.len();
    }
    sections.push(Section {
        before,
        text: &text[start..],
    });
    sections
}

/// The first line that holds something: the header of a CSV file.
pub(crate) fn header(text: &str) -> Option<&str> {
    text.lines().find(|line| !line.trim().is_empty())
}

/// Whether a file of lines has a line that divides epochs.
///
/// # Errors
/// `Wrong` if it cannot be read.
pub(crate) fn is_divided(path: &Path) -> Result<bool, Failure> {
    let text = row_file::text(path)?;
    Ok(sections(&text).len() > 1)
}

/// The text without the lines that divide it.
pub(crate) fn undivided(text: &str) -> String {
    let sections = sections(text);
    sections.iter().map(|section| section.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_divide_a_file() {
        let texts = |text| -> Vec<(usize, &str)> {
            let sections = sections(text).into_iter();
            sections
                .map(|section| (section.before, section.text))
                .collect()
        };
        assert_eq!(texts(""), [(0, "")]);
        assert_eq!(texts("a\nb"), [(0, "a\nb")]);
        assert_eq!(texts("a\n---\nb\n"), [(0, "a\n"), (2, "b\n")]);
        assert_eq!(texts("a\r\n---\r\nb"), [(0, "a\r\n"), (2, "b")]);
        assert_eq!(texts("---\n---\na"), [(0, ""), (1, ""), (2, "a")]);
        assert_eq!(texts("a\n---"), [(0, "a\n"), (2, "")]);
        // Only a line of its own divides.
        assert_eq!(texts("a---\n--- b\n----\n"), [(0, "a---\n--- b\n----\n")]);
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = "h\na\n---\nb\nc\n";
        for section in &sections(text)[1..] {
            for header in [None, Some("h")] {
                let placed = section.in_place(header);
                let line = placed.lines().position(|line| line == "c");
                assert_eq!(line, text.lines().position(|line| line == "c"), "{placed}");
                assert_eq!(placed.starts_with('h'), header.is_some());
            }
        }
    }

    #[test]
    fn undivided_text_holds_all_lines_but_the_markers() {
        assert_eq!(undivided("a\n---\n\nb\n---\nc"), "a\n\nb\nc");
        assert_eq!(header("\n  \nx,y\n1,2\n"), Some("x,y"));
        assert_eq!(header("\n"), None);
    }
}
