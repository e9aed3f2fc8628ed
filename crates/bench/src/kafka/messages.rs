//! Nexmark's bids as messages in JSON, lengthened to a given size.

use nexmark::{
    EventGenerator,
    config::NexmarkConfig,
    event::{Bid, Event, EventType},
};

use crate::data;

/// The bids of Nexmark in JSON, in the order of their making.
pub(super) fn bids(bytes: usize) -> impl Iterator<Item = String> {
    let config = NexmarkConfig {
        // Over several partitions no reader has messages in just this order: a little disorder is there anyway.
        out_of_order_group_size: 1,
        ..data::config()
    };
    EventGenerator::new(config)
        .with_type_filter(EventType::Bid)
        .filter_map(move |event| match event {
            Event::Bid(bid) => Some(to_json(&bid, bytes)),
            Event::Person(_) | Event::Auction(_) => None,
        })
}

/// The bid in JSON, with as much in `extra` as makes it `bytes` long, if it is not longer without.
fn to_json(bid: &Bid, bytes: usize) -> String {
    let mut text = format!(
        r#"{{"auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":"{}","extra":""#,
        bid.auction,
        bid.bidder,
        bid.price,
        bid.channel,
        bid.url,
        time(bid.date_time),
    );
    text.push_str(&bid.extra);
    let mut random = bid.date_time ^ ((bid.bidder as u64) << 32) ^ bid.price as u64;
    while text.len() + 2 < bytes {
        // Knuth's generator: letters that do not compress to nothing.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b'a' + ((random >> 33) % 26) as u8));
    }
    text.push_str("\"}");
    text
}

/// Milliseconds since 1970 as RFC 3339.
fn time(millis: u64) -> String {
    let time = i64::try_from(millis)
        .ok()
        .and_then(arrow::temporal_conversions::timestamp_ms_to_datetime);
    time.map_or_else(String::new, |time| {
        time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn messages_are_json_of_the_size_asked_for() {
        for text in bids(1_000).take(100) {
            assert_eq!(text.len(), 1_000);
            let bid: Value = serde_json::from_str(&text).unwrap();
            assert!(bid["auction"].is_u64() && bid["price"].is_u64(), "{bid}");
            let time = bid["date_time"].as_str().unwrap();
            assert!(
                time.starts_with("2025-01-01T00:00:0") && time.ends_with('Z'),
                "{time}"
            );
        }
    }
}
