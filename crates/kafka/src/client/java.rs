//! Settings as Spark's users know them from Kafka's Java client, for librdkafka.
//!
//! Most names are the same. Some are spelled differently, some mean something that only a Java program can do, and some
//! belong to the engine. What cannot be honoured is refused with what to write instead; nothing is left out silently.

use headwater_core::{Error, Result};

use super::settings::Role;

/// What becomes of a setting of one name and value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// librdkafka has it under this name, perhaps with another form of the value.
    Is(&'static str, String),
    /// It is as the name says, to be checked by librdkafka.
    Same,
    /// Has a part in several settings: see [`super::settings`].
    Part,
}

/// Why a setting is refused, for all who refuse one.
fn refuse(owner: &str, name: &str, why: &str) -> Error {
    Error::invalid(format!("{owner} does not take 'kafka.{name}': {why}"))
}

/// Settings that only the engine can decide.
const OWNED: [(Role, &str, &str); 16] = [
    (
        Role::Source,
        "auto.offset.reset",
        "the checkpoint holds the offsets; say where a new query begins with the option 'startingOffsets'",
    ),
    (
        Role::Source,
        "enable.auto.commit",
        "the checkpoint holds the offsets, and none are committed to Kafka: leave it out",
    ),
    (
        Role::Source,
        "auto.commit.interval.ms",
        "the checkpoint holds the offsets, and none are committed to Kafka: leave it out",
    ),
    (
        Role::Source,
        "enable.auto.offset.store",
        "the checkpoint holds the offsets: leave it out",
    ),
    (
        Role::Source,
        "enable.partition.eof",
        "the source decides how it learns that a partition has ended: leave it out",
    ),
    (
        Role::Source,
        "key.deserializer",
        "keys are bytes, read them in the query: CAST(key AS STRING), from_json, from_avro",
    ),
    (
        Role::Source,
        "value.deserializer",
        "values are bytes, read them in the query: CAST(value AS STRING), from_json, from_avro",
    ),
    (
        Role::Source,
        "partition.assignment.strategy",
        "the source reads its partitions without a consumer group: leave it out",
    ),
    (
        Role::Source,
        "group.instance.id",
        "the source reads its partitions without a consumer group: leave it out",
    ),
    (
        Role::Source,
        "group.protocol",
        "the source reads its partitions without a consumer group: leave it out",
    ),
    (
        Role::Source,
        "max.poll.records",
        "limit an epoch with the option 'maxOffsetsPerTrigger' or 'maxBytesPerTrigger'",
    ),
    (
        Role::Source,
        "exclude.internal.topics",
        "internal topics are never read by a pattern: leave it out",
    ),
    (
        Role::Sink,
        "key.serializer",
        "keys are bytes or text, made in the query: CAST(… AS STRING), to_json, to_avro",
    ),
    (
        Role::Sink,
        "value.serializer",
        "values are bytes or text, made in the query: CAST(… AS STRING), to_json, to_avro",
    ),
    (
        Role::Sink,
        "partitioner.class",
        "Java classes cannot be loaded; write 'kafka.partitioner', or make a column 'partition'",
    ),
    (
        Role::Sink,
        "max.block.ms",
        "how long a message may wait is set with 'kafka.delivery.timeout.ms'",
    ),
];

/// Names of Java's client that librdkafka spells differently.
const RENAMED: [(&str, &str); 5] = [
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
    ("max.request.size", "message.max.bytes"),
];

/// Settings that are made of several of Java's, or of one and the role.
const PARTS: [&str; 10] = [
    "sasl.jaas.config",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "default.api.timeout.ms",
    "bootstrap.servers",
];

