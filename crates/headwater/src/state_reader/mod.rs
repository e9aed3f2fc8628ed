//! `read_state()`: what the operators of a query remember, as tables.
//!
//! Only reads, so a query that runs meanwhile notices nothing: no run is registered, no lock is taken, no file is
//! written. A version that the query deletes while it is read makes reading fail with an error that says which versions
//! there are.

mod operators;
mod table;

use std::sync::Arc;

use headwater_core::{Epoch, Error, ErrorKind, Result, Storage};
use headwater_log::{LogReader, Metadata};
use headwater_ops::key_index_factory;
use headwater_state::{StateManifest, StateTable, StoreLayout, Version};

use self::operators::Facts;
use crate::{DataFrame, session::Session};

/// The state of a query, stopped or running; see [`Session::read_state`].
///
/// ```
/// # use headwater::{connect::memory::MemoryStream, prelude::*};
/// # use datafusion::arrow::array::StringArray;
/// # use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # let checkpoint = folder.path().to_str().expect("text").to_owned();
/// # let session = Session::new();
/// # let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, true)]));
/// # let words = MemoryStream::new("words", Arc::clone(&schema));
/// # session.register_memory_stream(&words)?;
/// # let rows = StringArray::from(vec!["a", "b", "a"]);
/// # words.add_batch(RecordBatch::try_new(schema, vec![Arc::new(rows)]).expect("rows"))?;
/// let query = session.sql("SELECT word, count(*) AS n FROM words GROUP BY word").await?
///     .write_stream().output_mode(OutputMode::Complete).option("checkpointLocation", &checkpoint)
///     .to_table("counts").await?;
/// query.process_all_available().await?;
///
/// let state = session.read_state(&checkpoint).await?;
/// let counts = state.operator("aggregate-0")?;
/// let busy = counts.version(0).await?.filter(ident("count(*)[count]").gt(lit(1)))?;
/// assert_eq!(busy.collect().await?[0].num_rows(), 1);
/// # query.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StateReader {
    inner: Arc<Inner>,
    operators: Vec<OperatorState>,
}

struct Inner {
    session: Session,
    log: LogReader,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// A stateful operator of a query.
#[derive(Debug, Clone)]
pub struct OperatorState {
    id: String,
    kind: String,
    stores: Vec<StoreState>,
}

/// One store of an operator: the groups of an aggregation, one side of a join, ….
#[derive(Debug, Clone)]
pub struct StoreState {
    inner: Arc<Inner>,
    operator: String,
    /// Of all stores of the operator.
    layouts: Arc<Vec<StoreLayout>>,
    layout: StoreLayout,
    facts: Facts,
}

impl Session {
    /// What the operators of a query remember, read from its checkpoint (a path or URL), while it runs or after.
    ///
    /// The reader knows the operators as they were when it was made; versions are looked for anew whenever one is read.
    ///
    /// # Errors
    /// `Invalid` if there is no checkpoint, `Data` if it is damaged, and those of the storage.
    pub async fn read_state(&self, checkpoint: impl crate::IntoLocation) -> Result<StateReader> {
        let location = checkpoint.into_location()?;
        let location = location.ok_or_else(|| {
            Error::invalid("say where the checkpoint is: read_state(\"path of the checkpoint\")")
        })?;
        let options = headwater_core::Options::new();
        let storage = headwater_log::store::storage_for_url(&location, &options)?;
        self.read_state_in(storage).await
    }

    /// As [`Self::read_state`], given the storage of the checkpoint itself.
    ///
    /// # Errors
    /// As [`Self::read_state`].
    pub async fn read_state_in(&self, storage: Arc<dyn Storage>) -> Result<StateReader> {
        let log = LogReader::new(storage);
        let metadata = log.metadata().await?.ok_or_else(|| {
            Error::invalid(format!(
                "there is no checkpoint in {}: read_state needs the checkpointLocation of a query that was started",
                log.storage()
            ))
        })?;
        let inner = Arc::new(Inner {
            session: self.clone(),
            log,
        });
        StateReader::open(inner, &metadata).await
    }
}

impl StateReader {
    async fn open(inner: Arc<Inner>, metadata: &Metadata) -> Result<Self> {
        let versions = inner.log.committed_epochs().await?;
        let newest = match versions.last() {
            Some(newest) => Some(inner.version(newest.0).await?),
            None => None,
        };
        let span = versions.first().copied().zip(versions.last().copied());
        let operators = operators::operators(&inner, metadata, newest.as_ref(), span)?;
        Ok(Self { inner, operators })
    }

