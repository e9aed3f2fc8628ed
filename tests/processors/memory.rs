//! Time to live and processing-time timers, moment by moment.

use headwater::{prelude::Result, processor::TimeMode};
use headwater_sim::processors::{ProcessorStep, play_processor};

use super::input::{block, pause, shown, step, transform};

fn at(clock_millis: i64, value: i64) -> ProcessorStep {
    ProcessorStep {
        clock_millis,
        blocks: vec![block(&[(1, Some("a"), value)])],
    }
}

/// A row of the processor as text.
fn row(what: &str, listed: i64, total: i64, different: i64) -> String {
    format!(r#"("a", "{what}", {listed}, {total}, {different})"#)
}

#[tokio::test]
async fn each_element_entry_and_value_lives_for_its_time_since_it_was_written() -> Result<()> {
    let case = transform(
        "short_memory",
        TimeMode::ProcessingTime,
        "0 seconds",
        vec![
            step(&[(1, Some("a"), 1)]),
            at(2_000, 2),
            // The entry of 2 is written anew, the element is added.
            at(2_000, 2),
            // Five seconds after the first row: its element, its entry and the value are gone, and the value comes anew.
            at(1_000, 3),
            pause(3_999),
            // Five seconds after the third row, seven after the second.
            pause(1),
            pause(60_000),
        ],
    );
    let played = play_processor(&case).await?;
    assert_eq!(
        shown(&played),
        [
            vec![row("rows", 1, 1001, 1)],
            vec![row("rows", 2, 1003, 2)],
            // Three seconds after the first row its first timer is overdue.
            vec![row("rows", 3, 1005, 2), row("timer", 3, 1005, 2)],
            vec![row("rows", 3, 1007, 2), row("timer", 3, 1007, 2)],
            // The element that came first with 2 is gone.
            vec![row("timer", 2, 1005, 2); 2],
            vec![row("timer", 1, 1003, 1)],
            vec![row("timer", 0, 0, 0); 2],
        ]
    );
    Ok(())
}
