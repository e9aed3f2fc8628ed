//! Finds out what a source can offer: gathers what the cluster says, and decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use headwater_core::{CreateOutcome, Error, Increment, Offset, Result, Storage};
use serde_json::{Value, json};

use super::{
    OWNER,
    bounds::{Bound, NoSuchTime, Wanted},
    loss::{GoOn, Loss},
    plan::{self, Limits},
    positions::{Positions, TopicPartition},
    shared::Shared,
    splits,
    subscription::Topics,
};

/// The object in the source's folder that says where the query began.
const INITIAL_OBJECT: &str = "initial-offsets.json";
const INITIAL_VERSION: u64 = 1;
/// How old what is known of the topics may be, unless the user says so with `kafka.metadata.max.age.ms`.
const METADATA_AGE: Duration = Duration::from_secs(30);

/// What a source knows of its topics, and what it has offered of them.
#[derive(Debug)]
pub(crate) struct Discovering {
    shared: Arc<Shared>,
    /// Where the query began, or begins.
    initial: Positions,
    topics: Topics,
    topics_from: Duration,
    /// Nothing beyond is offered.
    frozen: Option<Positions>,
    /// When an epoch was last offered.
    last_epoch: Option<Duration>,
    /// Where a bounded table ends, once that is known.
    ending: Option<Positions>,
}

/// What is offered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer {
    /// `None`: nothing.
    pub(crate) increment: Option<Increment>,
    /// Where the offer ends.
    pub(crate) end: Positions,
    /// Where the partitions end.
    pub(crate) latest: Positions,
    /// There is more than the limits allow.
    pub(crate) has_more: bool,
    /// There is less than `minOffsetsPerTrigger`.
    pub(crate) waits_for_more: bool,
    /// Where the next offer will end, if that was said: see [`Self::peek`].
    pub(crate) peeked: Option<Positions>,
}

impl Offer {
    /// Where the next offer ends that begins at `start`, by what is known now; the next one keeps to it if it can. `None`
    /// if this one was not limited, since what has come meanwhile is not known, and if so little is left that it may be
    /// waited for more.
    pub(crate) fn peek(
        &mut self,
        start: &Positions,
        limits: &Limits,
        limit: Option<u64>,
    ) -> Option<&Positions> {
        let left = start.distance(&self.latest);
        let may_wait = limits.min.is_some_and(|least| left < least.offsets);
        if !self.has_more || *start != self.end || may_wait {
            return None;
        }
        Some(&*self.peeked.insert(plan::ends(start, &self.latest, limit)))
    }
}

