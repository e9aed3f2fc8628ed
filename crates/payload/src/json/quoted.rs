//! Texts between quotes: found quickly, and with their escapes resolved when somebody wants them.

/// A text as it is written, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quoted<'a> {
    pub(crate) written: &'a [u8],
    pub(crate) escaped: bool,
}

/// How many bytes of a text come before a quote, a backslash or a control character: eight at a time.
#[inline]
pub(super) fn plain_bytes(text: &[u8], quote: u8) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let quotes = u64::from(quote) * ONES;
    let (words, _) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte's highest bit is set where the byte is zero, or below a blank. A borrow may set it in bytes above one
        // that is found, never below: the lowest is right.
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let control = word.wrapping_sub(u64::from_ne_bytes([0x20; 8])) & !word;
        let found =
            (zero(word ^ quotes) | zero(word ^ u64::from_ne_bytes([b'\\'; 8])) | control) & HIGHS;
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let done = words.len() * 8;
    let rest = text.get(done..).unwrap_or_default();
    let special = rest
        .iter()
        .position(|b| *b == quote || *b == b'\\' || *b < b' ');
    done + special.unwrap_or(rest.len())
}

impl<'a> Quoted<'a> {
    /// Its bytes, which are UTF-8; `scratch` holds them if there is an escape.
    pub(crate) fn bytes<'b>(&self, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.written;
        }
        scratch.clear();
        self.append_to(scratch);
        scratch
    }

    /// Adds its bytes. A surrogate that has no partner becomes a question mark, as in Java.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        if !self.escaped {
            out.extend_from_slice(self.written);
            return;
        }
        let mut rest = self.written;
        while let Some(place) = rest.iter().position(|b| *b == b'\\') {
            out.extend_from_slice(&rest[..place]);
            let letter = rest.get(place + 1).copied().unwrap_or(b'\\');
            rest = rest.get(place + 2..).unwrap_or_default();
            match letter {
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'u' => {
                    let mut unit = hex(rest);
                    rest = rest.get(4..).unwrap_or_default();
                    if (0xD800..0xDC00).contains(&unit) && rest.starts_with(b"\\u") {
                        let low = hex(&rest[2..]);
                        if (0xDC00..0xE000).contains(&low) {
                            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                            rest = rest.get(6..).unwrap_or_default();
                        }
                    }
                    let character = char::from_u32(unit).unwrap_or('?');
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(other),
            }
        }
        out.extend_from_slice(rest);
    }
}

/// The number that four hexadecimal digits are.
fn hex(text: &[u8]) -> u32 {
    text.iter().take(4).fold(0, |value, digit| {
        value * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for length in 0..40 {
            for place in 0..length {
                for special in [b'"', b'\\', 0, 0x1f] {
                    let mut text = vec![0xc3; length];
                    text[place] = special;
                    assert_eq!(
                        plain_bytes(&text, b'"'),
                        place,
                        "{special} at {place} of {length}"
                    );
                }
            }
            assert_eq!(plain_bytes(&vec![b'!'; length], b'"'), length);
        }
    }

    #[test]
    fn escapes_are_what_they_stand_for() {
        for (written, text) in [
            (r"\u00e9\ud83d\ude00\n\/\\", "é😀\n/\\"),
            (r"\ud83d!", "?!"),
            (r"\ud83d\u0041", "?A"),
            (r"\ude00", "?"),
            ("plain", "plain"),
        ] {
            let quoted = Quoted {
                written: written.as_bytes(),
                escaped: true,
            };
            let mut out = vec![];
            quoted.append_to(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{written}");
        }
    }
}
