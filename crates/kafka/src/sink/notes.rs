//! Beside which topics the number of the last epoch was kept, as the checkpoint notes it.
//!
//! A query may be started with another topic, and the number moves there. A note is durable after a number is in Kafka
//! beside its topic, and before the first epoch whose number is kept there only. So of this checkpoint's own epochs the
//! newest number is beside the topic of the last note. (Versions before these notes wrote the first one only.)

use bytes::Bytes;
use headwater_core::{CreateOutcome, Error, Result, Storage};
use serde::{Deserialize, Serialize};

/// The first note. Those that follow have a number: `kafka-transactions-2.json`.
const NOTE: &str = "kafka-transactions";

/// Where a number was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The consumer group.
    pub(super) group: String,
    /// The topic.
    pub(super) topic: String,
}

/// The notes of one sink.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// How many there are.
    count: usize,
    last: Option<Note>,
}

impl Notes {
    /// Those of a checkpoint.
    ///
    /// # Errors
    /// Those of the storage; `Data` if a note is damaged.
    pub(super) async fn read(storage: &dyn Storage) -> Result<Self> {
        let mut notes = Self::default();
        while let Some(bytes) = storage.read(&path(notes.count)).await? {
            let note = serde_json::from_slice(&bytes).map_err(|error| {
                Error::data(format!(
                    "'{}' in {storage} is no note of a Kafka sink, expected {{\"group\": …, \"topic\": …}}: put it back \
                     from a copy of the checkpoint",
                    path(notes.count)
                ))
                .with_source(error)
            })?;
            notes.count += 1;
            notes.last = Some(note);
        }
        Ok(notes)
    }

    /// Whether there was a number once.
    pub(super) fn is_any(&self) -> bool {
        self.count > 0
    }

    /// The topic of the last one.
    pub(super) fn last_topic(&self) -> Option<&str> {
        self.last.as_ref().map(|note| note.topic.as_str())
    }

    /// Notes where the number is now, unless the last note says so.
    ///
    /// # Errors
    /// Those of the storage; `Fenced` if another run has noted another place meanwhile.
    pub(super) async fn add(&mut self, storage: &dyn Storage, note: Note) -> Result<()> {
        if self.last.as_ref() == Some(&note) {
            return Ok(());
        }
        let text = serde_json::to_vec(&note)
            .map_err(|error| Error::internal("a note cannot be written").with_source(error))?;
        let path = path(self.count);
        let created = storage.create(&path, Bytes::from(text.clone())).await?;
        if created == CreateOutcome::AlreadyExists
            && storage.read(&path).await?.as_deref() != Some(&text[..])
        {
            return Err(Error::fenced(format!(
                "another run of the query has noted in '{path}' that it keeps the number of its last epoch elsewhere: stop \
                 one of them"
            )));
        }
        self.count += 1;
        self.last = Some(note);
        Ok(())
    }
}

fn path(before: usize) -> String {
    match before {
        0 => format!("{NOTE}.json"),
        _ => format!("{NOTE}-{}.json", before + 1),
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::ErrorKind;
    use headwater_log::MemoryStorage;

    use super::*;

    fn note(topic: &str) -> Note {
        Note {
            group: "headwater-1".to_owned(),
            topic: topic.to_owned(),
        }
    }

    #[tokio::test]
    async fn the_last_note_counts_even_where_its_topic_had_one_before() {
        let storage = MemoryStorage::new();
        let mut notes = Notes::read(&storage).await.unwrap();
        assert!(!notes.is_any() && notes.last_topic().is_none());
        for topic in ["a", "a", "b", "a"] {
            notes.add(&storage, note(topic)).await.unwrap();
            let read = Notes::read(&storage).await.unwrap();
            assert_eq!(read.last_topic(), Some(topic));
        }
        assert_eq!(notes.count, 3);
        let first = storage.read("kafka-transactions.json").await.unwrap();
        let expected = br#"{"group":"headwater-1","topic":"a"}"#;
        assert_eq!(first.unwrap().as_ref(), expected);
        assert!(
            storage
                .read("kafka-transactions-3.json")
                .await
                .unwrap()
                .is_some()
        );
    }

    #[tokio::test]
    async fn another_run_that_notes_another_place_is_told() {
        let storage = MemoryStorage::new();
        let (mut mine, mut other) = (Notes::default(), Notes::default());
        mine.add(&storage, note("a")).await.unwrap();
        other.add(&storage, note("a")).await.unwrap();
        other.add(&storage, note("b")).await.unwrap();
        let error = mine.add(&storage, note("c")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }

    #[tokio::test]
    async fn a_damaged_note_is_named() {
        let storage = MemoryStorage::new();
        let bytes = Bytes::from_static(b"{}");
        storage
            .create("kafka-transactions.json", bytes)
            .await
            .unwrap();
        let error = Notes::read(&storage).await.unwrap_err();
        assert!(
            error.message().contains("'kafka-transactions.json'"),
            "{error}"
        );
    }
}
