//! A file system of a few pages that can be filled.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted over a folder; gone when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(crate) fn mount(folder: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
        let mounted = mount.arg(folder).status().expect("mount");
        assert!(mounted.success(), "only root can mount");
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Until there is no room for a byte more.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.filling()).expect("a file on it");
        while file.write_all(&[b'x'; 512]).is_ok() {}
    }

    pub(crate) fn make_room(&self) {
        let _ = fs::remove_file(self.filling());
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(&self.folder).status();
    }
}
