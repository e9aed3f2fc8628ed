//! The sweep over an object store: a real S3 client talks to a server that speaks S3.
//!
//! Checkpoint and output lie in one bucket. The process dies at every request that changes something in turn, once
//! with the request lost and once with its answer lost; then the query is started again until it is done. The bucket is
//! read by a client of its own and by DuckDB, Polars and pyarrow, each through its own S3 client.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater::Result as Outcome;
use headwater_log::{ObjectStorage, STAGING, store::UploadStore};
use object_store::{ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, path::Path as Key};

use super::{
    check,
    input::Answer,
    ledger::Ledger,
    mortal::{Death, MortalStore},
    pipeline::{Honest, Query, RETAINED, Reports, World},
    readers::{OtherReaders, python},
    report::say_places,
    sweep::{Case, kind_of},
};

const BUCKET: &str = "headwater";

/// Lives at the same time; the server has one thread that works.
const LIVES_AT_ONCE: usize = 3;

/// A server with an empty bucket, which ends with the test.
struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3-server");
        let mut process = Command::new(script)
            .args(["run", BUCKET])
            .env("HEADWATER_READERS_PYTHON", python())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/s3-server can be run");
        let mut endpoint = String::new();
        let stdout = process.stdout.take().expect("it was piped");
        let read = BufReader::new(stdout).read_line(&mut endpoint);
        assert!(
            read.is_ok_and(|length| length > 0),
            "the S3 server did not start"
        );
        Self {
            process,
            endpoint: endpoint.trim().to_owned(),
        }
    }

    fn client(&self) -> Arc<dyn UploadStore> {
        let client = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .build();
        Arc::new(client.expect("a client"))
    }

    /// What other clients take from their environment.
    fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input, too; a failed test need not wait for that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One query's place in the bucket.
struct Place<'a> {
    case: &'a Case,
    client: Arc<dyn UploadStore>,
    prefix: String,
}

impl Place<'_> {
    /// One process, until its end or its death.
    async fn run(&self, store: &MortalStore) -> Outcome<()> {
        let at = |folder: &str| -> Outcome<Arc<ObjectStorage>> {
            let prefix = format!("{}/{folder}", self.prefix);
            Ok(Arc::new(ObjectStorage::new(
                Arc::new(store.clone()),
                &prefix,
            )?))
        };
        let reports = Mutex::new(Reports::new());
        let world = World {
            query: self.case.query,
            input: self.case.input_folder(),
            source_options: &[],
            retained: RETAINED,
            checkpoint: at("checkpoint")?,
            output: at("output")?,
            late: None,
            ledger: Ledger::default(),
            tamper: &Honest,
            reports: &reports,
        };
        world.run().await
    }

    /// The objects of the output, by their paths in it.
    async fn objects(&self) -> Result<BTreeMap<String, Bytes>, object_store::Error> {
        let prefix = Key::from(format!("{}/output", self.prefix));
        let listed: Vec<_> = self.client.list(Some(&prefix)).try_collect().await?;
        let (client, prefix) = (&self.client, &prefix);
        let read = listed.into_iter().map(|object| async move {
            let bytes = client.get(&object.location).await?.bytes().await?;
            let path = object.location.as_ref()[prefix.as_ref().len() + 1..].to_owned();
            Ok((path, bytes))
        });
        stream::iter(read).buffered(8).try_collect().await
    }

    async fn check(&self) -> Result<Answer, String> {
        let objects = self.objects().await.map_err(|error| error.to_string())?;
        let seen = check::content(&objects)?;
        check::only_expected(&seen, self.case.answer())?;
        Ok(seen)
    }

    async fn check_at_rest(&self) -> Result<(), String> {
        check::everything(&self.check().await?, self.case.answer())?;
        let objects = self.objects().await.map_err(|error| error.to_string())?;
        match objects.keys().find(|path| path.starts_with(STAGING)) {
            None => Ok(()),
            Some(path) => Err(format!("'{path}' stays behind")),
        }
    }

    fn url(&self) -> String {
        format!("s3://{BUCKET}/{}/output", self.prefix)
    }
}

