//! Temporary folders that tell whose they are, and copies of folders.

use std::fs;
use std::path::Path;

use tempfile::{Builder, TempDir};

/// A new empty folder, removed when dropped.
pub(crate) fn folder() -> TempDir {
    Builder::new()
        .prefix("sidekick-test-")
        .tempdir()
        .expect("a temporary folder")
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("our own folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a folder");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("our own file");
        }
    }
}
