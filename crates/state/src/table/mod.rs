//! A store of an operator as a table: its rows at a version, and the changes between two versions.
//!
//! Only reads, and only what the manifests of commit records name, so a query that runs meanwhile notices nothing; when
//! it deletes what is being read, reading fails with an error that says which file is missing. A version is read by
//! restoring it, as a restart does, so the table shows what the operator would find.

mod diff;
mod replay;

pub use replay::ChangeKind;

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater_core::{Epoch, Error, Result, Storage};

use self::{
    diff::{Columns, diff},
    replay::Changed,
};
use crate::{
    backend::StateBackend,
    evolve::{counterpart, picks},
    index::KeyIndexFactory,
    manifest::{OperatorFiles, StateFile, StateManifest},
    rows::RowsSpec,
    section,
    spec::StateSpec,
    store::Store,
    store_layout::{StoreColumn, StoreKind, StoreLayout},
};

/// Width of the time buckets in which rows are restored; it matters to nobody here.
const BUCKET_MILLIS: i64 = 10_000;

/// A version: its number and what its state consists of.
#[derive(Debug, Clone)]
pub struct Version {
    /// The epoch after which the state was so.
    pub epoch: Epoch,
    /// The files, as the epoch's commit record names them.
    pub manifest: Arc<StateManifest>,
}

/// One store of one operator, to be read.
#[derive(Debug, Clone)]
pub struct StateTable {
    storage: Arc<dyn Storage>,
    operator: String,
    /// What all stores of the operator hold in the newest version read.
    layouts: Vec<StoreLayout>,
    layout: StoreLayout,
    keys: SchemaRef,
    values: SchemaRef,
    index: Arc<dyn KeyIndexFactory>,
    schema: SchemaRef,
}

impl StateTable {
    /// The store `store` of `operator`, with the columns that it has at `newest`; older versions are read with these
    /// columns too.
    ///
    /// `layouts` says what the operator's stores hold if there is no state of it at that version.
    ///
    /// # Errors
    /// `Invalid` if there is no such store, `Data` if files are missing or damaged, and those of the storage.
    pub async fn open(
        storage: Arc<dyn Storage>,
        operator: &str,
        store: &str,
        newest: &Version,
        layouts: &[StoreLayout],
        index: Arc<dyn KeyIndexFactory>,
    ) -> Result<Self> {
        let files = newest.manifest.operators.get(operator);
        let recorded = files.map(|files| files.stores.as_slice());
        let layouts = recorded
            .filter(|stores| !stores.is_empty())
            .unwrap_or(layouts);
        let layout = layouts.iter().find(|layout| layout.name == store);
        let layout = layout
            .cloned()
            .ok_or_else(|| no_such_store(operator, store, layouts))?;
        let found = match files {
            Some(files) => stored_columns(&storage, operator, &layout.name, files, newest).await?,
            None => None,
        };
        let keys = schema_of(&layout.keys, 0, found.as_ref());
        let values = schema_of(&layout.values, layout.keys.len(), found.as_ref());
        Ok(Self {
            storage,
            operator: operator.to_owned(),
            layouts: layouts.to_vec(),
            schema: table_schema(&layout, &keys, &values),
            layout,
            keys,
            values,
            index,
        })
    }

    /// Columns of the rows: `partition`, keys, values, for rows by key `row` (their number), `expiry`, and `marked` where
    /// rows carry a mark. A key or value that is called like another column has `key ` or `value ` before its name.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns of [`Self::changes`]: `epoch`, `change` and those of the rows.
    pub fn changes_schema(&self) -> SchemaRef {
        let fields = [
            Field::new("epoch", DataType::Int64, false),
            Field::new("change", DataType::Utf8, false),
        ];
        let fields = fields.into_iter().map(Arc::new);
        Arc::new(Schema::new(
            fields
                .chain(self.schema.fields().iter().cloned())
                .collect::<Vec<_>>(),
        ))
    }

    /// Number of partitions of the state at a version; 0 if there is none yet.
    pub fn partitions(&self, version: &Version) -> u32 {
        self.files(version).map_or(0, |files| files.partitions)
    }

    /// The rows of one partition at a version.
    ///
    /// # Errors
    /// `Data` if files are missing or damaged, or hold other columns than those of the table; those of the storage.
    pub async fn rows(&self, version: &Version, partition: u32) -> Result<Vec<RecordBatch>> {
        let partitions = self.partitions(version);
        let store = self.load(version, partition, partitions).await?;
        let batches = store.snapshot().batches()?.into_iter();
        batches.map(|rows| self.shown(&rows, partition)).collect()
    }

