//! The options of the source.

use std::time::Duration;

use headwater_core::{Error, Options, Result};

use super::{
    OWNER,
    bounds::{Bound, NoSuchTime},
    plan::{AtLeast, Limits},
    subscription::Subscription,
};
use crate::client::{ClientSettings, Role, is_of_client};

const KNOWN_OPTIONS: &[&str] = &[
    "subscribe",
    "subscribePattern",
    "assign",
    "startingOffsets",
    "startingTimestamp",
    "startingOffsetsByTimestamp",
    "startingOffsetsByTimestampStrategy",
    "endingOffsets",
    "endingTimestamp",
    "endingOffsetsByTimestamp",
    "maxOffsetsPerTrigger",
    "minOffsetsPerTrigger",
    "maxTriggerDelay",
    "maxBytesPerTrigger",
    "minPartitions",
    "failOnDataLoss",
    "includeHeaders",
    "groupIdPrefix",
];

/// How long `minOffsetsPerTrigger` may hold an epoch up.
const MAX_TRIGGER_DELAY: Duration = Duration::from_secs(15 * 60);

/// Everything that the user has said.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) client: ClientSettings,
    pub(crate) subscription: Subscription,
    pub(crate) starting: Bound,
    pub(crate) starting_strategy: NoSuchTime,
    /// Where a bounded table ends; `None` for a stream.
    pub(crate) ending: Option<Bound>,
    pub(crate) limits: Limits,
    pub(crate) min_partitions: Option<u64>,
    pub(crate) fail_on_data_loss: bool,
    pub(crate) include_headers: bool,
    /// What the names of consumer groups begin with; Kafka wants one for each client, and none is ever joined.
    pub(crate) group_prefix: String,
    /// The name of the group, where the user wants a certain one.
    pub(crate) group: Option<String>,
}

impl Settings {
    /// # Errors
    /// `Invalid` for an unknown option or a value that makes no sense.
    pub(crate) fn from_options(options: &Options, is_bounded: bool) -> Result<Self> {
        let own: Options = options
            .iter()
            .filter(|(name, _)| !is_of_client(name))
            .collect();
        own.deny_unknown(OWNER, KNOWN_OPTIONS)?;
        let client = ClientSettings::from_options(OWNER, Role::Source, options)?;
        let limits = limits(&own)?;
        if is_bounded && limits != Limits::default() {
            return Err(Error::invalid(format!(
                "{OWNER} takes maxOffsetsPerTrigger, minOffsetsPerTrigger and maxBytesPerTrigger only as a stream: a \
                 bounded table is read at once"
            )));
        }
        Ok(Self {
            subscription: Subscription::from_options(&own)?,
            starting: Bound::starting(&own, is_bounded)?,
            starting_strategy: NoSuchTime::from_options(&own)?,
            ending: {
                let ending = Bound::ending(&own, is_bounded)?;
                is_bounded.then_some(ending)
            },
            limits,
            min_partitions: positive(&own, "minPartitions")?,
            fail_on_data_loss: own.parse("failOnDataLoss")?.unwrap_or(true),
            include_headers: own.parse("includeHeaders")?.unwrap_or(false),
            group_prefix: own
                .get("groupIdPrefix")
                .unwrap_or("headwater-kafka-source")
                .to_owned(),
            group: client.get("group.id").map(str::to_owned),
            client,
        })
    }
}

fn limits(options: &Options) -> Result<Limits> {
    let max_offsets = positive(options, "maxOffsetsPerTrigger")?;
    let min_offsets = positive(options, "minOffsetsPerTrigger")?;
    if let (Some(least), Some(most)) = (min_offsets, max_offsets)
        && least > most
    {
        return Err(Error::invalid(format!(
            "option 'minOffsetsPerTrigger' of {OWNER} cannot be {least}: it is more than maxOffsetsPerTrigger, {most}"
        )));
    }
    let max_delay = options.duration("maxTriggerDelay")?;
    if max_delay.is_some() && min_offsets.is_none() {
        return Err(Error::invalid(format!(
            "option 'maxTriggerDelay' of {OWNER} says how long minOffsetsPerTrigger may hold an epoch up: set that too"
        )));
    }
    Ok(Limits {
        max_offsets,
        max_bytes: positive(options, "maxBytesPerTrigger")?,
        min: min_offsets.map(|offsets| AtLeast {
            offsets,
            max_delay: max_delay.unwrap_or(MAX_TRIGGER_DELAY),
        }),
    })
}

/// A whole number above 0.
fn positive(options: &Options, name: &str) -> Result<Option<u64>> {
    match options.parse::<u64>(name)? {
        Some(0) => Err(Error::invalid(format!(
            "option '{name}' of {OWNER} cannot be 0: write a number above 0"
        ))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)], is_bounded: bool) -> Result<Settings> {
        let always = [("kafka.bootstrap.servers", "h:9092"), ("subscribe", "t")];
        let options = always.iter().chain(options).copied().collect();
        Settings::from_options(&options, is_bounded)
    }

    #[test]
    fn options_have_the_defaults_of_spark() {
        let stream = settings(&[], false).expect("enough");
        assert_eq!(stream.starting, Bound::Latest);
        assert_eq!(stream.ending, None);
        assert!(stream.fail_on_data_loss && !stream.include_headers);
        assert_eq!(stream.limits, Limits::default());
        let table = settings(&[], true).expect("enough");
        assert_eq!(table.starting, Bound::Earliest);
        assert_eq!(table.ending, Some(Bound::Latest));
        let limited = settings(
            &[
                ("MAXOFFSETSPERTRIGGER", "10"),
                ("min_offsets_per_trigger", "3"),
                ("failOnDataLoss", "false"),
            ],
            false,
        );
        let limited = limited.expect("valid");
        assert_eq!(limited.limits.max_offsets, Some(10));
        let min = limited.limits.min.expect("there");
        assert_eq!((min.offsets, min.max_delay.as_secs()), (3, 900));
        assert!(!limited.fail_on_data_loss);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_to_write() {
        for (options, is_bounded, part) in [
            (
                &[("maxOffsetPerTrigger", "1")][..],
                false,
                "did you mean 'maxOffsetsPerTrigger'",
            ),
            (&[("maxOffsetsPerTrigger", "0")], false, "a number above 0"),
            (&[("minPartitions", "few")], false, "whole number"),
            (&[("maxTriggerDelay", "5m")], false, "minOffsetsPerTrigger"),
            (&[("maxOffsetsPerTrigger", "5")], true, "only as a stream"),
            (
                &[("maxOffsetsPerTrigger", "5"), ("minOffsetsPerTrigger", "6")],
                false,
                "more than maxOffsetsPerTrigger",
            ),
            (&[("failOnDataLoss", "maybe")], false, "true or false"),
            (
                &[("kafka.auto.offset.reset", "latest")],
                false,
                "startingOffsets",
            ),
        ] {
            let error = settings(options, is_bounded).expect_err("refused");
            assert!(error.message().contains(part), "{error}");
        }
    }
}
