//! The tests notice: seeded faults of the engine, each of which a sweep must find.
//!
//! A fault is put between the engine and what it rests on: a record comes back as a faulty engine would have written
//! it, a call does what a faulty one would do. So there is no switch in the engine that anybody could turn, and what is
//! tested is what is shipped. Each test runs the very sweep that an honest engine passes, and wants it to fail, with
//! the words that belong to the fault; without a crash nothing is wrong.

mod durable;
mod published;
mod read;
mod restart;

use std::sync::Arc;

use bytes::Bytes;
use headwater::Storage;
use headwater_log::{
    codec::{self, Record},
    layout,
    store::Loss,
};

use super::{
    bend::{Bend, BentStorage},
    input,
    pipeline::{Query, Tamper},
    report::say,
    sweep::{Case, sweep},
};

/// Windows with enough rows that some come late in every way; the process dies, the machine does not.
fn windows() -> Case {
    let mut case = Case::over(Query::Windows, input::rows(4, 60, 3));
    case.losses = |_| vec![Loss::Nothing];
    case
}

/// The same on a machine whose power fails.
fn windows_without_power() -> Case {
    let mut case = windows();
    case.losses = |_| vec![Loss::Unsynced];
    case
}

/// The sweep over the case must find the fault, and say so in one of these words.
fn assert_noticed(mut case: Case, tamper: impl Tamper + 'static, words: &[&str]) {
    case.tamper = Box::new(tamper);
    let wrong = match sweep(&case) {
        Err(wrong) => wrong,
        Ok(swept) => panic!("nobody noticed in {} lives", swept.lives),
    };
    say(&format!("noticed: {wrong}"));
    assert!(
        !wrong.contains("nothing was cut off, and yet"),
        "without a crash there is nothing to notice: {wrong}"
    );
    let is_told = words.iter().any(|word| wrong.contains(word));
    assert!(is_told, "not in the words of {words:?}: {wrong}");
}

/// Changes a record on its way.
fn changed<T: Record>(path: &str, bytes: &Bytes, change: impl FnOnce(&mut T)) -> Bytes {
    let mut record: T = codec::decode(path, bytes).expect("the engine wrote it");
    change(&mut record);
    codec::encode(&record).expect("it has a form in JSON")
}

fn is_in(folder: &str, path: &str) -> bool {
    layout::number_of(folder, path).is_some()
}

/// Bends the checkpoint.
struct Checkpoint<B>(B);

impl<B: Bend + Clone> Tamper for Checkpoint<B> {
    fn checkpoint(&self, checkpoint: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(checkpoint, self.0.clone())
    }
}
