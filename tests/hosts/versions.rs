//! The table of versions on the front page, against what the image of a host has, and this machine.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use crate::host_harness::shipped;
use crate::support::hosts::versions;

/// The columns of the table, and the packages that are theirs.
const COLUMNS: [(&str, &str); 6] = [
    ("systemd", "systemd"),
    ("etcd", "etcd-server"),
    ("nginx", "nginx"),
    ("lua module", "libnginx-mod-http-lua"),
    ("Docker", "docker.io"),
    ("Podman", "podman"),
];

/// What stands in a column that no test needs.
const NONE: &str = "–";

#[test]
fn the_front_page_names_the_versions_of_the_hosts_that_are_tested() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can make the image of a host");
        return;
    }
    let debian = std::env::var("SIDEKICK_TEST_DEBIAN");
    let debian = debian.unwrap_or_else(|_| "trixie".to_owned());
    let shown = row(&debian);
    // Docker is in the image for tests/suite alone.
    let whole = shown["Docker"] != NONE;
    compare(&debian, &shown, &versions(whole));
}

#[test]
fn the_front_page_names_the_versions_of_this_machine_where_it_is_bookworm() {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.contains("VERSION_CODENAME=bookworm") {
        eprintln!("not tested: this machine is another one");
        return;
    }
    let packages = COLUMNS.map(|(_, package)| package);
    let said = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${Version}\n"])
        .args(packages)
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    compare("bookworm", &row("bookworm"), &said);
}

/// The row of a Debian, by column.
fn row(debian: &str) -> HashMap<String, String> {
    let page = shipped("README.md");
    let rows = || page.lines().filter(|line| line.starts_with("| "));
    let row = rows().find(|line| line.starts_with(&format!("| {debian} ")));
    let row = cells(row.unwrap_or_else(|| panic!("no row of {debian}")));
    let head = cells(rows().find(|line| line.starts_with("| Debian ")).unwrap());
    let named = head.into_iter().zip(row);
    named
        .map(|(column, shown)| (column.to_owned(), shown.to_owned()))
        .collect()
}

/// What the row shows is installed: `PACKAGE VERSION`, one a line.
fn compare(debian: &str, shown: &HashMap<String, String>, installed: &str) {
    let lines = installed.lines();
    let found: HashMap<_, _> = lines.filter_map(|it| it.split_once(' ')).collect();
    let mut compared = 0;
    for (column, package) in COLUMNS {
        let shown = shown[column].as_str();
        if shown == NONE {
            continue;
        }
        let found = found.get(package);
        let found = upstream(found.unwrap_or_else(|| panic!("{debian}: no {package}")));
        // A number of fewer parts stands for all that begin with it.
        let same = found == shown || found.starts_with(&format!("{shown}."));
        assert!(same, "{debian}: {column} {shown}, but {package} is {found}");
        compared += 1;
    }
    assert!(compared >= 5, "{debian}: only {compared} are compared");
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
