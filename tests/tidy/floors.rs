//! The floors of the house: which room may import from which, and no circle among files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::{files, refuse, root};

/// The floors, the highest first. A file imports from its own floor and below.
const FLOORS: [&[&str]; 8] = [
    &["fuzz"],
    &["cli"],
    &["announce", "push", "admin"],
    &["web", "probe", "docker", "target"],
    &["upstream", "etcd"],
    &["model"],
    &["systemd"],
    &["util"],
];

#[test]
fn every_room_imports_from_its_own_floor_and_below() {
    let modules = Modules::read();
    let floor = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        FLOORS.iter().position(|floor| floor.contains(&room))
    };
    let homeless = modules
        .files
        .keys()
        .filter(|module| floor(module).is_none());
    refuse("give it a room", &homeless.cloned().collect::<Vec<_>>());
    let upwards = modules.imports.iter().flat_map(|(module, imported)| {
        let above = imported.iter().filter(|other| floor(other) < floor(module));
        above.map(move |other| format!("{module} imports {other}"))
    });
    refuse("it lies above", &upwards.collect::<Vec<_>>());
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let modules = Modules::read();
    let circles = modules.files.keys().filter_map(|module| {
        let reached = modules.reached_from(module);
        let others: Vec<_> = reached
            .iter()
            .filter(|other| modules.reached_from(other).contains(module))
            .collect();
        reached
            .contains(module)
            .then(|| format!("{module}: {others:?}"))
    });
    refuse(
        "it imports itself by way of others",
        &circles.collect::<Vec<_>>(),
    );
}

/// The files of `src` without those of tests, by their modules, and which imports which.
struct Modules {
    files: BTreeMap<String, PathBuf>,
    /// Every path that a file spells.
    paths: BTreeMap<String, BTreeSet<String>>,
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Modules {
    fn read() -> Self {
        let src = root().join("src");
        let mut all = BTreeMap::new();
        for path in files() {
            let Ok(below) = path.strip_prefix(&src) else {
                continue;
            };
            let below = below.with_extension("");
            let module = below.to_str().unwrap().replace('/', "::");
            let of_tests = |part: &str| ["tests", "fake", "fake_http", "fixtures"].contains(&part);
            if !["lib", "main"].contains(&&*module) && !module.split("::").any(of_tests) {
                all.insert(module, path);
            }
        }
        let text = |path| fs::read_to_string(path).unwrap();
        let spelled = all.iter();
        let spelled = spelled.map(|(module, path)| (module.clone(), paths(&text(path))));
        let mut all = Self {
            paths: spelled.collect(),
            files: all,
            imports: BTreeMap::new(),
        };
        let of = |module: &String| {
            let named = all.paths[module].iter();
            let named = named.filter_map(|path| all.owner(module, path, 0));
            // A file and those that stand below it are one: it declares them, and they see all of it.
            let own = |other: &String| is_below(other, module) || is_below(module, other);
            let imports = named.filter(|other| !own(other)).collect();
            (module.clone(), imports)
        };
        all.imports = all.files.keys().map(of).collect();
        all
    }

    /// The file in which what is called `path` in `module` stands, not one that only passes it on.
    fn owner(&self, module: &str, path: &str, depth: usize) -> Option<String> {
        let whole = absolute(module, path);
        let length = (1..=whole.len())
            .rev()
            .find(|length| self.files.contains_key(&whole[..*length].join("::")))?;
        let found = whole[..length].join("::");
        let name = whole.get(length);
        let passed_on = name.and_then(|name| {
            let ends = format!("::{name}");
            let by_name = |path: &&String| path.ends_with(&ends) && **path != ends;
            // What it spells to use it by itself leads there as well.
            let mut known = self.paths[&found].iter().filter(by_name);
            known.find_map(|path| {
                let further = depth < 4 && absolute(&found, path) != whole;
                further.then(|| self.owner(&found, path, depth + 1))?
            })
        });
        Some(passed_on.unwrap_or(found))
    }

    fn reached_from(&self, module: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<_> = self.imports[module].iter().collect();
        while let Some(next) = open.pop() {
            if reached.insert(next.clone()) {
                open.extend(&self.imports[next]);
            }
        }
        reached
    }
}

/// Whether a module is this one or stands below it.
fn is_below(module: &str, other: &str) -> bool {
    let rest = module.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path of this crate that a text spells, in imports and elsewhere, without what comments say and what tests import.
fn paths(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    let is_part = |c: char| c.is_alphanumeric() || "_:".contains(c);
    for root in ["crate::", "super::", "self::", "use "] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(is_part) {
                continue;
            }
            // A child of the file may be imported by its bare name.
            let rest = code[at..].trim_start_matches("use ");
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (path, behind) = rest.split_at(end);
            match behind.strip_prefix('{') {
                Some(group) => found.extend(
                    members(group)
                        .into_iter()
                        .map(|member| format!("{path}{member}")),
                ),
                None => drop(found.insert(path.to_owned())),
            }
        }
    }
    found
}

/// What a group of imports names: `a, b::{c, d}}` gives `a`, `b::c` and `b::d`.
fn members(group: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // What stands before each group that is open.
    let mut before = vec![String::new()];
    let mut name = String::new();
    for c in group.chars() {
        let last = before.last().map_or("", String::as_str);
        let whole = format!(
            "{last}{}",
            name.split_whitespace().next().unwrap_or_default()
        );
        match c {
            '{' => before.push(whole),
            ',' | '}' if !name.is_empty() => drop(names.insert(whole)),
            _ => {}
        }
        match c {
            '{' | ',' => name.clear(),
            '}' => {
                name.clear();
                before.pop();
                if before.is_empty() {
                    break;
                }
            }
            c if c.is_whitespace() && name.is_empty() => {}
            c => name.push(c),
        }
    }
    names
}

/// The parts of a path that `module` spells, from the crate on.
fn absolute(module: &str, path: &str) -> Vec<String> {
    let mut whole: Vec<_> = module.split("::").collect();
    let mut parts = path.split("::").peekable();
    if parts.next_if_eq(&"crate").is_some() {
        whole.clear();
    }
    while parts.next_if_eq(&"super").is_some() {
        whole.pop();
    }
    parts.next_if_eq(&"self");
    whole.extend(parts);
    whole.into_iter().map(str::to_owned).collect()
}
