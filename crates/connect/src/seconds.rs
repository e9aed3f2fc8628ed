//! Whole seconds since a query's first start: the offsets of sources that make up rows at a pace.
//!
//! The time of the first start is kept in the source's part of the checkpoint, so that a restarted query goes on as if it
//! had never stopped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use headwater_core::{Clock, CreateOutcome, Error, Result, SourceContext, Storage};
use serde::{Deserialize, Serialize};

/// The object in the source's folder that holds the time of the first start.
const START_OBJECT: &str = "start.json";

/// The seconds of one run.
#[derive(Debug)]
pub(crate) struct Seconds {
    start_millis: i64,
    clock: Arc<dyn Clock>,
    /// The newest second seen, so that a clock set back does not take rows away.
    newest: AtomicU64,
    /// Where the last discovery ended.
    offered: AtomicU64,
    /// The second beyond which nothing is offered.
    frozen_at: AtomicU64,
}

impl Seconds {
    /// Counted from when the query started for the first time; from this moment, if it never did.
    ///
    /// # Errors
    /// `Data` if what is stored of the first start, which `owner` has kept, cannot be read; those of the storage.
    pub(crate) async fn since_first_start(owner: &str, context: SourceContext) -> Result<Self> {
        let start_millis = first_start(owner, &*context.storage, &*context.clock).await?;
        Ok(Self::since(start_millis, context.clock))
    }

    /// Counted from a moment, in milliseconds since 1970.
    pub(crate) fn since(start_millis: i64, clock: Arc<dyn Clock>) -> Self {
        Self {
            start_millis,
            clock,
            newest: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            frozen_at: AtomicU64::new(u64::MAX),
        }
    }

    /// How many have passed.
    pub(crate) fn now(&self) -> u64 {
        let elapsed = self.clock.now_millis().saturating_sub(self.start_millis);
        let seconds = u64::try_from(elapsed / 1000).unwrap_or(0);
        self.newest
            .fetch_max(seconds, Ordering::Relaxed)
            .max(seconds)
    }

    /// As [`Self::now`], but none beyond a freeze.
    pub(crate) fn passed(&self) -> u64 {
        self.now().min(self.frozen_at.load(Ordering::Relaxed))
    }

    /// Notes that rows up to `second` were offered.
    pub(crate) fn offer(&self, second: u64) {
        self.offered.store(second, Ordering::Relaxed);
    }

    /// Seconds that the log knows of have passed, whatever the clock says now.
    pub(crate) fn resume(&self, second: u64) {
        self.newest.fetch_max(second, Ordering::Relaxed);
    }

    /// From now on no later second passes.
    pub(crate) fn freeze(&self) {
        self.frozen_at.store(self.now(), Ordering::Relaxed);
    }

    /// Waits until a second has passed that was not offered; for ever after a freeze.
    pub(crate) async fn next(&self) {
        let offered = self.offered.load(Ordering::Relaxed);
        if offered >= self.frozen_at.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let next = self.millis_at(offered.saturating_add(1));
        self.clock.sleep_until(next).await;
    }

    /// When `second` had passed, in milliseconds since 1970.
    pub(crate) fn millis_at(&self, second: u64) -> i64 {
        let millis = i64::try_from(second)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        self.start_millis.saturating_add(millis)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstStart {
    version: u32,
    start_millis: i64,
}

/// When the query started for the first time; this moment, if it never did.
async fn first_start(owner: &str, storage: &dyn Storage, clock: &dyn Clock) -> Result<i64> {
    if let Some(stored) = stored_start(owner, storage).await? {
        return Ok(stored);
    }
    let now = FirstStart {
        version: 1,
        start_millis: clock.now_millis(),
    };
    let bytes = Bytes::from(serde_json::to_vec(&now)?);
    match storage.create(START_OBJECT, bytes).await? {
        CreateOutcome::Created => Ok(now.start_millis),
        CreateOutcome::AlreadyExists => stored_start(owner, storage).await?.ok_or_else(|| {
            Error::unavailable(format!(
                "{START_OBJECT} of {owner} came and went in {storage}"
            ))
        }),
    }
}

/// Whether an object that a source keeps is a start as this build writes it; `None` if it is something else.
pub(crate) fn is_first_start(path: &str, bytes: &[u8]) -> Option<bool> {
    let is_whole = || serde_json::from_slice::<FirstStart>(bytes).is_ok_and(|it| it.version == 1);
    (path == START_OBJECT).then(is_whole)
}

async fn stored_start(owner: &str, storage: &dyn Storage) -> Result<Option<i64>> {
    let Some(bytes) = storage.read(START_OBJECT).await? else {
        return Ok(None);
    };
    let damaged = || Error::data(format!("{START_OBJECT} of {owner} in {storage} is damaged"));
    let stored: FirstStart =
        serde_json::from_slice(&bytes).map_err(|error| damaged().with_source(error))?;
    if stored.version != 1 {
        return Err(damaged().context(format!("expected version 1, found {}", stored.version)));
    }
    Ok(Some(stored.start_millis))
}
