//! Faults in what a restart reads.

use async_trait::async_trait;
use bytes::Bytes;
use headwater::{Result as Outcome, Storage, core::CreateOutcome};
use headwater_log::{Committed, Planned, WatermarkRecord, codec, layout, store::Loss};

use super::{Checkpoint, assert_noticed, changed, is_in, windows};
use crate::crash::{bend::Bend, input, pipeline::Query, sweep::Case};

/// The watermarks that a restart works with are not those that were written.
#[derive(Debug, Clone)]
struct OtherWatermarks(fn(&mut WatermarkRecord));

#[async_trait]
impl Bend for OtherWatermarks {
    async fn read(&self, storage: &dyn Storage, path: &str) -> Outcome<Option<Bytes>> {
        let found = storage.read(path).await?;
        Ok(found.map(|bytes| {
            if is_in(layout::COMMITS, path) {
                changed(path, &bytes, |it: &mut Committed| self.0(&mut it.next))
            } else if is_in(layout::PLANS, path) {
                changed(path, &bytes, |it: &mut Planned| self.0(&mut it.watermark))
            } else {
                bytes
            }
        }))
    }
}

#[test]
fn a_late_filter_with_the_watermark_in_force_is_noticed() {
    let wrong = OtherWatermarks(|watermarks| watermarks.previous = watermarks.global);
    let mut case = Case::over(Query::Windows, input::rows(6, 60, 3));
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, Checkpoint(wrong), &["expected"]);
}

#[test]
fn a_watermark_that_is_not_restored_is_noticed() {
    let wrong = OtherWatermarks(|watermarks| *watermarks = WatermarkRecord::default());
    assert_noticed(
        windows(),
        Checkpoint(wrong),
        &["is there twice", "should not be there", "watermark"],
    );
}

/// The commit record does not name the delta that its epoch wrote.
#[derive(Debug, Clone)]
struct LostDelta;

#[async_trait]
impl Bend for LostDelta {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        if !is_in(layout::COMMITS, path) {
            return storage.create(path, bytes).await;
        }
        let bytes = changed(path, &bytes, |committed: &mut Committed| {
            let epoch = committed.epoch.0;
            let operators = committed.state["operators"].as_object_mut();
            for (_, files) in operators.into_iter().flatten() {
                let deltas = files["deltas"].as_array_mut().expect("a list");
                deltas.retain(|delta| delta["epoch"] != epoch);
            }
        });
        storage.create(path, bytes).await
    }
}

#[test]
fn a_lost_delta_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(LostDelta),
        &["expected", "is missing"],
    );
}

#[test]
fn a_lost_delta_is_noticed_in_complete_mode() {
    let mut case = Case::new(Query::Complete, 5);
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, Checkpoint(LostDelta), &["of the ledger"]);
}

/// A restart takes the state of the epoch before the one it goes on from.
#[derive(Debug, Clone)]
struct StaleState;

#[async_trait]
impl Bend for StaleState {
    async fn read(&self, storage: &dyn Storage, path: &str) -> Outcome<Option<Bytes>> {
        let found = storage.read(path).await?;
        let before = layout::number_of(layout::COMMITS, path).and_then(|it| it.checked_sub(1));
        let (Some(bytes), Some(before)) = (&found, before) else {
            return Ok(found);
        };
        let before = layout::numbered(layout::COMMITS, before);
        let Some(stale) = storage.read(&before).await? else {
            return Ok(found);
        };
        let stale: Committed = codec::decode(&before, &stale)?;
        Ok(Some(changed(path, bytes, |it: &mut Committed| {
            it.state = stale.state;
        })))
    }
}

#[test]
fn a_stale_version_of_the_state_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(StaleState),
        &["expected", "is missing"],
    );
}
