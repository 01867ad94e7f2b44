//! How far an upstream may follow its records.

use std::time::Duration;

use super::share::Share;

/// The longest time for which vanished servers are protected: a longer time prevents no accident.
pub const MAX_PROTECT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How far an upstream may follow its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many servers that take traffic are left at least; 0 for none.
    pub min_servers: usize,
    /// How much may vanish within `protect_for` before it is protected.
    pub max_removal: Share,
    /// How long vanished servers are protected, [`MAX_PROTECT_FOR`] at most; zero for no guard.
    pub protect_for: Duration,
}

impl Default for Limits {
    /// 1, 50 %, one minute.
    fn default() -> Self {
        Self {
            min_servers: 1,
            max_removal: Share::Percent(50),
            protect_for: Duration::from_secs(60),
        }
    }
}
