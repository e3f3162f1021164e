//! Tasks that end with their callers, and a service's tasks, which end together.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;
pub use tokio_util::task::AbortOnDropHandle;

/// The tasks of a service, on a runtime of its own. They can all be ended at one moment.
///
/// Simulations use a runtime of one thread. All work then stays on that thread, which alone sets the order of events.
#[derive(Clone)]
pub struct TaskGroup {
    runtime: Handle,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl TaskGroup {
    /// A group without tasks, on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: Arc::default() }
    }

    /// Starts a task. Nobody has to wait for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    /// Runs a task to its end, even if the caller stops waiting.
    ///
    /// # Errors
    /// The task panicked or was ended.
    pub async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T, Ended> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.spawn(async move {
            // A caller that has gone away does not want the result.
            let _wanted = sender.send(task.await);
        });
        receiver.await.map_err(|_| Ended)
    }

    /// Ends all tasks of the group at once, as if the process were killed.
    pub fn end(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// A task panicked or was ended.
#[derive(Debug, thiserror::Error)]
#[error("the task ended without a result")]
pub struct Ended;

/// Computes for a while inside a task. If the runtime has other threads, other tasks move to them meanwhile.
pub fn compute<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}
