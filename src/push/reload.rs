//! SIGHUP: reads the configuration again, and applies all of it or none.

use tokio::signal::unix::Signal;
use tracing::{error, info};

use super::config;
use super::settings::Settings;

/// The source of a new configuration.
#[derive(Debug)]
pub struct Reload {
    /// What to read; without it there is nothing to read again, and that is logged.
    pub file: Option<config::File>,
    /// SIGHUP: see [`shutdown::hangups`](crate::util::shutdown::hangups).
    pub hangups: Signal,
}

/// Reads the configuration again on SIGHUP.
#[derive(Debug)]
pub(super) struct Reloads {
    reload: Option<Reload>,
    /// The mistakes in the last configuration, which was refused.
    refused: Option<String>,
}

impl Reloads {
    /// Nothing was read again yet.
    pub(super) fn new(reload: Option<Reload>) -> Self {
        Self {
            reload,
            refused: None,
        }
    }

    /// Waits for SIGHUP. Cancel safe.
    pub(super) async fn asked(&mut self) {
        let hangup = match &mut self.reload {
            Some(reload) => reload.hangups.recv().await,
            None => None,
        };
        if hangup.is_none() {
            std::future::pending().await
        }
    }

    /// Reads it; `None` if it is wrong, or there is nothing to read.
    pub(super) fn read(&mut self) -> Option<Settings> {
        let reload = self.reload.as_ref()?;
        let Some(file) = &reload.file else {
            info!("asked to read the configuration again, but flags cannot change: see --config");
            return None;
        };
        let read = file.read();
        let file = file.path.display();
        match read {
            Err(invalid) => {
                for line in invalid.lines() {
                    error!("{line}");
                }
                error!(%file, "the new configuration is wrong: none of it is used, the old one stays");
                let more = match invalid.mistakes.len() {
                    0 | 1 => String::new(),
                    several => format!(" (and {} more)", several - 1),
                };
                self.refused = invalid.lines().next().map(|line| line + &more);
                None
            }
            Ok(settings) => {
                info!(%file, "the configuration was read again");
                self.refused = None;
                Some(settings)
            }
        }
    }

    /// The mistakes in the last configuration, which was refused.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}
