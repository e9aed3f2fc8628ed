//! Azure Event Hubs by its connection string: what a namespace's portal shows, as settings of a Kafka client.
//!
//! Event Hubs speaks Kafka's protocol on port 9093 of the namespace, over TLS, with the login `$ConnectionString` and the
//! string itself as the password. The string is a secret as a whole and in no message.

use headwater_core::{Error, Options, Result};

use super::Role;

/// The option that holds a connection string.
pub(crate) const CONNECTION_STRING: &str = "eventhubs.connectionString";

/// Where Event Hubs speaks Kafka.
const PORT: u16 = 9093;

/// What the service asks of clients: it closes connections that are idle for four minutes, and a new one is cheaper
/// before that than after.
const ADVISED: [(&str, &str); 3] = [
    ("kafka.socket.keepalive.enable", "true"),
    ("kafka.connections.max.idle.ms", "180000"),
    ("kafka.metadata.max.age.ms", "180000"),
];

/// Replaces a connection string among the options by what it says, leaving what else the user has said: other servers
/// (`kafka.bootstrap.servers`), another topic than that of the string.
///
/// # Errors
/// `Invalid` if it is no connection string, or something else says how to log in.
pub(crate) fn expand(owner: &str, role: Role, options: &Options) -> Result<Options> {
    let mut options = options.clone();
    let Some(text) = options.take(CONNECTION_STRING) else {
        return Ok(options);
    };
    let said = parse(&text).map_err(|why| {
        Error::invalid(format!(
            "{owner} cannot use the option '{CONNECTION_STRING}': {why}; it looks like \
             Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=HUB"
        ))
    })?;
    for name in [
        "kafka.sasl.jaas.config",
        "kafka.sasl.username",
        "kafka.sasl.password",
        "kafka.sasl.mechanism",
        "kafka.security.protocol",
    ] {
        if options.get(name).is_some() {
            return Err(Error::invalid(format!(
                "{owner} is told twice how to log in: by '{CONNECTION_STRING}' and by '{name}'; leave one out"
            )));
        }
    }
    let servers = format!("{}:{PORT}", said.host);
    let login = [
        ("kafka.bootstrap.servers", servers.as_str()),
        ("kafka.security.protocol", "SASL_SSL"),
        ("kafka.sasl.mechanism", "PLAIN"),
        ("kafka.sasl.username", "$ConnectionString"),
        ("kafka.sasl.password", text.trim()),
    ];
    for (name, value) in login.into_iter().chain(ADVISED) {
        if options.get(name).is_none() {
            options.set(name, value);
        }
    }
    let topic = match role {
        Role::Sink => (options.get("topic").is_none()).then_some("topic"),
        Role::Source => {
            let is_said = |name| options.get(name).is_some();
            let says_topics = ["subscribe", "subscribePattern", "assign"];
            (!says_topics.into_iter().any(is_said)).then_some("subscribe")
        }
    };
    if let Some((option, hub)) = topic.zip(said.hub) {
        options.set(option, hub);
    }
    Ok(options)
}

/// What a connection string says beside the login.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    host: String,
    hub: Option<String>,
}

/// Reads a connection string; the error shows nothing of it.
fn parse(text: &str) -> Result<Said, String> {
    let (mut host, mut hub, mut has_key, mut has_name) = (None, None, false, false);
    for part in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        // Keys are in base 64, which ends with '='.
        let (name, value) = part
            .split_once('=')
            .ok_or("one of its parts is not NAME=VALUE")?;
        match name.trim().to_ascii_lowercase().as_str() {
            "endpoint" => host = Some(host_of(value.trim())?),
            "entitypath" => hub = Some(value.trim().to_owned()).filter(|it| !it.is_empty()),
            "sharedaccesskeyname" => has_name = !value.trim().is_empty(),
            "sharedaccesskey" => has_key = !value.trim().is_empty(),
            // A signature instead of a key; and others may come.
            "sharedaccesssignature" => (has_name, has_key) = (true, true),
            _ => {}
        }
    }
    let host = host.ok_or("it has no Endpoint")?;
    if !has_name {
        return Err("it has no SharedAccessKeyName".to_owned());
    }
    if !has_key {
        return Err("it has no SharedAccessKey".to_owned());
    }
    Ok(Said { host, hub })
}

