//! Which options hold secrets, so that their values are never shown.

/// What is shown instead of a secret.
pub const HIDDEN: &str = "******";

/// Words that only secrets have in their names.
const SECRET_WORDS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "credentials",
    "jaas",
    "sas",
    "connectionstring",
];

/// Words before `key` that make it one to a lock.
const KEYS: [&str; 9] = [
    "keystore",
    "api",
    "access",
    "account",
    "private",
    "secret",
    "shared",
    "encryption",
    "master",
];

/// Whether the value of an option of this name is a secret: `password`, `kafka.sasl.jaas.config`, `aws_secret_access_key`,
/// `accountKey`, `connectionString`. The name of a key (`aws_access_key_id`) counts as one, too.
pub fn is_secret(option: &str) -> bool {
    let words = words(option);
    let is_one = |word: &String| {
        let key = word.strip_suffix("key");
        SECRET_WORDS.contains(&word.as_str()) || key.is_some_and(|key| KEYS.contains(&key))
    };
    let are_one = |pair: &[String]| match [pair[0].as_str(), pair[1].as_str()] {
        ["connection", "string"] | ["key", "pem"] => true,
        [first, "key"] => KEYS.contains(&first),
        _ => false,
    };
    words.iter().any(is_one) || words.windows(2).any(are_one)
}

/// The words of a name in lower case: parted by signs, and by capital letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let is_new = c.is_uppercase() && before.is_lowercase();
        if !c.is_alphanumeric() || is_new {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "password",
            "kafka.ssl.key.password",
            "kafka.sasl.jaas.config",
            "kafka.ssl.keystore.key",
            "kafka.ssl.key.pem",
            "SASL_PASSWORD",
            "aws_secret_access_key",
            "aws_session_token",
            "accountKey",
            "apikey",
            "api_key",
            "connectionString",
            "connection.string",
            "clientSecret",
            "checkpoint.aws_access_key_id",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "path",
            "key",
            "keyColumn",
            "maxFilesPerTrigger",
            "tokenizer",
            "kafka.bootstrap.servers",
            "kafka.ssl.key.location",
            "kafka.ssl.keystore.location",
            "connection",
            "monkey",
            "isolation",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
