//! Where reading begins and where a bounded table ends: `startingOffsets`, `endingOffsets`, and those by time.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Error, Options, Result};
use rdkafka::Offset;
use serde_json::Value;

use super::{
    OWNER,
    positions::{Positions, TopicPartition},
};

/// In the JSON of users: the end of a partition.
const LATEST: i64 = -1;
/// In the JSON of users: the beginning of a partition.
const EARLIEST: i64 = -2;

/// Where to begin, or to end, as the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The oldest message that there is.
    Earliest,
    /// Behind the newest message.
    Latest,
    /// By partition, where -1 is latest and -2 is earliest. Names every partition that is read.
    Offsets(Positions),
    /// The first message of this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// The same by partition. Names every partition that is read.
    Timestamps(Positions),
}

/// What to do about a partition that has no message of a time or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSuchTime {
    /// Give up.
    Fail,
    /// Take the end of the partition.
    Latest,
}

/// A bound of one partition, as far as it is known without the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This offset.
    At(i64),
    /// What the cluster says to this.
    Ask(Offset),
}

/// The names of the options for one end of a table.
struct Names {
    timestamp: &'static str,
    by_timestamp: &'static str,
    offsets: &'static str,
}

const STARTING: Names = Names {
    timestamp: "startingTimestamp",
    by_timestamp: "startingOffsetsByTimestamp",
    offsets: "startingOffsets",
};
const ENDING: Names = Names {
    timestamp: "endingTimestamp",
    by_timestamp: "endingOffsetsByTimestamp",
    offsets: "endingOffsets",
};

impl Bound {
    /// Where reading begins; by default with what comes from now on, a bounded table at the beginning.
    pub(crate) fn starting(options: &Options, is_bounded: bool) -> Result<Self> {
        let default = if is_bounded {
            Self::Earliest
        } else {
            Self::Latest
        };
        let bound = Self::from_options(options, &STARTING)?.unwrap_or(default);
        let is_latest = match &bound {
            Self::Latest => true,
            Self::Offsets(offsets) => offsets.iter().any(|(_, offset)| offset == LATEST),
            _ => false,
        };
        if is_bounded && is_latest {
            return Err(Error::invalid(format!(
                "option 'startingOffsets' of {OWNER} cannot be latest for a bounded table, which would be empty: write \
                 earliest, an offset or a time"
            )));
        }
        Ok(bound)
    }

    /// Where a bounded table ends; by default where the topic does.
    pub(crate) fn ending(options: &Options, is_bounded: bool) -> Result<Self> {
        if !is_bounded {
            let names = [ENDING.timestamp, ENDING.by_timestamp, ENDING.offsets];
            if let Some(name) = names.into_iter().find(|name| options.get(name).is_some()) {
                return Err(Error::invalid(format!(
                    "{OWNER} takes '{name}' only where the topic is read as a bounded table (read): a stream has no end; \
                     read what is there with the trigger available-now"
                )));
            }
        }
        let bound = Self::from_options(options, &ENDING)?.unwrap_or(Self::Latest);
        let is_earliest = match &bound {
            Self::Earliest => true,
            Self::Offsets(offsets) => offsets.iter().any(|(_, offset)| offset == EARLIEST),
            _ => false,
        };
        if is_earliest {
            return Err(Error::invalid(format!(
                "option 'endingOffsets' of {OWNER} cannot be earliest, where the table would be empty: write latest, an \
                 offset or a time"
            )));
        }
        Ok(bound)
    }

    /// The bound that the options give; a single time goes before times by partition, and those before offsets.
    fn from_options(options: &Options, names: &Names) -> Result<Option<Self>> {
        if let Some(time) = options.parse::<i64>(names.timestamp)? {
            if time < 0 {
                return Err(Error::invalid(format!(
                    "option '{}' of {OWNER} cannot be {time}: write milliseconds since 1970",
                    names.timestamp
                )));
            }
            return Ok(Some(Self::Timestamp(time)));
        }
        if let Some(text) = options.get(names.by_timestamp) {
            let times = by_partition(names.by_timestamp, text, 0)?;
            return Ok(Some(Self::Timestamps(times)));
        }
        let Some(text) = options.get(names.offsets) else {
            return Ok(None);
        };
        let bound = match text.trim().to_ascii_lowercase().as_str() {
            "earliest" => Self::Earliest,
            "latest" => Self::Latest,
            _ => Self::Offsets(by_partition(names.offsets, text, EARLIEST)?),
        };
        Ok(Some(bound))
    }

