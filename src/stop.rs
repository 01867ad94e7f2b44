//! Being asked to stop: once to leave in good order, twice to hurry.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Hears requests to stop. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<u32>);

/// Makes requests to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<u32>);

/// A pair that nothing but the [`Stopper`] triggers.
#[must_use]
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(0);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks to stop, or, asked again, to hurry.
    pub fn stop(&self) {
        self.0.send_modify(|times| *times = times.saturating_add(1));
    }

    /// Waits until nobody hears any more. Cancel safe.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }
}

impl Stop {
    /// Waits until somebody asks to stop. Cancel safe.
    pub async fn leave(&mut self) {
        self.asked(1).await;
    }

    /// Whether somebody has asked to stop.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until somebody asks a second time. Cancel safe.
    pub async fn hurry(&mut self) {
        self.asked(2).await;
    }

    async fn asked(&mut self, times: u32) {
        if self.0.wait_for(|asked| *asked >= times).await.is_err() {
            // Nobody can ask any more.
            std::future::pending().await
        }
    }
}

/// Stops on SIGTERM and SIGINT.
///
/// # Errors
/// When the signals cannot be taken over from the system.
pub fn on_signals() -> std::io::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stopper, stop) = channel();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!("{name}");
            crate::notify::stopping();
            stopper.stop();
        }
    });
    Ok(stop)
}
