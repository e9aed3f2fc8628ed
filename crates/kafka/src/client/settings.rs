//! The settings of a client: what users wrote as `kafka.…`, in the words of librdkafka.

use std::{collections::BTreeMap, fmt, time::Duration};

use headwater_core::{
    Error, Options, Result,
    secret::{HIDDEN, is_secret},
};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError};

use super::{
    jaas,
    java::{self, Meaning},
};

const PREFIX: &str = "kafka.";

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It reads.
    Source,
    /// It writes.
    Sink,
}

/// How to reach the brokers, and everything that was said about it. Secrets are not in its `Debug` form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// `source 'kafka'`, for messages.
    owner: String,
    servers: String,
    /// By librdkafka's names.
    properties: BTreeMap<String, String>,
    /// How long to wait for an answer, where the user has said so.
    patience: Option<Duration>,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties = self.properties.iter().map(|(name, value)| {
            let value = if is_secret(name) { HIDDEN } else { value };
            (name, value.to_owned())
        });
        f.debug_map().entries(properties).finish()
    }
}

/// An option that belongs to the client.
pub(crate) fn is_of_client(name: &str) -> bool {
    name.len() > PREFIX.len() && name.to_ascii_lowercase().starts_with(PREFIX)
}

impl ClientSettings {
    /// Takes the options `kafka.…`; the others are the connector's.
    ///
    /// # Errors
    /// `Invalid` without `kafka.bootstrap.servers`, and for a setting that librdkafka does not know, that has a wrong
    /// value or that cannot be honoured.
    pub(crate) fn from_options(owner: &str, role: Role, options: &Options) -> Result<Self> {
        let mut java = BTreeMap::new();
        let mut properties = BTreeMap::new();
        for (name, value) in options.iter().filter(|(name, _)| is_of_client(name)) {
            let name = name[PREFIX.len()..].to_ascii_lowercase();
            match java::meaning(owner, role, &name, value)? {
                Meaning::Is(native, value) => properties.insert(native.to_owned(), value),
                Meaning::Same => properties.insert(name, value.to_owned()),
                Meaning::Part => java.insert(name, value.to_owned()),
            };
        }
        let parts = Parts { owner, java };
        let servers = parts.servers()?;
        properties.insert("bootstrap.servers".to_owned(), servers.clone());
        parts.login(&mut properties)?;
        parts.trust(&mut properties)?;
        parts.keys(&mut properties)?;
        let settings = Self {
            owner: owner.to_owned(),
            servers,
            properties,
            patience: parts.patience()?,
        };
        settings.check()?;
        Ok(settings)
    }

    /// The brokers as the user named them.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// A setting by librdkafka's name, if the user has made it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// How long an answer may take: what the user says with `kafka.default.api.timeout.ms`, or this.
    pub(crate) fn patience_or(&self, patience: Duration) -> Duration {
        self.patience.unwrap_or(patience)
    }

    /// The configuration of a client: `defaults` where the user has said nothing, the user's settings, and what the
    /// engine decides.
    pub(crate) fn config(
        &self,
        defaults: &[(&str, String)],
        decided: &[(&str, String)],
    ) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What is worth knowing comes to `super::Context`, which decides where it goes.
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in defaults {
            config.set(*name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in decided {
            config.set(*name, value);
        }
        config
    }

    /// Lets librdkafka look at names and values, without connecting.
    fn check(&self) -> Result<()> {
        match self.config(&[], &[]).create_native_config() {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientConfig(_, why, name, value)) => Err(Error::invalid(format!(
                "{} cannot use 'kafka.{name}' = '{}': {}; the names are those of Kafka's clients, see librdkafka's \
                 CONFIGURATION.md",
                self.owner,
                if is_secret(&name) { HIDDEN } else { &value },
                if is_secret(&name) {
                    "it is refused"
                } else {
                    why.trim()
                },
            ))),
            Err(error) => Err(Error::invalid(format!(
                "{} cannot use its settings 'kafka.…'",
                self.owner
            ))
            .with_source(error)),
        }
    }
}

/// Settings that have to be looked at together.
struct Parts<'a> {
    owner: &'a str,
    /// By Java's names.
    java: BTreeMap<String, String>,
}

