//! What to do with an epoch, given what Kafka and the checkpoint know of it: a pure function.
//!
//! A transaction cannot be resumed by another process, so it is committed *before* the epoch's commit record. Between
//! the two the epoch is in Kafka and not in the checkpoint, and the next run is asked to write it again. So each
//! transaction carries a [`Mark`]: the number of the epoch after the one it wrote.
//!
//! Why the decision is right rests on three orders:
//!
//! * *plan n* is durable before the transaction of epoch *n* begins. So if this run has itself published *n-1*, its
//!   plan of *n* is the first one, and a mark of another run for *n* means that the checkpoint is older than the topic.
//! * The note *this query has a mark* is durable in the checkpoint after the first mark is in Kafka and before the first
//!   epoch is. So with the note and without a mark, the mark was lost (the broker forgets those of groups that are not
//!   used for long, and those of deleted topics).
//! * The mark is read after `init_transactions`, which has ended whatever an earlier writer had begun.

use headwater_core::{Epoch, RunId};
use serde::{Deserialize, Serialize};

/// What the last transaction left in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first epoch that is not in Kafka.
    pub(super) next: Epoch,
    /// Who wrote it, and how many rows the epoch before `next` had; `None` if somebody else's tool has set the offset.
    pub(super) by: Option<Author>,
}

/// The run that left a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Author {
    /// The run.
    pub(super) run: RunId,
    /// Rows in its transaction.
    pub(super) rows: u64,
}

/// The mark that counts, of that beside the topic where the checkpoint last noted one, and of that beside the present topic
/// if it is another. A larger one is proof of what is in Kafka; but that beside the present topic may be left from long ago,
/// so where the noted one is lost nothing is known.
pub(super) fn newest(noted: Option<Mark>, present: Option<Mark>) -> Option<Mark> {
    match (noted?, present) {
        (noted, Some(present)) if present.next > noted.next => Some(present),
        (noted, _) => Some(noted),
    }
}

/// What a person has decided about an epoch of which nothing can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum WhenUnknown {
    /// Stop and tell.
    #[default]
    Fail,
    /// It is not in Kafka: write it.
    Write,
    /// It is there: do not.
    Skip,
}

/// What is known when an epoch is about to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// The run that asks.
    pub(super) run: RunId,
    /// The mark in Kafka.
    pub(super) mark: Option<Mark>,
    /// The checkpoint notes that there was a mark once.
    pub(super) was_marked: bool,
    /// This run has published the epoch before, so nobody has tried this one.
    pub(super) is_first_attempt: bool,
    /// What to do if nothing can be known.
    pub(super) when_unknown: WhenUnknown,
}

/// What to do with the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is not in Kafka: write it in a transaction.
    Write,
    /// It is in Kafka already: run it for its state, and deliver nothing.
    Adopt,
    /// Kafka holds epochs that the checkpoint has never heard of.
    Ahead(Mark),
    /// The mark is gone, and the epoch may be there or not.
    Unknown,
}

/// Decides what to do with an epoch.
pub(super) fn decide(facts: &Facts) -> Decision {
    let Some(mark) = facts.mark else {
        let is_untouched = facts.is_first_attempt || !facts.was_marked;
        return match (is_untouched, facts.when_unknown) {
            (true, _) | (false, WhenUnknown::Write) => Decision::Write,
            (false, WhenUnknown::Skip) => Decision::Adopt,
            (false, WhenUnknown::Fail) => Decision::Unknown,
        };
    };
    if mark.next <= facts.epoch {
        // Epochs without rows leave no mark, nor do those that were written without transactions.
        return Decision::Write;
    }
    let is_own = mark.by.is_some_and(|author| author.run == facts.run);
    let is_replay = facts.was_marked && !facts.is_first_attempt;
    if mark.next == facts.epoch.next() && (is_own || is_replay) {
        return Decision::Adopt;
    }
    Decision::Ahead(mark)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
