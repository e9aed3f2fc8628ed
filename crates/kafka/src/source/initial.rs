//! Where a query begins: found out once, and kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use headwater_core::{CreateOutcome, Error, Result, Storage};
use serde_json::{Value, json};

use super::{
    OWNER,
    bounds::{Bound, NoSuchTime, Wanted},
    positions::{Positions, TopicPartition},
    shared::Shared,
    subscription::Topics,
};

/// The object in the source's folder that says where the query began.
const INITIAL_OBJECT: &str = "initial-offsets.json";
const INITIAL_VERSION: u64 = 1;

/// Where a query begins: as it was when it first started.
pub(super) async fn of_query(
    shared: &Shared,
    topics: &Topics,
    storage: &dyn Storage,
) -> Result<Positions> {
    match stored(storage).await? {
        Some(initial) => Ok(initial),
        None => store(storage, found_out(shared, topics).await?).await,
    }
}

/// Where a query begins that has never run.
async fn found_out(shared: &Shared, topics: &Topics) -> Result<Positions> {
    let settings = &shared.settings;
    let missing = settings.subscription.missing(topics);
    if !missing.is_empty() {
        return Err(Error::invalid(format!(
            "{OWNER} finds no {} at the Kafka brokers {}: create what is missing, or change the option {}",
            missing.join(", "),
            shared.cluster.servers(),
            settings.subscription.option()
        )));
    }
    let partitions = settings.subscription.partitions(topics);
    resolve(
        shared,
        &partitions,
        &settings.starting,
        "startingOffsets",
        settings.starting_strategy,
    )
    .await
}

/// The offsets that a bound is.
pub(super) async fn resolve(
    shared: &Shared,
    partitions: &BTreeSet<TopicPartition>,
    bound: &Bound,
    option: &str,
    no_such_time: NoSuchTime,
) -> Result<Positions> {
    let mut positions = Positions::default();
    let mut questions = BTreeMap::new();
    for (partition, wanted) in bound.wanted(option, partitions)? {
        match wanted {
            Wanted::At(offset) => {
                positions.0.insert(partition, offset);
            }
            Wanted::Ask(offset) => {
                questions.insert(partition, offset);
            }
        }
    }
    let mut without = Vec::new();
    for (partition, answer) in shared.cluster.offsets(questions).await? {
        match answer {
            Some(offset) => {
                positions.0.insert(partition, offset);
            }
            None => without.push(partition),
        }
    }
    if let (Some(first), NoSuchTime::Fail) = (without.first(), no_such_time) {
        return Err(Error::invalid(format!(
            "{OWNER} finds no message of the time that '{option}' wants in topic '{}', partition {}: all are older; write \
             an earlier time, or set startingOffsetsByTimestampStrategy to latest",
            first.topic, first.partition
        )));
    }
    positions.0.extend(shared.cluster.latest(without).await?.0);
    Ok(positions)
}

/// What an earlier start of the query has found.
async fn stored(storage: &dyn Storage) -> Result<Option<Positions>> {
    let Some(bytes) = storage.read(INITIAL_OBJECT).await? else {
        return Ok(None);
    };
    let damaged = |why: String| {
        Error::data(format!(
            "{INITIAL_OBJECT} of {OWNER} in {storage} cannot be read: {why}"
        ))
    };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if value.get("version").and_then(Value::as_u64) != Some(INITIAL_VERSION) {
        return Err(damaged(format!(
            "expected version {INITIAL_VERSION}, found {}",
            value.get("version").unwrap_or(&Value::Null)
        )));
    }
    let offsets = value.get("offsets").unwrap_or(&Value::Null);
    let offsets = Positions::from_json(INITIAL_OBJECT, offsets);
    offsets
        .map(Some)
        .map_err(|error| damaged(error.message().to_owned()))
}

/// Keeps where the query begins, so that it begins there too if it is started again before its first epoch.
async fn store(storage: &dyn Storage, initial: Positions) -> Result<Positions> {
    let value = json!({ "version": INITIAL_VERSION, "offsets": initial.to_json() });
    let bytes = Bytes::from(value.to_string());
    match storage.create(INITIAL_OBJECT, bytes).await? {
        CreateOutcome::Created => Ok(initial),
        CreateOutcome::AlreadyExists => {
            let kept = stored(storage).await?;
            kept.ok_or_else(|| Error::internal(format!("{INITIAL_OBJECT} came and went")))
        }
    }
}
