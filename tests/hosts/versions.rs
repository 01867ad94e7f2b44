//! The table of versions on the front page, against what the image of a host has.

use std::collections::HashMap;

use crate::host_harness::shipped;
use crate::support::hosts::versions;

/// The columns of the table, and the packages that are theirs. Docker is not in the image.
const COLUMNS: [(&str, &str); 5] = [
    ("systemd", "systemd"),
    ("etcd", "etcd-server"),
    ("nginx", "nginx"),
    ("lua module", "libnginx-mod-http-lua"),
    ("Podman", "podman"),
];

#[test]
fn the_front_page_names_the_versions_that_are_tested() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can make the image of a host");
        return;
    }
    let debian = std::env::var("SIDEKICK_TEST_DEBIAN");
    let debian = debian.unwrap_or_else(|_| "trixie".to_owned());
    let page = shipped("README.md");
    let rows = || page.lines().filter(|line| line.starts_with("| "));
    let row = rows().find(|line| line.starts_with(&format!("| {debian} ")));
    let row = cells(row.unwrap_or_else(|| panic!("no row of {debian}")));
    let head = cells(rows().find(|line| line.starts_with("| Debian ")).unwrap());
    let shown: HashMap<_, _> = head.into_iter().zip(row).collect();
    let said = versions();
    let found: HashMap<_, _> = said.lines().filter_map(|it| it.split_once(' ')).collect();
    for (column, package) in COLUMNS {
        let (shown, found) = (shown[column], upstream(found[package]));
        // A number of fewer parts stands for all that begin with it.
        let same = found == shown || found.starts_with(&format!("{shown}."));
        assert!(same, "{debian}: {column} {shown}, but {package} is {found}");
    }
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// A version of Debian without what is Debian's.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let end = version.find(['-', '+', '~']).unwrap_or(version.len());
    &version[..end]
}
