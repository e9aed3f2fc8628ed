//! Positions in topics: an offset for each partition, in the JSON that Spark writes: `{"topic":{"0":123}}`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use headwater_core::{Error, Result};
use serde_json::{Map, Value};

/// A partition of a topic; ordered by topic, then by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: &Arc<str>, partition: i32) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// An offset for each of some partitions: the next one to read, so that rows before it are those that were read.
///
/// Kafka's offsets are not negative; what users write may be -1 and -2, which [`super::bounds`] understands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(pub(crate) BTreeMap<TopicPartition, i64>);

impl Positions {
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.0
            .iter()
            .map(|(partition, offset)| (partition, *offset))
    }

    /// How many offsets there are up to `end`, over the partitions of both.
    pub(crate) fn distance(&self, end: &Self) -> u64 {
        let distances = self.iter().filter_map(|(partition, begin)| {
            let end = end.get(partition)?;
            u64::try_from(end.saturating_sub(begin)).ok()
        });
        distances.fold(0, u64::saturating_add)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut topics = Map::new();
        for (partition, offset) in self.iter() {
            let topic = topics
                .entry(partition.topic.as_ref())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(offsets) = topic {
                offsets.insert(partition.partition.to_string(), offset.into());
            }
        }
        Value::Object(topics)
    }

    /// Reads what [`Self::to_json`] wrote, or a user. `what` names it in errors.
    pub(crate) fn from_json(what: &str, value: &Value) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "{what} is no offset of Kafka: expected offsets by topic and partition such as \
                 {{\"topic\":{{\"0\":123}}}}, found {value}"
            ))
        };
        let mut positions = BTreeMap::new();
        for (topic, offsets) in value.as_object().ok_or_else(wrong)? {
            let topic = Arc::from(topic.as_str());
            for (partition, offset) in offsets.as_object().ok_or_else(wrong)? {
                let partition = partition.parse().ok().filter(|number| *number >= 0);
                let partition = TopicPartition::new(&topic, partition.ok_or_else(wrong)?);
                positions.insert(partition, offset.as_i64().ok_or_else(wrong)?);
            }
        }
        Ok(Self(positions))
    }
}

impl FromIterator<(TopicPartition, i64)> for Positions {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, i64)>>(positions: I) -> Self {
        Self(positions.into_iter().collect())
    }
}

/// Positions for tests: `[("t", 0, 5)]`.
#[cfg(test)]
pub(crate) fn positions(offsets: &[(&str, i32, i64)]) -> Positions {
    let positions = offsets.iter().map(|(topic, partition, offset)| {
        (TopicPartition::new(&Arc::from(*topic), *partition), *offset)
    });
    positions.collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::json;

    use super::*;

    #[test]
    fn offsets_are_the_json_of_spark() {
        let positions = positions(&[("a", 0, 123), ("a", 11, 0), ("b", 2, 7)]);
        let json = json!({"a": {"0": 123, "11": 0}, "b": {"2": 7}});
        assert_eq!(positions.to_json(), json);
        assert_eq!(Positions::from_json("x", &json).expect("valid"), positions);
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for value in [
            json!(3),
            json!({"a": 3}),
            json!({"a": {"x": 3}}),
            json!({"a": {"-1": 3}}),
            json!({"a": {"0": "3"}}),
            json!({"a": {"0": 1.5}}),
        ] {
            let error = Positions::from_json("the start", &value).expect_err("wrong");
            assert!(
                error.message().starts_with("the start is no offset"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_distance_counts_what_both_know_and_nothing_backwards() {
        let begin = positions(&[("a", 0, 10), ("a", 1, 5), ("b", 0, 0)]);
        let end = positions(&[("a", 0, 12), ("a", 1, 3), ("c", 0, 9)]);
        assert_eq!(begin.distance(&end), 2);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            offsets in btree_map(("[a-z.]{1,5}", 0..200_i32), 0..i64::MAX, 0..20)
        ) {
            let positions: Positions = offsets
                .into_iter()
                .map(|((topic, partition), offset)| {
                    (TopicPartition::new(&Arc::from(topic), partition), offset)
                })
                .collect();
            let text = positions.to_json().to_string();
            let value: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(Positions::from_json("x", &value).expect("valid"), positions);
        }
    }
}