    /// What the bound is for each of these partitions.
    ///
    /// # Errors
    /// `Invalid` if it is said by partition and names others than these.
    pub(crate) fn wanted(
        &self,
        option: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Wanted>> {
        let all = |wanted: Wanted| {
            let all = partitions
                .iter()
                .map(|partition| (partition.clone(), wanted));
            Ok(all.collect())
        };
        match self {
            Self::Earliest => all(Wanted::Ask(Offset::Beginning)),
            Self::Latest => all(Wanted::Ask(Offset::End)),
            Self::Timestamp(time) => all(Wanted::Ask(Offset::Offset(*time))),
            Self::Offsets(offsets) => {
                by_names(option, offsets, partitions, |offset| match offset {
                    LATEST => Wanted::Ask(Offset::End),
                    EARLIEST => Wanted::Ask(Offset::Beginning),
                    offset => Wanted::At(offset),
                })
            }
            Self::Timestamps(times) => by_names(option, times, partitions, |time| {
                Wanted::Ask(Offset::Offset(time))
            }),
        }
    }
}

impl NoSuchTime {
    /// For where reading begins: the option `startingOffsetsByTimestampStrategy`.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        const NAME: &str = "startingOffsetsByTimestampStrategy";
        match options.get(NAME).map(str::trim) {
            None => Ok(Self::Fail),
            Some(text) if text.eq_ignore_ascii_case("error") => Ok(Self::Fail),
            Some(text) if text.eq_ignore_ascii_case("latest") => Ok(Self::Latest),
            Some(text) => Err(Error::invalid(format!(
                "option '{NAME}' of {OWNER} cannot be '{text}': write error or latest"
            ))),
        }
    }
}

fn by_partition(option: &str, text: &str, least: i64) -> Result<Positions> {
    let wrong = |why: &str| {
        Error::invalid(format!(
            "option '{option}' of {OWNER} cannot be '{text}': {why}"
        ))
    };
    let form = "write numbers by topic and partition such as {\"topic\":{\"0\":23,\"1\":5}}";
    let value: Value = serde_json::from_str(text).map_err(|_| {
        wrong(&match option {
            "startingOffsets" => format!("write earliest, latest, or {}", &form["write ".len()..]),
            "endingOffsets" => format!("write latest, or {}", &form["write ".len()..]),
            _ => form.to_owned(),
        })
    })?;
    let numbers = Positions::from_json(option, &value).map_err(|_| wrong(form))?;
    if numbers.0.is_empty() {
        return Err(wrong(form));
    }
    if numbers.iter().any(|(_, number)| number < least) {
        return Err(wrong("it has a number that is too small"));
    }
    Ok(numbers)
}

