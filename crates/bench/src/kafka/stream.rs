//! The streaming side: headwater answers a query over a topic, in a process of its own.

use headwater::{Error, Result, Session, Settings, Trigger};
use headwater_core::Clock;
use serde::{Deserialize, Serialize};

use super::queries::{self, Target};
use crate::{machine, report::Measurement};

/// The phase of a progress report that is a whole epoch.
const EPOCH: &str = "triggerExecution";

/// A run, as it is handed to the process that makes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Address of the broker.
    pub bootstrap: String,
    /// The topic to read, from its beginning to where it ends now.
    pub topic: String,
    /// Name of the query.
    pub query: String,
    /// Topic or folder of the answer.
    pub out: String,
    /// Messages of an epoch.
    pub per_trigger: u64,
    /// Whether the sink is exactly once; topics only.
    pub exactly_once: bool,
}

impl Run {
    /// Makes the run that a request asks for; the measurement as a line of JSON.
    ///
    /// # Errors
    /// `Invalid` if it is no request; otherwise the query's own.
    pub fn answer(request: &str, clock: &dyn Clock) -> Result<String> {
        let run: Self = serde_json::from_str(request).map_err(|error| {
            Error::invalid(format!("{request} is no run over a topic")).with_source(error)
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::unavailable("cannot start the worker threads").with_source(e))?;
        runtime.block_on(run.measure(clock))?.to_line()
    }

    async fn measure(&self, clock: &dyn Clock) -> Result<Measurement> {
        let query = queries::named(&self.query)?;
        let folder = tempfile::tempdir().map_err(|e| {
            Error::unavailable("cannot create a folder for the query").with_source(e)
        })?;
        let checkpoint = folder.path().join("checkpoint");
        let settings = Settings {
            // Every epoch's report counts.
            progress_history: usize::MAX,
            ..Settings::default()
        };
        machine::reset_peak_rss();
        let start = clock.monotonic();
        let session = Session::builder().settings(settings).build()?;
        let messages = session
            .read_stream()
            .format("kafka")
            .option("kafka.bootstrap.servers", &self.bootstrap)
            .option("subscribe", &self.topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", self.per_trigger)
            .load(None::<&str>)?;
        session.register_view("messages", messages)?;
        session.register_view("bids", session.sql(&queries::bids_view()).await?)?;
        let writer = session
            .sql(query.sql)
            .await?
            .write_stream()
            .query_name(query.name)
            .option("checkpointLocation", checkpoint.display())
            .trigger(Trigger::available_now());
        let running = match query.target {
            Target::Parquet => writer.format("parquet").start(self.out.as_str()).await?,
            Target::Topic => {
                writer
                    .format("kafka")
                    .option("kafka.bootstrap.servers", &self.bootstrap)
                    .option("topic", &self.out)
                    .option("exactlyOnce", self.exactly_once)
                    .start(None)
                    .await?
            }
        };
        running.await_termination().await?;
        let seconds = (clock.monotonic() - start).as_secs_f64();

        let epochs = running.recent_progress();
        let durations = epochs.iter().map(|epoch| {
            let millis = epoch.duration_ms.get(EPOCH).copied();
            millis.unwrap_or(epoch.batch_duration) as f64
        });
        let state = epochs.iter().map(|epoch| {
            let operators = epoch.state_operators.iter();
            operators.map(|it| it.num_rows_total).sum::<u64>()
        });
        let measured = Measurement {
            engine: format!("headwater-{}", env!("CARGO_PKG_VERSION")),
            query: query.name.to_owned(),
            rows: epochs.iter().map(|epoch| epoch.num_input_rows).sum(),
            state_rows_max: state.max(),
            peak_rss_bytes: machine::peak_rss(),
            ..Measurement::default()
        };
        Ok(measured.with_durations(seconds, durations.collect()))
    }
}