fn host_of(endpoint: &str) -> Result<String, String> {
    let wrong = || "its Endpoint is not sb://NAMESPACE.servicebus.windows.net/".to_owned();
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(wrong)?;
    let host = rest.trim_end_matches('/');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if !scheme.eq_ignore_ascii_case("sb") || host.is_empty() || !host.chars().all(is_host) {
        return Err(wrong());
    }
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRING: &str = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=app;SharedAccessKey=aGVsbG8=;\
                          EntityPath=orders";

    fn expanded(role: Role, more: &[(&str, &str)]) -> Result<Options> {
        let options = [(CONNECTION_STRING, STRING)];
        let options: Options = options.iter().chain(more).copied().collect();
        expand("sink 'kafka'", role, &options)
    }

    #[test]
    fn a_connection_string_says_servers_login_and_topic() {
        let options = expanded(Role::Sink, &[]).expect("well formed");
        for (name, value) in [
            (
                "kafka.bootstrap.servers",
                "shop.servicebus.windows.net:9093",
            ),
            ("kafka.security.protocol", "SASL_SSL"),
            ("kafka.sasl.mechanism", "PLAIN"),
            ("kafka.sasl.username", "$ConnectionString"),
            ("kafka.sasl.password", STRING),
            ("topic", "orders"),
        ] {
            assert_eq!(options.get(name), Some(value), "{name}");
        }
        assert_eq!(options.get(CONNECTION_STRING), None);
        assert!(!format!("{options:?}").contains("aGVsbG8"), "{options:?}");
        let source = expanded(Role::Source, &[]).expect("well formed");
        assert_eq!(source.get("subscribe"), Some("orders"));
        assert_eq!(source.get("topic"), None);
    }

    #[test]
    fn what_the_user_says_wins() {
        let servers = ("kafka.bootstrap.servers", "127.0.0.1:9093");
        let options = expanded(Role::Sink, &[servers, ("topic", "mine")]).expect("well formed");
        assert_eq!(
            options.get("kafka.bootstrap.servers"),
            Some("127.0.0.1:9093")
        );
        assert_eq!(options.get("topic"), Some("mine"));
        let options = expanded(Role::Source, &[("assign", "{}")]).expect("well formed");
        assert_eq!(options.get("subscribe"), None);
        let error = expanded(Role::Sink, &[("kafka.sasl.username", "u")]).expect_err("twice");
        assert!(error.message().contains("told twice"), "{error}");
    }

    #[test]
    fn other_texts_are_refused_and_not_shown() {
        for (text, why) in [
            ("hush", "one of its parts"),
            (
                "SharedAccessKeyName=hush;SharedAccessKey=hush",
                "no Endpoint",
            ),
            (
                "Endpoint=https://hush;SharedAccessKeyName=hush;SharedAccessKey=hush",
                "its Endpoint is not",
            ),
            (
                "Endpoint=sb://hush/hush;SharedAccessKeyName=n;SharedAccessKey=hush",
                "its Endpoint is not",
            ),
            (
                "Endpoint=sb://n/;SharedAccessKey=hush",
                "no SharedAccessKeyName",
            ),
            (
                "Endpoint=sb://n/;SharedAccessKeyName=hush",
                "no SharedAccessKey;",
            ),
        ] {
            let options: Options = [(CONNECTION_STRING, text)].into_iter().collect();
            let error = expand("sink 'kafka'", Role::Sink, &options).expect_err("refused");
            assert!(error.message().contains(why), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
