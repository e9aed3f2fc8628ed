//! Which partitions a source reads: the options `subscribe`, `subscribePattern` and `assign`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use headwater_core::{Error, Options, Result};
use regex::Regex;
use serde_json::Value;

use super::{OWNER, positions::TopicPartition};

/// The topics of a cluster and the numbers of their partitions.
pub(crate) type Topics = BTreeMap<Arc<str>, Vec<i32>>;

/// Topics that Kafka keeps for itself, which no pattern finds.
const INTERNAL: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];

/// What the user wants to read.
#[derive(Debug, Clone)]
pub(crate) enum Subscription {
    /// `subscribe`: these topics, with all partitions that they have or will have.
    Topics(BTreeSet<Arc<str>>),
    /// `subscribePattern`: all topics that there are or will be whose whole name matches.
    Pattern { text: String, regex: Regex },
    /// `assign`: these partitions.
    Partitions(BTreeSet<TopicPartition>),
}

/// As the identity of a source says it.
impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics(topics) => {
                let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
                write!(f, "subscribe {}", names.join(","))
            }
            Self::Pattern { text, .. } => write!(f, "subscribePattern {text}"),
            Self::Partitions(partitions) => {
                let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                write!(f, "assign {}", names.join(","))
            }
        }
    }
}

impl Subscription {
    /// # Errors
    /// `Invalid` unless exactly one of the three options is there and makes sense.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let given: Vec<(&str, &str)> = ["subscribe", "subscribePattern", "assign"]
            .into_iter()
            .filter_map(|name| options.get(name).map(|value| (name, value.trim())))
            .collect();
        let (name, value) = match given.as_slice() {
            [one] => *one,
            [] => {
                return Err(Error::invalid(format!(
                    "{OWNER} has no topics: write one of the options subscribe (topics with commas between them), \
                     subscribePattern (a regular expression) or assign (such as {{\"topic\":[0,1]}})"
                )));
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                return Err(Error::invalid(format!(
                    "{OWNER} takes only one of subscribe, subscribePattern and assign, found {}",
                    names.join(" and ")
                )));
            }
        };
        let wrong = |why: String| {
            Error::invalid(format!(
                "option '{name}' of {OWNER} cannot be '{value}': {why}"
            ))
        };
        match name {
            "subscribe" => {
                let topics: BTreeSet<Arc<str>> = value
                    .split(',')
                    .map(str::trim)
                    .filter(|topic| !topic.is_empty())
                    .map(Arc::from)
                    .collect();
                if topics.is_empty() {
                    return Err(wrong("write the names of topics".to_owned()));
                }
                Ok(Self::Topics(topics))
            }
            "subscribePattern" => {
                let regex = Regex::new(&format!("^(?:{value})$"))
                    .map_err(|error| wrong(format!("it is no regular expression: {error}")))?;
                if value.is_empty() {
                    return Err(wrong("write a regular expression".to_owned()));
                }
                Ok(Self::Pattern {
                    text: value.to_owned(),
                    regex,
                })
            }
            _ => {
                let partitions = assigned(value).filter(|partitions| !partitions.is_empty());
                partitions.map(Self::Partitions).ok_or_else(|| {
                    wrong("write partitions by topic, such as {\"topic\":[0,1]}".to_owned())
                })
            }
        }
    }

    /// The option that says it.
    pub(crate) fn option(&self) -> &'static str {
        match self {
            Self::Topics(_) => "subscribe",
            Self::Pattern { .. } => "subscribePattern",
            Self::Partitions(_) => "assign",
        }
    }

    /// The topics to ask the cluster about; `None`: all that there are.
    pub(crate) fn topics(&self) -> Option<BTreeSet<Arc<str>>> {
        match self {
            Self::Topics(topics) => Some(topics.clone()),
            Self::Pattern { .. } => None,
            Self::Partitions(partitions) => Some(
                partitions
                    .iter()
                    .map(|partition| Arc::clone(&partition.topic))
                    .collect(),
            ),
        }
    }

    /// The partitions that there are to read.
    pub(crate) fn partitions(&self, topics: &Topics) -> BTreeSet<TopicPartition> {
        let all = topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(|partition| TopicPartition::new(topic, *partition))
        });
        all.filter(|partition| self.wants(partition)).collect()
    }

    fn wants(&self, partition: &TopicPartition) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(&partition.topic),
            Self::Pattern { regex, .. } => {
                regex.is_match(&partition.topic) && !INTERNAL.contains(&partition.topic.as_ref())
            }
            Self::Partitions(partitions) => partitions.contains(partition),
        }
    }

    /// What is wanted by name and not there: topics, or partitions of topics.
    pub(crate) fn missing(&self, topics: &Topics) -> Vec<String> {
        match self {
            Self::Topics(wanted) => wanted
                .iter()
                .filter(|topic| !topics.contains_key(*topic))
                .map(|topic| format!("topic '{topic}'"))
                .collect(),
            Self::Pattern { .. } => Vec::new(),
            Self::Partitions(wanted) => {
                let found = self.partitions(topics);
                let missing = wanted.difference(&found);
                missing
                    .map(|p| format!("partition {} of topic '{}'", p.partition, p.topic))
                    .collect()
            }
        }
    }
}

fn assigned(text: &str) -> Option<BTreeSet<TopicPartition>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let mut partitions = BTreeSet::new();
    for (topic, numbers) in value.as_object()? {
        let topic = Arc::from(topic.as_str());
        for number in numbers.as_array()? {
            let number = i32::try_from(number.as_i64()?).ok().filter(|n| *n >= 0)?;
            partitions.insert(TopicPartition::new(&topic, number));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(options: &[(&str, &str)]) -> Result<Subscription> {
        Subscription::from_options(&options.iter().copied().collect())
    }

    fn cluster() -> Topics {
        [("a", 2), ("ab", 1), ("b", 1), ("__consumer_offsets", 1)]
            .into_iter()
            .map(|(topic, partitions)| (Arc::from(topic), (0..partitions).collect()))
            .collect()
    }

    #[test]
    fn each_kind_finds_its_partitions() {
        for (name, value, expected, missing) in [
            ("subscribe", "a, c", "a-0 a-1", "topic 'c'"),
            ("subscribe", "ab", "ab-0", ""),
            ("subscribePattern", "a.*", "a-0 a-1 ab-0", ""),
            ("subscribePattern", ".*", "a-0 a-1 ab-0 b-0", ""),
            ("subscribePattern", "a|b", "a-0 a-1 b-0", ""),
            ("SUBSCRIBEPATTERN", "x", "", ""),
            (
                "assign",
                r#"{"a":[1,5],"b":[0]}"#,
                "a-1 b-0",
                "partition 5 of topic 'a'",
            ),
        ] {
            let subscription = subscription(&[(name, value)]).expect("valid");
            let found = subscription.partitions(&cluster());
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{name}={value}");
            assert_eq!(subscription.missing(&cluster()).join(" "), missing);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_to_write() {
        for (options, part) in [
            (&[][..], "write one of the options subscribe"),
            (
                &[("subscribe", "a"), ("assign", "{}")],
                "subscribe and assign",
            ),
            (&[("subscribe", " , ")], "names of topics"),
            (&[("subscribePattern", "(")], "no regular expression"),
            (&[("assign", "a")], "such as {\"topic\":[0,1]}"),
            (&[("assign", r#"{"a":[-1]}"#)], "such as"),
            (&[("assign", "{}")], "such as"),
        ] {
            let error = subscription(options).expect_err("refused");
            assert!(error.message().contains(part), "{error}");
        }
    }
}
