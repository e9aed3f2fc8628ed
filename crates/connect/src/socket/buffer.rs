//! Lines received and not yet acknowledged, numbered from the query's first line on.
//!
//! Lines keep their numbers from arrival to acknowledgement, so a range of numbers read twice gives the same lines.
//! When too many bytes wait here, the receiver has to wait too, and TCP slows the sender down.

use std::{collections::VecDeque, ops::Range};

use headwater_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Bytes of text beyond which the receiver pauses.
const MAX_BYTES: usize = 256 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// When it was received, in microseconds since 1970.
    pub(super) arrived_micros: i64,
}

/// The lines between the receiver and the query.
#[derive(Debug)]
pub(super) struct LineBuffer {
    // Locked to move or copy lines, never while waiting for the network.
    lines: Mutex<Lines>,
    /// Marked as changed after lines came or went, or the connection failed.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Lines {
    /// Number of the first line this process received; those before it are lost.
    origin: u64,
    /// Number of the first line held.
    first: u64,
    held: VecDeque<Line>,
    /// Whether numbers were told to anybody, so that they are fixed.
    numbered: bool,
    bytes: usize,
    failure: Option<(ErrorKind, String)>,
}

impl Lines {
    fn end(&self) -> u64 {
        self.first + self.held.len() as u64
    }
}

impl LineBuffer {
    pub(super) fn new() -> Self {
        Self {
            lines: Mutex::default(),
            news: watch::Sender::new(()),
        }
    }

    /// Adds a line, once there is room for it.
    pub(super) async fn push(&self, line: Line) {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            {
                let mut lines = self.lines.lock();
                if lines.bytes < MAX_BYTES {
                    lines.bytes += line.text.len();
                    lines.held.push_back(line);
                    break;
                }
            }
            // The sender lives in `self`, so the wait cannot end with an error.
            let _ = news.changed().await;
        }
        self.news.send_replace(());
    }

    /// Records that no more lines will come, and why.
    pub(super) fn fail(&self, error: &Error) {
        self.lines.lock().failure = Some((error.kind(), error.to_string()));
        self.news.send_replace(());
    }

    /// Lines of earlier processes end at `number`: what this process receives comes after them. Has no effect after
    /// the first [`Self::end_after`].
    pub(super) fn begin_at(&self, number: u64) {
        let mut lines = self.lines.lock();
        if !lines.numbered && number > lines.origin {
            lines.origin = number;
            lines.first = number;
        }
    }

    /// The number behind the last line; from now on numbers are fixed.
    ///
    /// # Errors
    /// The failure of the connection, once no line beyond `start` is left to deliver before it.
    pub(super) fn end_after(&self, start: u64) -> Result<u64> {
        let mut lines = self.lines.lock();
        lines.numbered = true;
        match &lines.failure {
            Some((kind, message)) if lines.end() <= start => {
                Err(Error::new(*kind, message.clone()))
            }
            _ => Ok(lines.end()),
        }
    }

    /// The number behind the last line.
    pub(super) fn end(&self) -> u64 {
        self.lines.lock().end()
    }

    /// Resolves when there are lines beyond `number`, or the connection has failed.
    pub(super) async fn beyond(&self, number: u64) {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            {
                let lines = self.lines.lock();
                if lines.end() > number || lines.failure.is_some() {
                    return;
                }
            }
            let _ = news.changed().await;
        }
    }

    /// The part of `numbers` that this process has received; the rest is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if some of them were dropped after they had been acknowledged, or never came.
    pub(super) fn received(&self, numbers: Range<u64>) -> Result<Range<u64>> {
        let lines = self.lines.lock();
        let received = numbers.start.max(lines.origin)..numbers.end;
        if received.start >= received.end {
            return Ok(numbers.end..numbers.end);
        }
        if received.start < lines.first || received.end > lines.end() {
            return Err(Error::internal(format!(
                "lines {}..{} are to be read, {}..{} are held",
                received.start,
                received.end,
                lines.first,
                lines.end()
            )));
        }
        Ok(received)
    }

    /// Copies of the lines with these numbers.
    ///
    /// # Errors
    /// As [`Self::received`].
    pub(super) fn read(&self, numbers: Range<u64>) -> Result<Vec<Line>> {
        let numbers = self.received(numbers)?;
        let lines = self.lines.lock();
        let index = |number: u64| number.saturating_sub(lines.first) as usize;
        let range = index(numbers.start)..index(numbers.end).max(index(numbers.start));
        Ok(lines
            .held
            .iter()
            .skip(range.start)
            .take(range.len())
            .cloned()
            .collect())
    }

    /// Drops the lines before `number`: they will never be read again.
    pub(super) fn acknowledge(&self, number: u64) {
        {
            let mut lines = self.lines.lock();
            while lines.first < number {
                let Some(line) = lines.held.pop_front() else {
                    break;
                };
                lines.first += 1;
                lines.bytes -= line.text.len();
            }
        }
        self.news.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn line(text: &str) -> Line {
        Line {
            text: text.to_owned(),
            arrived_micros: 0,
        }
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_until_acknowledged() {
        let buffer = LineBuffer::new();
        for text in ["a", "b", "c"] {
            buffer.push(line(text)).await;
        }
        assert_eq!(buffer.read(1..3).ok(), Some(vec![line("b"), line("c")]));
        buffer.acknowledge(2);
        assert_eq!(buffer.read(2..3).ok(), Some(vec![line("c")]));
        assert!(buffer.read(1..3).is_err());
        assert!(buffer.read(2..4).is_err());
    }

    #[tokio::test]
    async fn lines_of_an_earlier_process_are_lost_but_counted() {
        let buffer = LineBuffer::new();
        buffer.push(line("new")).await;
        buffer.begin_at(10);
        buffer.begin_at(12);
        buffer.begin_at(11);
        assert_eq!(buffer.end_after(12).ok(), Some(13));
        buffer.begin_at(13);
        assert_eq!(buffer.end(), 13, "numbers that were told are fixed");
        assert_eq!(buffer.received(10..12).ok(), Some(12..12));
        assert_eq!(buffer.read(10..13).ok(), Some(vec![line("new")]));
    }

    #[tokio::test]
    async fn a_full_buffer_makes_the_receiver_wait() {
        let buffer = LineBuffer::new();
        buffer.push(line(&"x".repeat(MAX_BYTES))).await;
        let mut push = Box::pin(buffer.push(line("y")));
        assert!((&mut push).now_or_never().is_none());
        buffer.acknowledge(1);
        assert!((&mut push).now_or_never().is_some());
        assert_eq!(buffer.end(), 2);
    }

    #[tokio::test]
    async fn a_failure_comes_after_the_lines_before_it() {
        let buffer = LineBuffer::new();
        assert!(buffer.beyond(0).now_or_never().is_none());
        buffer.push(line("a")).await;
        buffer.fail(&Error::unavailable("cable cut"));
        assert_eq!(buffer.end_after(0).ok(), Some(1));
        let error = buffer.end_after(1).expect_err("nothing more will come");
        assert_eq!(error.to_string(), "cable cut");
        assert!(buffer.beyond(1).now_or_never().is_some());
    }
}