    /// What changed after `from` (none: from the beginning on), in order of epochs, then of partitions, then as it
    /// happened. `versions` are all that follow, oldest first.
    ///
    /// Read from the changes that each epoch wrote. An epoch that wrote the state as a whole, because the number of
    /// partitions or the query changed, is compared with the one before instead.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub async fn changes(
        &self,
        from: Option<&Version>,
        versions: &[Version],
    ) -> Result<Vec<RecordBatch>> {
        let start = Version {
            epoch: Epoch::FIRST,
            manifest: Arc::default(),
        };
        let mut last = from.unwrap_or(&start);
        let mut stores: Vec<Store> = self.load_all(last, self.partitions(last)).await?;
        let mut batches = Vec::new();
        for version in versions {
            let written = self
                .files(version)
                .and_then(|files| written_by(files, version.epoch));
            match written {
                None => {}
                Some(file) if file.full || stores.len() != file.partitions as usize => {
                    let before = self.load_all(last, file.partitions).await?;
                    stores = self.load_all(version, file.partitions).await?;
                    for (partition, (before, after)) in before.iter().zip(&stores).enumerate() {
                        let changed = self.difference(before, after)?;
                        self.show(version.epoch, partition, changed, &mut batches)?;
                    }
                }
                Some(file) => {
                    for (partition, store) in stores.iter_mut().enumerate() {
                        let changed = self.replay(version, file, partition, store).await?;
                        self.show(version.epoch, partition, changed, &mut batches)?;
                    }
                }
            }
            last = version;
        }
        Ok(batches)
    }

    fn files<'a>(&self, version: &'a Version) -> Option<&'a OperatorFiles> {
        version.manifest.operators.get(&self.operator)
    }

    fn backend(&self, version: &Version) -> StateBackend {
        let manifest = version.manifest.as_ref().clone();
        let layouts = [(self.operator.clone(), self.layouts.clone())];
        StateBackend::new(Arc::clone(&self.storage), manifest).with_layouts(layouts.into())
    }

    async fn load(&self, version: &Version, partition: u32, partitions: u32) -> Result<Store> {
        let backend = self.backend(version);
        let (operator, store) = (&self.operator, &self.layout.name);
        let (keys, values) = (Arc::clone(&self.keys), Arc::clone(&self.values));
        let owner_columns = self.layout.owner_columns;
        let expires = self.layout.expires.is_some();
        if self.layout.kind == StoreKind::Rows {
            let spec = RowsSpec {
                keys,
                values,
                owner_columns,
                expires,
                bucket_millis: BUCKET_MILLIS,
                marks: self.layout.marks,
            };
            let rows = backend.load_rows(operator, store, partition, partitions, spec);
            return Ok(rows.await?.into());
        }
        let spec = StateSpec {
            keys,
            values,
            owner_columns,
            expires,
            bucket_millis: BUCKET_MILLIS,
            chained: self.layout.kind == StoreKind::Chain,
        };
        let index = Arc::clone(&self.index);
        let state = backend.load(operator, store, partition, partitions, spec, index);
        Ok(state.await?.into())
    }

    async fn load_all(&self, version: &Version, partitions: u32) -> Result<Vec<Store>> {
        let mut stores = Vec::with_capacity(partitions as usize);
        for partition in 0..partitions {
            stores.push(self.load(version, partition, partitions).await?);
        }
        Ok(stores)
    }

    /// Does again what one epoch did to a partition.
    async fn replay(
        &self,
        version: &Version,
        file: &StateFile,
        partition: usize,
        store: &mut Store,
    ) -> Result<Changed> {
        let recorded = self
            .files(version)
            .map_or(&[][..], |files| files.stores.as_slice());
        let recorded = counterpart(recorded, &self.layout);
        let name = recorded.map_or(&self.layout.name, |recorded| &recorded.name);
        let picks = match recorded.filter(|recorded| **recorded != self.layout) {
            Some(recorded) => Some(picks(recorded, &self.layout)?),
            None => None,
        };
        let ours = |section: &&crate::manifest::Section| {
            section.store == *name && section.partition as usize == partition
        };
        let Some(section) = file.sections.iter().find(ours) else {
            return Ok(Vec::new());
        };
        let bytes = self
            .backend(version)
            .read_named(&self.operator, file, section)
            .await?;
        let mut changed = Vec::new();
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let (section, after) = section::decode(store.layout(), picks.as_deref(), rest)?;
            for change in section.changes {
                changed.extend(store.replay(change)?);
            }
            store.replayed(section.version)?;
            rest = after;
        }
        Ok(changed)
    }

    fn difference(&self, before: &Store, after: &Store) -> Result<Changed> {
        let schema = Arc::clone(&after.layout().rows);
        let keys = 0..self.keys.fields().len();
        let number = self.number_column();
        let compared = (0..schema.fields().len()).filter(|column| Some(*column) != number);
        let columns = Columns {
            keys,
            compared: compared.collect(),
        };
        let rows = [before, after].map(|store| store.snapshot().batches());
        let [before, after] = rows;
        let index = self.index.as_ref();
        diff(
            &schema,
            self.layout.kind,
            &columns,
            &before?,
            &after?,
            index,
        )
    }

    fn number_column(&self) -> Option<usize> {
        let visible = self.keys.fields().len() + self.values.fields().len();
        (self.layout.kind == StoreKind::Rows).then_some(visible)
    }

    fn show(
        &self,
        epoch: Epoch,
        partition: usize,
        changed: Changed,
        into: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        for (kind, rows) in changed.into_iter().filter(|(_, rows)| rows.num_rows() > 0) {
            let shown = self.shown(&rows, partition as u32)?;
            let count = shown.num_rows();
            let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
            let kinds = std::iter::repeat_n(kind.as_str(), count);
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_value(epoch, count)),
                Arc::new(StringArray::from_iter_values(kinds)),
            ];
            columns.extend(shown.columns().iter().cloned());
            into.push(RecordBatch::try_new(self.changes_schema(), columns)?);
        }
        Ok(())
    }

    /// Rows as they are written, as rows of the table.
    fn shown(&self, rows: &RecordBatch, partition: u32) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let visible = self.keys.fields().len() + self.values.fields().len();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from_value(partition, count))];
        columns.extend(rows.columns()[..visible].iter().cloned());
        let mut rest = rows.columns()[visible..].iter();
        if self.layout.kind == StoreKind::Rows {
            columns.extend(rest.next().cloned());
        }
        let expiry = match self.layout.expires.as_ref().and_then(|_| rest.next()) {
            Some(expiry) => cast(expiry, &expiry_type())?,
            None => Arc::new(TimestampMillisecondArray::new_null(count).with_timezone("UTC")),
        };
        columns.push(expiry);
        columns.extend(rest.cloned());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The file that an epoch itself wrote.
