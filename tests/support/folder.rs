//! Temporary folders that tell whose they are.

use tempfile::{Builder, TempDir};

/// A new empty folder, removed when dropped.
pub(crate) fn folder() -> TempDir {
    Builder::new()
        .prefix("sidekick-test-")
        .tempdir()
        .expect("a temporary folder")
}
