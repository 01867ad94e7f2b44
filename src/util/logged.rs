//! What a test logs.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// Collects what the current thread logs, at level info and above, while it lives.
pub(crate) struct Logged {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

/// While there is only one subscriber, `tracing` asks that of the thread that comes to a line first whether anybody wants the line, and
/// remembers the answer for all threads: another test, which collects nothing, would silence it. With this second one it asks all.
static ANOTHER: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish()));

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    pub(crate) fn start() -> Self {
        LazyLock::force(&ANOTHER);
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let written = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Writer(written.clone()))
            .with_ansi(false)
            .without_time()
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        Self { text, _guard }
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// How many lines contain this.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    /// The last line.
    pub(crate) fn last(&self) -> String {
        self.lines().pop().unwrap_or_default()
    }
}