fn written_by(files: &OperatorFiles, epoch: Epoch) -> Option<&StateFile> {
    files
        .files()
        .find(|file| file.epoch == epoch && file.since.is_none())
}

/// The columns of the first rows that the files hold of a store; none if they hold none.
async fn stored_columns(
    storage: &Arc<dyn Storage>,
    operator: &str,
    store: &str,
    files: &OperatorFiles,
    version: &Version,
) -> Result<Option<SchemaRef>> {
    let backend = StateBackend::new(Arc::clone(storage), version.manifest.as_ref().clone());
    let sections = files
        .files()
        .flat_map(|file| file.sections.iter().map(move |it| (file, it)));
    let with_rows = sections.filter(|(_, section)| section.store == store && section.rows > 0);
    for (file, section) in with_rows {
        let bytes = backend.read_named(operator, file, section).await?;
        if let Some(columns) = section::columns_put(&bytes)? {
            return Ok(Some(columns));
        }
    }
    Ok(None)
}

/// These columns with the types that stored rows have from column `first` on, else with those that are recorded.
fn schema_of(columns: &[StoreColumn], first: usize, found: Option<&SchemaRef>) -> SchemaRef {
    let fields = columns.iter().enumerate().map(|(number, column)| {
        let stored = found.and_then(|found| found.fields().get(first + number));
        let data_type = match stored {
            Some(field) => field.data_type().clone(),
            // Without rows the type matters to nobody, should its text not be understood.
            None => column.arrow_type().unwrap_or(DataType::Null),
        };
        Field::new(&column.name, data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn expiry_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn table_schema(layout: &StoreLayout, keys: &Schema, values: &Schema) -> SchemaRef {
    let number = Field::new("row", DataType::UInt64, false);
    let mark = Field::new("marked", DataType::Boolean, false);
    let mut last = vec![Field::new("expiry", expiry_type(), true)];
    if layout.kind == StoreKind::Rows {
        last.insert(0, number);
    }
    if layout.marks {
        last.push(mark);
    }
    let mut taken = vec![
        "partition".to_owned(),
        "epoch".to_owned(),
        "change".to_owned(),
    ];
    taken.extend(last.iter().map(|field| field.name().clone()));
    let mut fields = vec![Field::new("partition", DataType::Int32, false)];
    for (kind, schema) in [("key", keys), ("value", values)] {
        for field in schema.fields() {
            let mut name = field.name().clone();
            while taken.contains(&name) {
                name = format!("{kind} {name}");
            }
            taken.push(name.clone());
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
    }
    fields.extend(last);
    Arc::new(Schema::new(fields))
}

fn no_such_store(operator: &str, store: &str, layouts: &[StoreLayout]) -> Error {
    let names: Vec<&str> = layouts.iter().map(|layout| layout.name.as_str()).collect();
    let known = match names.is_empty() {
        true => "what it keeps is not recorded: start the query once with this version".to_owned(),
        false => format!("it has {}", names.join(", ")),
    };
    Error::invalid(format!(
        "operator {operator} has no store '{store}': {known}"
    ))
}

#[cfg(test)]
mod tests;