/// Numbers by partition for just the partitions that are read.
fn by_names(
    option: &str,
    numbers: &Positions,
    partitions: &BTreeSet<TopicPartition>,
    meaning: impl Fn(i64) -> Wanted,
) -> Result<BTreeMap<TopicPartition, Wanted>> {
    let named: BTreeSet<TopicPartition> = numbers.0.keys().cloned().collect();
    let list = |partitions: Vec<&TopicPartition>| {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let unsaid: Vec<&TopicPartition> = partitions.difference(&named).collect();
    let unread: Vec<&TopicPartition> = named.difference(partitions).collect();
    if !unsaid.is_empty() {
        return Err(Error::invalid(format!(
            "option '{option}' of {OWNER} says nothing of the partitions {}: it must name every partition that is read \
             (offsets: -1 for latest, -2 for earliest)",
            list(unsaid)
        )));
    }
    if !unread.is_empty() {
        return Err(Error::invalid(format!(
            "option '{option}' of {OWNER} names the partitions {}, which are not read: leave them out",
            list(unread)
        )));
    }
    let wanted = numbers
        .iter()
        .map(|(partition, number)| (partition.clone(), meaning(number)));
    Ok(wanted.collect())
}

#[cfg(test)]
mod tests {
    use super::{super::positions::positions, *};

    fn starting(options: &[(&str, &str)], is_bounded: bool) -> Result<Bound> {
        Bound::starting(&options.iter().copied().collect(), is_bounded)
    }

    fn ending(options: &[(&str, &str)], is_bounded: bool) -> Result<Bound> {
        Bound::ending(&options.iter().copied().collect(), is_bounded)
    }

    #[test]
    fn bounds_are_read_and_times_go_first() {
        let offsets = r#"{"t":{"0":5,"1":-1,"2":-2}}"#;
        let read = positions(&[("t", 0, 5), ("t", 1, -1), ("t", 2, -2)]);
        for (options, expected) in [
            (&[][..], Bound::Latest),
            (&[("startingOffsets", "EARLIEST")], Bound::Earliest),
            (&[("startingoffsets", offsets)], Bound::Offsets(read)),
            (
                &[("startingOffsets", "latest"), ("startingTimestamp", "7")],
                Bound::Timestamp(7),
            ),
            (
                &[
                    ("startingOffsets", "latest"),
                    ("startingOffsetsByTimestamp", r#"{"t":{"0":7}}"#),
                ],
                Bound::Timestamps(positions(&[("t", 0, 7)])),
            ),
        ] {
            assert_eq!(
                starting(options, false).expect("valid"),
                expected,
                "{options:?}"
            );
        }
        assert_eq!(starting(&[], true).expect("valid"), Bound::Earliest);
        assert_eq!(ending(&[], true).expect("valid"), Bound::Latest);
        let times = ending(&[("endingTimestamp", "9")], true);
        assert_eq!(times.expect("valid"), Bound::Timestamp(9));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_to_write() {
        for (refused, part) in [
            (
                starting(&[("startingOffsets", "first")], false),
                "write earliest, latest, or",
            ),
            (starting(&[("startingOffsets", "{}")], false), "such as"),
            (
                starting(&[("startingOffsets", r#"{"t":{"0":-3}}"#)], false),
                "too small",
            ),
            (
                starting(&[("startingOffsets", "latest")], true),
                "bounded table",
            ),
            (
                starting(&[("startingOffsets", r#"{"t":{"0":-1}}"#)], true),
                "bounded table",
            ),
            (
                starting(&[("startingTimestamp", "-5")], false),
                "since 1970",
            ),
            (
                starting(&[("startingTimestamp", "today")], false),
                "whole number",
            ),
            (
                starting(
                    &[("startingOffsetsByTimestamp", r#"{"t":{"0":-1}}"#)],
                    false,
                ),
                "too small",
            ),
            (
                ending(&[("endingOffsets", "latest")], false),
                "a stream has no end",
            ),
            (
                ending(&[("endingOffsets", "earliest")], true),
                "cannot be earliest",
            ),
            (
                ending(&[("endingOffsets", r#"{"t":{"0":-2}}"#)], true),
                "cannot be earliest",
            ),
        ] {
            let error = refused.expect_err("refused");
            assert!(error.message().contains(part), "{error}");
        }
        let strategy = [("startingOffsetsByTimestampStrategy", "never")];
        let error = NoSuchTime::from_options(&strategy.into_iter().collect());
        assert!(
            error
                .expect_err("refused")
                .message()
                .contains("error or latest")
        );
    }

    #[test]
    fn numbers_by_partition_name_every_partition_and_no_other() {
        let read: BTreeSet<TopicPartition> = positions(&[("t", 0, 0), ("t", 1, 0)])
            .0
            .into_keys()
            .collect();
        let wanted = |offsets: Positions| Bound::Offsets(offsets).wanted("startingOffsets", &read);
        let all = wanted(positions(&[("t", 0, 5), ("t", 1, -2)])).expect("both");
        let all: Vec<Wanted> = all.into_values().collect();
        assert_eq!(all, [Wanted::At(5), Wanted::Ask(Offset::Beginning)]);
        let error = wanted(positions(&[("t", 0, 5)])).expect_err("one is missing");
        assert!(error.message().contains("partitions t-1"), "{error}");
        let more = positions(&[("t", 0, 5), ("t", 1, 5), ("u", 0, 5)]);
        let error = wanted(more).expect_err("one too many");
        assert!(
            error.message().contains("u-0, which are not read"),
            "{error}"
        );
    }
}
