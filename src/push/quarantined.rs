//! Log messages about records, holds and splits that cannot be read.

use tracing::{info, warn};

use crate::model::Instead;
use crate::upstream::records::Effect;
use crate::util::log_limit;

/// The most lines of each kind in a minute: who writes a handful of such keys again and again has the log to share with everybody
/// else. `sidekick list` shows all of them.
const LINES: u32 = 8;

pub(super) fn log_quarantined(effect: &Effect) {
    for quarantined in &effect.quarantined {
        let key = &quarantined.key;
        let reason = match quarantined.instead {
            Instead::Unknown(why) => format!("{}; no split applies: {why}", quarantined.reason),
            _ => quarantined.why(),
        };
        if let Some(more) = log_limit::allows_of("quarantined", key, LINES) {
            warn!(%key, %reason, "quarantined: this cannot be read; everything else continues{more}");
        }
    }
    for key in &effect.readable_again {
        if let Some(more) = log_limit::allows_of("readable again", key, LINES) {
            info!(%key, "no longer quarantined{more}");
        }
    }
}

#[cfg(test)]
mod tests;
