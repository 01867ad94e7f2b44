//! An end for a parser that does not come to one.

use std::path::Path;
use std::process::abort;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one input may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends the process, with a message, when the cases stop coming. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    case: AtomicU64,
    ended: AtomicBool,
}

impl Watchdog {
    /// Watches the target; `running` is the file with its present input.
    pub(crate) fn start(target: &'static str, running: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let (watched, running) = (shared.clone(), running.to_owned());
        let thread = std::thread::spawn(move || {
            let mut last = 0;
            loop {
                std::thread::park_timeout(PATIENCE);
                let case = watched.case.load(Ordering::Relaxed);
                if watched.ended.load(Ordering::Relaxed) {
                    return;
                }
                if case == last {
                    let file = running.display();
                    eprintln!("{target}: case {case} does not end within {PATIENCE:?}: {file}");
                    abort();
                }
                last = case;
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Another case begins.
    pub(crate) fn feed(&self) {
        self.shared.case.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
