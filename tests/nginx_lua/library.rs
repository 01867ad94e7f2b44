//! The library as a whole: many small files that depend on each other in one direction.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of the longest file.
const LONGEST: usize = 200;

/// Names at the top of a file. LuaJIT refuses the 201st.
const MOST_LOCALS: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx-lua/lib")
}

/// The text of every module, by the name that `require` takes.
fn modules() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let name = path.strip_prefix(folder()).unwrap().with_extension("");
        let name = name.to_str().unwrap().replace('/', ".");
        found.insert(name, fs::read_to_string(&path).unwrap());
    }
    assert!(found.len() > 20, "{:?}", found.keys());
    found
}

/// How many names the `local` lines at the top of a file declare.
fn locals(text: &str) -> usize {
    let declared = text.lines().filter_map(|line| line.strip_prefix("local "));
    declared
        .map(|line| match line.strip_prefix("function ") {
            Some(_) => 1,
            None => line.split('=').next().unwrap_or(line).split(',').count(),
        })
        .sum()
}

/// The modules of the library that a text requires.
fn required(text: &str) -> Vec<&str> {
    let calls = text.lines().filter(|line| !line.starts_with("--"));
    let calls = calls.filter_map(|line| line.split_once("require"));
    let names = calls.filter_map(|(_, rest)| rest.split('"').nth(1));
    names.filter(|name| name.starts_with("upstream_")).collect()
}

#[test]
fn every_file_is_short_says_what_it_is_for_and_is_far_from_the_limit_of_locals() {
    for (name, text) in modules() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{name} has {lines} lines: split it");
        let locals = locals(&text);
        assert!(
            locals <= MOST_LOCALS,
            "{name} has {locals} locals at its top: split it"
        );
        assert!(
            text.starts_with(&format!("-- {name}: ")),
            "{name}: no comment at its head"
        );
        let long = text.lines().find(|line| line.chars().count() > 120);
        assert_eq!(long, None, "{name}: wrap it");
    }
}

#[test]
fn no_file_requires_itself_over_others() {
    let modules = modules();
    let mut left: BTreeMap<_, _> = modules
        .iter()
        .map(|(name, text)| (name.as_str(), required(text)))
        .collect();
    assert!(left["upstream_api"].len() > 5, "{left:?}");
    for (name, needs) in &left {
        for need in needs {
            assert!(
                modules.contains_key(*need),
                "{name} requires {need}, which is not there"
            );
        }
    }
    // Takes away what needs nothing that is left, until nothing moves.
    loop {
        let before = left.len();
        let names: Vec<_> = left.keys().copied().collect();
        left.retain(|_, needs| needs.iter().any(|need| names.contains(need)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "a circle, or what leads to one: {left:?}");
}
