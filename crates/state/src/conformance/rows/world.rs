//! The world a script runs in: the stores of all partitions, their files, and the list of rows of every version.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringViewArray, UInt32Array},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use headwater_core::{Result, Storage};

use super::{Look, Script, Step};
use crate::{
    Emit, KeyIndexFactory, Matches, NullKeys, Probe, RowStore, RowsSpec, StateBackend,
    StateManifest, Within,
    conformance::{
        KeyKind,
        checkpoint::{Checkpoint, OPERATOR, STORE},
        table::{self, Content},
    },
    key_groups, partition_of,
};

/// Scripts use keys below this.
const KEYS: u16 = 4_096;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: u16,
    value: i64,
    expiry: Option<i64>,
    is_marked: bool,
}

/// What a probe is to find, and has found: probe row and stored row.
type Found = Vec<(usize, Row)>;

pub(super) struct World {
    keys: KeyKind,
    marks: bool,
    expires: bool,
    unit: i64,
    spec: RowsSpec,
    checkpoint: Checkpoint,
    stores: Vec<RowStore>,
    /// Oldest first.
    rows: Vec<Row>,
    next_value: i64,
    is_dirty: bool,
    /// Every version committed, oldest first.
    versions: Vec<(StateManifest, Vec<Row>)>,
}

