//! Which of the machine's OCI runtimes starts a container for Podman.
//!
//! Podman prefers crun where it is installed, and not every machine's cgroups are to crun's liking.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// In the order of Podman's own preference.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// The path of the first runtime that starts a container. They are tried once, whatever many daemons are started.
pub(super) fn runtime() -> &'static Path {
    static TRIED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match TRIED.get_or_init(|| first_that_works(&installed(), starts_a_container)) {
        Ok(path) => path,
        Err(why) => panic!("{why}"),
    }
}

/// The runtimes of this machine.
fn installed() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let folders: Vec<_> = folders.collect();
    let find = |name| {
        let places = folders.iter().map(|folder: &PathBuf| folder.join(name));
        places.into_iter().find(|place| place.is_file())
    };
    RUNTIMES.into_iter().filter_map(find).collect()
}

/// The first that `works`, or one sentence that says why none does.
fn first_that_works(
    runtimes: &[PathBuf],
    works: impl Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for runtime in runtimes {
        match works(runtime) {
            Ok(()) => return Ok(runtime.clone()),
            Err(why) => reasons.push(format!("{}: {why}", runtime.display())),
        }
    }
    Err(if reasons.is_empty() {
        format!(
            "podman cannot run containers here: neither {} is installed",
            RUNTIMES.join(" nor ")
        )
    } else {
        format!("podman cannot run containers here: {}", reasons.join("; "))
    })
}

fn starts_a_container(runtime: &Path) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("sk").tempdir_in("/tmp");
    let folder = folder.expect("a temporary folder");
    let bin = folder.path().join("rootfs/bin");
    fs::create_dir_all(&bin).expect("our own folder");
    fs::copy("/bin/busybox", bin.join("true")).expect("busybox-static is installed");
    let mut command = super::docker::podman(folder.path(), runtime);
    command
        .args(["run", "--rm", "--network", "none", "--rootfs"])
        .arg(folder.path().join("rootfs"))
        .arg("/bin/true");
    let output = command.output();
    super::docker::unmount_all_in(folder.path());
    let output = output.map_err(|error| format!("podman: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().next_back().unwrap_or("it said nothing");
    Err(last.to_owned())
}

#[test]
fn the_first_runtime_that_starts_a_container_is_taken() {
    let both = ["/bin/crun", "/bin/runc"].map(PathBuf::from);
    let only = |good: &'static str| {
        move |path: &Path| match path.ends_with(good) {
            true => Ok(()),
            false => Err("cgroups are read-only".to_owned()),
        }
    };
    assert_eq!(first_that_works(&both, |_| Ok(())), Ok("/bin/crun".into()));
    assert_eq!(
        first_that_works(&both, only("runc")),
        Ok("/bin/runc".into())
    );
    let none = first_that_works(&both, only("none")).unwrap_err();
    assert!(none.contains("/bin/crun: cgroups") && none.contains("/bin/runc: cgroups"));
    assert_eq!(none.lines().count(), 1);
    let missing = first_that_works(&[], |_| Ok(())).unwrap_err();
    assert!(missing.contains("neither crun nor runc is installed"));
}