/// A life with one death; the request it died at, or none if it came to its end before.
async fn live_twice(place: &Place<'_>, death: Death) -> Result<Option<String>, String> {
    let mortal = MortalStore::new(Arc::clone(&place.client), Some(death));
    let outcome = place.run(&mortal).await;
    if !mortal.is_dead() {
        return place.check_at_rest().await.map(|()| None);
    }
    let request = mortal.requests().pop().unwrap_or_default();
    let explain = |wrong: String| format!("{death:?}, {request} ({outcome:?}): {wrong}");
    place.check().await.map_err(explain)?;
    let next = MortalStore::new(Arc::clone(&place.client), None);
    let again = place.run(&next).await;
    again.map_err(|error| explain(format!("the restart fails: {error}")))?;
    place.check_at_rest().await.map_err(explain)?;
    Ok(Some(request))
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_into_a_bucket_appear_once_wherever_the_process_dies() {
    let server = Server::start();
    let case = Case::new(Query::Windows, 3);
    let place = |prefix: String| Place {
        case: &case,
        client: server.client(),
        prefix,
    };
    let calm = place("calm".to_owned());
    let store = MortalStore::new(server.client(), None);
    calm.run(&store).await.expect("nobody dies");
    calm.check_at_rest().await.expect("everything is there");
    let requests = store.requests().len();

    let deaths = (0..requests).flat_map(|at| [false, true].map(|arrives| Death { at, arrives }));
    let lives = deaths.map(|death| {
        let place = place(format!("{}-{}", death.at, death.arrives));
        async move {
            let request = live_twice(&place, death).await;
            (
                place.url(),
                request.unwrap_or_else(|wrong| panic!("{wrong}")),
            )
        }
    });
    let lives: Vec<(String, Option<String>)> = stream::iter(lives)
        .buffer_unordered(LIVES_AT_ONCE)
        .collect()
        .await;

    let mut others = OtherReaders::start_with(&server.environment());
    for (url, _) in lives.iter().step_by(7) {
        others.see_everything_once(url, &["start", "key"], case.answer().len());
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for request in lives.iter().filter_map(|(_, request)| request.as_ref()) {
        let (_, path) = request.split_once("output/").unwrap_or_default();
        let name = match request.split_once('/') {
            Some((what, path)) => {
                format!("{} {path}", what.rsplit_once(' ').map_or(what, |it| it.0))
            }
            None => path.to_owned(),
        };
        *kinds.entry(kind_of(&name)).or_default() += 1;
    }
    let heading = format!(
        "died at each of {requests} requests to S3, {} lives:",
        lives.len()
    );
    say_places(&heading, &kinds);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_bucket_see_no_row_twice_while_the_process_dies_and_before_it_is_back() {
    let server = Server::start();
    let case = Case::new(Query::Windows, 3);
    let mut others = OtherReaders::start_with(&server.environment());
    let calm = MortalStore::new(server.client(), None);
    let place = |prefix: String| Place {
        case: &case,
        client: server.client(),
        prefix,
    };
    place("calm".to_owned())
        .run(&calm)
        .await
        .expect("nobody dies");
    let publications = calm.requests().into_iter().enumerate();
    let publications: Vec<usize> = publications
        .filter(|(_, request)| request.starts_with("complete upload"))
        .map(|(number, _)| number)
        .collect();
    assert!(publications.len() > 1, "{publications:?}");
    for at in publications {
        for arrives in [false, true] {
            let place = place(format!("{at}-{arrives}"));
            let mortal = MortalStore::new(server.client(), Some(Death { at, arrives }));
            place.run(&mortal).await.expect_err("it dies");
            others.see_nothing_twice(&place.url(), &["start", "key"]);
            let next = MortalStore::new(server.client(), None);
            place.run(&next).await.expect("it is back");
            others.see_everything_once(&place.url(), &["start", "key"], case.answer().len());
        }
    }
}