impl Discovering {
    /// Finds out where the query begins: as it was when it first started.
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        topics: Topics,
        storage: &dyn Storage,
    ) -> Result<Self> {
        let initial = match stored(storage).await? {
            Some(initial) => initial,
            None => {
                let initial = initial(&shared, &topics).await?;
                store(storage, initial).await?
            }
        };
        Ok(Self {
            topics_from: shared.clock.monotonic(),
            shared,
            initial,
            topics,
            frozen: None,
            last_epoch: None,
            ending: None,
        })
    }

    /// Looks at the topics again if that was long ago. `true` if partitions have come or gone.
    pub(crate) async fn refresh(&mut self) -> Result<bool> {
        let now = self.shared.clock.monotonic();
        if now.saturating_sub(self.topics_from) < self.metadata_age() {
            return Ok(false);
        }
        self.look().await
    }

    /// How old what is known of the topics may be.
    pub(crate) fn metadata_age(&self) -> Duration {
        let said = self.shared.settings.client.get("metadata.max.age.ms");
        let said = said.and_then(|text| text.trim().parse().ok());
        said.map_or(METADATA_AGE, Duration::from_millis)
    }

    /// When that will be too old, by the clock's monotonic time.
    pub(crate) fn refresh_due(&self) -> Duration {
        self.topics_from.saturating_add(self.metadata_age())
    }

    async fn look(&mut self) -> Result<bool> {
        let topics = self.shared.topics(self.shared.patience).await;
        // Also if it failed: who is idle and is refused does not ask again at once.
        self.topics_from = self.shared.clock.monotonic();
        let topics = topics?;
        let before = self.partitions();
        self.topics = topics;
        Ok(self.partitions() != before)
    }

    /// The partitions that there are to read, as far as is known.
    pub(crate) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.shared.settings.subscription.partitions(&self.topics)
    }

    /// From now on offers only what is there now.
    pub(crate) async fn freeze(&mut self) -> Result<()> {
        self.look().await?;
        self.frozen = Some(self.latest().await?);
        Ok(())
    }

    /// Whether all that is ever offered ends at `end`.
    pub(crate) fn is_over(&self, end: &Positions) -> bool {
        let Some(frozen) = &self.frozen else {
            return false;
        };
        frozen
            .iter()
            .all(|(partition, latest)| end.get(partition).is_some_and(|end| end >= latest))
    }

    /// Where partitions end; those of topics that have just gone are left out.
    async fn latest(&mut self) -> Result<Positions> {
        let latest = self.shared.cluster.latest(self.partitions()).await;
        match latest {
            Err(error) => {
                // A partition may have gone since the topics were looked at.
                if self.look().await? {
                    self.shared.cluster.latest(self.partitions()).await
                } else {
                    Err(error)
                }
            }
            latest => latest,
        }
    }

    /// What there is beyond `start`; `limited` by the options or not.
    pub(crate) async fn discover(
        &mut self,
        start: Option<&Offset>,
        limited: bool,
        last: Option<Offer>,
    ) -> Result<Offer> {
        self.refresh().await?;
        let start = match start {
            Some(Offset(value)) => Some(Positions::from_json("the offset of the query", value)?),
            None => None,
        };
        let latest = match (&self.frozen, &self.shared.settings.ending) {
            (Some(frozen), _) => frozen.clone(),
            (None, Some(ending)) => {
                let ending = ending.clone();
                self.end_of_table(&ending).await?
            }
            (None, None) => self.latest().await?,
        };
        let known = start.as_ref().unwrap_or(&self.initial).clone();
        let (begin, has_moved) = self.begin_at(known, &latest).await?;
        let peeked = last
            .filter(|last| limited && !has_moved && last.end == begin)
            .and_then(|last| last.peeked)
            .filter(|peeked| plan::is_reachable(peeked, &latest));
        if let (Some(end), Some(start)) = (peeked, &start) {
            self.last_epoch = Some(self.shared.clock.monotonic());
            return Ok(offered(Some(start), &begin, end, latest));
        }
        Ok(self.offer(start.as_ref(), &begin, latest, has_moved, limited))
    }

    /// Where reading goes on: what is `known` of it, new partitions from their beginning, and what a loss leaves. `true`
    /// if a loss has changed it.
    async fn begin_at(&self, known: Positions, latest: &Positions) -> Result<(Positions, bool)> {
        let mut begin = Positions::default();
        let mut anew = Vec::new();
        let mut has_moved = false;
        if self.shared.settings.ending.is_some() {
            // Who ends a table before it begins has an empty one.
            return Ok((known, false));
        }
        for (partition, position) in known.iter() {
            let loss = match latest.get(partition) {
                None => Loss::Deleted { position },
                Some(latest) => match Loss::of(position, 0, latest) {
                    Some(loss) => loss,
                    None => {
                        begin.0.insert(partition.clone(), position);
                        continue;
                    }
                },
            };
            self.shared.accept(partition, &loss)?;
            has_moved = true;
            if loss.go_on(0) != GoOn::Nowhere {
                anew.push(partition.clone());
            }
        }
        let new = latest.0.keys().filter(|p| known.get(p).is_none());
        anew.extend(new.cloned());
        if !anew.is_empty() {
            begin.0.extend(self.shared.cluster.earliest(anew).await?.0);
        }
        Ok((begin, has_moved))
    }

    fn offer(
        &mut self,
        start: Option<&Positions>,
        begin: &Positions,
        latest: Positions,
        has_moved: bool,
        limited: bool,
    ) -> Offer {
        let limits = &self.shared.settings.limits;
        let available = begin.distance(&latest);
        let now = self.shared.clock.monotonic();
        let since_last = self.last_epoch.map(|last| now.saturating_sub(last));
        let waits = limited
            && self.frozen.is_none()
            && limits
                .min
                .is_some_and(|least| least.waits(available, since_last));
        if (available == 0 || waits) && !has_moved {
            return Offer {
                end: begin.clone(),
                latest,
                waits_for_more: available > 0,
                ..Offer::default()
            };
        }
        let limit = if limited {
            limits.offsets(self.shared.bytes_per_message())
        } else {
            None
        };
        let end = plan::ends(begin, &latest, limit);
        self.last_epoch = Some(now);
        offered(start, begin, end, latest)
    }

    /// Where a bounded table ends: found out once.
    async fn end_of_table(&mut self, ending: &Bound) -> Result<Positions> {
        if let Some(known) = &self.ending {
            return Ok(known.clone());
        }
        let found = resolve(
            &self.shared,
            &self.partitions(),
            ending,
            "endingOffsets",
            NoSuchTime::Latest,
        )
        .await?;
        if matches!(ending, Bound::Offsets(_)) {
            let latest = self.shared.cluster.latest(found.0.keys().cloned()).await?;
            for (partition, position) in found.iter() {
                let latest = latest.get(partition).unwrap_or(position);
                if let Some(loss) = Loss::of(position, 0, latest) {
                    self.shared.accept(partition, &loss)?;
                }
            }
        }
        self.ending = Some(found.clone());
        Ok(found)
    }
}

