//! What sidekick tells systemd, asks it and writes for it.

pub mod notify;
pub mod stop_timeout;
pub mod unit_file;
