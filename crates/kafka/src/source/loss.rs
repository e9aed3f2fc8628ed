//! What to do when rows that should be there are not: pure decisions, and the words for them.

use std::fmt;

use headwater_core::Error;

use super::positions::TopicPartition;

/// How rows were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The partition is gone, with what was still to be read of it.
    Deleted { position: i64 },
    /// The partition ends before what was read of it already: its topic was deleted and created again, or it was cut off.
    WentBack { position: i64, latest: i64 },
    /// What was still to be read was deleted, by retention or by hand, up to `earliest`.
    Expired { position: i64, earliest: i64 },
}

/// Where to go on after a loss that the user accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// Nowhere: there is nothing left.
    Nowhere,
    /// At the beginning of what there is.
    At(i64),
}

impl Loss {
    /// What was lost of a partition that has messages from `earliest` up to `latest`, of which those before `position`
    /// were read; `None` if nothing was.
    pub(crate) fn of(position: i64, earliest: i64, latest: i64) -> Option<Self> {
        if latest < position {
            Some(Self::WentBack { position, latest })
        } else if position < earliest {
            Some(Self::Expired { position, earliest })
        } else {
            None
        }
    }

    /// Where reading goes on. A topic that was created again is read from its beginning.
    pub(crate) fn go_on(&self, earliest: i64) -> GoOn {
        match self {
            Self::Deleted { .. } => GoOn::Nowhere,
            Self::WentBack { .. } | Self::Expired { .. } => GoOn::At(earliest),
        }
    }

    /// The error where the user accepts no loss.
    pub(crate) fn error(&self, partition: &TopicPartition, servers: &str) -> Error {
        Error::data(format!(
            "{} at the Kafka brokers {servers}: {self}; set the option failOnDataLoss to false to go on with what is left",
            named(partition)
        ))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted { position } => write!(
                f,
                "expected messages from offset {position} on, found that the partition was deleted"
            ),
            Self::WentBack { position, latest } => write!(
                f,
                "expected to go on at offset {position}, found that the partition ends at {latest}: the topic was \
                 created again or cut off"
            ),
            Self::Expired { position, earliest } => write!(
                f,
                "expected messages from offset {position} on, found that the first is {earliest}: those between were \
                 deleted before they were read"
            ),
        }
    }
}

/// A partition in messages.
pub(crate) fn named(partition: &TopicPartition) -> String {
    format!(
        "topic '{}', partition {}",
        partition.topic, partition.partition
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headwater_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_loss_is_told_by_where_the_partition_begins_and_ends() {
        for (position, earliest, latest, expected) in [
            (5, 0, 5, None),
            (5, 5, 9, None),
            (0, 0, 0, None),
            (
                5,
                0,
                4,
                Some(Loss::WentBack {
                    position: 5,
                    latest: 4,
                }),
            ),
            (
                5,
                7,
                9,
                Some(Loss::Expired {
                    position: 5,
                    earliest: 7,
                }),
            ),
            (9, 9, 9, None),
        ] {
            assert_eq!(Loss::of(position, earliest, latest), expected);
        }
    }

    #[test]
    fn an_error_names_everything() {
        let partition = TopicPartition::new(&Arc::from("clicks"), 3);
        let loss = Loss::of(5, 7, 9).expect("a loss");
        let error = loss.error(&partition, "h:9092");
        assert_eq!(error.kind(), ErrorKind::Data);
        for part in [
            "'clicks'",
            "partition 3",
            "h:9092",
            "offset 5",
            "is 7",
            "failOnDataLoss",
        ] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn reading_goes_on_where_there_is_something(
            position in 0..100_i64, earliest in 0..100_i64, more in 0..100_i64
        ) {
            let latest = earliest + more;
            match Loss::of(position, earliest, latest) {
                None => prop_assert!((earliest..=latest).contains(&position)),
                Some(loss) => {
                    prop_assert!(!(earliest..=latest).contains(&position));
                    prop_assert_eq!(loss.go_on(earliest), GoOn::At(earliest));
                }
            }
        }
    }
}
