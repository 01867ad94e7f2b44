//! Everything about systemd: notifications, timeouts and unit files.

pub mod notify;
pub mod stop_timeout;
pub mod unit_file;
