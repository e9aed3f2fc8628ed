//! Standard input, line by line, while other things go on.

use std::io::{BufRead, ErrorKind};

use tokio::sync::mpsc;

use crate::exit::Failure;

/// Lines that were read ahead; then reading waits.
const LINES_AHEAD: usize = 1_024;

/// The lines of standard input.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: mpsc::Receiver<Result<String, Failure>>,
}

impl Lines {
    /// Reads in a thread of its own, which cannot be cancelled and ends with the process.
    ///
    /// # Errors
    /// `Failed` if there can be no thread.
    pub(crate) fn of_standard_input() -> Result<Self, Failure> {
        let (send, lines) = mpsc::channel(LINES_AHEAD);
        std::thread::Builder::new()
            .name("standard input".to_owned())
            .spawn(move || read_all(&mut std::io::stdin().lock(), &send))
            .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        Ok(Self { lines })
    }

    /// The next line with its end; none at the end of the input.
    ///
    /// # Errors
    /// `Wrong` for what is no text in UTF-8 or cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        self.lines.recv().await.transpose()
    }
}

fn read_all(input: &mut impl BufRead, send: &mpsc::Sender<Result<String, Failure>>) {
    for number in 1_usize.. {
        let mut line = String::new();
        let read = match input.read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => Ok(line),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(Failure::wrong(format!(
                "line {number} is not text in UTF-8"
            ))),
            Err(error) => Err(Failure::wrong(format!("cannot be read: {error}"))),
        };
        let is_last = read.is_err();
        if send.blocking_send(read).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_until_one_is_no_text() {
        let (send, mut lines) = mpsc::channel(10);
        read_all(&mut &b"SELECT 1;\n\xff\nSELECT 2;\n"[..], &send);
        drop(send);
        let first = lines.blocking_recv().expect("a line");
        assert_eq!(first.expect("text"), "SELECT 1;\n");
        assert!(lines.blocking_recv().expect("a line").is_err());
        assert!(lines.blocking_recv().is_none());
    }
}
