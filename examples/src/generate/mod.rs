//! Makes the input of the examples, `examples/data`, one module for each kind of data.
//!
//! The same program always writes the same bytes: it has its own random numbers, and uses only arithmetic that is
//! the same on every machine (no sines, no wall clock). A test compares the files in the repository with it.

mod ads;
mod arrival;
mod bank;
mod city;
mod logs;
mod matches;
mod messages;
mod payments;
mod random;
mod requests;
mod sales;
mod time;
mod weather;
mod web;

pub use arrival::DataFile;

/// All files, in no particular order.
pub fn all() -> Vec<DataFile> {
    [
        ads::files(),
        bank::files(),
        city::files(),
        logs::files(),
        matches::files(),
        messages::files(),
        payments::files(),
        requests::files(),
        sales::files(),
        weather::files(),
        web::files(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_files_in_the_repository_are_what_this_program_writes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        for file in all() {
            let stored =
                fs::read_to_string(folder.join(&file.name)).expect("a file in the repository");
            assert!(
                stored == file.content,
                "{} differs: run `cargo run -p headwater-examples --bin generate_data`",
                file.name
            );
        }
    }
}
