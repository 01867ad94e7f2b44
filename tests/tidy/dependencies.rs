//! What the program is made of besides its own code: from where, under which licence, how often, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{refuse, root};

/// Where every dependency comes from: the index of crates.io.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Our own package, which comes from this folder.
const OWN: &str = env!("CARGO_PKG_NAME");

/// Licences under which we may pass on what we link.
const LICENCES: [&str; 8] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates of which other crates still need two versions. A second one of any other would cost memory or, worse, be a second
/// global state.
const TWICE: [&str; 4] = ["base64", "getrandom", "hashbrown", "syn"];

/// Crates that are not let in, and why.
const BANNED: [(&str, &str); 6] = [
    ("aws-lc-sys", "ring is there already, and needs no cmake"),
    ("chrono", "jiff is there already"),
    ("native-tls", "rustls is there already"),
    (
        "openssl-sys",
        "rustls is there already, and the program is static",
    ),
    ("time", "jiff is there already"),
    (
        "webpki-roots",
        "authorities are the system's, which an operator can change",
    ),
];

#[test]
fn every_dependency_comes_from_crates_io_under_a_licence_we_may_pass_on() {
    let mut found = String::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        if source != Some(REGISTRY) && name != OWN {
            let source = source.unwrap_or("a folder");
            writeln!(found, "{name} comes from {source}").unwrap();
        }
        let licence = package["license"].as_str().unwrap_or("none given");
        if !may_pass_on(licence) {
            writeln!(found, "{name} is under {licence}").unwrap();
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn every_crate_is_there_once_but_for_those_that_others_need_twice() {
    let mut versions = BTreeMap::<String, BTreeSet<String>>::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap().to_owned();
        versions
            .entry(text("name"))
            .or_default()
            .insert(text("version"));
    }
    let several = versions.iter().filter(|(_, found)| found.len() > 1);
    let several: BTreeMap<_, _> = several.map(|(name, found)| (&**name, found)).collect();
    let unknown = several.iter().filter(|(name, _)| !TWICE.contains(name));
    let unknown: Vec<_> = unknown
        .map(|(name, found)| format!("{name}: {found:?}"))
        .collect();
    refuse("let all of them use one version", &unknown);
    let gone = TWICE.iter().filter(|name| !several.contains_key(*name));
    let gone: Vec<_> = gone.map(|name| (*name).to_owned()).collect();
    refuse("there once: take it out of the list", &gone);
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let packages = packages();
    let names: BTreeSet<_> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let found = BANNED.iter().filter(|(name, _)| names.contains(name));
    let found: Vec<_> = found.map(|(name, why)| format!("{name}: {why}")).collect();
    refuse("leave it out", &found);
}

#[test]
fn beside_every_direct_dependency_stands_why_it_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let known = direct(&manifest);
    assert!(known.len() > 30, "only {} are found", known.len());
    let without = known.into_iter().filter(|(_, says_why)| !says_why);
    let without: Vec<_> = without.map(|(line, _)| line.to_owned()).collect();
    refuse("say what it is for", &without);
}

/// The lines of a manifest that name a dependency, and whether it says why: above it, or behind it. A line of its own, in a
/// table of dependencies; or the head of a table of its own, such as `[dependencies.serde]`.
fn direct(manifest: &str) -> Vec<(&str, bool)> {
    let (mut within, mut above) = (false, "");
    let mut found = Vec::new();
    for line in manifest.lines() {
        let code = line.split(" #").next().unwrap_or_default().trim();
        let head = code
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(head) = head {
            within = head.ends_with("dependencies");
        }
        let names_one = match head {
            Some(head) => head.contains("dependencies."),
            None => within && !code.starts_with('#') && code.contains('='),
        };
        if names_one {
            let says_why = above.starts_with("# ") || line.contains(" # ");
            found.push((line, says_why));
        }
        above = line;
    }
    found
}

#[test]
fn dependencies_are_found_in_every_kind_of_table() {
    let manifest = "\
[package]
name = \"x\"

[dependencies]
# Why.
a = \"1\"
b = \"1\" # why
c=\"1\"

[dependencies.d]
version = \"1\"

# Why.
[target.'cfg(unix)'.dev-dependencies.e]
version = \"1\"

[target.'cfg(unix)'.build-dependencies] # these
f.version = \"1\"

[lints.rust]
unsafe_code = \"forbid\"
";
    let found = direct(manifest);
    let expected = [
        ("a = \"1\"", true),
        ("b = \"1\" # why", true),
        ("c=\"1\"", false),
        ("[dependencies.d]", false),
        ("[target.'cfg(unix)'.dev-dependencies.e]", true),
        ("f.version = \"1\"", false),
    ];
    assert_eq!(found, expected);
}

#[test]
fn licence_expressions_are_read_as_written() {
    assert!(may_pass_on("MIT OR Apache-2.0"));
    assert!(may_pass_on("MIT/Apache-2.0"));
    assert!(may_pass_on("GPL-3.0 OR MIT"));
    assert!(may_pass_on("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(may_pass_on("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
    assert!(!may_pass_on("GPL-3.0"));
    assert!(!may_pass_on("MIT AND GPL-3.0"));
    assert!(!may_pass_on("(MIT OR Apache-2.0) AND GPL-3.0"));
    assert!(!may_pass_on("none given"));
}

/// Whether an SPDX expression leaves us a choice of allowed licences. Alternatives stand inside what is joined by AND.
fn may_pass_on(licence: &str) -> bool {
    let licence = licence.replace('/', " OR ").replace(['(', ')'], "");
    licence.split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|choice| LICENCES.contains(&choice.trim()))
    })
}

/// What is linked or run on this kind of machine, as Cargo.lock has it; needs no network.
fn packages() -> Vec<Value> {
    let cargo = env!("CARGO");
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.clone()
}
