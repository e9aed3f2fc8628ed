//! Walks over JSON, token by token, without making anything of it: the rows of a column are read straight into builders.
//!
//! All of a text is checked, also what nobody asks for: a member that is skipped must be well-formed. The grammar is that
//! of the standard, and what [`Syntax`] allows beyond it.

use std::fmt;

use super::{
    nesting::Nesting,
    quoted::{Quoted, plain_bytes},
};

/// What is read beyond the standard, by the names of Spark's options. The default is Spark's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Syntax {
    pub(crate) comments: bool,
    pub(crate) unquoted_names: bool,
    pub(crate) single_quotes: bool,
    pub(crate) leading_zeros: bool,
    pub(crate) non_numeric: bool,
    pub(crate) any_escape: bool,
    pub(crate) control_characters: bool,
}

impl Default for Syntax {
    fn default() -> Self {
        Self {
            comments: false,
            unquoted_names: false,
            single_quotes: true,
            leading_zeros: false,
            non_numeric: true,
            any_escape: false,
            control_characters: false,
        }
    }
}

/// Where a text stops being JSON, and what should have been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
    pub(crate) expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number<'a> {
    pub(crate) digits: &'a [u8],
    /// Neither a point nor an exponent.
    pub(crate) whole: bool,
}

/// A value up to its first byte: what is to be read next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    /// `NaN`, `Infinity` and their like, without quotes.
    NonNumber(f64),
    Text(Quoted<'a>),
    /// The brace is read, the first member is not.
    Object,
    /// The bracket is read, the first item is not.
    List,
}