impl Parts<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.java.get(name).map(String::as_str)
    }

    fn refuse(&self, name: &str, why: &str) -> Error {
        Error::invalid(format!(
            "{} does not take 'kafka.{name}': {why}",
            self.owner
        ))
    }

    fn servers(&self) -> Result<String> {
        let servers = self.get("bootstrap.servers").unwrap_or_default().trim();
        if servers.is_empty() {
            return Err(Error::invalid(format!(
                "{} needs the option 'kafka.bootstrap.servers', such as 'localhost:9092'",
                self.owner
            )));
        }
        Ok(servers.to_owned())
    }

    fn patience(&self) -> Result<Option<Duration>> {
        let Some(text) = self.get("default.api.timeout.ms") else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(millis @ 1..) => Ok(Some(Duration::from_millis(millis))),
            _ => Err(self.refuse(
                "default.api.timeout.ms",
                &format!("write a number of milliseconds above 0, found '{text}'"),
            )),
        }
    }

    /// Name and password out of `sasl.jaas.config`.
    fn login(&self, properties: &mut BTreeMap<String, String>) -> Result<()> {
        const NAME: &str = "sasl.jaas.config";
        let Some(text) = self.get(NAME) else {
            return Ok(());
        };
        let expected = "write org.apache.kafka.common.security.plain.PlainLoginModule required username=\"…\" \
                        password=\"…\"; or 'kafka.sasl.username' and 'kafka.sasl.password'";
        let login = jaas::parse(text).ok_or_else(|| self.refuse(NAME, expected))?;
        if !matches!(
            login.module.as_str(),
            "PlainLoginModule" | "ScramLoginModule"
        ) {
            let why = format!("it has no module {}: {expected}", login.module);
            return Err(self.refuse(NAME, &why));
        }
        let option = |name: &str| {
            let value = login.options.get(name).cloned();
            value.ok_or_else(|| self.refuse(NAME, &format!("it says no {name}: {expected}")))
        };
        properties.insert("sasl.username".to_owned(), option("username")?);
        properties.insert("sasl.password".to_owned(), option("password")?);
        if login.module == "PlainLoginModule" {
            properties
                .entry("sasl.mechanism".to_owned())
                .or_insert_with(|| "PLAIN".to_owned());
        }
        Ok(())
    }

    /// Whom to trust.
    fn trust(&self, properties: &mut BTreeMap<String, String>) -> Result<()> {
        let kind = self.get("ssl.truststore.type").unwrap_or("JKS");
        let is_pem = kind.eq_ignore_ascii_case("PEM");
        if self.get("ssl.truststore.password").is_some() {
            return Err(self.refuse(
                "ssl.truststore.password",
                "certificates are read from a PEM file, which has none: leave it out",
            ));
        }
        let Some(location) = self.get("ssl.truststore.location") else {
            return Ok(());
        };
        if !is_pem {
            return Err(self.refuse(
                "ssl.truststore.location",
                &format!(
                    "a store of type {kind} cannot be read; export its certificates (keytool -exportcert -rfc -keystore \
                     {location} -alias … > ca.pem) and write 'kafka.ssl.ca.location'"
                ),
            ));
        }
        properties.insert("ssl.ca.location".to_owned(), location.to_owned());
        Ok(())
    }

    /// How to show who one is.
    fn keys(&self, properties: &mut BTreeMap<String, String>) -> Result<()> {
        if let Some(password) = self.get("ssl.key.password") {
            properties.insert("ssl.key.password".to_owned(), password.to_owned());
        }
        let kind = self.get("ssl.keystore.type").unwrap_or("JKS");
        let location = self.get("ssl.keystore.location");
        match (location, kind.to_ascii_uppercase().as_str()) {
            (None, _) => {}
            (Some(location), "PEM") => {
                for name in ["ssl.certificate.location", "ssl.key.location"] {
                    properties.insert(name.to_owned(), location.to_owned());
                }
            }
            (Some(location), "PKCS12") => {
                properties.insert("ssl.keystore.location".to_owned(), location.to_owned());
                let password = self.get("ssl.keystore.password").unwrap_or_default();
                properties.insert("ssl.keystore.password".to_owned(), password.to_owned());
            }
            (Some(location), _) => {
                return Err(self.refuse(
                    "ssl.keystore.location",
                    &format!(
                        "a store of type {kind} cannot be read; convert it (keytool -importkeystore -srckeystore \
                         {location} -destkeystore keys.p12 -deststoretype PKCS12) and write \
                         'kafka.ssl.keystore.type' = 'PKCS12'"
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)]) -> Result<ClientSettings> {
        let options = [("kafka.bootstrap.servers", "h:9092")]
            .iter()
            .chain(options);
        let options: Options = options.copied().collect();
        ClientSettings::from_options("source 'kafka'", Role::Source, &options)
    }

    fn refused(options: &[(&str, &str)]) -> String {
        let error = settings(options).expect_err("refused");
        error.message().to_owned()
    }

    #[test]
    fn settings_pass_and_other_options_do_not() {
        let settings = settings(&[
            ("KAFKA.Isolation.Level", "read_committed"),
            ("kafka.default.api.timeout.ms", "2500"),
            ("subscribe", "t"),
        ])
        .expect("all known");
        assert_eq!(settings.servers(), "h:9092");
        assert_eq!(settings.get("isolation.level"), Some("read_committed"));
        assert_eq!(settings.get("subscribe"), None);
        let patience = settings.patience_or(Duration::ZERO);
        assert_eq!(patience, Duration::from_millis(2_500));
        let config = settings.config(&[("isolation.level", "read_uncommitted".into())], &[]);
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        let config = settings.config(&[], &[("isolation.level", "read_uncommitted".into())]);
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
    }

    #[test]
    fn servers_are_needed() {
        let error = ClientSettings::from_options("source 'kafka'", Role::Source, &Options::new());
        assert_eq!(
            error.expect_err("no servers").message(),
            "source 'kafka' needs the option 'kafka.bootstrap.servers', such as 'localhost:9092'"
        );
    }

    #[test]
    fn a_login_of_java_becomes_name_and_password() {
        let settings = settings(&[
            ("kafka.security.protocol", "SASL_SSL"),
            (
                "kafka.sasl.jaas.config",
                r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="hush";"#,
            ),
        ])
        .expect("known");
        assert_eq!(settings.get("sasl.username"), Some("u"));
        assert_eq!(settings.get("sasl.password"), Some("hush"));
        assert_eq!(settings.get("sasl.mechanism"), Some("PLAIN"));
        assert!(!format!("{settings:?}").contains("hush"));
        let message = refused(&[(
            "kafka.sasl.jaas.config",
            "Krb5LoginModule required hush=hush;",
        )]);
        assert!(message.contains("'kafka.sasl.username'"), "{message}");
        assert!(!message.contains("hush"), "{message}");
    }

    #[test]
    fn stores_of_java_become_files_or_are_refused_with_how_to_convert_them() {
        let settings = settings(&[
            ("kafka.ssl.truststore.type", "PEM"),
            ("kafka.ssl.truststore.location", "ca.pem"),
            ("kafka.ssl.keystore.type", "PEM"),
            ("kafka.ssl.keystore.location", "me.pem"),
        ])
        .expect("known");
        assert_eq!(settings.get("ssl.ca.location"), Some("ca.pem"));
        assert_eq!(settings.get("ssl.key.location"), Some("me.pem"));
        assert_eq!(settings.get("ssl.certificate.location"), Some("me.pem"));
        for (option, part) in [
            ("kafka.ssl.truststore.location", "keytool -exportcert"),
            ("kafka.ssl.keystore.location", "-deststoretype PKCS12"),
        ] {
            let message = refused(&[(option, "store.jks")]);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused_and_secrets_not_shown() {
        let message = refused(&[("kafka.fetch.min.byte", "1")]);
        assert!(
            message.contains("'kafka.fetch.min.byte' = '1'"),
            "{message}"
        );
        let message = refused(&[("kafka.fetch.min.bytes", "none")]);
        assert!(message.contains("fetch.min.bytes"), "{message}");
        let message = refused(&[("kafka.sasl.passwort.secret", "hush")]);
        assert!(!message.contains("hush"), "{message}");
    }
}
