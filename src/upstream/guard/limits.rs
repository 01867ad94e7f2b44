//! The limits of the removal guard.

use std::time::Duration;

use super::share::Share;

/// The longest time that vanished servers are protected: a longer time prevents no accident.
pub const MAX_PROTECT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of the removal guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Least number of servers left taking traffic; 0 for no limit.
    pub min_servers: usize,
    /// How much may vanish within `protect_for` before it is protected.
    pub max_removal: Share,
    /// How long vanished servers are protected, [`MAX_PROTECT_FOR`] at most; zero turns the guard off.
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
