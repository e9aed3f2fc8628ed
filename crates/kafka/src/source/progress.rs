//! How far a query is behind its topics, with the names of Spark's metrics.

use std::collections::BTreeMap;

use super::positions::Positions;

/// Offsets between where an epoch ended and where the partitions end, over all partitions; and what they weigh at
/// `bytes_per_offset`.
pub(crate) fn metrics(
    end: &Positions,
    latest: &Positions,
    bytes_per_offset: Option<u64>,
) -> BTreeMap<String, String> {
    let behind: Vec<u64> = latest
        .iter()
        .filter_map(|(partition, latest)| {
            let end = end.get(partition)?;
            Some(u64::try_from(latest.saturating_sub(end)).unwrap_or(0))
        })
        .collect();
    let (Some(most), Some(least)) = (behind.iter().max(), behind.iter().min()) else {
        return BTreeMap::new();
    };
    let total = behind.iter().copied().fold(0, u64::saturating_add);
    #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
    let mean = total as f64 / behind.len() as f64;
    let mut metrics = BTreeMap::from([
        ("avgOffsetsBehindLatest".to_owned(), format!("{mean:?}")),
        ("maxOffsetsBehindLatest".to_owned(), most.to_string()),
        ("minOffsetsBehindLatest".to_owned(), least.to_string()),
    ]);
    if let Some(weight) = bytes_per_offset {
        metrics.insert(
            "estimatedTotalBytesBehindLatest".to_owned(),
            total.saturating_mul(weight).to_string(),
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::{super::positions::positions, *};

    #[test]
    fn partitions_behind_are_told_by_mean_most_and_least() {
        let end = positions(&[("t", 0, 5), ("t", 1, 10), ("u", 0, 3)]);
        let latest = positions(&[("t", 0, 5), ("t", 1, 17), ("u", 0, 2), ("v", 0, 99)]);
        let shown = metrics(&end, &latest, Some(10));
        assert_eq!(shown["maxOffsetsBehindLatest"], "7");
        assert_eq!(shown["minOffsetsBehindLatest"], "0");
        assert!(shown["avgOffsetsBehindLatest"].starts_with("2.3333"));
        assert_eq!(shown["estimatedTotalBytesBehindLatest"], "70");
        assert_eq!(metrics(&end, &latest, None).len(), 3);
        assert!(metrics(&end, &Positions::default(), None).is_empty());
    }
}
