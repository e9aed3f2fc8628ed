//! What was pressed, from the bytes that a terminal sends.
//!
//! Sequences are those of ECMA-48 and xterm: `ESC [ parameters letter`, `ESC O letter`, and `ESC` before a key that was
//! pressed with Alt. Pasted text comes between `ESC [200~` and `ESC [201~`.

const ESCAPE: u8 = 0x1b;
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// No sequence is longer; what is, is none.
const LONGEST: usize = 32;

/// A key, or a text that was pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Ctrl(char),
    Alt(char),
    Enter,
    AltEnter,
    Tab,
    Backspace,
    AltBackspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    WordLeft,
    WordRight,
    Home,
    End,
    Escape,
    Paste(String),
    /// A key that means nothing here.
    Other,
}

/// Bytes in, keys out. A sequence may come in several reads.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
}

enum Parsed {
    /// A key of so many bytes.
    Key(Key, usize),
    /// The bytes may be the beginning of something.
    Partial,
}

impl Decoder {
    /// The keys that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.bytes.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        while at < self.bytes.len() {
            match parse(&self.bytes[at..]) {
                Parsed::Key(key, length) => {
                    keys.push(key);
                    at += length;
                }
                Parsed::Partial => break,
            }
        }
        self.bytes.drain(..at);
        keys
    }

    /// Whether bytes wait for others.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.bytes.is_empty() && !self.bytes.starts_with(PASTE_BEGINS)
    }

    /// The others have not come: what waited was the Escape key, or nothing.
    pub(crate) fn give_up(&mut self) -> Vec<Key> {
        let rest = std::mem::take(&mut self.bytes);
        match rest.split_first() {
            Some((&ESCAPE, rest)) => {
                let mut keys = vec![Key::Escape];
                keys.extend(self.push(rest));
                keys
            }
            _ => Vec::new(),
        }
    }
}

fn parse(bytes: &[u8]) -> Parsed {
    match bytes {
        [] => Parsed::Partial,
        [ESCAPE, rest @ ..] => escaped(bytes, rest),
        [b'\r' | b'\n', ..] => Parsed::Key(Key::Enter, 1),
        [b'\t', ..] => Parsed::Key(Key::Tab, 1),
        [0x08 | 0x7f, ..] => Parsed::Key(Key::Backspace, 1),
        [control @ 1..=26, ..] => Parsed::Key(Key::Ctrl(char::from(b'a' + control - 1)), 1),
        [0..=31, ..] => Parsed::Key(Key::Other, 1),
        _ => character(bytes),
    }
}

/// A character in UTF-8.
fn character(bytes: &[u8]) -> Parsed {
    let length = match bytes[0] {
        0..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Parsed::Key(Key::Other, 1),
    };
    let Some(found) = bytes.get(..length) else {
        return Parsed::Partial;
    };
    match std::str::from_utf8(found) {
        Ok(text) => Parsed::Key(text.chars().next().map_or(Key::Other, Key::Char), length),
        Err(_) => Parsed::Key(Key::Other, 1),
    }
}

fn escaped(bytes: &[u8], rest: &[u8]) -> Parsed {
    let alt = |key| Parsed::Key(key, 2);
    match rest {
        [] => Parsed::Partial,
        [b'[', ..] if bytes.starts_with(PASTE_BEGINS) => pasted(bytes),
        [b'[', parameters @ ..] => sequence(parameters),
        [b'O'] => Parsed::Partial,
        [b'O', letter, ..] => Parsed::Key(lettered(*letter, false), 3),
        [ESCAPE, ..] => Parsed::Key(Key::Escape, 1),
        [b'\r' | b'\n', ..] => alt(Key::AltEnter),
        [0x08 | 0x7f, ..] => alt(Key::AltBackspace),
        [b'b', ..] => alt(Key::WordLeft),
        [b'f', ..] => alt(Key::WordRight),
        _ => match character(rest) {
            Parsed::Key(Key::Char(c), length) => Parsed::Key(Key::Alt(c), 1 + length),
            Parsed::Key(key, length) => Parsed::Key(key, 1 + length),
            Parsed::Partial => Parsed::Partial,
        },
    }
}

