//! Whose checkpoint it is, and what its epochs did, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Condition, Epoch, EventTime, Result};
use headwater_log::{Committed, LogReader, Metadata, Planned, SourceStep, layout};
use serde::Serialize;
use serde_json::Value;

use super::findings::{Damage, Verification, what};
use crate::state_reader::manifest_of;

/// What a checkpoint holds. Times are ISO 8601 in UTC; nothing in it is a secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointOverview {
    /// Where it is.
    pub place: String,
    /// Whose it is; `None` if that cannot be read.
    pub query: Option<QueryIdentity>,
    /// The starts whose records are kept, the newest last.
    pub runs: Vec<RunOverview>,
    /// The oldest epoch whose records are kept.
    pub first_kept: u64,
    /// The newest committed epoch.
    pub last_committed: Option<u64>,
    /// The epochs asked for, the newest last.
    pub epochs: Vec<EpochOverview>,
    /// The stateful operators by the newest commit.
    pub operators: Vec<OperatorOverview>,
    /// Records that cannot be read.
    pub damaged: Vec<Damage>,
}

/// The identity of a query, as its first start recorded it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryIdentity {
    /// Its id, which survives restarts.
    pub id: String,
    /// The version of the records' format.
    pub layout_version: Option<u32>,
    /// When it first started.
    pub created: String,
    /// The version of headwater that first started it.
    pub engine: String,
    /// Partitions of keyed state at the first start.
    pub partitions: u32,
    /// The output mode.
    pub output_mode: String,
    /// How the watermarks of several inputs become one.
    pub watermark_policy: String,
    /// Identities of the sources, by number.
    pub sources: Vec<String>,
    /// Identity of the sink.
    pub sink: String,
    /// Identity of the sink of late rows, if there is one.
    pub late_sink: Option<String>,
}

/// One start of a query.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOverview {
    /// Its number among the starts.
    pub number: u64,
    /// Its id.
    pub run: String,
    /// When it was.
    pub started: String,
    /// The version of headwater that ran.
    pub engine: String,
}

/// How far an epoch has come, as is durably known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EpochState {
    /// It runs, or will run again at the next start.
    Planned,
    /// It has happened. Its rows are visible, or will be before another epoch is planned.
    Committed,
    /// Its rows are visible: another epoch was planned after it.
    Published,
}

/// What one epoch did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochOverview {
    /// The epoch.
    pub epoch: u64,
    /// How far it has come.
    pub state: EpochState,
    /// Its processing time.
    pub time: Option<String>,
    /// The run that planned it.
    pub run: Option<String>,
    /// Whether a source had new data; otherwise it ran because the watermark had risen or a timer was due.
    pub has_data: Option<bool>,
    /// What it reads, by source.
    pub sources: Vec<SourceRange>,
    /// The watermark it emits and evicts with; `None` before a row was seen, and without event time.
    pub watermark: Option<String>,
    /// Rows read.
    pub rows_in: Option<u64>,
    /// Rows given to the sink.
    pub rows_out: Option<u64>,
    /// Rows given to the sink of late rows, if there is one.
    pub late_rows: Option<u64>,
    /// State files that its commit refers to.
    pub state_files: u64,
    /// Their bytes.
    pub state_bytes: u64,
}

/// What an epoch takes from a source. Offsets mean what the source says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRange {
    /// The number of the source.
    pub source: usize,
    /// Whether it reads anything.
    pub reads: bool,
    /// Where it begins; null before the first row.
    pub from: Value,
    /// Where it ends.
    pub to: Value,
}

/// What a stateful operator keeps, by the newest commit.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorOverview {
    /// Its id.
    pub operator: String,
    /// What it is.
    pub kind: Option<String>,
    /// The newest version that changed anything; `None` if nothing was ever kept.
    pub version: Option<u64>,
    /// Partitions of its state.
    pub partitions: u32,
    /// Rows in each of its stores.
    pub rows: BTreeMap<String, u64>,
    /// The version of the snapshot that a restore begins with.
    pub snapshot: Option<u64>,
    /// The changes that follow it.
    pub deltas: usize,
    /// Files of both.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

pub(super) async fn overview(log: &LogReader, last: Option<usize>) -> Result<CheckpointOverview> {
    let listed = log.listed().await?;
    let mut unreadable = Unreadable {
        log,
        found: Verification::default(),
    };
    let metadata = log.metadata().await;
    let metadata = unreadable.or_told(layout::METADATA, metadata).await?;
    let mut runs = Vec::new();
    for number in &listed.runs {
        let path = layout::numbered(layout::RUNS, *number);
        if let Some(run) = unreadable.or_told(&path, log.run(*number).await).await? {
            runs.push(RunOverview {
                number: *number,
                run: run.run.to_string(),
                started: time(run.started_millis),
                engine: run.engine,
            });
        }
    }
    let kept: BTreeSet<Epoch> = listed
        .plans
        .iter()
        .chain(&listed.commits)
        .copied()
        .filter(|epoch| listed.is_kept(*epoch))
        .collect();
    let skipped = last.map_or(0, |last| kept.len().saturating_sub(last));
    let newest_planned = listed.plans.last().copied();
    let mut epochs = Vec::new();
    for epoch in kept.into_iter().skip(skipped) {
        let planned = log.plan(epoch).await;
        let planned = unreadable.or_told(&layout::plan(epoch), planned).await?;
        let committed = log.commit(epoch).await;
        let is_committed = listed.commits.binary_search(&epoch).is_ok();
        let committed = unreadable
            .or_told(&layout::commit(epoch), committed)
            .await?;
        let state = match (is_committed, newest_planned > Some(epoch)) {
            (false, _) => EpochState::Planned,
            (true, false) => EpochState::Committed,
            (true, true) => EpochState::Published,
        };
        epochs.push(of_epoch(epoch, state, planned, committed));
    }
    let newest = match listed.commits.last() {
        Some(epoch) => log.commit(*epoch).await.ok().flatten(),
        None => None,
    };
    let operators = operators(metadata.as_ref(), newest.as_ref());
    let layout_version = log.format_version().await?;
    Ok(CheckpointOverview {
        place: log.storage().to_string(),
        query: metadata.map(|metadata| identity(metadata, layout_version)),
        runs,
        first_kept: listed.floor.0,
        last_committed: listed.commits.last().map(|epoch| epoch.0),
        epochs,
        operators,
        damaged: unreadable.found.damaged,
    })
}