    /// The stateful operators, the one nearest the sink first.
    pub fn operators(&self) -> &[OperatorState] {
        &self.operators
    }

    /// The stores of all operators as a table: `operator`, its `kind`, `store`, what the store `serves` (the aggregate
    /// whose distinct values it remembers), what it `holds`, its `keys` and `values` with their types, when a row
    /// `expires` (null: never), and of the newest version `partitions`, `rows`, `bytes` of its files, and the
    /// `first_version` and `last_version` that can be read.
    ///
    /// # Errors
    /// `Internal` if the table cannot be made.
    pub fn operators_frame(&self) -> Result<DataFrame> {
        operators::frame(&self.inner.session, &self.operators)
    }

    /// An operator by its id.
    ///
    /// # Errors
    /// `Invalid` if there is none, with those there are.
    pub fn operator(&self, id: &str) -> Result<OperatorState> {
        let found = self.operators.iter().find(|operator| operator.id == id);
        found.cloned().ok_or_else(|| {
            let ids = self.operators.iter().map(|it| it.id.as_str());
            Error::invalid(format!(
                "there is no operator '{id}' in {}: it has {}",
                self.inner.log.storage(),
                listed(ids)
            ))
        })
    }

    /// The versions that can be read now, oldest first: a version is the state after the epoch of that number was
    /// committed.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn versions(&self) -> Result<Vec<Epoch>> {
        self.inner.log.committed_epochs().await
    }
}

impl OperatorState {
    /// Its id, which plans, progress reports and files use.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is: `aggregate`, `join`, ….
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it keeps. None if the checkpoint was written before this was recorded.
    pub fn stores(&self) -> &[StoreState] {
        &self.stores
    }

    /// A store by its name, such as `left`.
    ///
    /// # Errors
    /// `Invalid` if there is none, with those there are.
    pub fn store(&self, name: &str) -> Result<StoreState> {
        let found = self.stores.iter().find(|store| store.layout.name == name);
        found.cloned().ok_or_else(|| {
            let names = self.stores.iter().map(StoreState::name);
            Error::invalid(format!(
                "operator '{}' has no store '{name}': it has {}",
                self.id,
                listed(names)
            ))
        })
    }

    /// The store that is meant when none is named: the only one, or the only one that serves no other.
    fn main_store(&self) -> Result<&StoreState> {
        let mut main = self.stores.iter().filter(|it| it.layout.serves.is_none());
        match (main.next(), main.next()) {
            (Some(store), None) => Ok(store),
            (None, _) => Err(Error::invalid(format!(
                "what operator '{}' keeps is not recorded in the checkpoint: start the query once with this version of \
                 headwater",
                self.id
            ))),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "operator '{}' has several stores, {}: choose one with store(…)",
                self.id,
                listed(self.stores.iter().map(StoreState::name))
            ))),
        }
    }

    /// [`StoreState::version`] of the operator's only store, or of the one that the others serve.
    ///
    /// # Errors
    /// As there; `Invalid` if there are several stores.
    pub async fn version(&self, version: u64) -> Result<DataFrame> {
        self.main_store()?.version(version).await
    }

    /// [`StoreState::latest`] of the operator's only store, or of the one that the others serve.
    ///
    /// # Errors
    /// As there; `Invalid` if there are several stores.
    pub async fn latest(&self) -> Result<DataFrame> {
        self.main_store()?.latest().await
    }

    /// [`StoreState::changes`] of the operator's only store, or of the one that the others serve.
    ///
    /// # Errors
    /// As there; `Invalid` if there are several stores.
    pub async fn changes(&self, from: impl Into<Option<u64>>, to: u64) -> Result<DataFrame> {
        self.main_store()?.changes(from, to).await
    }
}

impl StoreState {
    /// Its name inside the operator.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// What it holds, by the newest version.
    pub fn layout(&self) -> &StoreLayout {
        &self.layout
    }

    /// The state after the epoch of this number was committed, one row for each value or row that is kept: `partition`,
    /// the columns of the key, those of the value, for a store of rows by key `row` (the number of the row in its
    /// partition), `expiry` (when the watermark removes it; null: never), and for a side of an outer join `marked`
    /// (whether the row has found a match). Windows are shown by their start, aggregates by what they accumulate:
    /// `avg(x)[count]`, `avg(x)[sum]`.
    ///
    /// Rows are read when the frame is, each partition of the state as one of the frame's.
    ///
    /// # Errors
    /// `Invalid` if there is no such version, or none any more, with those there are; `Data` if the checkpoint is
    /// damaged; those of the storage.
    pub async fn version(&self, version: u64) -> Result<DataFrame> {
        let version = self.inner.version(version).await?;
        let table = self.table(&version).await?;
        table::version_frame(&self.inner, table, version)
    }

