//! How watermarks move from one epoch to the next. Pure: event times seen in, watermarks out.
//!
//! Invariants: no watermark ever falls; all move between epochs only, so that the rows of one epoch are never late
//! against each other; the late filter of an epoch uses the watermark that was in force in the epoch before it.

use std::collections::BTreeMap;

use headwater_core::{Delay, EventTime, Watermark};
use headwater_log::{NodeWatermark, WatermarkPolicy, WatermarkRecord};

/// A watermark node of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkNode {
    /// Its id, stable across restarts.
    pub id: String,
    /// How late its rows may be.
    pub delay: Delay,
}

/// The watermarks of the epoch after one that worked with `now` and whose nodes saw event times up to `seen`.
///
/// A node that has seen nothing yet stands at the start, and under the policy `min` holds all others there.
pub fn next_watermarks(
    now: &WatermarkRecord,
    nodes: &[WatermarkNode],
    seen: &BTreeMap<String, EventTime>,
    policy: WatermarkPolicy,
) -> WatermarkRecord {
    let nodes: BTreeMap<String, NodeWatermark> = nodes
        .iter()
        .map(|node| {
            let before = now.nodes.get(&node.id).copied().unwrap_or(NodeWatermark {
                max: None,
                watermark: Watermark::START,
            });
            let after = match seen.get(&node.id) {
                Some(max) => NodeWatermark {
                    max: before.max.max(Some(*max)),
                    watermark: before.watermark.advanced(*max, node.delay),
                },
                None => before,
            };
            (node.id.clone(), after)
        })
        .collect();
    let own = nodes.values().map(|node| node.watermark);
    let chosen = match policy {
        WatermarkPolicy::Min => own.min(),
        WatermarkPolicy::Max => own.max(),
    };
    WatermarkRecord {
        global: chosen.map_or(now.global, |chosen| now.global.risen_to(chosen)),
        previous: now.global,
        nodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, delay: i64) -> WatermarkNode {
        WatermarkNode {
            id: id.to_owned(),
            delay: Delay(delay),
        }
    }

    fn seen(times: &[(&str, i64)]) -> BTreeMap<String, EventTime> {
        times
            .iter()
            .map(|(id, time)| ((*id).to_owned(), EventTime(*time)))
            .collect()
    }

    /// The watermark in force after each epoch.
    fn run(policy: WatermarkPolicy, epochs: &[&[(&str, i64)]]) -> Vec<i64> {
        let nodes = [node("a", 0), node("b", 5_000)];
        let mut watermarks = WatermarkRecord::default();
        epochs
            .iter()
            .map(|epoch| {
                watermarks = next_watermarks(&watermarks, &nodes, &seen(epoch), policy);
                watermarks.global.millis()
            })
            .collect()
    }

    #[test]
    fn the_slowest_input_decides_and_an_unseen_one_holds_the_start() {
        let epochs: &[&[(&str, i64)]] = &[
            &[("a", 100_000)],
            &[("b", 15_000)],
            &[],
            &[("b", 7_000)],
            &[("a", 120_000), ("b", 200_000)],
        ];
        assert_eq!(
            run(WatermarkPolicy::Min, epochs),
            [0, 10_000, 10_000, 10_000, 120_000]
        );
        assert_eq!(
            run(WatermarkPolicy::Max, epochs),
            [100_000, 100_000, 100_000, 100_000, 195_000]
        );
    }

    #[test]
    fn rows_before_1970_do_not_move_the_watermark_below_its_start() {
        let epochs: &[&[(&str, i64)]] = &[&[("a", -5_000), ("b", 1)]];
        assert_eq!(run(WatermarkPolicy::Max, epochs), [0]);
    }

    #[test]
    fn late_rows_are_filtered_with_the_watermark_of_the_epoch_before() {
        let nodes = [node("a", 0)];
        let next = |now: &WatermarkRecord, millis| {
            next_watermarks(now, &nodes, &seen(&[("a", millis)]), WatermarkPolicy::Min)
        };
        let first = next(&WatermarkRecord::default(), 25_000);
        assert_eq!(first.global.millis(), 25_000);
        assert_eq!(first.previous, Watermark::START);
        let second = next(&first, 26_000);
        assert_eq!(second.global.millis(), 26_000);
        assert_eq!(second.previous.millis(), 25_000);
        assert_eq!(second.nodes["a"].max, Some(EventTime(26_000)));
    }

    #[test]
    fn a_query_without_watermark_nodes_stays_at_the_start() {
        let start = WatermarkRecord::default();
        let next = next_watermarks(&start, &[], &BTreeMap::new(), WatermarkPolicy::Min);
        assert_eq!(next, start);
    }

    #[test]
    fn a_node_that_is_new_after_a_restart_begins_at_the_start() {
        let before = next_watermarks(
            &WatermarkRecord::default(),
            &[node("a", 0)],
            &seen(&[("a", 50_000)]),
            WatermarkPolicy::Min,
        );
        let after = next_watermarks(
            &before,
            &[node("a", 0), node("new", 0)],
            &seen(&[("a", 60_000)]),
            WatermarkPolicy::Min,
        );
        assert_eq!(after.nodes["new"].watermark, Watermark::START);
        assert_eq!(after.global.millis(), 50_000, "it does not fall");
    }
}
