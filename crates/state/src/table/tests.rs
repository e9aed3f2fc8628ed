//! What the conformance suite cannot show: names, other layouts, damage. That versions and changes are right is the
//! business of [`crate::conformance`].

use arrow::{array::AsArray, datatypes::Int64Type, util::pretty::pretty_format_batches};
use headwater_core::RunId;
use headwater_log::store::MemoryStorage;
use uuid::Uuid;

use super::*;
use crate::{KeyedState, Layouts, RowIndexFactory};

const RUN: RunId = RunId(Uuid::from_u128(7));

fn int_columns(names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn spec(values: &[&str]) -> StateSpec {
    StateSpec {
        keys: int_columns(&["k"]),
        values: int_columns(values),
        owner_columns: None,
        expires: true,
        bucket_millis: 1,
        chained: false,
    }
}

fn layouts(values: &[&str]) -> Layouts {
    [("agg".to_owned(), vec![spec(values).layout("groups")])].into()
}

/// Runs of a query over one partition whose values are called so: each epoch puts some keys, with the number of the
/// column times a hundred as value, and expires others.
struct Query {
    storage: Arc<MemoryStorage>,
    versions: Vec<Version>,
}

impl Query {
    fn new() -> Self {
        Self {
            storage: Arc::new(MemoryStorage::new()),
            versions: Vec::new(),
        }
    }

    fn manifest(&self) -> StateManifest {
        let newest = self.versions.last();
        newest.map_or_else(StateManifest::default, |it| it.manifest.as_ref().clone())
    }

    async fn epoch(&mut self, values: &[&str], keys: &[i64], expire: i64) -> Result<()> {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let backend = StateBackend::new(storage, self.manifest()).with_layouts(layouts(values));
        let index = Arc::new(RowIndexFactory);
        let mut state: KeyedState = backend
            .load("agg", "groups", 0, 1, spec(values), index)
            .await?;
        let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let expiry = Int64Array::from(keys.to_vec());
        let touched = state.touch(&[column], Some(&expiry))?;
        let columns = values.iter().map(|name| {
            let number = i64::from(name.as_bytes()[0] - b'a') * 100;
            Arc::new(Int64Array::from_iter_values(
                keys.iter().map(|key| key + number),
            )) as ArrayRef
        });
        state.put(&touched, columns.collect())?;
        state.expire(expire, false)?;
        let epoch = Epoch(self.versions.len() as u64);
        let sections = vec![("groups".to_owned(), 0, state.commit(epoch)?)];
        let file = backend.write_delta("agg", epoch, RUN, 1, sections).await?;
        let manifest = backend.next_manifest([("agg".to_owned(), file)])?;
        self.versions.push(Version {
            epoch,
            manifest: Arc::new(manifest),
        });
        Ok(())
    }

    async fn table(&self, version: usize) -> Result<StateTable> {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let index = Arc::new(RowIndexFactory);
        StateTable::open(
            storage,
            "agg",
            "groups",
            &self.versions[version],
            &[],
            index,
        )
        .await
    }
}

fn printed(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    table.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn rows_come_with_partition_and_expiry_and_a_count_of_them_is_recorded() -> Result<()> {
    let mut query = Query::new();
    query.epoch(&["a"], &[5, 9], 0).await?;
    query.epoch(&["a"], &[12], 5).await?;
    let table = query.table(1).await?;
    assert_eq!(
        printed(&table.rows(&query.versions[1], 0).await?),
        [
            "+-----------+----+----+--------------------------+",
            "| partition | k  | a  | expiry                   |",
            "+-----------+----+----+--------------------------+",
            "| 0         | 9  | 9  | 1970-01-01T00:00:00.009Z |",
            "| 0         | 12 | 12 | 1970-01-01T00:00:00.012Z |",
            "+-----------+----+----+--------------------------+",
        ]
    );
    let live = query
        .versions
        .iter()
        .map(|it| it.manifest.operators["agg"].live["groups"]);
    assert_eq!(live.collect::<Vec<_>>(), [2, 2]);
    Ok(())
}

#[tokio::test]
async fn a_column_that_nobody_wants_is_dropped_and_others_are_found_wherever_they_stand()
-> Result<()> {
    let mut query = Query::new();
    query.epoch(&["a", "b", "c"], &[1, 2], 0).await?;
    query.epoch(&["a", "b", "c"], &[3], 0).await?;
    query.epoch(&["c", "a"], &[4], 1).await?;
    query.epoch(&["c", "a"], &[5], 0).await?;
    let table = query.table(3).await?;
    // Older versions with the columns of the newer one.
    let rows = table.rows(&query.versions[1], 0).await?;
    assert_eq!(table.schema().field(2).name(), "c");
    let values = rows.iter().map(|rows| (rows.column(2), rows.column(3)));
    let values = values.flat_map(|(c, a)| {
        let [c, a] = [c, a].map(|it| it.as_primitive::<Int64Type>().values().to_vec());
        c.into_iter().zip(a)
    });
    assert_eq!(values.collect::<Vec<_>>(), [(201, 1), (202, 2), (203, 3)]);
    let changes = table
        .changes(Some(&query.versions[0]), &query.versions[1..])
        .await?;
    let changes = printed(&changes);
    let shown: Vec<&str> = changes[3..changes.len() - 1]
        .iter()
        .filter_map(|line| line.split(" | 1970").next())
        .collect();
    assert_eq!(
        shown,
        [
            "| 1     | upsert | 0         | 3 | 203 | 3",
            "| 2     | delete | 0         | 1 | 201 | 1",
            "| 2     | upsert | 0         | 4 | 204 | 4",
            "| 3     | upsert | 0         | 5 | 205 | 5",
        ]
    );
    // The other way round nothing can be made up.
    let error = query.epoch(&["a", "d"], &[6], 0).await.unwrap_err();
    assert_eq!(
        error.message(),
        "operator agg: store 'groups' column 'd' was not there and is Int64"
    );
    Ok(())
}

#[tokio::test]
async fn narrow_columns_are_shown_and_picked_as_they_were() -> Result<()> {
    let mut query = Query::new();
    let scattered: Vec<i64> = (1..1_000).map(|key| key * 3).collect();
    query.epoch(&["a", "b"], &scattered, 0).await?;
    let counting: Vec<i64> = (4_000..5_000).collect();
    query.epoch(&["b"], &counting, 30).await?;
    let table = query.table(1).await?;
    let int = |column: &ArrayRef| column.as_primitive::<Int64Type>().values().to_vec();
    for (version, expected) in [
        (0, scattered.clone()),
        (1, [&scattered[10..], &counting].concat()),
    ] {
        let mut found = vec![];
        for rows in table.rows(&query.versions[version], 0).await? {
            found.extend(int(rows.column(1)).into_iter().zip(int(rows.column(2))));
        }
        found.sort_unstable();
        let expected = expected.iter().map(|key| (*key, key + 100));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
    let changes = table.changes(None, &query.versions).await?;
    let rows = changes.iter().map(RecordBatch::num_rows).sum::<usize>();
    // Ten keys expire.
    assert_eq!(rows, scattered.len() + counting.len() + 10);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_gone_is_named() -> Result<()> {
    let mut query = Query::new();
    query.epoch(&["a"], &[5], 0).await?;
    let table = query.table(0).await?;
    let path = query.versions[0].manifest.paths().next().map(str::to_owned);
    query
        .storage
        .delete(&path.into_iter().collect::<Vec<_>>())
        .await?;
    let error = table.rows(&query.versions[0], 0).await.unwrap_err();
    assert!(
        error.message().contains("store groups, partition 0"),
        "{error}"
    );
    assert!(error.message().ends_with("the file is missing"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_store_without_rows_is_an_empty_table_and_an_unknown_one_is_refused() -> Result<()> {
    let query = Query::new();
    let version = Version {
        epoch: Epoch::FIRST,
        manifest: Arc::default(),
    };
    let storage = || Arc::clone(&query.storage) as Arc<dyn Storage>;
    let open = |store: &'static str| {
        let (storage, version) = (storage(), version.clone());
        async move {
            let stores = [spec(&["partition"]).layout("groups")];
            let index = Arc::new(RowIndexFactory);
            StateTable::open(storage, "agg", store, &version, &stores, index).await
        }
    };
    let table = open("groups").await?;
    assert_eq!(table.partitions(&version), 0);
    let names: Vec<&str> = table
        .schema()
        .fields()
        .iter()
        .map(|it| it.name().as_str())
        .collect();
    assert_eq!(names, ["partition", "k", "value partition", "expiry"]);
    let error = open("left").await.unwrap_err();
    assert_eq!(
        error.message(),
        "operator agg has no store 'left': it has groups"
    );
    Ok(())
}

#[test]
fn types_come_back_from_their_texts() {
    let nested = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    for data_type in [
        DataType::Int64,
        DataType::Utf8View,
        DataType::Decimal128(38, 2),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        nested,
    ] {
        let column = StoreColumn {
            name: "x".to_owned(),
            data_type: data_type.to_string(),
        };
        assert_eq!(column.arrow_type(), Some(data_type));
    }
}
