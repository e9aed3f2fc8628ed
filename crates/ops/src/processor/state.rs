//! What user code holds while it is called for a key: the key's state, its timers, and what time it is.

use headwater_core::{Error, Result};

use super::{
    declare::TimeMode,
    keys::TouchedKeys,
    row::{FromRow, IntoRow, Row},
    timers::Timers,
    variable::Variable,
};

/// What time it is in an epoch, the same for all keys and for a replay of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) mode: TimeMode,
    /// Milliseconds since 1970.
    pub(super) processing: i64,
    /// Milliseconds since 1970; none if no watermark is defined.
    pub(super) watermark: Option<i64>,
}

impl Times {
    /// The time that timers follow.
    pub(super) fn of_timers(&self) -> Option<i64> {
        match self.mode {
            TimeMode::None => None,
            TimeMode::ProcessingTime => Some(self.processing),
            TimeMode::EventTime => self.watermark,
        }
    }
}

/// All state of one partition during an epoch.
pub(super) struct EpochState {
    pub(super) keys: TouchedKeys,
    pub(super) variables: Vec<Variable>,
    pub(super) timers: Timers,
    pub(super) times: Times,
}

/// State and timers of one key.
///
/// Changes are seen by what is read later in the epoch, and become durable with it. Times are in milliseconds since
/// 1970-01-01T00:00:00Z.
pub struct State<'a> {
    pub(super) epoch: &'a mut EpochState,
    pub(super) key: usize,
}

impl State<'_> {
    fn find(&self, name: &str) -> Result<usize> {
        let variables = &self.epoch.variables;
        let found = variables.iter().position(|v| v.definition().name == name);
        found.ok_or_else(|| {
            let declared: Vec<String> = variables
                .iter()
                .map(|variable| variable.definition().to_string())
                .collect();
            Error::invalid(format!(
                "there is no state '{name}', the processor declares [{}]: add it to its spec",
                declared.join(", ")
            ))
        })
    }

    fn variable(&mut self, at: usize) -> KeyVariable<'_> {
        let EpochState {
            keys, variables, ..
        } = &mut *self.epoch;
        KeyVariable {
            variable: &mut variables[at],
            keys,
            key: self.key,
        }
    }

    /// The value state of this name.
    ///
    /// # Errors
    /// `Invalid` if none is declared, or it is a list or a map.
    pub fn value(&mut self, name: &str) -> Result<ValueState<'_>> {
        let at = self.find(name)?;
        self.epoch.variables[at].expect_value()?;
        Ok(ValueState(self.variable(at)))
    }

    /// The list state of this name.
    ///
    /// # Errors
    /// `Invalid` if none is declared, or it is a value or a map.
    pub fn list(&mut self, name: &str) -> Result<ListState<'_>> {
        let at = self.find(name)?;
        self.epoch.variables[at].expect_list()?;
        Ok(ListState(self.variable(at)))
    }

    /// The map state of this name.
    ///
    /// # Errors
    /// `Invalid` if none is declared, or it is a value or a list.
    pub fn map(&mut self, name: &str) -> Result<MapState<'_>> {
        let at = self.find(name)?;
        self.epoch.variables[at].expect_map()?;
        Ok(MapState(self.variable(at)))
    }

    fn needs_timers(&self, what: &str) -> Result<()> {
        match self.epoch.times.mode {
            TimeMode::None => Err(Error::invalid(format!(
                "{what} needs a time to follow: start the processor with TimeMode::EventTime or \
                 TimeMode::ProcessingTime"
            ))),
            _ => Ok(()),
        }
    }

    /// Sets a timer of this key: [`super::StatefulProcessor::handle_timer`] is called once, in the first epoch whose
    /// watermark or processing time is at or behind `at_millis`; in this very epoch if it is. A key may have many timers,
    /// at different times.
    ///
    /// A timer that is set while a timer is handled fires in a later epoch, also if it is due at once.
    ///
    /// # Errors
    /// `Invalid` if the processor runs without a time mode.
    pub fn register_timer(&mut self, at_millis: i64) -> Result<()> {
        self.needs_timers("a timer")?;
        self.epoch.timers.register(self.key, at_millis);
        Ok(())
    }

    /// Deletes the timer of this key at this time, if there is one.
    ///
    /// # Errors
    /// As [`Self::register_timer`].
    pub fn delete_timer(&mut self, at_millis: i64) -> Result<()> {
        self.needs_timers("a timer")?;
        self.epoch.timers.delete(self.key, at_millis);
        Ok(())
    }

    /// When the timers of this key are due, earliest first.
    ///
    /// # Errors
    /// As [`Self::register_timer`].
    pub fn timers(&mut self) -> Result<Vec<i64>> {
        self.needs_timers("a timer")?;
        self.epoch.timers.of_key(&self.epoch.keys, self.key)
    }

    /// The watermark in force, in milliseconds; `None` if the query has none here.
    pub fn current_watermark(&self) -> Option<i64> {
        self.epoch.times.watermark
    }

    /// The processing time of the epoch, in milliseconds. A replay of the epoch sees the same.
    pub fn current_processing_time(&self) -> i64 {
        self.epoch.times.processing
    }
}

/// One variable of one key.
struct KeyVariable<'a> {
    variable: &'a mut Variable,
    keys: &'a TouchedKeys,
    key: usize,
}

