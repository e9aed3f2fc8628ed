//! Finds out what a source can offer: gathers what the cluster says, and decides.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use headwater_core::{Offset, Result, Storage};

use super::{
    bounds::{Bound, NoSuchTime},
    initial,
    loss::{GoOn, Loss},
    offer::{Offer, offered},
    plan,
    positions::{Positions, TopicPartition},
    shared::Shared,
    subscription::Topics,
};

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

impl Discovering {
    /// Finds out where the query begins: as it was when it first started.
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        topics: Topics,
        storage: &dyn Storage,
    ) -> Result<Self> {
        let initial = initial::of_query(&shared, &topics, storage).await?;
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
        let found = initial::resolve(
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