/// A place in a text. The bytes must be UTF-8: pieces of texts are handed out as they are.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    syntax: Syntax,
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8], syntax: Syntax) -> Self {
        Self {
            text,
            at: 0,
            syntax,
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn malformed<T>(&self, expected: &'static str) -> Result<T> {
        Err(Malformed {
            at: self.at,
            expected,
        })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Goes to the next byte that is no blank.
    #[inline]
    pub(crate) fn space(&mut self) -> Result<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') if self.syntax.comments => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    #[cold]
    fn comment(&mut self) -> Result<()> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let length = match rest.first() {
            Some(b'/') => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
            Some(b'*') => {
                let end = rest.windows(2).skip(1).position(|pair| pair == b"*/");
                match end {
                    Some(end) => end + 3,
                    None => return self.malformed("the end of the comment that begins"),
                }
            }
            _ => return self.malformed("a comment"),
        };
        self.at += 1 + length;
        Ok(())
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        self.space()?;
        Ok(self.at >= self.text.len())
    }

    #[inline]
    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Reads a plain value, or the opening of a nested one.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<Token<'a>> {
        self.space()?;
        match self.peek() {
            Some(b'"') => self.quoted(b'"').map(Token::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => {
                self.at += 1;
                Ok(Token::Object)
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Token::List)
            }
            Some(b't') => self.word(b"true", Token::Bool(true)),
            Some(b'f') => self.word(b"false", Token::Bool(false)),
            Some(b'n') => self.word(b"null", Token::Null),
            Some(b'\'') if self.syntax.single_quotes => self.quoted(b'\'').map(Token::Text),
            Some(b'N' | b'I' | b'+') if self.syntax.non_numeric => self.non_number(),
            _ => self.malformed("a value"),
        }
    }

    /// The name of the next member of an object and its colon; `None` behind the last one.
    #[inline]
    pub(crate) fn member(&mut self, first: bool) -> Result<Option<Quoted<'a>>> {
        self.space()?;
        if self.eat(b'}') {
            return Ok(None);
        }
        if !first {
            if !self.eat(b',') {
                return self.malformed("a comma or the end of an object");
            }
            self.space()?;
        }
        let name = match self.peek() {
            Some(b'"') => self.quoted(b'"')?,
            Some(b'\'') if self.syntax.single_quotes => self.quoted(b'\'')?,
            Some(first) if self.syntax.unquoted_names && is_name_part(first) => self.plain_name(),
            _ => return self.malformed("the name of a member"),
        };
        self.space()?;
        if !self.eat(b':') {
            return self.malformed("a colon");
        }
        Ok(Some(name))
    }

    /// Whether a list has another item, which is read next.
    #[inline]
    pub(crate) fn item(&mut self, first: bool) -> Result<bool> {
        self.space()?;
        if self.eat(b']') {
            return Ok(false);
        }
        if !first && !self.eat(b',') {
            return self.malformed("a comma or the end of a list");
        }
        Ok(true)
    }

    /// Goes behind the next value, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let token = self.token()?;
        self.skip_rest(token)
    }

    /// Goes behind a value whose token was read.
    #[inline]
    pub(crate) fn skip_rest(&mut self, token: Token<'_>) -> Result<()> {
        match token {
            Token::Object | Token::List => self.skip_nested(token),
            _ => Ok(()),
        }
    }

    fn skip_nested(&mut self, token: Token<'_>) -> Result<()> {
        let mut open = Nesting::default();
        open.push(token == Token::Object, self.at)?;
        let mut first = true;
        while let Some(is_object) = open.top() {
            let more = if is_object {
                self.member(first)?.is_some()
            } else {
                self.item(first)?
            };
            if !more {
                open.pop();
                first = false;
                continue;
            }
            let token = self.token()?;
            first = matches!(token, Token::Object | Token::List);
            if first {
                open.push(token == Token::Object, self.at)?;
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], token: Token<'a>) -> Result<Token<'a>> {
        let end = self.at + word.len();
        let is_it = self.text.get(self.at..end) == Some(word)
            && !self.text.get(end).copied().is_some_and(is_name_part);
        if !is_it {
            return self.malformed("a value");
        }
        self.at = end;
        Ok(token)
    }

    #[cold]
    fn non_number(&mut self) -> Result<Token<'a>> {
        for (word, value) in [
            (b"NaN".as_slice(), f64::NAN),
            (b"Infinity", f64::INFINITY),
            (b"+Infinity", f64::INFINITY),
            (b"+INF", f64::INFINITY),
            (b"-Infinity", f64::NEG_INFINITY),
            (b"-INF", f64::NEG_INFINITY),
        ] {
            let end = self.at + word.len();
            if self.text.get(self.at..end) == Some(word)
                && !self.text.get(end).copied().is_some_and(is_name_part)
            {
                self.at = end;
                return Ok(Token::NonNumber(value));
            }
        }
        self.malformed("a value")
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Token<'a>> {
        let start = self.at;
        if self.eat(b'-') && self.peek() == Some(b'I') && self.syntax.non_numeric {
            self.at = start;
            return self.non_number();
        }
        let first = self.peek();
        let count = self.digits();
        if count == 0 {
            return self.malformed("a digit");
        }
        if count > 1 && first == Some(b'0') && !self.syntax.leading_zeros {
            return self.malformed("no zero in front of a number");
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            if self.digits() == 0 {
                return self.malformed("a digit");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.malformed("a digit");
            }
        }
        if self.peek().is_some_and(is_name_part) {
            return self.malformed("the end of a number");
        }
        Ok(Token::Number(Number {
            digits: self.since(start),
            whole,
        }))
    }

    /// A text from its opening quote to behind the closing one.
    #[inline]
    fn quoted(&mut self, quote: u8) -> Result<Quoted<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.text.get(self.at..).unwrap_or_default(), quote);
            match self.peek() {
                Some(found) if found == quote => {
                    let written = self.since(start);
                    self.at += 1;
                    return Ok(Quoted { written, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) if self.syntax.control_characters => self.at += 1,
                Some(_) => return self.malformed("no control character in a text"),
                None => return self.malformed("the end of a text"),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let Some(letter) = self.text.get(self.at + 1) else {
            return self.malformed("the end of a text");
        };
        match letter {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.malformed("four hexadecimal digits");
                }
                self.at += 6;
            }
            b'\'' if self.syntax.single_quotes => self.at += 2,
            // The character itself may be several bytes, which are plain ones.
            _ if self.syntax.any_escape => self.at += 2,
            _ => return self.malformed("an escape"),
        }
        Ok(())
    }

    fn plain_name(&mut self) -> Quoted<'a> {
        let start = self.at;
        while self.peek().is_some_and(is_name_part) {
            self.at += 1;
        }
        Quoted {
            written: self.since(start),
            escaped: false,
        }
    }
}

fn is_name_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::{super::nesting::DEEPEST, *};

    fn skipped(text: &str) -> Result<usize> {
        let mut scanner = Scanner::new(text.as_bytes(), Syntax::default());
        scanner.skip()?;
        Ok(scanner.at())
    }

    #[test]
    fn a_value_is_skipped_to_its_end() {
        for text in [
            "null",
            "true",
            "-0",
            "10.5e+3",
            "\"\"",
            "{}",
            "[]",
            r#""a\"b\\""#,
            "'x\"y'",
            r#"{"a":[1,{"b":"]}"},null],"c":"\u00e9"}"#,
            "NaN",
            "-Infinity",
            "+INF",
            "[ 1 , 2 ]",
        ] {
            assert_eq!(skipped(text), Ok(text.len()), "{text}");
            assert_eq!(skipped(&format!(" {text},")), Ok(text.len() + 1), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_told_with_its_place() {
        let deep = "[".repeat(100_000);
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("{a: 1}", 1),
            ("01", 2),
            ("1.", 2),
            ("+1", 0),
            (".5", 0),
            ("\"\\q\"", 1),
            ("\"a", 2),
            ("nul", 0),
            ("nulls", 0),
            ("1x", 1),
            ("[1 2]", 3),
            ("\"\\u12\"", 1),
            ("\"a\tb\"", 2),
            (deep.as_str(), DEEPEST + 1),
        ] {
            assert_eq!(skipped(text).map_err(|e| e.at), Err(at), "{text:.20}");
        }
    }
}
