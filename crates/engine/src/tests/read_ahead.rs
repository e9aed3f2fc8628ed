//! What the next epoch will read is read while the present one ends, and used if it is what the next epoch reads.

use headwater_core::{Result, Trigger};

use crate::{
    Driver,
    testing::{Fixture, Query, TestTable, idle, ran},
};

/// A world whose table offers two blocks an epoch, with so many blocks of one row.
fn world(blocks: i64) -> Fixture {
    let mut world = Fixture::new();
    world.a = TestTable::with_limit("a", 2);
    for block in 0..blocks {
        world.a.append(&[(block, block)]);
    }
    world
}

/// Lets tasks run until everything that is read ahead has been begun: in memory nothing waits for long.
async fn guessed(driver: &Driver) {
    assert!(driver.guessing.is_some(), "a guess is being made");
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rows_read_ahead_are_not_read_again() -> Result<()> {
    let world = world(5);
    let mut driver = world.start(Query::Rows, Trigger::AvailableNow).await?;
    ran(&mut driver).await;
    guessed(&driver).await;
    assert_eq!(world.a.opened(), [0, 1, 2, 3], "two blocks are read ahead");
    let report = ran(&mut driver).await;
    assert_eq!(report.sources[0].num_input_rows, 2);
    guessed(&driver).await;
    assert_eq!(world.a.opened(), [0, 1, 2, 3, 4]);
    assert_eq!(idle(&mut driver).await.len(), 1);
    assert_eq!(world.a.opened(), [0, 1, 2, 3, 4]);
    assert!(driver.guessing.is_none(), "nothing is held when idle");
    assert_eq!(world.rows().await, ["0", "1", "2", "3", "4"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_guess_is_dropped() -> Result<()> {
    let world = world(3);
    let mut driver = world.start(Query::Rows, Trigger::Default).await?;
    ran(&mut driver).await;
    guessed(&driver).await;
    // One block was guessed, and two are offered.
    world.a.append(&[(3, 3)]);
    let report = ran(&mut driver).await;
    assert_eq!(report.sources[0].num_input_rows, 2);
    assert_eq!(world.a.opened(), [0, 1, 2, 2, 3]);
    assert_eq!(idle(&mut driver).await.len(), 0);
    assert_eq!(world.rows().await, ["0", "1", "2", "3"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_read_ahead_of_a_trigger_that_waits_or_when_told_so() -> Result<()> {
    let mut world = world(3);
    for (trigger, bytes) in [
        (
            Trigger::ProcessingTime(std::time::Duration::from_secs(10)),
            1 << 20,
        ),
        (Trigger::Once, 1 << 20),
        (Trigger::Default, 0),
    ] {
        world.settings.read_ahead_bytes = bytes;
        let mut driver = world.start(Query::Rows, trigger).await?;
        let step = driver.step().await?;
        assert!(driver.guessing.is_none(), "{trigger:?}: {step:?}");
    }
    Ok(())
}
