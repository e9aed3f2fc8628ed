//! Reads what Java clients write in `sasl.jaas.config`.

use std::collections::BTreeMap;

/// A login as Java's configuration of modules says it.
#[derive(PartialEq, Eq)]
pub(super) struct Login {
    /// The class without its package: `PlainLoginModule`.
    pub(super) module: String,
    pub(super) options: BTreeMap<String, String>,
}

/// Reads `package.Module required name="value" …;`. `None` if it is not that; what it holds is a secret, so there is
/// nothing to say about where it is wrong.
pub(super) fn parse(text: &str) -> Option<Login> {
    let mut words = Words(text.trim().strip_suffix(';').unwrap_or(text.trim()));
    let class = words.next()?;
    let flag = words.next()?;
    let is_flag = ["required", "requisite", "sufficient", "optional"]
        .iter()
        .any(|known| flag.eq_ignore_ascii_case(known));
    if !is_flag {
        return None;
    }
    let mut options = BTreeMap::new();
    while !words.0.trim_start().is_empty() {
        let (name, value) = words.assignment()?;
        options.insert(name, value);
    }
    let module = class.rsplit('.').next()?.to_owned();
    Some(Login { module, options })
}

/// What is left to read.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        self.0 = &text[end..];
        (end > 0).then(|| text[..end].to_owned())
    }

    /// `name=value` or `name="value"`, where a backslash takes the sign behind it as it is.
    fn assignment(&mut self) -> Option<(String, String)> {
        let (name, rest) = self.0.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            self.0 = &rest[end..];
            return Some((name.to_owned(), rest[..end].to_owned()));
        };
        let mut value = String::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.push(characters.next()?.1),
                c if c == quote => {
                    self.0 = &rest[at + 1..];
                    return Some((name.to_owned(), value));
                }
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_module_and_options() {
        let login = parse(
            r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="$ConnectionString"  password="a=\"b\" c";"#,
        )
        .expect("well formed");
        assert_eq!(login.module, "PlainLoginModule");
        assert_eq!(login.options["username"], "$ConnectionString");
        assert_eq!(login.options["password"], "a=\"b\" c");
        let login = parse("x.ScramLoginModule REQUIRED username=u\n password='p'").expect("too");
        assert_eq!(login.options["username"], "u");
        assert_eq!(login.options["password"], "p");
    }

    #[test]
    fn anything_else_is_refused_without_a_panic() {
        for text in [
            "",
            ";",
            "Module",
            "Module username=u",
            "Module required username",
            "Module required username=\"u",
            "Module required username=\"u\\",
            "Module required =u",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
