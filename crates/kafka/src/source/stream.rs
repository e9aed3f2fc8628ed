//! The source as the engine sees it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Admission, BatchStream, Discovery, Increment, Offset, OffsetRange, Result, Source, Split,
};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    OWNER,
    discover::Discovering,
    offer::Offer,
    positions::Positions,
    progress, reading, rows,
    shared::Shared,
    splits::{self, Piece},
};

/// How often to look whether `minOffsetsPerTrigger` have come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Topics that are read.
#[derive(Debug)]
pub(crate) struct KafkaSource {
    shared: Arc<Shared>,
    schema: SchemaRef,
    // Held over questions to the brokers; one task at a time asks.
    discovering: AsyncMutex<Discovering>,
    // Locked to set or copy it.
    offer: Mutex<Option<Offer>>,
}

impl KafkaSource {
    pub(crate) fn new(shared: Arc<Shared>, discovering: Discovering) -> Self {
        Self {
            schema: rows::schema(shared.settings.include_headers),
            discovering: AsyncMutex::new(discovering),
            shared,
            offer: Mutex::new(None),
        }
    }

    /// Waits for a message beyond `end`, or for partitions to come or go.
    async fn message_beyond(&self, end: &Positions) {
        let fetching = match self.shared.fetcher_for(None, end.0.len()) {
            Ok(fetcher) => {
                let positions = end.iter().map(|(p, offset)| (p.clone(), offset));
                let fetching = fetcher.fetch_from(positions).await;
                fetching.map(|has_message| (fetcher, has_message))
            }
            Err(error) => Err(error),
        };
        let (fetcher, has_message) = match fetching {
            Ok(fetching) => fetching,
            Err(error) => {
                // A question will tell what is wrong, if it still is then.
                tracing::debug!(%error, "{OWNER} cannot wait for messages");
                return self.pause(LOOK_AGAIN).await;
            }
        };
        if has_message {
            return;
        }
        loop {
            let due = self.discovering.lock().await.refresh_due();
            let left = due.saturating_sub(self.shared.clock.monotonic());
            tokio::select! {
                () = fetcher.arrived() => return,
                () = self.pause(left) => {}
            }
            self.shared.serve();
            match self.discovering.lock().await.refresh().await {
                Ok(false) => {}
                Ok(true) => return,
                // Idle, it does not mind that the brokers are away.
                Err(error) => tracing::warn!(%error, "{OWNER} cannot look at its topics"),
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX).max(1);
        let clock = &self.shared.clock;
        clock
            .sleep_until(clock.now_millis().saturating_add(millis))
            .await;
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("KafkaSource[{}]", self.shared.settings.subscription)
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let limited = admission == Admission::Configured;
        let mut discovering = self.discovering.lock().await;
        let last = self.offer.lock().clone();
        let offer = discovering.discover(start, limited, last).await?;
        let increment = offer.increment.clone();
        *self.offer.lock() = Some(offer);
        self.shared.serve();
        Ok(increment.map_or(Discovery::Nothing, Discovery::Increment))
    }

    fn peek(&self, start: &Offset) -> Option<Increment> {
        let begin = Positions::from_json("the offset of the query", &start.0).ok()?;
        let limits = &self.shared.settings.limits;
        let limit = limits.offsets(self.shared.bytes_per_message());
        let mut offer = self.offer.lock();
        let end = offer.as_mut()?.peek(&begin, limits, limit)?;
        Some(Increment {
            end: Offset(end.to_json()),
            detail: splits::detail(Some(&begin), &begin),
        })
    }

    async fn splits(&self, range: &OffsetRange, _parallelism: usize) -> Result<Vec<Split>> {
        let pieces = splits::pieces(range, self.shared.settings.min_partitions)?;
        // Partitions that have nothing now may have something later, of the same clients.
        let partitions = splits::end_of(range)?.0.len();
        let clients = pieces.iter().filter_map(|piece| piece.number).max();
        if let Some(last) = clients {
            // Each is for a share of all partitions, and all together hold as much as one would.
            self.shared
                .fetcher_for(Some(last), partitions * (last + 1))?;
        }
        let whole: Vec<&Piece> = pieces.iter().filter(|p| p.number.is_none()).collect();
        if !whole.is_empty() {
            // All partitions at once, while the first are read.
            let fetcher = self.shared.fetcher_for(None, partitions)?;
            let positions = whole.iter().map(|p| (p.partition(), p.start));
            fetcher.fetch_from(positions).await?;
        }
        splits::splits(&pieces)
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let piece = Piece::of(split)?;
        reading::read(Arc::clone(&self.shared), &self.schema, piece, projection)
    }

    async fn freeze(&self) -> Result<()> {
        self.discovering.lock().await.freeze().await
    }

    async fn changed(&self) {
        let Some(offer) = self.offer.lock().clone() else {
            return;
        };
        if offer.has_more {
            return;
        }
        if self.discovering.lock().await.is_over(&offer.end) {
            return std::future::pending().await;
        }
        if offer.waits_for_more {
            return self.pause(LOOK_AGAIN).await;
        }
        self.message_beyond(&offer.end).await;
    }

    async fn latest(&self) -> Option<Offset> {
        let offer = self.offer.lock();
        let latest = offer.as_ref().map(|offer| &offer.latest)?;
        Some(Offset(latest.to_json()))
    }

    fn metrics(&self, end: &Offset) -> BTreeMap<String, String> {
        let offer = self.offer.lock();
        let latest = offer.as_ref().map(|offer| &offer.latest);
        match (Positions::from_json("the end of an epoch", &end.0), latest) {
            (Ok(end), Some(latest)) => {
                progress::metrics(&end, latest, self.shared.bytes_per_message())
            }
            _ => BTreeMap::new(),
        }
    }
}
