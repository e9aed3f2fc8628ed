//! Bad input, bad bytes, full disks, failing sinks: the query stops with an error that names the object, nothing is lost,
//! and the next start goes on once the cause is gone.
//!
//! * `files`: input that is not what it claims to be.
//! * `checkpoint`: every file of a checkpoint damaged or lost in turn.
//! * `writes`: a disk that is full from any write on, and a sink that fails halfway.
//!
//! Each test ends with the answer that a query without the mishap would have given.

mod checkpoint;
mod files;
mod full_disk;
mod shop;
mod writes;
