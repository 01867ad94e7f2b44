//! A thread of its own for what must never wait for the suite: the links, the load, and the judge.

use std::future::Future;

use tokio::runtime::{Builder, Handle};

/// Runs until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    handle: Handle,
}

impl Net {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self { handle }
    }

    /// Makes something there, with all that it leaves running.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        making: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.handle.spawn(making).await.expect("it does not panic")
    }

    /// Lets something go on there.
    pub(crate) fn go_on(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}