/// The offer of what lies between two positions.
fn offered(
    start: Option<&Positions>,
    begin: &Positions,
    end: Positions,
    latest: Positions,
) -> Offer {
    Offer {
        increment: Some(Increment {
            end: Offset(end.to_json()),
            detail: splits::detail(start, begin),
        }),
        has_more: end.distance(&latest) > 0,
        end,
        latest,
        ..Offer::default()
    }
}

/// Where a query begins that has never run.
async fn initial(shared: &Shared, topics: &Topics) -> Result<Positions> {
    let settings = &shared.settings;
    let missing = settings.subscription.missing(topics);
    if !missing.is_empty() {
        return Err(Error::invalid(format!(
            "{OWNER} finds no {} at the Kafka brokers {}: create what is missing, or change the option {}",
            missing.join(", "),
            shared.cluster.servers(),
            settings.subscription.option()
        )));
    }
    let partitions = settings.subscription.partitions(topics);
    resolve(
        shared,
        &partitions,
        &settings.starting,
        "startingOffsets",
        settings.starting_strategy,
    )
    .await
}

/// The offsets that a bound is.
async fn resolve(
    shared: &Shared,
    partitions: &BTreeSet<TopicPartition>,
    bound: &Bound,
    option: &str,
    no_such_time: NoSuchTime,
) -> Result<Positions> {
    let mut positions = Positions::default();
    let mut questions = BTreeMap::new();
    for (partition, wanted) in bound.wanted(option, partitions)? {
        match wanted {
            Wanted::At(offset) => {
                positions.0.insert(partition, offset);
            }
            Wanted::Ask(offset) => {
                questions.insert(partition, offset);
            }
        }
    }
    let mut without = Vec::new();
    for (partition, answer) in shared.cluster.offsets(questions).await? {
        match answer {
            Some(offset) => {
                positions.0.insert(partition, offset);
            }
            None => without.push(partition),
        }
    }
    if let (Some(first), NoSuchTime::Fail) = (without.first(), no_such_time) {
        return Err(Error::invalid(format!(
            "{OWNER} finds no message of the time that '{option}' wants in topic '{}', partition {}: all are older; write \
             an earlier time, or set startingOffsetsByTimestampStrategy to latest",
            first.topic, first.partition
        )));
    }
    positions.0.extend(shared.cluster.latest(without).await?.0);
    Ok(positions)
}

/// What an earlier start of the query has found.
async fn stored(storage: &dyn Storage) -> Result<Option<Positions>> {
    let Some(bytes) = storage.read(INITIAL_OBJECT).await? else {
        return Ok(None);
    };
    let damaged = |why: String| {
        Error::data(format!(
            "{INITIAL_OBJECT} of {OWNER} in {storage} cannot be read: {why}"
        ))
    };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if value.get("version").and_then(Value::as_u64) != Some(INITIAL_VERSION) {
        return Err(damaged(format!(
            "expected version {INITIAL_VERSION}, found {}",
            value.get("version").unwrap_or(&Value::Null)
        )));
    }
    let offsets = value.get("offsets").unwrap_or(&Value::Null);
    let offsets = Positions::from_json(INITIAL_OBJECT, offsets);
    offsets
        .map(Some)
        .map_err(|error| damaged(error.message().to_owned()))
}

/// Keeps where the query begins, so that it begins there too if it is started again before its first epoch.
async fn store(storage: &dyn Storage, initial: Positions) -> Result<Positions> {
    let value = json!({ "version": INITIAL_VERSION, "offsets": initial.to_json() });
    let bytes = Bytes::from(value.to_string());
    match storage.create(INITIAL_OBJECT, bytes).await? {
        CreateOutcome::Created => Ok(initial),
        CreateOutcome::AlreadyExists => {
            let kept = stored(storage).await?;
            kept.ok_or_else(|| Error::internal(format!("{INITIAL_OBJECT} came and went")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::positions::positions, *};

    #[test]
    fn only_behind_a_limit_is_known_what_comes_next() {
        let at = |offset| positions(&[("t", 0, offset), ("t", 1, offset)]);
        let mut offer = offered(None, &at(0), at(10), at(100));
        assert!(offer.has_more);
        let none = Limits::default();
        assert_eq!(offer.peek(&at(9), &none, Some(20)), None, "elsewhere");
        let least = |offsets| Limits {
            min: Some(plan::AtLeast {
                offsets,
                max_delay: Duration::MAX,
            }),
            ..none
        };
        assert_eq!(offer.peek(&at(10), &least(181), Some(20)), None, "waits");
        assert_eq!(offer.peek(&at(10), &least(180), Some(20)), Some(&at(20)));
        assert_eq!(offer.peek(&at(10), &none, Some(20)), Some(&at(20)));
        assert_eq!(offer.peeked, Some(at(20)));
        let mut last = offered(None, &at(20), at(100), at(100));
        assert_eq!(
            last.peek(&at(100), &none, Some(20)),
            None,
            "nothing is known beyond"
        );
    }
}
