//! Runs a query over thousands of epochs and compares late ones with early ones.

use std::{ops::Range, sync::Arc};

use datafusion::prelude::SessionConfig;
use headwater::{
    Session, Settings, Storage,
    connect::{memory::MemoryStream, noop::NoopSinkProvider},
    core::{Clock, clock::ManualClock},
    engine::{Driver, Step},
    prelude::{DataFrame, Error, LateRows, OutputMode, Result},
};
use headwater_log::store::{CountedStorage, MemoryStorage};

use super::{
    input::{feed, schema},
    visits::Visits,
};

/// Epochs of a soak.
const EPOCHS: u64 = 2_000;
/// What is compared with what, by number of the epoch: the end with a time when everything has settled.
const EARLY: Range<u64> = 500..1_000;
const LATE: Range<u64> = 1_500..2_000;
/// Epochs that stay in the log: few, so that what is deleted is part of the soak.
const RETAINED: u64 = 20;

/// What an operator with little state may keep in the checkpoint.
const SMALL_CHECKPOINT: u64 = 450_000;

/// What one epoch left behind.
#[derive(Debug, Clone, Default)]
struct Sample {
    /// Rows in state and bytes of memory, by operator.
    operators: Vec<(String, u64, u64)>,
    /// Bytes written to the checkpoint.
    written: u64,
    /// Bytes that the checkpoint holds.
    stored: u64,
}

/// A query to soak.
pub(super) struct Soak {
    /// Over the streams `l` and `r`.
    pub(super) sql: &'static str,
    /// What is done with its result.
    pub(super) then: fn(DataFrame) -> Result<DataFrame>,
    pub(super) mode: OutputMode,
    /// How many operators keep state.
    pub(super) operators: usize,
    /// Whether rows can come too late.
    pub(super) has_late_rows: bool,
}

impl Soak {
    /// Runs it and asserts that nothing grows.
    pub(super) fn assert_flat(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let samples = runtime.expect("a runtime").block_on(self.run());
        let samples = samples.unwrap_or_else(|error| panic!("{}: {error}", self.sql));
        let (early, late) = (most(&samples[range(EARLY)]), most(&samples[range(LATE)]));
        println!("{}\n  early {early:?}\n  late  {late:?}", self.sql);
        assert_eq!(early.operators.len(), self.operators, "{}", self.sql);
        for (before, after) in early.operators.iter().zip(&late.operators) {
            assert!(before.1 > 0, "{} keeps nothing: {}", before.0, self.sql);
            assert_no_growth(&format!("rows in state of {}", before.0), before.1, after.1);
            assert_no_growth(&format!("memory of {}", before.0), before.2, after.2);
        }
        assert_no_growth("bytes written per epoch", early.written, late.written);
        // Where little is written the checkpoint grows for longer than five hundred epochs before a snapshot pays.
        let settled = early.stored.max(self.operators as u64 * SMALL_CHECKPOINT);
        assert_no_growth("bytes in the checkpoint", settled, late.stored);
    }

    async fn run(&self) -> Result<Vec<Sample>> {
        let clock = Arc::new(ManualClock::at(1_704_067_200_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .datafusion_config(SessionConfig::new().with_target_partitions(1))
            .settings(Settings {
                state_partitions: Some(partitions()),
                min_batches_to_retain: RETAINED,
                ..Settings::default()
            })
            .build()?;
        headwater_sim::processors::register(&session)?;
        session.register_processor("visits", Visits);
        let streams = ["l", "r"].map(|name| MemoryStream::new(name, schema()));
        for stream in &streams {
            session.register_memory_stream(stream)?;
        }
        let disk = Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _));
        let checkpoint = Arc::new(CountedStorage::new(disk, Arc::default()));
        let frame = (self.then)(session.sql(self.sql).await?)?;
        let spec = frame
            .write_stream()
            .sink(Arc::new(NoopSinkProvider))
            .late_rows_to(LateRows::sink(Arc::new(NoopSinkProvider)))
            .output_mode(self.mode)
            .checkpoint(Arc::clone(&checkpoint) as Arc<dyn Storage>)
            .into_spec(None)?;
        let mut driver = Driver::start(spec).await?;
        let mut samples = Vec::new();
        let (mut came_out, mut late) = (0, 0);
        for epoch in 0..EPOCHS {
            feed(&streams, epoch)?;
            clock.advance(1_000);
            let before = checkpoint.counts();
            let Step::Ran(progress) = Box::pin(driver.step()).await? else {
                return Err(Error::internal(format!("epoch {epoch} does not run")));
            };
            came_out += progress.sink.num_output_rows;
            late += progress.late_sink.map_or(0, |sink| sink.num_output_rows);
            let operators = progress.state_operators.into_iter();
            samples.push(Sample {
                operators: operators
                    .map(|state| {
                        (
                            state.operator_name,
                            state.num_rows_total,
                            state.memory_used_bytes,
                        )
                    })
                    .collect(),
                written: checkpoint.counts().since(&before).bytes_written,
                stored: size(checkpoint.as_ref()).await?,
            });
        }
        driver.shut_down().await;
        assert!(
            came_out > EPOCHS / 8,
            "only {came_out} rows came out: {}",
            self.sql
        );
        assert_eq!(
            late > 0,
            self.has_late_rows,
            "{late} rows are late: {}",
            self.sql
        );
        Ok(samples)
    }
}

/// What grows, grows in one partition too, in half the time; `HEADWATER_SOAK_PARTITIONS` asks for more.
fn partitions() -> usize {
    let wanted = std::env::var("HEADWATER_SOAK_PARTITIONS");
    wanted.map_or(1, |wanted| wanted.parse().expect("a number of partitions"))
}

fn range(epochs: Range<u64>) -> Range<usize> {
    epochs.start as usize..epochs.end as usize
}

/// The bytes of all objects.
async fn size(storage: &dyn Storage) -> Result<u64> {
    let objects = storage.list("").await?;
    Ok(objects.iter().map(|object| object.size).sum())
}

/// The most of everything.
fn most(samples: &[Sample]) -> Sample {
    samples.iter().fold(Sample::default(), |mut most, sample| {
        most.operators
            .resize(sample.operators.len(), Default::default());
        for (most, (name, rows, bytes)) in most.operators.iter_mut().zip(&sample.operators) {
            *most = (name.clone(), most.1.max(*rows), most.2.max(*bytes));
        }
        Sample {
            written: most.written.max(sample.written),
            stored: most.stored.max(sample.stored),
            ..most
        }
    })
}

/// At most a tenth more.
fn assert_no_growth(what: &str, early: u64, late: u64) {
    assert!(
        late * 10 <= early * 11,
        "{what} grow: at most {early} in epochs {EARLY:?}, up to {late} in epochs {LATE:?}"
    );
}
