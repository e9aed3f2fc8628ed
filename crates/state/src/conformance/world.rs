//! The world a script runs in: the stores of all partitions, their files, and the model of every version.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use headwater_core::{Result, Storage};

use super::{
    Script, Step,
    checkpoint::{Checkpoint, OPERATOR, STORE},
    keys::{KeyKind, Numbers},
    model::Model,
    table::{self, Content},
};
use crate::{
    KeyIndexFactory, KeyedState, StateBackend, StateManifest, StateSpec, Touched, key_groups,
    partition_of,
};

/// Scripts use keys below this.
const KEYS: u16 = 4_096;

pub(super) struct World {
    kind: KeyKind,
    expires: bool,
    spread: i64,
    spec: StateSpec,
    index: Arc<dyn KeyIndexFactory>,
    checkpoint: Checkpoint,
    numbers: Numbers,
    states: Vec<KeyedState>,
    model: Model,
    next_value: i64,
    /// The key that each value was put for.
    owners: Vec<u16>,
    dirty: bool,
    /// Every version committed, oldest first.
    versions: Vec<(StateManifest, Model)>,
}

impl World {
    pub(super) fn new(
        script: &Script,
        index: Arc<dyn KeyIndexFactory>,
        storage: Arc<dyn Storage>,
    ) -> Result<Self> {
        let values = [
            Field::new("value", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, false),
        ];
        let spec = StateSpec {
            keys: script.keys.schema(),
            values: Arc::new(Schema::new(values.to_vec())),
            owner_columns: None,
            expires: script.expires,
            bucket_millis: script.bucket_millis,
            chained: script.chained,
        };
        let new_state = |_| KeyedState::new(spec.clone(), Arc::clone(&index));
        let model = Model {
            chained: script.chained,
            ..Model::default()
        };
        Ok(Self {
            kind: script.keys,
            expires: script.expires,
            spread: script.spread_millis,
            states: (0..script.partitions)
                .map(new_state)
                .collect::<Result<_>>()?,
            checkpoint: Checkpoint::new(storage, spec.layout(STORE)),
            owners: Vec::new(),
            index,
            spec,
            numbers: Numbers::new(script.keys, KEYS)?,
            versions: vec![(StateManifest::default(), model.clone())],
            model,
            next_value: 0,
            dirty: false,
        })
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Put(keys) => self.put(keys, false)?,
            Step::PutNew(keys) => self.put(keys, true)?,
            Step::Touch(keys) => self.each_partition(keys, |_, _, _| Ok(()))?,
            Step::Remove(keys) => self.remove(keys)?,
            Step::Expire(key) => self.expire(*key)?,
            Step::Commit => self.commit().await?,
            Step::Snapshot => self.capture(),
            Step::Merge(deltas) => self.checkpoint.merge(usize::from(*deltas)).await?,
            Step::Restart(partitions) => self.restart(*partitions).await?,
        }
        match step {
            // What these did was gathered and checked already.
            Step::Put(_) | Step::PutNew(_) => Ok(()),
            _ => self.compare(&self.states, &self.model),
        }
    }

    /// Expiry of a key; every fifth never expires.
    fn expiry(&self, key: u16) -> Option<i64> {
        let key = i64::from(key);
        (self.expires && key % 5 != 4).then(|| (key - 100) * self.spread)
    }

    /// Splits a batch among the partitions and gives each its touched keys and their numbers.
    fn each_partition(
        &mut self,
        keys: &[u16],
        mut work: impl FnMut(&mut Self, usize, (Touched, Vec<u16>)) -> Result<()>,
    ) -> Result<()> {
        let keys: Vec<u16> = keys.iter().map(|key| key % KEYS).collect();
        let groups = key_groups(&self.kind.columns(&keys), keys.len())?;
        let partitions = self.states.len() as u32;
        for partition in 0..partitions {
            let of_row = std::iter::zip(&keys, &groups);
            let ours: Vec<u16> = of_row
                .filter(|(_, group)| partition_of(**group, partitions) == partition)
                .map(|(key, _)| *key)
                .collect();
            let expiry: Int64Array = ours
                .iter()
                .map(|key| self.expiry(self.kind.canonical(*key)))
                .collect();
            let state = &mut self.states[partition as usize];
            let expiry = self.expires.then_some(&expiry);
            let touched = state.touch_rows(&self.kind.columns(&ours), ours.len(), expiry)?;
            let numbers = self.check_touched(&touched, &ours);
            work(self, partition as usize, (touched, numbers))?;
        }
        Ok(())
    }

    /// The numbers of the touched keys, after checking them.
    fn check_touched(&self, touched: &Touched, rows: &[u16]) -> Vec<u16> {
        let mut ids: Vec<u16> = vec![];
        let mut known = HashMap::new();
        for (row, key) in rows.iter().enumerate() {
            let key = self.kind.canonical(*key);
            let id = *known.entry(key).or_insert_with(|| {
                ids.push(key);
                assert_eq!(touched.first_rows()[ids.len() - 1] as usize, row);
                ids.len() - 1
            });
            assert_eq!(touched.row_ids()[row], id, "id of row {row}");
        }
        assert_eq!(touched.len(), ids.len());
        for (id, key) in ids.iter().enumerate() {
            let is_new = self.model.values(*key).is_empty();
            assert_eq!(touched.is_new(id), is_new, "whether key {key} is new");
        }
        ids
    }

    fn put(&mut self, keys: &[u16], only_new: bool) -> Result<()> {
        self.each_partition(keys, |world, partition, (touched, numbers)| {
            world.check_gathered(partition, &touched, &numbers)?;
            let ids: Vec<usize> = match only_new {
                true => touched.new_ids(),
                false => (0..numbers.len()).collect(),
            };
            let first = world.next_value;
            world.next_value += ids.len() as i64;
            let values = value_columns(first..world.next_value);
            let state = &mut world.states[partition];
            match only_new {
                true => state.put_ids(&touched, &ids, values)?,
                false => state.put(&touched, values)?,
            }
            for (value, id) in (first..).zip(ids) {
                let key = numbers[id];
                world.dirty = true;
                world.owners.push(key);
                world.model.put(key, world.expiry(key), value);
            }
            world.check_gathered(partition, &touched, &numbers)
        })
    }

    fn check_gathered(&self, partition: usize, touched: &Touched, numbers: &[u16]) -> Result<()> {
        let (ids, values) = self.states[partition].gather(touched)?;
        let found: Vec<(usize, i64)> = ids.into_iter().zip(read_values(&values)).collect();
        let expected: Vec<(usize, i64)> = numbers
            .iter()
            .enumerate()
            .flat_map(|(id, key)| {
                self.model
                    .values(*key)
                    .iter()
                    .map(move |value| (id, *value))
            })
            .collect();
        assert_eq!(found, expected, "gathered rows");
        Ok(())
    }

    fn remove(&mut self, keys: &[u16]) -> Result<()> {
        self.each_partition(keys, |world, partition, (touched, numbers)| {
            let removed = world.states[partition].remove(&touched)?;
            let expected = numbers
                .iter()
                .filter(|key| world.model.remove(**key))
                .count();
            world.dirty |= removed > 0;
            assert_eq!(removed, expected, "keys removed");
            Ok(())
        })
    }

    fn expire(&mut self, key: u16) -> Result<()> {
        let limit = (i64::from(key) - 100) * self.spread;
        let want_rows = !key.is_multiple_of(3);
        let mut rows = vec![];
        let mut removed = 0;
        for state in &mut self.states {
            let expired = state.expire(limit, want_rows)?;
            removed += expired.removed;
            rows.extend(expired.rows);
        }
        let expected = self.model.expire(limit);
        self.dirty |= removed > 0;
        assert_eq!(removed, expected.len(), "keys expired");
        assert!(want_rows || rows.is_empty());
        if want_rows {
            assert_eq!(self.read(&rows)?, expected, "rows expired");
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let epoch = self.checkpoint.epoch;
        let deltas = self.states.iter_mut().map(|state| state.commit(epoch));
        let deltas = deltas.collect::<Result<_>>()?;
        let manifest = self.checkpoint.commit(deltas).await?;
        self.versions.push((manifest, self.model.clone()));
        self.dirty = false;
        Ok(())
    }

    fn capture(&mut self) {
        let version = self.states[0].version();
        let is_one_version = self.states.iter().all(|state| state.version() == version);
        if let Some(version) = version.filter(|_| !self.dirty && is_one_version) {
            let snapshots = self.states.iter().map(KeyedState::snapshot);
            self.checkpoint.keep(version, snapshots);
        }
    }

    async fn restart(&mut self, partitions: u32) -> Result<()> {
        let (manifest, model) = self.versions.last().cloned().unwrap_or_default();
        self.checkpoint.reopen(manifest);
        self.states = self.load(&self.checkpoint.backend, partitions).await?;
        self.model = model;
        self.dirty = false;
        Ok(())
    }

    async fn load(&self, backend: &StateBackend, partitions: u32) -> Result<Vec<KeyedState>> {
        let mut states = vec![];
        for partition in 0..partitions {
            let (spec, index) = (self.spec.clone(), Arc::clone(&self.index));
            states.push(
                backend
                    .load(OPERATOR, STORE, partition, partitions, spec, index)
                    .await?,
            );
        }
        Ok(states)
    }

    pub(super) async fn check_all_versions(&self) -> Result<()> {
        for (version, (manifest, model)) in self.versions.iter().enumerate() {
            let backend = self.checkpoint.at(manifest.clone());
            // Every other version with another number of partitions than it may have been written for.
            let partitions = if version % 2 == 0 {
                self.states.len() as u32
            } else {
                3
            };
            let states = self.load(&backend, partitions).await?;
            self.compare(&states, model).map_err(|error| {
                error.context(format!("version {version} with {partitions} partitions"))
            })?;
        }
        Ok(())
    }

    /// Reads all versions as tables, and the changes between them.
    pub(super) async fn check_tables(&self) -> Result<()> {
        let content = |model: &Model| -> Content {
            let keys = model.keys.values();
            let rows = keys.flat_map(|entry| {
                let values = entry.values.iter();
                values.map(|value| (*value, (entry.expiry, false)))
            });
            rows.collect()
        };
        let versions = self.versions.iter();
        let versions = versions.map(|(manifest, model)| (manifest.clone(), content(model)));
        table::check(table::Expected {
            storage: Arc::clone(self.checkpoint.storage()),
            layout: self.checkpoint.layout().clone(),
            index: Arc::clone(&self.index),
            versions: versions.collect(),
            key_of: &|value| self.owners[value as usize],
        })
        .await
    }

    fn compare(&self, states: &[KeyedState], model: &Model) -> Result<()> {
        let mut rows = vec![];
        for state in states {
            rows.extend(state.scan()?);
        }
        assert_eq!(self.read(&rows)?, model.rows(), "all rows");
        let keys: usize = states.iter().map(KeyedState::len).sum();
        assert_eq!(keys, model.keys.len(), "number of keys");
        Ok(())
    }

    /// Values by key; for a key with several rows in the order in which they come.
    fn read(&self, batches: &[RecordBatch]) -> Result<BTreeMap<u16, Vec<i64>>> {
        let mut rows: BTreeMap<u16, Vec<i64>> = BTreeMap::new();
        for batch in batches {
            let (keys, values) = batch.columns().split_at(self.spec.keys.fields().len());
            let keys = self.numbers.of(keys, batch.num_rows())?;
            for (key, value) in keys.into_iter().zip(read_values(values)) {
                rows.entry(key).or_default().push(value);
            }
        }
        Ok(rows)
    }
}

fn value_columns(values: std::ops::Range<i64>) -> Vec<ArrayRef> {
    let texts: StringViewArray = values.clone().map(|value| Some(text_of(value))).collect();
    vec![
        Arc::new(Int64Array::from_iter_values(values)),
        Arc::new(texts),
    ]
}

fn text_of(value: i64) -> String {
    format!("the text of value {value}")
}

fn read_values(columns: &[ArrayRef]) -> Vec<i64> {
    let values: &Int64Array = columns[0].as_primitive::<Int64Type>();
    for (value, text) in values.values().iter().zip(columns[1].as_string_view()) {
        assert_eq!(text, Some(text_of(*value).as_str()), "columns of one row");
    }
    values.values().to_vec()
}