fn pasted(bytes: &[u8]) -> Parsed {
    let text = &bytes[PASTE_BEGINS.len()..];
    let ends = |at: &usize| text[*at..].starts_with(PASTE_ENDS);
    match (0..text.len()).find(ends) {
        Some(end) => {
            let length = PASTE_BEGINS.len() + end + PASTE_ENDS.len();
            let text = String::from_utf8_lossy(&text[..end]);
            // Terminals paste a line end as Enter would send it.
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            Parsed::Key(Key::Paste(text), length)
        }
        None => Parsed::Partial,
    }
}

/// What follows `ESC [`.
fn sequence(parameters: &[u8]) -> Parsed {
    let Some(end) = parameters
        .iter()
        .position(|byte| (0x40..=0x7e).contains(byte))
    else {
        return match parameters.len() < LONGEST {
            true => Parsed::Partial,
            false => Parsed::Key(Key::Other, 2 + parameters.len()),
        };
    };
    let mut numbers = parameters[..end].split(|byte| *byte == b';');
    let first = numbers.next().unwrap_or_default();
    // 2 is Shift; Alt and Ctrl move by words.
    let by_word = numbers.next().is_some_and(|with| with >= b"3".as_slice());
    let key = match parameters[end] {
        b'~' => match first {
            b"1" | b"7" => Key::Home,
            b"4" | b"8" => Key::End,
            b"3" => Key::Delete,
            _ => Key::Other,
        },
        letter => lettered(letter, by_word),
    };
    Parsed::Key(key, 2 + end + 1)
}

fn lettered(letter: u8, by_word: bool) -> Key {
    match letter {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' if by_word => Key::WordRight,
        b'D' if by_word => Key::WordLeft,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys() {
        for (bytes, keys) in [
            (&b"aZ"[..], &[Key::Char('a'), Key::Char('Z')][..]),
            ("é日".as_bytes(), &[Key::Char('é'), Key::Char('日')]),
            (
                b"\r\x01\x7f\t",
                &[Key::Enter, Key::Ctrl('a'), Key::Backspace, Key::Tab],
            ),
            (b"\x1b[A\x1b[D\x1bOC", &[Key::Up, Key::Left, Key::Right]),
            (
                b"\x1b[1;5C\x1b[1;3D\x1b[1;2C",
                &[Key::WordRight, Key::WordLeft, Key::Right],
            ),
            (
                b"\x1bb\x1b\r\x1bd",
                &[Key::WordLeft, Key::AltEnter, Key::Alt('d')],
            ),
            (
                b"\x1b[3~\x1b[1~\x1b[F\x1b[15~",
                &[Key::Delete, Key::Home, Key::End, Key::Other],
            ),
            (
                b"\x1b[200~a\r\nb;\x1b[A\x1b[201~x",
                &[Key::Paste("a\nb;\u{1b}[A".to_owned()), Key::Char('x')],
            ),
            (b"\xffa", &[Key::Other, Key::Char('a')]),
        ] {
            // All at once, and byte by byte.
            let mut decoder = Decoder::default();
            assert_eq!(decoder.push(bytes), keys, "{bytes:?}");
            assert!(!decoder.is_waiting());
            let one_by_one: Vec<Key> = bytes
                .iter()
                .flat_map(|byte| decoder.push(&[*byte]))
                .collect();
            assert_eq!(one_by_one, keys, "{bytes:?}");
        }
    }

    #[test]
    fn an_escape_alone_is_a_key() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"\x1b"), []);
        assert!(decoder.is_waiting());
        assert_eq!(decoder.give_up(), [Key::Escape]);
        assert!(!decoder.is_waiting());
        assert_eq!(decoder.push(b"\x1b["), []);
        assert_eq!(decoder.give_up(), [Key::Escape, Key::Char('[')]);
        assert_eq!(decoder.push(b"\x1b[200~half"), []);
        assert!(!decoder.is_waiting(), "a paste may take its time");
        let mut decoder = Decoder::default();
        let endless = [b"\x1b[".as_slice(), &[b'1'; 2 * LONGEST]].concat();
        assert_eq!(decoder.push(&endless), [Key::Other]);
    }
}
