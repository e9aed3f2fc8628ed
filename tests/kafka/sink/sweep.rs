//! The process dies at every durable step of the checkpoint in turn, and Kafka lives on.
//!
//! A calm run counts the steps; then for each of them a run is cut off there, hears nothing of it any more (it does not
//! abort its transaction), and the query is started again until it is done. Each row of the answer must then be in the
//! topic once, for readers of committed messages.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{TryStreamExt, stream};
use headwater::{
    Storage,
    core::{BatchStream, EpochWrite, PartWrite, PreparedPart, Sink, SinkContext, SinkProvider},
    prelude::*,
};
use headwater_log::store::{Loss, SimMachine};

use super::{
    super::broker::Broker,
    world::{ONCE, World, options, run, sink, spec, values},
};

/// Cases that run at the same time.
const AT_ONCE: usize = 6;

/// A sink whose owner is dead by the time it should give something up.
#[derive(Debug)]
struct NeverGivesUp<S>(S);

#[async_trait]
impl SinkProvider for NeverGivesUp<Arc<dyn SinkProvider>> {
    fn identity(&self) -> String {
        self.0.identity()
    }

    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        self.0.check(mode, schema)
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(NeverGivesUp(self.0.create(context).await?)))
    }
}

#[async_trait]
impl Sink for NeverGivesUp<Arc<dyn Sink>> {
    fn description(&self) -> String {
        self.0.description()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        self.0.prepare(part, rows).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        self.0.before_commit(write, parts).await
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        self.0.publish(write, parts).await
    }

    async fn discard(&self, _write: &EpochWrite) -> Result<()> {
        Ok(())
    }
}

fn world() -> World {
    let world = World::new();
    world.add(&[("a", 1), ("b", 2), ("c", 3)]);
    // Nothing comes out of this one.
    world.add(&[("b", 4)]);
    world.add(&[("d", 5), ("a", 6)]);
    world
}

const ALL: [&str; 4] = ["a=1", "b=2", "c=3", "d=5"];

async fn live(world: &World, broker: &Broker, topic: &str, machine: &SimMachine) -> Result<()> {
    let sink = sink(&world.session, &options(broker, topic, &[ONCE]))?;
    let checkpoint: Arc<dyn Storage> = Arc::new(machine.storage("checkpoint"));
    let frame = world.first_of_each_key();
    run(spec(frame, Arc::new(NeverGivesUp(sink)), &checkpoint)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_process_dies_each_row_is_in_the_topic_once() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let calm = SimMachine::new();
    let topic = broker.topic("calm", 2).await;
    live(&world(), broker, &topic, &calm)
        .await
        .expect("nothing happens");
    assert_eq!(values(broker, &topic), ALL);
    let steps = calm.steps().len();
    let places = Mutex::new(BTreeMap::<String, usize>::new());
    stream::iter((0..steps).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |step| {
            let places = &places;
            async move {
                let topic = broker.topic("swept", 2).await;
                let world = world();
                let machine = SimMachine::new();
                machine.crash_at(step);
                let died = live(&world, broker, &topic, &machine).await;
                let place = machine.crashed().unwrap_or_else(|| "nowhere".to_owned());
                if died.is_ok() && place != "nowhere" {
                    // Housekeeping behind the epochs: nobody waits for it.
                    *places
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .entry("behind the epochs".to_owned())
                        .or_default() += 1;
                }
                let loss = match step % 2 {
                    0 => Loss::Unsynced,
                    _ => Loss::Some(step as u64),
                };
                let machine = machine.reopen(loss);
                let again = live(&world, broker, &topic, &machine).await;
                again.map_err(|error| format!("died at step {step} ({place}), then: {error}"))?;
                let found = values(broker, &topic);
                if found != ALL {
                    return Err(format!("died at step {step} ({place}): {found:?}"));
                }
                let kind: String = place.chars().filter(|c| !c.is_numeric()).collect();
                *places
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(kind)
                    .or_default() += 1;
                Ok(())
            }
        })
        .await
        .expect("every row is there once");
    println!("died at {steps} steps: {places:#?}");
}
