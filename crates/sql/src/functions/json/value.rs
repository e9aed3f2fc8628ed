//! JSON as a text has it: numbers keep their digits, objects the order of their members.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

use headwater_payload::number::java_double;

/// Deeper texts than this are no JSON here, so that no text can use up the stack.
const DEEPEST: usize = 256;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written, or `NaN`, `Infinity`, `-Infinity`.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads the first value of a text, as Spark does: what stands behind it does not count. Texts may stand in single
    /// quotes. `None` if it is no JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader {
            text,
            chars: text.char_indices().peekable(),
        };
        reader.value(0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            // A number with a point or an exponent is shown as the double it stands for.
            Self::Number(digits) => match digits.parse() {
                Ok(double) if digits.contains(['.', 'e', 'E']) => f.write_str(&java_double(double)),
                _ => f.write_str(digits),
            },
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (place, (name, value)) in members.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{value}", quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while self
            .chars
            .next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_space();
        if depth > DEEPEST {
            return None;
        }
        match self.chars.peek()?.1 {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '"' | '\'' => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.chars.next();
        let mut members = Vec::new();
        if self.eat('}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            if !self.eat(':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            if self.eat('}') {
                return Some(Json::Object(members));
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.chars.next();
        let mut items = Vec::new();
        if self.eat(']') {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat(']') {
                return Some(Json::List(items));
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.chars.next_if(|(_, c)| matches!(c, '"' | '\''))?.1;
        let mut out = String::new();
        loop {
            match self.chars.next()?.1 {
                c if c == quote => return Some(out),
                '\\' => out.push(self.escape()?),
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.chars.next()?.1 {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            c @ ('"' | '\'' | '\\' | '/') => c,
            'u' => {
                let high = self.hex()?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high);
                }
                let is_pair = self.chars.next()?.1 == '\\' && self.chars.next()?.1 == 'u';
                let low = self
                    .hex()
                    .filter(|low| is_pair && (0xDC00..0xE000).contains(low))?;
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + self.chars.next()?.1.to_digit(16)?;
        }
        Some(value)
    }

    /// A number or one of the words.
    fn word(&mut self) -> Option<Json> {
        let start = self.chars.peek()?.0;
        let mut end = start;
        let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        while let Some((at, c)) = self.chars.next_if(|(_, c)| in_word(*c)) {
            end = at + c.len_utf8();
        }
        let word = self.text.get(start..end)?;
        match word {
            "null" => Some(Json::Null),
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            "NaN" | "Infinity" | "-Infinity" => Some(Json::Number(word.to_owned())),
            "+INF" | "INF" => Some(Json::Number("Infinity".to_owned())),
            "-INF" => Some(Json::Number("-Infinity".to_owned())),
            _ => is_number(word).then(|| Json::Number(word.to_owned())),
        }
    }
}

/// `-12`, `0.5`, `1e-3`: no leading zeros, no `+`, digits on both sides of the point.
fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_written() {
        for (text, written) in [
            (
                r#" {"b": 1.50, "a" : [true, null, -0e1 ], "c":{}} "#,
                r#"{"b":1.5,"a":[true,null,-0.0],"c":{}}"#,
            ),
            (r#"{'a': 'x"y'} rest"#, r#"{"a":"x\"y"}"#),
            ("\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"é😀\\n/\""),
            ("[NaN]", "[NaN]"),
        ] {
            assert_eq!(Json::parse(text).expect(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "{a: 1}",
            "01",
            "1.",
            "+1",
            ".5",
            "\"\\q\"",
            "\"a",
            "nul",
            "\"\\ud800\"",
            deep.as_str(),
        ] {
            assert_eq!(Json::parse(text), None, "{text:.20}");
        }
    }
}
