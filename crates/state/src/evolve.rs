//! What becomes of recorded state when the query has changed: a pure comparison of layouts.
//!
//! A value column is taken over by its name and type wherever it stands now; one that nobody asks for any more is
//! dropped. A column that was not recorded cannot be made up, and keys, which decide where rows live, stay as they are:
//! both are told as misfits. Key columns are compared by type only, what they mean is compared by those who know.

use std::sync::Arc;

use headwater_core::{Error, Result};

use crate::store_layout::{StoreColumn, StoreLayout};

/// One thing that keeps recorded state from being taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What does not fit, for instance `store 'groups' column 'sum(x)[sum]'`.
    pub what: String,
    /// What the record says; none if it is not there.
    pub was: Option<String>,
    /// What it is now; none if it is not there any more.
    pub is: Option<String>,
}

/// Everything about the stores of an operator, `now`, that cannot be had from the recorded ones.
pub fn misfits(recorded: &[StoreLayout], now: &[StoreLayout]) -> Vec<Misfit> {
    let mut found = Vec::new();
    for is in now {
        match counterpart(recorded, is) {
            Some(was) => compare(was, is, &mut found),
            None => found.push(Misfit {
                what: titled(is),
                was: None,
                is: Some(is.schema_text()),
            }),
        }
    }
    found
}

/// The recorded store that holds what this one is to hold.
pub(crate) fn counterpart<'a>(
    recorded: &'a [StoreLayout],
    now: &StoreLayout,
) -> Option<&'a StoreLayout> {
    recorded
        .iter()
        .find(|was| match (&was.serves, &now.serves) {
            (None, None) => was.name == now.name,
            (was, is) => was == is,
        })
}

/// Where the rows of a store are recorded.
pub(crate) struct Recorded<'a> {
    /// The name of the recorded store, and where its columns lie if they may lie otherwise; none if there is no such
    /// store.
    pub(crate) store: Option<(&'a str, Option<Arc<[usize]>>)>,
    /// Whether the stores of the operator hold something else now.
    pub(crate) is_changed: bool,
}

/// Finds store `name` of an operator whose stores were `recorded` so and are `now` so; none if nobody says.
///
/// # Errors
/// As [`picks`]; `Internal` if `now` does not know the store.
pub(crate) fn recorded<'a>(
    recorded: &'a [StoreLayout],
    now: Option<&Vec<StoreLayout>>,
    name: &'a str,
) -> Result<Recorded<'a>> {
    let now = now.filter(|now| !recorded.is_empty() && recorded != now.as_slice());
    let Some(now) = now else {
        return Ok(Recorded {
            store: Some((name, None)),
            is_changed: false,
        });
    };
    let wanted = now.iter().find(|store| store.name == name);
    let wanted =
        wanted.ok_or_else(|| Error::internal(format!("no layout says what store {name} holds")))?;
    let store = match counterpart(recorded, wanted) {
        None => None,
        Some(was) => Some((was.name.as_str(), Some(Arc::from(picks(was, wanted)?)))),
    };
    Ok(Recorded {
        store,
        is_changed: true,
    })
}

/// Where each key and value column of a store lies in the recorded rows.
///
/// # Errors
/// `Data` if they do not fit: a restart has compared them before.
pub(crate) fn picks(recorded: &StoreLayout, now: &StoreLayout) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    compare(recorded, now, &mut found);
    if let Some(misfit) = found.first() {
        return Err(Error::data(format!(
            "{} was {} and is {}",
            misfit.what,
            misfit.was.as_deref().unwrap_or("not there"),
            misfit.is.as_deref().unwrap_or("not there"),
        )));
    }
    let keys = recorded.keys.len();
    let place = |column: &StoreColumn| {
        let place = recorded.values.iter().position(|was| was == column);
        place.map(|place| keys + place)
    };
    Ok((0..keys)
        .chain(now.values.iter().filter_map(place))
        .collect())
}

fn titled(store: &StoreLayout) -> String {
    match &store.serves {
        None => format!("store '{}'", store.name),
        Some(what) => format!("store of '{what}'"),
    }
}

