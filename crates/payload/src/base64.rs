//! Binary values in texts: base64 with padding, blanks between its characters allowed, as in Spark.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const fn values() -> [u8; 256] {
    let mut values = [0xff; 256];
    let mut at = 0;
    while at < 64 {
        values[LETTERS[at] as usize] = at as u8;
        at += 1;
    }
    values
}

static VALUES: [u8; 256] = values();

/// Adds the bytes that a text stands for; whether it is base64.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut letters = text.iter().copied().filter(|b| *b > b' ');
    loop {
        let Some(a) = letters.next() else {
            return true;
        };
        let (Some(b), Some(c), Some(d)) = (letters.next(), letters.next(), letters.next()) else {
            return false;
        };
        let value = |letter: u8| VALUES[usize::from(letter)];
        let (a, b) = (value(a), value(b));
        if a > 63 || b > 63 {
            return false;
        }
        out.push(a << 2 | b >> 4);
        match (c, d) {
            (b'=', b'=') => return letters.next().is_none(),
            (c, b'=') if value(c) < 64 => {
                out.push(b << 4 | value(c) >> 2);
                return letters.next().is_none();
            }
            (c, d) if value(c) < 64 && value(d) < 64 => {
                out.push(b << 4 | value(c) >> 2);
                out.push(value(c) << 6 | value(d));
            }
            _ => return false,
        }
    }
}

/// Adds the text that stands for some bytes.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let letter = |value: u32| LETTERS[(value & 63) as usize];
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.push(letter(bits >> 18));
        out.push(letter(bits >> 12));
        out.push(if chunk.len() > 1 {
            letter(bits >> 6)
        } else {
            b'='
        });
        out.push(if chunk.len() > 2 { letter(bits) } else { b'=' });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let (mut text, mut back) = (vec![], vec![]);
            encode(&bytes, &mut text);
            prop_assert!(decode(&text, &mut back));
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for text in [
            "a", "ab", "abc", "ab=c", "a===", "abcd=", "####", "-_-_", "ab==ab==",
        ] {
            assert!(!decode(text.as_bytes(), &mut vec![]), "{text}");
        }
        let mut out = vec![];
        assert!(decode(b" aGVs\nbG8= ", &mut out));
        assert_eq!(out, b"hello");
    }
}
