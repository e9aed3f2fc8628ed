//! Runs code of the user: a panic in it becomes an error of the query instead of the end of a thread.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use headwater_core::{Error, Result};

/// Awaits `code`. `what` names it in the error, for instance `foreach_batch in epoch 3`.
///
/// # Errors
/// Those of `code`, with `what` in front; a panic is [`headwater_core::ErrorKind::Invalid`].
pub(crate) async fn run<T>(what: &str, code: impl Future<Output = Result<T>>) -> Result<T> {
    // Whatever the code left half-done belongs to the user; of ours it only holds Arrow batches, which are immutable.
    match AssertUnwindSafe(code).catch_unwind().await {
        Ok(result) => result.map_err(|error| error.context(what)),
        Err(panic) => Err(panicked(what, panic.as_ref())),
    }
}

/// Calls `code`; as [`run`] otherwise.
pub(crate) fn call<T>(what: &str, code: impl FnOnce() -> Result<T>) -> Result<T> {
    match std::panic::catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => result.map_err(|error| error.context(what)),
        Err(panic) => Err(panicked(what, panic.as_ref())),
    }
}

fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    Error::invalid(format!("{what} panicked ({message}): correct that code"))
}

#[cfg(test)]
mod tests {
    use headwater_core::ErrorKind;

    use super::*;

    #[test]
    fn a_panic_is_an_error_that_names_the_code() {
        let error = call::<()>("generator 'ticks'", || panic!("row {}", 7)).expect_err("it panics");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.message(),
            "generator 'ticks' panicked (row 7): correct that code"
        );
    }
}