/// One row per key.
pub struct ValueState<'a>(KeyVariable<'a>);

impl ValueState<'_> {
    /// Whether the key has a value.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn exists(&self) -> Result<bool> {
        self.0.variable.has_value(self.0.key)
    }

    /// The value, as a [`Row`] or as a tuple.
    ///
    /// # Errors
    /// `Invalid` if it cannot be read as that.
    pub fn get<R: FromRow>(&self) -> Result<Option<R>> {
        let row = self.0.variable.value(self.0.key)?;
        row.map(|row| R::from_row(&row)).transpose()
    }

    /// Writes the value.
    ///
    /// # Errors
    /// `Invalid` if the row is not of the columns declared.
    pub fn update(&mut self, row: impl IntoRow) -> Result<()> {
        self.0.variable.set_value(self.0.key, Some(row.into_row()))
    }

    /// Removes the value.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn clear(&mut self) -> Result<()> {
        self.0.variable.set_value(self.0.key, None)
    }
}

/// Any number of rows per key, in the order in which they were appended. Appending costs what is appended; reading and
/// replacing cost the list.
pub struct ListState<'a>(KeyVariable<'a>);

impl ListState<'_> {
    /// Whether there is a row.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn exists(&mut self) -> Result<bool> {
        Ok(!self.rows()?.is_empty())
    }

    /// All rows, as [`Row`]s or as tuples.
    ///
    /// # Errors
    /// `Invalid` if they cannot be read as that.
    pub fn get<R: FromRow>(&mut self) -> Result<Vec<R>> {
        self.rows()?.iter().map(|row| R::from_row(row)).collect()
    }

    fn rows(&mut self) -> Result<Vec<Row>> {
        self.0.variable.list(self.0.keys, self.0.key)
    }

    /// Adds a row at the end.
    ///
    /// # Errors
    /// `Invalid` if it is not of the columns declared.
    pub fn append(&mut self, row: impl IntoRow) -> Result<()> {
        self.0
            .variable
            .append(self.0.keys, self.0.key, row.into_row())
    }

    /// Replaces all rows.
    ///
    /// # Errors
    /// `Invalid` if they are not of the columns declared.
    pub fn put<R: IntoRow>(&mut self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        let rows = rows.into_iter().map(IntoRow::into_row).collect();
        self.0.variable.replace_list(self.0.keys, self.0.key, rows)
    }

    /// Removes all rows.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn clear(&mut self) -> Result<()> {
        self.put::<Row>([])
    }
}

/// A map per key. It is read whole when an epoch first uses it for a key, and only entries that change are written:
/// keep what belongs to one key small, or make the entry's key part of the grouping key.
pub struct MapState<'a>(KeyVariable<'a>);

impl MapState<'_> {
    /// Whether there is an entry.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn exists(&mut self) -> Result<bool> {
        let map = self.0.variable.map(self.0.keys, self.0.key)?;
        Ok(map.entries().next().is_some())
    }

    /// Whether there is an entry with this key.
    ///
    /// # Errors
    /// `Invalid` if the key is not of the columns declared.
    pub fn contains(&mut self, key: impl IntoRow) -> Result<bool> {
        Ok(self.get::<Row>(key)?.is_some())
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// `Invalid` if the key is not of the columns declared, or the value cannot be read so.
    pub fn get<R: FromRow>(&mut self, key: impl IntoRow) -> Result<Option<R>> {
        let (key, _) = self.0.variable.fitted_entry(key.into_row(), None)?;
        let map = self.0.variable.map(self.0.keys, self.0.key)?;
        map.get(&key).map(|row| R::from_row(row)).transpose()
    }

    /// All entries, in the order in which they were written.
    ///
    /// # Errors
    /// `Invalid` if keys or values cannot be read so.
    pub fn entries<K: FromRow, R: FromRow>(&mut self) -> Result<Vec<(K, R)>> {
        let map = self.0.variable.map(self.0.keys, self.0.key)?;
        map.entries()
            .map(|(key, row)| Ok((K::from_row(key)?, R::from_row(row)?)))
            .collect()
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// `Invalid` if key or value are not of the columns declared.
    pub fn put(&mut self, key: impl IntoRow, row: impl IntoRow) -> Result<()> {
        self.set(key.into_row(), Some(row.into_row()))
    }

    /// Removes an entry, if there is one.
    ///
    /// # Errors
    /// `Invalid` if the key is not of the columns declared.
    pub fn remove(&mut self, key: impl IntoRow) -> Result<()> {
        self.set(key.into_row(), None)
    }

    fn set(&mut self, key: Row, value: Option<Row>) -> Result<()> {
        let (key, value) = self.0.variable.fitted_entry(key, value)?;
        let counts = &mut self.0.variable.counts;
        counts.updated += u64::from(value.is_some());
        counts.removed += u64::from(value.is_none());
        let map = self.0.variable.map(self.0.keys, self.0.key)?;
        map.set(key, value);
        Ok(())
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// `Internal` for a defect of the store.
    pub fn clear(&mut self) -> Result<()> {
        self.0.variable.counts.removed += 1;
        self.0.variable.map(self.0.keys, self.0.key)?.clear();
        Ok(())
    }
}