/// Keeps account of records that cannot be read.
struct Unreadable<'a> {
    log: &'a LogReader,
    found: Verification,
}

impl Unreadable<'_> {
    /// What was read; if the record is damaged, nothing, and it is told of.
    async fn or_told<T>(&mut self, path: &str, read: Result<Option<T>>) -> Result<Option<T>> {
        let error = match read {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        match self.log.check(path).await? {
            Some(condition @ Condition::Damaged(_)) => {
                self.found.found(path, what(path), condition);
                Ok(None)
            }
            // Deleted or mended meanwhile.
            Some(Condition::Missing | Condition::Whole { .. }) => Ok(None),
            None => Err(error),
        }
    }
}

fn identity(metadata: Metadata, layout_version: Option<u32>) -> QueryIdentity {
    QueryIdentity {
        id: metadata.query.to_string(),
        layout_version,
        created: time(metadata.created_millis),
        engine: metadata.engine,
        partitions: metadata.partitions,
        output_mode: metadata.output_mode.to_string(),
        watermark_policy: format!("{:?}", metadata.watermark_policy).to_ascii_lowercase(),
        sources: metadata.sources,
        sink: metadata.sink,
        late_sink: metadata.late_sink,
    }
}

fn of_epoch(
    epoch: Epoch,
    state: EpochState,
    planned: Option<Planned>,
    committed: Option<Committed>,
) -> EpochOverview {
    let committed = committed.as_ref();
    let stat = |name: &str| committed.and_then(|it| it.stats.get(name)?.as_u64());
    let manifest = committed.and_then(|it| manifest_of(&it.state).ok());
    let files = manifest.iter().flat_map(|it| it.operators.values());
    let (state_files, state_bytes) = files.fold((0, 0), |(files, bytes), operator| {
        (
            files + operator.files().count() as u64,
            bytes + operator.bytes(),
        )
    });
    let late = committed.and_then(|it| it.late.as_ref());
    let parts = committed.map(|it| it.parts.iter().map(|part| part.rows).sum());
    EpochOverview {
        epoch: epoch.0,
        state,
        time: planned.as_ref().map(|it| time(it.time_millis)),
        run: planned.as_ref().map(|it| it.run.to_string()),
        has_data: planned.as_ref().map(|it| it.has_data),
        watermark: planned.as_ref().and_then(|it| {
            let watermark = &it.watermark;
            (!watermark.nodes.is_empty()).then(|| watermark.global.time().to_string())
        }),
        sources: planned.map(|it| ranges(&it.sources)).unwrap_or_default(),
        rows_in: stat("inputRows"),
        rows_out: stat("outputRows").or(parts),
        late_rows: late.map(|late| late.parts.iter().map(|part| part.rows).sum()),
        state_files,
        state_bytes,
    }
}

fn ranges(steps: &[SourceStep]) -> Vec<SourceRange> {
    let value = |offset: Option<&headwater_core::Offset>| {
        offset.map_or(Value::Null, |offset| offset.0.clone())
    };
    let ranges = steps.iter().enumerate().map(|(source, step)| SourceRange {
        source,
        reads: step.range().is_some(),
        from: value(match step {
            SourceStep::Idle { at } => at.as_ref(),
            SourceStep::Read(range) => range.start.as_ref(),
        }),
        to: value(step.end()),
    });
    ranges.collect()
}

/// Those that the identity names, in its order, then those that only the commit knows.
fn operators(metadata: Option<&Metadata>, newest: Option<&Committed>) -> Vec<OperatorOverview> {
    let mut files = newest
        .and_then(|committed| manifest_of(&committed.state).ok())
        .unwrap_or_default()
        .operators;
    let recorded = metadata.into_iter().flat_map(|it| &it.operators);
    let mut all = Vec::new();
    for operator in recorded {
        let files = files.remove(&operator.id).unwrap_or_default();
        all.push((operator.id.clone(), Some(operator.kind.clone()), files));
    }
    all.extend(files.into_iter().map(|(id, files)| (id, None, files)));
    let overviews = all
        .into_iter()
        .map(|(operator, kind, files)| OperatorOverview {
            operator,
            kind,
            version: files.epoch().map(|epoch| epoch.0),
            partitions: files.partitions,
            snapshot: files.snapshot.as_ref().map(|snapshot| snapshot.epoch.0),
            deltas: files.deltas.len(),
            files: files.files().count(),
            bytes: files.bytes(),
            rows: files.live,
        });
    overviews.collect()
}

/// Milliseconds since 1970 as text.
fn time(millis: i64) -> String {
    EventTime(millis).to_string()
}
