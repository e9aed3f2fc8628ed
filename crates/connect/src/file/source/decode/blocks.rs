//! Text files as blocks of whole records.
//!
//! A file is read up to the length it had when it was listed: what a writer appended since belongs to no epoch, so a
//! replay reads the same bytes.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use headwater_core::Result;

use crate::file::{
    compression::{Gunzip, is_gzip},
    source::folder::{FileEntry, Folder},
};

/// Bytes of one read.
const READ_BYTES: u64 = 4 << 20;

/// How a record ends.
#[derive(Debug, Clone)]
pub(super) enum Splitter {
    /// With `\n` or `\r\n`.
    Lines,
    /// With this text.
    Text(String),
    /// With a `\n` that is not inside quotes.
    Quoted { quote: u8, escape: Option<u8> },
    /// With the file.
    WholeFile,
}

impl Splitter {
    /// Records of a block, without what ends them. The text after the last end is a record too, unless it is empty.
    pub(super) fn records(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut records = Vec::with_capacity(text.len() / 64 + 1);
        let mut start = 0;
        let mut push = |end: usize, next: usize| {
            records.push(start..end);
            start = next;
        };
        match self {
            Self::WholeFile => push(text.len(), text.len()),
            Self::Text(separator) => {
                let separator = separator.as_bytes();
                let mut at = 0;
                while at + separator.len() <= text.len() {
                    if &text[at..at + separator.len()] == separator {
                        push(at, at + separator.len());
                        at += separator.len();
                    } else {
                        at += 1;
                    }
                }
            }
            Self::Lines => {
                for (at, byte) in text.iter().enumerate() {
                    if *byte == b'\n' {
                        push(line_end(text, at), at + 1);
                    }
                }
            }
            Self::Quoted { quote, escape } => {
                let mut quotes = Quotes::new(*quote, *escape);
                for (at, byte) in text.iter().enumerate() {
                    if quotes.ends_record(*byte) {
                        push(line_end(text, at), at + 1);
                    }
                }
            }
        }
        if start < text.len() {
            let end = match self {
                Self::Lines | Self::Quoted { .. } => line_end(text, text.len()),
                Self::Text(_) | Self::WholeFile => text.len(),
            };
            records.push(start..end);
        }
        records
    }

    /// Where the last whole record of `text` ends, its end included.
    fn last_end(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::WholeFile => None,
            Self::Lines => text
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map(|at| at + 1),
            Self::Text(separator) => {
                let separator = separator.as_bytes();
                (separator.len()..=text.len())
                    .rev()
                    .find(|end| &text[end - separator.len()..*end] == separator)
            }
            Self::Quoted { quote, escape } => {
                let mut quotes = Quotes::new(*quote, *escape);
                let mut last = None;
                for (at, byte) in text.iter().enumerate() {
                    if quotes.ends_record(*byte) {
                        last = Some(at + 1);
                    }
                }
                last
            }
        }
    }
}

/// The end of a line that was found at a `\n` or at the end of the file, without `\r`.
fn line_end(text: &[u8], at: usize) -> usize {
    if at > 0 && text[at - 1] == b'\r' {
        at - 1
    } else {
        at
    }
}

/// Follows whether a byte stands inside quotes; a doubled quote leaves and enters again.
struct Quotes {
    quote: u8,
    escape: Option<u8>,
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn new(quote: u8, escape: Option<u8>) -> Self {
        Self {
            quote,
            escape: escape.filter(|escape| *escape != quote),
            inside: false,
            escaped: false,
        }
    }

    fn ends_record(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        if self.inside && Some(byte) == self.escape {
            self.escaped = true;
        } else if byte == self.quote {
            self.inside = !self.inside;
        }
        byte == b'\n' && !self.inside
    }
}

/// Whole records of a file.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) text: Bytes,
    /// Number of its first line, from 1.
    pub(super) first_line: u64,
}

struct State {
    folder: Folder,
    file: FileEntry,
    splitter: Splitter,
    read: u64,
    gunzip: Option<Gunzip>,
    /// Read, but not yet given: the beginning of a record.
    carry: Vec<u8>,
    line: u64,
    done: bool,
}

impl State {
    async fn next(&mut self) -> Result<Option<Block>> {
        while !self.done {
            let piece = self.read_more().await?;
            if piece.is_empty() {
                self.done = true;
                let rest = std::mem::take(&mut self.carry);
                return Ok(self.block(rest.into()));
            }
            let whole = if self.carry.is_empty() {
                piece
            } else {
                self.carry.extend_from_slice(&piece);
                std::mem::take(&mut self.carry).into()
            };
            let end = self.splitter.last_end(&whole).unwrap_or(0);
            self.carry = whole[end..].to_vec();
            if let Some(block) = self.block(whole.slice(..end)) {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    fn block(&mut self, mut text: Bytes) -> Option<Block> {
        if text.is_empty() {
            return None;
        }
        let first_line = self.line;
        self.line += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if first_line == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text = text.slice(3..);
        }
        Some(Block { text, first_line })
    }

    /// The next bytes of the text; none at its end.
    async fn read_more(&mut self) -> Result<Bytes> {
        let zipped = is_gzip(&self.file.path);
        let upto = if zipped {
            self.file.size
        } else {
            self.file.size.min(self.read + READ_BYTES)
        };
        if self.read < upto {
            let range = self.read..upto;
            self.read = upto;
            let bytes = self.folder.read_one(&self.file, range).await?;
            if !zipped {
                return Ok(bytes);
            }
            self.gunzip = Some(Gunzip::new(bytes));
        }
        match &mut self.gunzip {
            Some(gunzip) => gunzip.next(1 << 20, &self.file.path),
            None => Ok(Bytes::new()),
        }
    }
}

/// The file's text, in blocks that end where a record ends.
pub(super) fn blocks(
    folder: &Folder,
    file: FileEntry,
    splitter: Splitter,
) -> BoxStream<'static, Result<Block>> {
    let state = State {
        folder: folder.clone(),
        file,
        splitter,
        read: 0,
        gunzip: None,
        carry: Vec::new(),
        line: 1,
        done: false,
    };
    stream::try_unfold(state, async |mut state| {
        Ok(state.next().await?.map(|block| (block, state)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split<'a>(splitter: &Splitter, text: &'a str) -> Vec<&'a str> {
        splitter
            .records(text.as_bytes())
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(split(&Splitter::Lines, "a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(split(&Splitter::Lines, "a\n"), ["a"]);
        assert_eq!(split(&Splitter::Text("||".into()), "a||b||"), ["a", "b"]);
    }

    #[test]
    fn a_line_end_in_quotes_does_not_end_a_record() {
        let quoted = Splitter::Quoted {
            quote: b'"',
            escape: Some(b'\\'),
        };
        assert_eq!(
            split(&quoted, "1,\"a\nb\"\n2,\"x\"\"\ny\"\n3,\"\\\"\n\"\n4\n"),
            ["1,\"a\nb\"", "2,\"x\"\"\ny\"", "3,\"\\\"\n\"", "4"]
        );
        assert_eq!(quoted.last_end(b"1\n2,\"a\nb"), Some(2));
    }
}
