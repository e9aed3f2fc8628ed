//! The broker of the tests does what tests ask of it.

use super::broker::Broker;

fn consumed(broker: &Broker, topic: &str, messages: u32) -> Vec<String> {
    let count = messages.to_string();
    let arguments = [
        "consume",
        topic,
        "--from-beginning",
        "--max-messages",
        &count,
    ];
    let printed = broker.run(&arguments);
    printed.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn messages_are_kept_over_restarts_at_the_same_address() {
    let Some(broker) = Broker::own("") else {
        return;
    };
    let topic = broker.topic("kept", 1).await;
    broker.send_to(&topic, 0, &["a", "b"]).await;
    broker.kill();
    broker.start();
    broker.send_to(&topic, 0, &["c"]).await;
    let address = broker.servers().to_owned();
    broker.stop();
    assert_eq!(broker.run(&["start"]), address);
    assert_eq!(consumed(&broker, &topic, 3), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_topic_comes_and_goes_and_grows() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("grown", 1).await;
    broker.add_partitions(&topic, 3).await;
    broker.send_to(&topic, 2, &["x"]).await;
    assert_eq!(consumed(broker, &topic, 1), ["x"]);
    broker.delete_topic(&topic).await;
    broker.create_topic(&topic, 1, &[]).await;
    assert!(broker.data().is_dir());
}
