//! Which statements are not to be remembered: those that name a secret and say what it is.

use headwater::{
    core::secret::is_secret,
    sql::statement::{Lexeme, LexemeKind, Lexer},
};

/// Whether a text holds the value of a secret: an option such as `'password' 'x'`, or a URL with a password in it.
/// `${NAME}` stands for a value without being it, but the option is taken for private all the same.
pub(crate) fn is_private(text: &str, lexer: Lexer) -> bool {
    let is_said = |lexeme: &Lexeme| !matches!(lexeme.kind, LexemeKind::Blank | LexemeKind::Comment);
    let said: Vec<Lexeme> = lexer.lexemes(text).into_iter().filter(is_said).collect();
    let of = |lexeme: &Lexeme| text[lexeme.range.clone()].trim_matches(['\'', '"', '`']);
    let mut in_options = false;
    for (number, lexeme) in said.iter().enumerate() {
        match lexeme.kind {
            LexemeKind::Semicolon => in_options = false,
            LexemeKind::Text | LexemeKind::Open if has_password(of(lexeme)) => return true,
            LexemeKind::Word if of(lexeme).eq_ignore_ascii_case("options") => in_options = true,
            LexemeKind::Word | LexemeKind::QuotedName | LexemeKind::Text => {
                let (name, behind) = dotted(&said, number, &of);
                let value = match said.get(behind) {
                    Some(sign) if of(sign) == "=" => said.get(behind + 1),
                    other => other,
                };
                let is_value = |value: &Lexeme| {
                    matches!(value.kind, LexemeKind::Text | LexemeKind::Open) || in_options
                };
                if is_secret(&name) && value.is_some_and(is_value) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The name that begins at a word, dots and all, and what stands behind it.
fn dotted<'a>(said: &[Lexeme], number: usize, of: &impl Fn(&Lexeme) -> &'a str) -> (String, usize) {
    let mut name = of(&said[number]).to_owned();
    let mut next = number + 1;
    while let [dot, part, ..] = said.get(next..).unwrap_or_default()
        && of(dot) == "."
    {
        name.push('.');
        name.push_str(of(part));
        next += 2;
    }
    (name, next)
}

/// `scheme://user:password@host`
fn has_password(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest);
    let authority = authority.and_then(|rest| rest.split('/').next());
    authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_with_secrets_are_private() {
        for text in [
            "CREATE SINK s USING x OPTIONS ('password' 'hush')",
            "CREATE SINK s USING x OPTIONS (path 'p', kafka.ssl.key.password = hush)",
            "CREATE SINK s USING x OPTIONS (api_key 4711",
            "SET aws.secret_access_key = 'hush'",
            "CREATE STREAM s USING x LOCATION 'postgres://me:hush@host/db'",
            "SELECT 1; SET password = 'open",
        ] {
            assert!(is_private(text, Lexer::default()), "{text}");
        }
        for text in [
            "",
            "SELECT token, count(*) FROM t GROUP BY token",
            "CREATE SINK s USING parquet OPTIONS ('path' 's3://bucket/a@b')",
            "SELECT 'password' -- 'hush'",
            "CREATE STREAM s USING rate OPTIONS (rowsPerSecond 10); SELECT token FROM s",
        ] {
            assert!(!is_private(text, Lexer::default()), "{text}");
        }
    }
}
