//! The options of the sink.

use std::time::Duration;

use headwater_core::{Error, Options, Result};

use super::{columns::check_topic, decide::WhenUnknown};
use crate::client::{ClientSettings, Role, event_hubs, is_of_client};

pub(super) const OWNER: &str = "sink 'kafka'";

const KNOWN: [&str; 4] = [
    "topic",
    "exactlyOnce",
    "transactionTopic",
    "whenEpochIsUnknown",
];

/// How long a transaction may be open unless the user says otherwise: the longest that brokers allow by default.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What the user asked for.
#[derive(Debug, Clone)]
pub(super) struct SinkOptions {
    /// Where all rows go; none if a column says it.
    pub(super) topic: Option<String>,
    pub(super) guarantee: Guarantee,
    pub(super) client: ClientSettings,
}

/// How often a row of the result is in the topic.
#[derive(Debug, Clone)]
pub(super) enum Guarantee {
    AtLeastOnce,
    ExactlyOnce {
        /// The topic under which the number of the last epoch is kept; none if it is to be the one written to.
        topic: Option<String>,
        when_unknown: WhenUnknown,
        /// How long the broker lets a transaction be open.
        longest: Duration,
    },
}

impl SinkOptions {
    /// Reads the options of a sink.
    ///
    /// # Errors
    /// `Invalid`, naming the option.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let options = event_hubs::expand(OWNER, Role::Sink, options)?;
        let own: Options = options
            .iter()
            .filter(|(name, _)| !is_of_client(name))
            .collect();
        own.deny_unknown(OWNER, &KNOWN)?;
        let client = ClientSettings::from_options(OWNER, Role::Sink, &options)?;
        let topic = own.get("topic").map(str::to_owned);
        if let Some(topic) = &topic {
            check_topic(topic)?;
        }
        let guarantee = guarantee(&own, &client, topic.is_some())?;
        Ok(Self {
            topic,
            guarantee,
            client,
        })
    }
}

fn guarantee(own: &Options, client: &ClientSettings, has_topic: bool) -> Result<Guarantee> {
    for (name, instead) in [
        (
            "transactional.id",
            "the sink makes one for the query: write 'exactlyOnce' = 'true'",
        ),
        (
            "group.id",
            "the sink makes one for the query, with 'exactlyOnce': leave it out",
        ),
    ] {
        if client.get(name).is_some() {
            return Err(Error::invalid(format!(
                "{OWNER} does not take 'kafka.{name}': {instead}"
            )));
        }
    }
    if !own.parse("exactlyOnce")?.unwrap_or(false) {
        for name in ["transactionTopic", "whenEpochIsUnknown"] {
            if own.get(name).is_some() {
                return Err(Error::invalid(format!(
                    "option '{name}' of {OWNER} means nothing without 'exactlyOnce' = 'true'"
                )));
            }
        }
        return Ok(Guarantee::AtLeastOnce);
    }
    if client
        .get("enable.idempotence")
        .is_some_and(|it| it.trim() != "true")
    {
        return Err(Error::invalid(format!(
            "{OWNER} cannot be exactly once without 'kafka.enable.idempotence': leave it out"
        )));
    }
    let topic = own.get("transactionTopic").map(str::to_owned);
    if let Some(topic) = &topic {
        check_topic(topic)?;
    }
    if topic.is_none() && !has_topic {
        return Err(Error::invalid(format!(
            "{OWNER} with 'exactlyOnce' keeps the number of its last epoch beside a topic, and the rows name theirs one by \
             one: give it the option 'topic', or say with 'transactionTopic' which topic that is (any that exists)"
        )));
    }
    let when_unknown = match own.get("whenEpochIsUnknown").map(str::trim) {
        None | Some("fail") => WhenUnknown::Fail,
        Some("write") => WhenUnknown::Write,
        Some("skip") => WhenUnknown::Skip,
        Some(other) => {
            return Err(Error::invalid(format!(
                "option 'whenEpochIsUnknown' cannot be '{other}': write fail, write or skip"
            )));
        }
    };
    let longest = match client.get("transaction.timeout.ms") {
        None => LONGEST,
        Some(text) => Duration::from_millis(text.trim().parse().map_err(|_| {
            Error::invalid(format!(
                "option 'kafka.transaction.timeout.ms' cannot be '{text}': write a whole number"
            ))
        })?),
    };
    Ok(Guarantee::ExactlyOnce {
        topic,
        when_unknown,
        longest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Result<SinkOptions> {
        let servers = [("kafka.bootstrap.servers", "localhost:9092")];
        SinkOptions::of(&servers.iter().chain(options).copied().collect())
    }

    #[test]
    fn the_default_is_at_least_once() {
        let plain = options(&[("topic", "out")]).expect("enough");
        assert!(matches!(plain.guarantee, Guarantee::AtLeastOnce));
        let exactly = options(&[("topic", "out"), ("exactly_once", "true")]).expect("enough");
        let Guarantee::ExactlyOnce { topic, longest, .. } = exactly.guarantee else {
            panic!("it was asked for");
        };
        assert_eq!((topic, longest), (None, LONGEST));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_write() {
        for (given, part) in [
            (&[("exactlyOnce", "true")][..], "'transactionTopic'"),
            (&[("exactlyOnce", "maybe")], "true or false"),
            (&[("topic", "a b")], "letters, digits"),
            (&[("topics", "a")], "did you mean 'topic'"),
            (&[("whenEpochIsUnknown", "skip")], "'exactlyOnce' = 'true'"),
            (
                &[
                    ("topic", "t"),
                    ("exactlyOnce", "true"),
                    ("whenEpochIsUnknown", "x"),
                ],
                "fail, write or skip",
            ),
            (&[("kafka.transactional.id", "mine")], "'exactlyOnce'"),
            (
                &[
                    ("topic", "t"),
                    ("exactlyOnce", "true"),
                    ("kafka.enable.idempotence", "false"),
                ],
                "leave it out",
            ),
        ] {
            let error = options(given).expect_err("refused");
            assert!(error.message().contains(part), "{error}");
        }
    }
}
