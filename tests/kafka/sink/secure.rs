//! TLS and logins: certificates are made by the test, and the broker has a second listener.

use std::{path::Path, process::Command, sync::Arc};

use headwater::{Storage, core::Options, prelude::*};
use headwater_log::MemoryStorage;

use super::{
    super::broker::{Broker, Own},
    world::{ONCE, World, run, sink, spec, values},
};

const CONNECTION_STRING: &str = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=app;\
                                 SharedAccessKey=aHVzaC1odXNo;EntityPath=";

/// A folder with a certificate of its own authority for 127.0.0.1: `ca.pem`, and `server.pem` with key and chain.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("openssl can be run: install it (Debian: apt-get install openssl)");
        assert!(
            done.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=headwater tests",
    ]);
    openssl(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    std::fs::write(
        folder.path().join("names"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\n",
    )
    .expect("a file");
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.crt",
    ]);
    // Kafka reads keys in PKCS#8 only.
    openssl(&[
        "pkcs8",
        "-topk8",
        "-nocrypt",
        "-in",
        "server.key",
        "-out",
        "server.pk8",
    ]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let chain = [read("server.pk8"), read("server.crt"), read("ca.pem")].concat();
    std::fs::write(folder.path().join("server.pem"), chain).expect("a file");
    folder
}

/// A broker that listens on a second port over TLS and asks who is there, and that port's address.
fn broker(certificates: &Path) -> Option<(Own, String)> {
    let keys = certificates.join("server.pem");
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let properties = format!(
        r#"listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://127.0.0.1:{{second_port}},CONTROLLER://127.0.0.1:{{controller_port}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://127.0.0.1:{{second_port}}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required user_writer="right-word" user_$ConnectionString="{CONNECTION_STRING}events";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;
"#,
        keys = keys.display(),
        ca = certificates.join("ca.pem").display(),
    );
    let broker = Broker::own(&properties)?;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        broker.run(&[
            "tool",
            "kafka.admin.ConfigCommand",
            "--bootstrap-server",
            broker.servers(),
            "--alter",
            "--add-config",
            &format!("{mechanism}=[password=right-word]"),
            "--entity-type",
            "users",
            "--entity-name",
            "writer",
        ]);
    }
    let port = std::fs::read_to_string(broker.data().join("second_port")).expect("it was chosen");
    let address = format!("127.0.0.1:{}", port.trim());
    Some((broker, address))
}

/// A row into a topic, and back out of it by the source.
async fn there_and_back(client: &[(&str, &str)], topic: &str) -> Result<Vec<String>> {
    let world = World::new();
    world.add(&[("a", 1)]);
    let mut options: Options = client.iter().copied().collect();
    options.set("topic", topic);
    options.set(ONCE.0, ONCE.1);
    let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let written = sink(&world.session, &options)?;
    run(spec(world.rows(), written, &checkpoint)?).await?;
    let reader = world.session.read().format("kafka");
    let reader = client.iter().fold(
        reader.option("subscribe", topic),
        |reader, (name, value)| reader.option(*name, *value),
    );
    let rows = reader
        .load(None)
        .await?
        .select_expr(["CAST(value AS VARCHAR) AS value"])?;
    let rows = rows.collect().await?;
    let texts = rows.iter().flat_map(|rows| {
        let values = rows.column(0);
        let values = datafusion::arrow::compute::cast(values, &DataType::Utf8).expect("text");
        let values: datafusion::arrow::array::StringArray =
            datafusion::arrow::array::AsArray::as_string(&values).clone();
        values
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    Ok(texts.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_login_and_as_event_hubs() {
    let certificates = certificates();
    let Some((broker, address)) = broker(certificates.path()) else {
        return;
    };
    let ca = certificates.path().join("ca.pem");
    let ca = ca.to_str().expect("a path in UTF-8");
    let login = |mechanism: &'static str, password: &'static str| {
        [
            ("kafka.bootstrap.servers", address.as_str()),
            ("kafka.security.protocol", "SASL_SSL"),
            ("kafka.sasl.mechanism", mechanism),
            ("kafka.sasl.username", "writer"),
            ("kafka.sasl.password", password),
            ("kafka.ssl.ca.location", ca),
            ("kafka.default.api.timeout.ms", "5000"),
        ]
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let topic = broker.topic("secure", 1).await;
        let back = Box::pin(there_and_back(&login(mechanism, "right-word"), &topic)).await;
        assert_eq!(back.expect("the login is right"), ["a=1"], "{mechanism}");
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let topic = broker.topic("secure", 1).await;
        let error = Box::pin(there_and_back(&login(mechanism, "wrong-word"), &topic)).await;
        let error = error.expect_err("the login is wrong");
        println!("{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("wrong-word"), "{text}");
        assert!(text.contains("uthentication failed"), "{text}");
        assert!(values(&broker, &topic).is_empty());
    }
    // Who does not know the authority trusts nobody.
    let mut without = login("PLAIN", "right-word").to_vec();
    without.retain(|(name, _)| *name != "kafka.ssl.ca.location");
    let topic = broker.topic("secure", 1).await;
    let error = Box::pin(there_and_back(&without, &topic)).await;
    let text = error.expect_err("an unknown authority").to_string();
    assert!(text.contains("certificate"), "{text}");

    broker.create_topic("events", 1, &[]).await;
    let string = format!("{CONNECTION_STRING}events");
    let hub = |string: &str| Box::pin(event_hub(string.to_owned(), address.clone(), ca.to_owned()));
    hub(&string).await.expect("the string is right");
    assert_eq!(values(&broker, "events"), ["a=1"]);
    let error = hub(&string.replace("aHVzaC1odXNo", "d3Jvbmc=")).await;
    let text = format!("{:?}", error.expect_err("the key is wrong"));
    println!("{text}");
    assert!(!text.contains("d3Jvbmc"), "{text}");
    assert!(text.contains("uthentication failed"), "{text}");
}

/// Writes and reads with a connection string alone, but for where the test's broker is.
async fn event_hub(string: String, address: String, ca: String) -> Result<()> {
    let client = [
        ("eventhubs.connectionString", string.as_str()),
        ("kafka.bootstrap.servers", address.as_str()),
        ("kafka.ssl.ca.location", ca.as_str()),
        ("kafka.default.api.timeout.ms", "5000"),
    ];
    let world = World::new();
    world.add(&[("a", 1)]);
    let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let written = sink(&world.session, &client.iter().copied().collect())?;
    assert!(!format!("{written:?} {}", written.identity()).contains("aHVzaC1odXNo"));
    run(spec(world.rows(), written, &checkpoint)?).await?;
    let reader = client.iter().fold(
        world.session.read().format("kafka"),
        |reader, (name, value)| reader.option(*name, *value),
    );
    let rows = reader.load(None).await?.collect().await?;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    Ok(())
}