fn compare(was: &StoreLayout, is: &StoreLayout, found: &mut Vec<Misfit>) {
    let title = titled(is);
    let before = found.len();
    let mut differ = |what: &str, was: Option<String>, is: Option<String>| {
        if was != is {
            found.push(Misfit {
                what: format!("{title}{what}"),
                was,
                is,
            });
        }
    };
    differ("", Some(was.kind.to_string()), Some(is.kind.to_string()));
    let expiry = |store: &StoreLayout| match store.expires {
        Some(_) => Some("by time".to_owned()),
        None => Some("never".to_owned()),
    };
    differ(" expiry", expiry(was), expiry(is));
    let marks = |store: &StoreLayout| Some(store.marks.to_string());
    differ(" marks", marks(was), marks(is));
    let owner = |store: &StoreLayout| store.owner_columns.unwrap_or(store.keys.len());
    let owners = [was, is].map(|store| Some(owner(store).to_string()));
    let [was_owner, is_owner] = owners;
    differ(" columns that decide the partition", was_owner, is_owner);
    for at in 0..was.keys.len().max(is.keys.len()) {
        let shown = |store: &StoreLayout| store.keys.get(at).map(|key| key.data_type.clone());
        let name = is.keys.get(at).or(was.keys.get(at));
        let name = name.map_or("", |key| key.name.as_str());
        differ(&format!(" key '{name}'"), shown(was), shown(is));
    }
    for column in &is.values {
        let recorded = was.values.iter().find(|was| was.name == column.name);
        let recorded = recorded.map(|was| was.data_type.clone());
        let what = format!(" column '{}'", column.name);
        differ(&what, recorded, Some(column.data_type.clone()));
    }
    if found.len() > before {
        found.push(Misfit {
            what: format!("{title} as a whole"),
            was: Some(was.schema_text()),
            is: Some(is.schema_text()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_layout::StoreKind;

    fn columns(names: &[&str]) -> Vec<StoreColumn> {
        let columns = names.iter().map(|name| StoreColumn {
            name: (*name).to_owned(),
            data_type: "Int64".to_owned(),
        });
        columns.collect()
    }

    fn layout(values: &[&str]) -> StoreLayout {
        StoreLayout {
            name: "groups".to_owned(),
            serves: None,
            kind: StoreKind::Value,
            keys: columns(&["host"]),
            values: columns(values),
            owner_columns: None,
            expires: None,
            marks: false,
        }
    }

    fn told(recorded: &StoreLayout, now: &StoreLayout) -> Vec<String> {
        let found = misfits(std::slice::from_ref(recorded), std::slice::from_ref(now));
        let told = found.into_iter().map(|misfit| {
            let [was, is] = [misfit.was, misfit.is].map(|text| text.unwrap_or("-".to_owned()));
            format!("{}: {was} / {is}", misfit.what)
        });
        told.collect()
    }

    #[test]
    fn columns_are_found_by_name_and_dropped_if_nobody_asks() -> Result<()> {
        let recorded = layout(&["a", "b", "c"]);
        assert_eq!(picks(&recorded, &layout(&["c", "a"]))?, [0, 3, 1]);
        assert_eq!(picks(&recorded, &layout(&[]))?, [0]);
        // A key may be called something else.
        let mut renamed = layout(&["b"]);
        renamed.keys[0].name = "h".to_owned();
        assert_eq!(picks(&recorded, &renamed)?, [0, 2]);
        Ok(())
    }

    #[test]
    fn a_new_column_is_told_with_both_schemas() {
        assert_eq!(
            told(&layout(&["a"]), &layout(&["a", "b"])),
            [
                "store 'groups' column 'b': - / Int64",
                "store 'groups' as a whole: keys (host: Int64), values (a: Int64) / keys (host: Int64), values (a: \
                 Int64, b: Int64)"
            ]
        );
    }

    #[test]
    fn whatever_else_differs_is_told() {
        type Change = fn(&mut StoreLayout);
        let changes: [(&str, Change); 6] = [
            ("store 'groups': a value by key / rows by key", |now| {
                now.kind = StoreKind::Rows
            }),
            ("store 'groups' expiry: never / by time", |now| {
                now.expires = Some("x".to_owned())
            }),
            ("store 'groups' marks: false / true", |now| now.marks = true),
            (
                "store 'groups' columns that decide the partition: 1 / 0",
                |now| now.owner_columns = Some(0),
            ),
            ("store 'groups' key 'host': Int64 / Utf8", |now| {
                now.keys[0].data_type = "Utf8".to_owned()
            }),
            ("store 'groups' column 'a': Int64 / Utf8", |now| {
                now.values[0].data_type = "Utf8".to_owned()
            }),
        ];
        for (expected, change) in changes {
            let mut now = layout(&["a"]);
            change(&mut now);
            assert_eq!(told(&layout(&["a"]), &now)[0], expected);
        }
    }

    #[test]
    fn a_store_that_serves_something_is_found_by_that() {
        let store = |name: &str, what: &str| StoreLayout {
            name: name.to_owned(),
            ..layout(&[]).serving(what)
        };
        let recorded = [
            store("distinct-0", "count(DISTINCT a)"),
            store("distinct-1", "b"),
        ];
        let found = counterpart(&recorded, &store("distinct-0", "b"));
        assert_eq!(found.map(|store| store.name.as_str()), Some("distinct-1"));
        assert!(counterpart(&recorded, &layout(&[])).is_none());
    }
}
