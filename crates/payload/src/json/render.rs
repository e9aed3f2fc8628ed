//! JSON as JSON again, for what a column of texts is given: without blanks, numbers as Java writes them.

use super::nesting::Nesting;
use super::quoted::plain_bytes;
use super::scan::{Malformed, Number, Scanner, Token};
use crate::number::java_double;

/// Writes the value that `token` is or begins. A plain text is quoted.
pub(crate) fn render(
    scanner: &mut Scanner<'_>,
    token: Token<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut open = Nesting::default();
    let mut first = plain(token, out);
    if first {
        open.push(token == Token::Object, scanner.at())?;
    }
    while let Some(is_object) = open.top() {
        let comma = !first;
        let more = if is_object {
            match scanner.member(first)? {
                Some(name) => {
                    if comma {
                        out.push(b',');
                    }
                    let mut text = Vec::new();
                    quote(name.bytes(&mut text), out);
                    out.push(b':');
                    true
                }
                None => false,
            }
        } else {
            let more = scanner.item(first)?;
            if more && comma {
                out.push(b',');
            }
            more
        };
        if !more {
            out.push(if is_object { b'}' } else { b']' });
            open.pop();
            first = false;
            continue;
        }
        let token = scanner.token()?;
        first = plain(token, out);
        if first {
            open.push(token == Token::Object, scanner.at())?;
        }
    }
    Ok(())
}

/// Writes a plain value, or the opening of a nested one; whether it is one.
fn plain(token: Token<'_>, out: &mut Vec<u8>) -> bool {
    match token {
        Token::Null => out.extend_from_slice(b"null"),
        Token::Bool(true) => out.extend_from_slice(b"true"),
        Token::Bool(false) => out.extend_from_slice(b"false"),
        Token::Number(digits) => number(digits, out),
        Token::NonNumber(value) => quote(java_double(value).as_bytes(), out),
        Token::Text(text) => quote(text.bytes(&mut Vec::new()), out),
        Token::Object => out.push(b'{'),
        Token::List => out.push(b'['),
    }
    matches!(token, Token::Object | Token::List)
}

/// A number with a point or an exponent is written as the double that it stands for.
fn number(number: Number<'_>, out: &mut Vec<u8>) {
    let digits = number.digits;
    if !number.whole {
        let double = std::str::from_utf8(digits)
            .ok()
            .and_then(|t| t.parse().ok());
        match double {
            Some(infinite) if f64::is_infinite(infinite) => {
                quote(java_double(infinite).as_bytes(), out);
            }
            Some(double) => out.extend_from_slice(java_double(double).as_bytes()),
            None => out.extend_from_slice(digits),
        }
        return;
    }
    let (sign, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (b"-".as_slice(), digits),
        None => (b"".as_slice(), digits),
    };
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    match digits.get(zeros..) {
        Some(rest) if !rest.is_empty() => {
            out.extend_from_slice(sign);
            out.extend_from_slice(rest);
        }
        _ => out.push(b'0'),
    }
}

/// A text as JSON writes it.
pub(crate) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(plain_bytes(rest, b'"'));
        out.extend_from_slice(plain);
        let Some((&special, behind)) = behind.split_first() else {
            break;
        };
        rest = behind;
        let short = match special {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            b'"' | b'\\' => special,
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(special >> 4)]);
                out.push(HEX[usize::from(special & 15)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}
