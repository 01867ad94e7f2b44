//! What commands print, and their exit codes.

pub(crate) mod confirm;
pub(crate) mod exit;
pub(crate) mod log;
pub(crate) mod progress;
pub(crate) mod records;
pub(crate) mod short_help;
pub(crate) mod stdout;
pub(crate) mod table;
