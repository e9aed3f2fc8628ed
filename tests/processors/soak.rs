//! Two thousand epochs with time going on: what a processor keeps stays as much as it was.

use std::{ops::Range, sync::Arc};

use headwater::{
    Session,
    connect::memory::MemoryStream,
    core::{Clock, Storage, StreamingQueryProgress, clock::ManualClock},
    engine::{Driver, Step},
    prelude::{OutputMode, Result, TimeMode},
};
use headwater_log::store::{CountedStorage, MemoryStorage};
use headwater_sim::processors::register;

use super::input::{Event, block, schema};

const EPOCHS: usize = 2_000;

/// What an epoch with data left behind: rows in state, bytes of memory, and bytes that it wrote to the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Footprint {
    rows: u64,
    memory: u64,
    written: u64,
}

/// Each key has a row a second for ten seconds, and is never heard of again.
fn rows_of(second: i64) -> Vec<String> {
    (0..10)
        .map(|n| format!("k{:06}", second / 10 * 10 + n))
        .collect()
}

async fn soak(processor: &str, time_mode: TimeMode) -> Result<Vec<Footprint>> {
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let session = Session::builder()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build()?;
    register(&session)?;
    let stream = MemoryStream::new("events", schema());
    let provider = stream.provider().drop_acknowledged();
    session.register_stream("events", Arc::new(provider))?;
    let memory = MemoryStorage::with_clock(Arc::clone(&clock) as _);
    let storage = Arc::new(CountedStorage::new(Arc::new(memory), Arc::default()));
    let mut spec = session
        .table("events")
        .await?
        .with_watermark("ts", "5 seconds")?
        .group_by_key(["k"])?
        .transform_with_state(processor, time_mode)?
        .write_stream()
        .output_mode(OutputMode::Update)
        .format("noop")
        .checkpoint(Arc::clone(&storage) as Arc<dyn Storage>)
        .into_spec(None)?;
    spec.settings.state_partitions = Some(2);
    let mut driver = Driver::start(spec).await?;
    let mut epochs = Vec::with_capacity(EPOCHS);
    for second in (1_000..).take(EPOCHS) {
        clock.advance(1_000);
        let keys = rows_of(second);
        let rows: Vec<Event<'_>> = keys
            .iter()
            .map(|key| (second, Some(key.as_str()), second % 10))
            .collect();
        stream.add_batch(block(&rows))?;
        let before = storage.counts();
        let mut footprint = None;
        while let Step::Ran(progress) = Box::pin(driver.step()).await? {
            footprint.get_or_insert_with(|| in_state(&progress));
        }
        // Files that are rewritten in the background belong to the epoch that let it begin.
        driver.shut_down().await;
        if let Some(mut footprint) = footprint {
            footprint.written = storage.counts().since(&before).bytes_written;
            epochs.push(footprint);
        }
    }
    Ok(epochs)
}

fn in_state(progress: &StreamingQueryProgress) -> Footprint {
    let operators = progress.state_operators.iter();
    Footprint {
        rows: operators.clone().map(|it| it.num_rows_total).sum(),
        memory: operators.map(|it| it.memory_used_bytes).sum(),
        written: 0,
    }
}

fn assert_flat(what: &str, epochs: &[Footprint]) {
    assert_eq!(epochs.len(), EPOCHS, "{what}: epochs with data");
    type Measure = fn(&Footprint) -> u64;
    let measures: [(&str, Measure); 3] = [
        ("rows in state", |it| it.rows),
        ("bytes of memory", |it| it.memory),
        ("bytes written", |it| it.written),
    ];
    for (name, measure) in measures {
        let most = |range: Range<usize>| epochs[range].iter().map(measure).max().unwrap_or(0);
        let (early, late) = (most(500..1_000), most(EPOCHS - 500..EPOCHS));
        assert!(early > 0, "{what}: {name} are not measured");
        assert!(
            late * 10 <= early * 11,
            "{what}: at most {early} {name} in epochs 500 to 1,000, {late} in the last 500"
        );
    }
}

#[tokio::test]
async fn state_that_timers_clear_stays_as_large_as_it_was() -> Result<()> {
    assert_flat("timers", &soak("event_timer", TimeMode::EventTime).await?);
    Ok(())
}

#[tokio::test]
async fn state_with_a_time_to_live_stays_as_large_as_it_was() -> Result<()> {
    assert_flat(
        "time to live",
        &soak("short_memory", TimeMode::ProcessingTime).await?,
    );
    Ok(())
}