impl World {
    pub(super) fn new(script: &Script, storage: Arc<dyn Storage>) -> Result<Self> {
        let values = vec![
            Field::new("value", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, false),
        ];
        let values: SchemaRef = Arc::new(Schema::new(values));
        let spec = RowsSpec {
            keys: script.keys.schema(),
            values,
            owner_columns: None,
            expires: script.expires,
            bucket_millis: script.bucket_millis,
            marks: script.marks,
        };
        let stores = (0..script.partitions).map(|_| RowStore::new(spec.clone()));
        Ok(Self {
            keys: script.keys,
            marks: script.marks,
            expires: script.expires,
            unit: script.unit_millis,
            stores: stores.collect::<Result<_>>()?,
            checkpoint: Checkpoint::new(storage, spec.layout(STORE)),
            spec,
            rows: vec![],
            next_value: 0,
            is_dirty: false,
            versions: vec![(StateManifest::default(), vec![])],
        })
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Append(rows) => self.append(rows)?,
            Step::Probe(look) => self.look(look, |_, _, _| Ok(()))?,
            Step::Mark(look) => self.mark(look)?,
            Step::Remove(look) => self.remove(look)?,
            Step::Expire(limit, emit) => self.expire(*limit, *emit)?,
            Step::Commit => self.commit().await?,
            Step::Snapshot => self.capture(),
            Step::Merge(deltas) => self.checkpoint.merge(usize::from(*deltas)).await?,
            Step::Restart(partitions) => self.restart(*partitions).await?,
        }
        for store in &self.stores {
            store.check_invariants();
        }
        let stored: usize = self.stores.iter().map(RowStore::len).sum();
        assert_eq!(stored, self.rows.len(), "number of rows");
        Ok(())
    }

    fn millis(&self, time: Option<i16>) -> Option<i64> {
        time.filter(|_| self.expires)
            .map(|time| i64::from(time) * self.unit)
    }

    /// Positions of the keys that each partition owns.
    fn dealt(&self, keys: &[u16]) -> Result<Vec<Vec<usize>>> {
        let groups = key_groups(&self.keys.columns(keys), keys.len())?;
        let partitions = self.stores.len() as u32;
        let owned = |partition| {
            let at =
                (0..keys.len()).filter(|at| partition_of(groups[*at], partitions) == partition);
            at.collect()
        };
        Ok((0..partitions).map(owned).collect())
    }

    fn append(&mut self, rows: &[(u16, Option<i16>)]) -> Result<()> {
        let keys: Vec<u16> = rows.iter().map(|(key, _)| key % KEYS).collect();
        for (partition, ours) in self.dealt(&keys)?.into_iter().enumerate() {
            let first = self.rows.len();
            for at in ours {
                self.rows.push(Row {
                    key: self.keys.canonical(keys[at]),
                    value: self.next_value,
                    expiry: self.millis(rows[at].1),
                    is_marked: self.marks && at % 3 == 0,
                });
                self.next_value += 1;
            }
            let new = &self.rows[first..];
            let of_new: Vec<u16> = new.iter().map(|row| row.key).collect();
            let expiry: Int64Array = new.iter().map(|row| row.expiry).collect();
            let marked: BooleanArray = new.iter().map(|row| Some(row.is_marked)).collect();
            let store = &mut self.stores[partition];
            let refs = store.append(
                &self.keys.columns(&of_new),
                &value_columns(new),
                self.expires.then_some(&expiry),
                self.marks.then_some(&marked),
            )?;
            self.is_dirty |= !new.is_empty();
            let key_columns = self.spec.keys.fields().len();
            let stored = store.gather(&refs, &[key_columns, key_columns + 1])?;
            let values: Vec<i64> = new.iter().map(|row| row.value).collect();
            assert_eq!(read_values(&stored), values, "rows appended");
        }
        Ok(())
    }

    /// Looks keys up in all partitions, compares what is found with the list, and gives both to `work`.
    fn look(
        &mut self,
        look: &Look,
        mut work: impl FnMut(&mut Self, usize, &(Matches, Vec<Row>)) -> Result<()>,
    ) -> Result<()> {
        let keys: Vec<u16> = look.keys.iter().map(|key| key % KEYS).collect();
        for (partition, ours) in self.dealt(&keys)?.into_iter().enumerate() {
            let keys: Vec<u16> = ours.iter().map(|at| keys[*at]).collect();
            let bounds: Vec<_> = (0..keys.len()).map(|at| self.bounds(look, at)).collect();
            let mut rows = 0..keys.len();
            while rows.start < keys.len() {
                let matches = self.probe(partition, look, &keys, &bounds, rows.clone())?;
                let looked_up = rows.start..matches.end;
                rows.start = matches.end;
                let found = self.read(&self.stores[partition], &matches)?;
                let expected = self.expected(look, &keys, &bounds, looked_up);
                assert_eq!(found, expected, "rows found");
                let of_matches = found.into_iter().map(|(_, row)| row).collect();
                work(self, partition, &(matches, of_matches))?;
            }
        }
        Ok(())
    }

    fn bounds(&self, look: &Look, at: usize) -> (Option<i64>, Option<i64>) {
        let (low, high) = look.within.unwrap_or_default();
        let shift = at as i64 % 5 * self.unit;
        let shifted = |bound| self.millis(bound).map(|millis| millis + shift);
        (shifted(low), shifted(high))
    }

    fn probe(
        &self,
        partition: usize,
        look: &Look,
        keys: &[u16],
        bounds: &[(Option<i64>, Option<i64>)],
        rows: Range<usize>,
    ) -> Result<Matches> {
        let low: Int64Array = bounds.iter().map(|(low, _)| *low).collect();
        let high: Int64Array = bounds.iter().map(|(_, high)| *high).collect();
        self.stores[partition].probe(&Probe {
            keys: &self.keys.columns(keys),
            rows,
            within: match look.within {
                None => Within::Any,
                Some(_) => Within::Range {
                    low: &low,
                    high: &high,
                },
            },
            null_keys: look.null_keys,
            at_most: look.at_most.max(1),
        })
    }

    fn expected(
        &self,
        look: &Look,
        keys: &[u16],
        bounds: &[(Option<i64>, Option<i64>)],
        looked_up: Range<usize>,
    ) -> Found {
        let mut expected = vec![];
        for at in looked_up {
            if look.null_keys == NullKeys::Never && self.keys.is_null(keys[at]) {
                continue;
            }
            let (low, high) = bounds[at];
            let is_within = |expiry: Option<i64>| match expiry {
                Some(expiry) => {
                    low.is_none_or(|low| low <= expiry) && high.is_none_or(|high| expiry <= high)
                }
                None => high.is_none(),
            };
            let key = self.keys.canonical(keys[at]);
            let rows = self.rows.iter();
            let rows = rows.filter(|row| row.key == key && is_within(row.expiry));
            expected.extend(rows.map(|row| (at, row.clone())));
        }
        expected
    }

    /// What was found, as the store shows it; whose key it is says the list.
    fn read(&self, store: &RowStore, matches: &Matches) -> Result<Found> {
        let key_columns = self.spec.keys.fields().len();
        let values = store.gather(&matches.rows, &[key_columns, key_columns + 1])?;
        let expiry = store.expiry_of(&matches.rows)?;
        let marked = store.marked(&matches.rows)?;
        let values = read_values(&values).into_iter().enumerate();
        let found = values.map(|(at, value)| {
            let row = Row {
                key: self.key_of(value),
                value,
                expiry: expiry.is_valid(at).then(|| expiry.value(at)),
                is_marked: marked.value(at),
            };
            (matches.probe_rows.value(at) as usize, row)
        });
        Ok(found.collect())
    }

    fn key_of(&self, value: i64) -> u16 {
        let row = self.rows.binary_search_by_key(&value, |row| row.value);
        row.map_or(u16::MAX, |at| self.rows[at].key)
    }

    fn mark(&mut self, look: &Look) -> Result<()> {
        if !self.marks {
            return Ok(());
        }
        self.look(look, |world, partition, (matches, rows)| {
            let some: Vec<bool> = (0..rows.len()).map(|at| at % 2 == 0).collect();
            let some_rows = matches.rows.filter(&some.clone().into())?;
            let marked = world.stores[partition].mark(&some_rows)?;
            let mut expected = 0;
            for (row, _) in rows.iter().zip(some).filter(|(_, some)| *some) {
                let at = world.rows.binary_search_by_key(&row.value, |row| row.value);
                let row = &mut world.rows[at.expect("it was found")];
                expected += usize::from(!row.is_marked);
                row.is_marked = true;
            }
            world.is_dirty |= marked > 0;
            assert_eq!(marked, expected, "rows marked");
            Ok(())
        })
    }

    fn remove(&mut self, look: &Look) -> Result<()> {
        self.look(look, |world, partition, (matches, rows)| {
            let some = (0..rows.len() as u32).filter(|at| at % 3 != 2);
            let some: UInt32Array = some.collect::<Vec<_>>().into();
            let some_rows = matches.rows.take(&some)?;
            let removed = world.stores[partition].remove(&some_rows)?;
            let before = world.rows.len();
            let gone: BTreeSet<i64> = some
                .values()
                .iter()
                .map(|at| rows[*at as usize].value)
                .collect();
            world.rows.retain(|row| !gone.contains(&row.value));
            world.is_dirty |= removed > 0;
            assert_eq!(removed, before - world.rows.len(), "rows removed");
            // What was removed can still be gathered, and is not removed again.
            assert_eq!(world.stores[partition].remove(&some_rows)?, 0);
            let column = world.spec.keys.fields().len();
            let again = world.stores[partition].gather(&matches.rows, &[column, column + 1])?;
            let values: Vec<i64> = rows.iter().map(|row| row.value).collect();
            assert_eq!(read_values(&again), values);
            Ok(())
        })
    }

    fn expire(&mut self, limit: i16, emit: Emit) -> Result<()> {
        let limit = i64::from(limit) * self.unit;
        let (mut removed, mut emitted) = (0, vec![]);
        for store in &mut self.stores {
            let expired = store.expire(limit, emit)?;
            removed += expired.removed;
            for batch in expired.rows {
                emitted.extend(read_values(
                    &batch.columns()[self.spec.keys.fields().len()..],
                ));
            }
        }
        let goes = |row: &mut Row| row.expiry.is_some_and(|expiry| expiry <= limit);
        let gone: Vec<Row> = self.rows.extract_if(.., goes).collect();
        self.is_dirty |= removed > 0;
        assert_eq!(removed, gone.len(), "rows expired");
        let wanted = gone.iter().filter(|row| match emit {
            Emit::Nothing => false,
            Emit::All => true,
            Emit::Unmarked => !row.is_marked,
        });
        emitted.sort_unstable();
        assert_eq!(emitted, wanted.map(|row| row.value).collect::<Vec<_>>());
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let epoch = self.checkpoint.epoch;
        let deltas = self.stores.iter_mut().map(|store| store.commit(epoch));
        let deltas = deltas.collect::<Result<_>>()?;
        let manifest = self.checkpoint.commit(deltas).await?;
        self.versions.push((manifest, self.rows.clone()));
        self.is_dirty = false;
        Ok(())
    }

    fn capture(&mut self) {
        let version = self.stores[0].version();
        let is_one_version = self.stores.iter().all(|store| store.version() == version);
        if let Some(version) = version.filter(|_| !self.is_dirty && is_one_version) {
            let snapshots = self.stores.iter().map(RowStore::snapshot);
            self.checkpoint.keep(version, snapshots);
        }
    }

    async fn restart(&mut self, partitions: u32) -> Result<()> {
        let (manifest, rows) = self.versions.last().cloned().unwrap_or_default();
        self.checkpoint.reopen(manifest);
        self.stores = self.load(&self.checkpoint.backend, partitions).await?;
        self.rows = rows;
        self.is_dirty = false;
        Ok(())
    }

    async fn load(&self, backend: &StateBackend, partitions: u32) -> Result<Vec<RowStore>> {
        let mut stores = vec![];
        for partition in 0..partitions {
            let spec = self.spec.clone();
            let store = backend.load_rows(OPERATOR, STORE, partition, partitions, spec);
            stores.push(store.await?);
        }
        Ok(stores)
    }

    /// Reads all versions as tables, and the changes between them. `index` is for comparing versions.
    pub(super) async fn check_tables(&self, index: Arc<dyn KeyIndexFactory>) -> Result<()> {
        let content = |rows: &Vec<Row>| -> Content {
            let rows = rows.iter();
            rows.map(|row| (row.value, (row.expiry, row.is_marked)))
                .collect()
        };
        let versions = self.versions.iter();
        let versions = versions.map(|(manifest, rows)| (manifest.clone(), content(rows)));
        table::check(table::Expected {
            storage: Arc::clone(self.checkpoint.storage()),
            layout: self.checkpoint.layout().clone(),
            index,
            versions: versions.collect(),
            key_of: &|_| 0,
        })
        .await
    }

    /// Loads all versions, every other one with another number of partitions than it may have been written for, and
    /// looks all keys up.
    pub(super) async fn check_all_versions(&mut self) -> Result<()> {
        for (version, (manifest, rows)) in
            std::mem::take(&mut self.versions).into_iter().enumerate()
        {
            let partitions = match version % 2 {
                0 => self.stores.len() as u32,
                _ => 3,
            };
            let backend = self.checkpoint.at(manifest);
            self.stores = self.load(&backend, partitions).await?;
            let mut keys: Vec<u16> = rows.iter().map(|row| row.key).collect();
            keys.sort_unstable();
            keys.dedup();
            self.rows = rows;
            let look = Look {
                keys,
                within: None,
                null_keys: NullKeys::Match,
                at_most: usize::MAX,
            };
            let checked = self.look(&look, |_, _, _| Ok(()));
            checked.map_err(|error| {
                error.context(format!("version {version} with {partitions} partitions"))
            })?;
            let mut scanned = vec![];
            for store in &self.stores {
                store.check_invariants();
                for batch in store.scan()? {
                    scanned.extend(read_values(
                        &batch.columns()[self.spec.keys.fields().len()..],
                    ));
                }
            }
            scanned.sort_unstable();
            assert_eq!(
                scanned,
                self.rows.iter().map(|row| row.value).collect::<Vec<_>>()
            );
        }
        Ok(())
    }
}

fn value_columns(rows: &[Row]) -> Vec<ArrayRef> {
    let texts: StringViewArray = rows.iter().map(|row| Some(text_of(row.value))).collect();
    let values = rows.iter().map(|row| row.value);
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