    /// [`Self::version`] of the newest epoch.
    ///
    /// # Errors
    /// As there.
    pub async fn latest(&self) -> Result<DataFrame> {
        let newest = self.inner.log.committed_epochs().await?;
        let newest = newest.last().copied().ok_or_else(|| {
            Error::invalid(format!(
                "no epoch has been committed yet in {}",
                self.inner.log.storage()
            ))
        })?;
        self.version(newest.0).await
    }

    /// What the epochs after version `from` did, up to version `to`: the columns of [`Self::version`] after `epoch` and
    /// `change`. With `None` from the first epoch on, as long as it can be read.
    ///
    /// A change is an `insert` (a row was added to those of its key), an `upsert` (it took the place of the row of its
    /// key, or in a store of rows by key of the row of its number) or a `delete`, with the row as it was. Applied to
    /// version `from` in order they give version `to`.
    ///
    /// They are what the epochs wrote. An epoch that wrote the state as a whole, because the number of partitions or
    /// the query had changed, is compared with the one before; rows of a store of rows by key then may have other
    /// numbers, without this being a change.
    ///
    /// # Errors
    /// As [`Self::version`], for each version from `from` to `to`; `Invalid` if `to` is before `from`.
    pub async fn changes(&self, from: impl Into<Option<u64>>, to: u64) -> Result<DataFrame> {
        let from = from.into();
        if from.is_some_and(|from| from > to) {
            return Err(Error::invalid(format!(
                "changes go forward: version {to} is before version {}",
                from.unwrap_or_default()
            )));
        }
        let first = from.map_or(0, |from| from + 1);
        let mut versions = Vec::new();
        for version in first..=to {
            versions.push(self.inner.version(version).await?);
        }
        let from = match from {
            Some(from) => Some(self.inner.version(from).await?),
            None => None,
        };
        let Some(newest) = versions.last().or(from.as_ref()) else {
            return Err(Error::internal("no version was asked for"));
        };
        let table = self.table(newest).await?;
        table::changes_frame(&self.inner, table, from, versions)
    }

    async fn table(&self, newest: &Version) -> Result<StateTable> {
        let storage = Arc::clone(self.inner.log.storage());
        let opened = StateTable::open(
            storage,
            &self.operator,
            &self.layout.name,
            newest,
            &self.layouts,
            key_index_factory(),
        );
        match opened.await {
            Ok(table) => Ok(table),
            Err(error) => Err(self.inner.explained(newest.epoch, error).await),
        }
    }
}

impl Inner {
    /// What the state consists of after an epoch.
    async fn version(&self, version: u64) -> Result<Version> {
        let epoch = Epoch(version);
        match self.log.commit(epoch).await? {
            Some(committed) => Ok(Version {
                epoch,
                manifest: Arc::new(manifest_of(&committed.state)?),
            }),
            None => Err(self.no_such_version(epoch).await?),
        }
    }

    /// An error that came up while a version was read: if the version is gone meanwhile, that it is.
    async fn explained(&self, version: Epoch, error: Error) -> Error {
        if error.kind() != ErrorKind::Data {
            return error;
        }
        match self.log.committed_epochs().await {
            Ok(versions) if !versions.contains(&version) => {
                let gone = self.no_such_version(version).await;
                gone.map_or_else(|other| other, |gone| gone.with_source(error))
            }
            _ => error,
        }
    }

    async fn no_such_version(&self, version: Epoch) -> Result<Error> {
        let versions = self.log.committed_epochs().await?;
        let place = self.log.storage();
        Ok(match (versions.first(), versions.last()) {
            (Some(first), Some(last)) if version < *first => Error::invalid(format!(
                "version {version} of the state is gone: in {place} there are versions {first} to {last}; \
                 min_batches_to_retain says how many are kept"
            )),
            (Some(first), Some(last)) => Error::invalid(format!(
                "there is no version {version} of the state yet: in {place} there are versions {first} to {last}"
            )),
            _ => Error::invalid(format!(
                "there is no version {version} of the state: no epoch has been committed yet in {place}"
            )),
        })
    }
}

pub(crate) fn manifest_of(state: &serde_json::Value) -> Result<StateManifest> {
    if state.is_null() {
        return Ok(StateManifest::default());
    }
    serde_json::from_value(state.clone())
        .map_err(|error| Error::data("the state in a commit record").with_source(error))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}
