//! Log messages about records, holds and splits that cannot be read.

use tracing::{info, warn};

use crate::model::Instead;
use crate::upstream::records::Effect;
use crate::util::log_limit;

pub(super) fn log_quarantined(effect: &Effect) {
    for quarantined in &effect.quarantined {
        let key = &quarantined.key;
        let reason = match quarantined.instead {
            Instead::Unknown(why) => format!("{}; no split applies: {why}", quarantined.reason),
            _ => quarantined.why(),
        };
        if let Some(more) = log_limit::allows("quarantined", key) {
            warn!(%key, %reason, "quarantined: this cannot be read; everything else continues{more}");
        }
    }
    for key in &effect.readable_again {
        if let Some(more) = log_limit::allows("readable again", key) {
            info!(%key, "no longer quarantined{more}");
        }
    }
}
