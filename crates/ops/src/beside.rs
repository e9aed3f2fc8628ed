//! Tasks that run beside the one that makes them ready.
//!
//! A worker of tokio keeps the task that it made ready last in a slot that nobody takes from, to run it next (tokio issue
//! 4941). That task waits until the one that woke it comes to rest, and an operator comes to rest after milliseconds of
//! work only. A second task that becomes ready moves the first one to the queue, from which idle workers take.

use tokio::{runtime::Handle, task::JoinHandle};

/// Lets another processor run the task that this one has just woken.
pub(crate) fn let_others_run_who_is_woken() {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(async {}));
    }
}

/// Spawns a task that need not wait until the one that spawns it comes to rest.
///
/// # Panics
/// Outside of a runtime, as [`tokio::spawn`] does.
pub(crate) fn spawn_beside<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let spawned = tokio::spawn(task);
    let_others_run_who_is_woken();
    spawned
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_runs_beside_the_one_that_spawns_it() {
        let busy = tokio::spawn(async {
            let (runs, has_run) = mpsc::channel();
            let beside = spawn_beside(async move { runs.send(()).unwrap() });
            // At work, without a pause in which its worker could run another task.
            let ran = has_run.recv_timeout(Duration::from_secs(10));
            beside.await.unwrap();
            ran
        });
        assert_eq!(busy.await.unwrap(), Ok(()));
    }
}
