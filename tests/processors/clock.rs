//! Queries that run by themselves and have timers that follow the clock.

use std::sync::Arc;

use headwater::{
    Session, StreamingQuery,
    connect::memory::{MemorySink, MemoryStream},
    core::{Clock, Storage, clock::ManualClock},
    prelude::{OutputMode, Result, TimeMode},
};
use headwater_log::store::MemoryStorage;
use headwater_sim::{
    cell::{self, display_row},
    processors::register,
};

use super::input::{block, schema};

struct World {
    clock: Arc<ManualClock>,
    stream: MemoryStream,
    sink: MemorySink,
    session: Session,
    checkpoint: Arc<MemoryStorage>,
}

impl World {
    fn new(strict: bool) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .strict_spark(strict)
            .build()?;
        register(&session)?;
        let stream = MemoryStream::new("events", schema());
        session.register_memory_stream(&stream)?;
        Ok(Self {
            checkpoint: Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _)),
            clock,
            stream,
            sink: MemorySink::new("out"),
            session,
        })
    }

    async fn start(&self) -> Result<StreamingQuery> {
        self.session
            .table("events")
            .await?
            .group_by_key(["k"])?
            .flat_map_groups_with_state("processing_timeout", TimeMode::ProcessingTime)?
            .write_stream()
            .output_mode(OutputMode::Update)
            .sink(Arc::new(self.sink.provider()))
            .checkpoint(Arc::clone(&self.checkpoint) as Arc<dyn Storage>)
            .start(None)
            .await
    }

    fn rows(&self) -> Result<Vec<String>> {
        let mut shown = Vec::new();
        for batch in self.sink.batches() {
            shown.extend(cell::rows(&batch)?.iter().map(display_row));
        }
        Ok(shown)
    }

    /// Lets the query's task run until there are so many rows.
    async fn wait_for(&self, rows: usize) -> Result<()> {
        for _ in 0..1_000_000 {
            if self.rows()?.len() >= rows {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        panic!("{rows} rows did not come: {:?}", self.rows()?);
    }
}

const DATA: &str = r#"("a", 1, "data")"#;
const TIMEOUT: &str = r#"("a", 1, "timeout")"#;

#[tokio::test]
async fn an_idle_query_wakes_up_when_a_timer_is_due_and_not_before() -> Result<()> {
    let world = World::new(false)?;
    let query = world.start().await?;
    world.stream.add_batch(block(&[(1, Some("a"), 1)]))?;
    query.process_all_available().await?;
    assert_eq!(world.rows()?, [DATA]);
    // A timeout fires behind its time.
    world.clock.advance(5_000);
    query.process_all_available().await?;
    assert_eq!(world.rows()?, [DATA]);
    let epochs = world.sink.epochs().len();
    world.clock.advance(1);
    world.wait_for(2).await?;
    assert_eq!(world.rows()?, [DATA, TIMEOUT]);
    assert_eq!(
        world.sink.epochs().len(),
        epochs + 1,
        "one epoch, for the timer"
    );
    query.stop().await
}

#[tokio::test]
async fn a_timer_that_became_due_while_nothing_ran_fires_after_the_start() -> Result<()> {
    let world = World::new(false)?;
    let query = world.start().await?;
    world.stream.add_batch(block(&[(1, Some("a"), 1)]))?;
    query.process_all_available().await?;
    query.stop().await?;
    world.clock.advance(60_000);
    let query = world.start().await?;
    world.wait_for(2).await?;
    assert_eq!(world.rows()?, [DATA, TIMEOUT]);
    query.stop().await
}