/// What a setting of Java's client, or of librdkafka, means here. `name` is in lower case.
pub(super) fn meaning(owner: &str, role: Role, name: &str, value: &str) -> Result<Meaning> {
    let owned = |(who, owned, _): &&(Role, &str, &str)| *who == role && *owned == name;
    if let Some((_, _, why)) = OWNED.iter().find(owned) {
        return Err(refuse(owner, name, why));
    }
    if PARTS.contains(&name) {
        return Ok(Meaning::Part);
    }
    if let Some((_, native)) = RENAMED.iter().find(|(java, _)| *java == name) {
        return Ok(Meaning::Is(native, value.to_owned()));
    }
    match name {
        // Java says it in capitals.
        "security.protocol" => Ok(Meaning::Is("security.protocol", value.to_ascii_lowercase())),
        "sasl.mechanism" | "sasl.mechanisms" => mechanism(owner, name, value),
        // -1 leaves it to the system, which is 0 here.
        "receive.buffer.bytes" => Ok(Meaning::Is("socket.receive.buffer.bytes", size(value))),
        "send.buffer.bytes" => Ok(Meaning::Is("socket.send.buffer.bytes", size(value))),
        "request.timeout.ms" if role == Role::Source => {
            Ok(Meaning::Is("socket.timeout.ms", value.to_owned()))
        }
        "buffer.memory" => {
            let bytes: u64 = value.trim().parse().map_err(|_| {
                refuse(
                    owner,
                    name,
                    &format!("write a number of bytes, found '{value}'"),
                )
            })?;
            let kilobytes = (bytes / 1024).max(1).to_string();
            Ok(Meaning::Is("queue.buffering.max.kbytes", kilobytes))
        }
        // Java: no check of the name in the certificate.
        "ssl.endpoint.identification.algorithm" if value.trim().is_empty() => Ok(Meaning::Is(
            "ssl.endpoint.identification.algorithm",
            "none".to_owned(),
        )),
        "ssl.protocol" | "ssl.enabled.protocols" => Err(refuse(
            owner,
            name,
            "the newest version of TLS that both sides know is used: leave it out",
        )),
        "ssl.provider" | "ssl.keymanager.algorithm" | "ssl.trustmanager.algorithm" => Err(refuse(
            owner,
            name,
            "TLS is OpenSSL's here, without Java's providers: leave it out",
        )),
        "interceptor.classes"
        | "metric.reporters"
        | "metrics.num.samples"
        | "metrics.recording.level"
        | "metrics.sample.window.ms"
        | "auto.include.jmx.reporter" => Err(refuse(
            owner,
            name,
            "Java classes cannot be loaded: leave it out",
        )),
        _ if name.ends_with(".class") || name.ends_with(".classes") => Err(refuse(
            owner,
            name,
            "Java classes cannot be loaded: leave it out",
        )),
        "plugin.library.paths" | "opaque" | "interceptors" | "log.queue" | "enabled_events" => {
            Err(refuse(
                owner,
                name,
                "it is for programs that use librdkafka themselves",
            ))
        }
        _ if name.ends_with("_cb") => Err(refuse(
            owner,
            name,
            "it is for programs that use librdkafka themselves",
        )),
        _ => Ok(Meaning::Same),
    }
}

/// What this build can log in with.
fn mechanism(owner: &str, name: &str, value: &str) -> Result<Meaning> {
    let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let value = value.trim().to_ascii_uppercase();
    if known.contains(&value.as_str()) {
        return Ok(Meaning::Is("sasl.mechanism", value));
    }
    Err(refuse(
        owner,
        name,
        &format!(
            "'{value}' is not built in: write one of {}",
            known.join(", ")
        ),
    ))
}

fn size(value: &str) -> String {
    match value.trim() {
        "-1" => "0".to_owned(),
        value => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Role, name: &str, value: &str) -> Result<Meaning> {
        meaning("source 'kafka'", role, name, value)
    }

    #[test]
    fn names_of_java_become_those_of_librdkafka() {
        for (name, value, native, expected) in [
            ("fetch.max.wait.ms", "50", "fetch.wait.max.ms", "50"),
            (
                "security.protocol",
                "SASL_SSL",
                "security.protocol",
                "sasl_ssl",
            ),
            (
                "sasl.mechanism",
                "scram-sha-512",
                "sasl.mechanism",
                "SCRAM-SHA-512",
            ),
            (
                "receive.buffer.bytes",
                "-1",
                "socket.receive.buffer.bytes",
                "0",
            ),
            ("request.timeout.ms", "9000", "socket.timeout.ms", "9000"),
            (
                "buffer.memory",
                "33554432",
                "queue.buffering.max.kbytes",
                "32768",
            ),
            (
                "ssl.endpoint.identification.algorithm",
                "",
                "ssl.endpoint.identification.algorithm",
                "none",
            ),
        ] {
            let found = of(Role::Source, name, value).expect("known");
            assert_eq!(found, Meaning::Is(native, expected.to_owned()), "{name}");
        }
        let found = of(Role::Source, "isolation.level", "read_committed");
        assert_eq!(found.expect("known"), Meaning::Same);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_reason() {
        for (role, name, value, part) in [
            (
                Role::Source,
                "auto.offset.reset",
                "latest",
                "startingOffsets",
            ),
            (Role::Source, "value.deserializer", "x", "from_json"),
            (Role::Source, "sasl.mechanism", "GSSAPI", "SCRAM-SHA-256"),
            (
                Role::Source,
                "sasl.login.callback.handler.class",
                "x",
                "Java classes",
            ),
            (
                Role::Source,
                "ssl.enabled.protocols",
                "TLSv1.2",
                "leave it out",
            ),
            (Role::Sink, "key.serializer", "x", "CAST"),
            (Role::Sink, "buffer.memory", "much", "number of bytes"),
            (Role::Sink, "error_cb", "x", "themselves"),
        ] {
            let error = of(role, name, value).expect_err("refused");
            let message = error.message();
            assert!(message.contains(&format!("'kafka.{name}'")), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_a_source_owns_a_sink_may_set() {
        assert_eq!(
            of(Role::Sink, "enable.idempotence", "true").expect("known"),
            Meaning::Same
        );
        assert!(of(Role::Sink, "auto.offset.reset", "latest").is_ok());
    }
}
