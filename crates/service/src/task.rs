//! Tasks.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// A task that ends with whoever waits for it.
pub struct AbortOnDrop<T>(pub JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a service has at work on a runtime of its own, so that it can be ended in one moment.
///
/// On a runtime of one thread, as simulations have, nothing leaves that thread: the order of events is theirs alone.
#[derive(Clone)]
pub struct Crew {
    runtime: Handle,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Crew {
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: Arc::default() }
    }

    /// Begins a task that nobody has to wait for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    /// Runs a task to its end, whether or not the caller still waits.
    ///
    /// # Errors
    /// Where it panicked or was ended.
    pub async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T, Ended> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.spawn(async move {
            // Whoever has gone away does not want it.
            let _wanted = sender.send(task.await);
        });
        receiver.await.map_err(|_| Ended)
    }

    /// Runs what computes or waits for a disk where it holds up nobody.
    ///
    /// # Errors
    /// As [`Crew::run`].
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
        match self.runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => self.run(async { work() }).await,
            _ => self.runtime.spawn_blocking(work).await.map_err(|_| Ended),
        }
    }

    /// Ends all of them where they stand, as a killed process would.
    pub fn end(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// A task panicked, or was ended.
#[derive(Debug, thiserror::Error)]
#[error("the task ended without a result")]
pub struct Ended;

/// Computes for a while in the midst of a task; other tasks move to other threads meanwhile, where there are any.
pub fn compute<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}
