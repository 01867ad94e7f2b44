//! Rules of this repository that the compiler does not know.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test says no"
)]

mod dependencies;
mod floors;
mod security;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that is committed, but for the lock file and the licence.
const COMMITTED: [&str; 8] = [
    "src",
    "tests",
    "examples",
    "units",
    ".ci",
    "README.md",
    "CHANGELOG.md",
    "Cargo.toml",
];

/// This file, which spells what it forbids.
const HERE: &str = "tests/tidy/main.rs";

/// What stands at the top of the repository, beside files whose names begin with a dot.
const TOP_LEVEL: [&str; 9] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "examples",
    "src",
    "tests",
    "units",
];

/// Found in a file: where, and the line.
type Finding = String;

#[test]
fn time_is_tokio_time_and_the_environment_is_never_written() {
    // Tests pause and advance tokio's clock; the other one would go on. And writing the environment is a data race.
    let forbidden = ["std::time::Instant", "env::set_var", "env::remove_var"];
    let found = find(&["rs"], |line, _| {
        let code = line.split("//").next().unwrap_or_default();
        let imported = code.contains("use std::time::") && code.contains("Instant");
        imported || forbidden.iter().any(|text| code.contains(text))
    });
    refuse("use tokio::time::Instant, jiff, and Command::env", &found);
}

#[test]
fn no_committed_file_names_a_folder_of_somebodys_machine() {
    const STANDARD: [&str; 17] = [
        "bin", "boot", "dev", "etc", "lib", "lib64", "media", "mnt", "opt", "proc", "run", "sbin",
        "srv", "sys", "tmp", "usr", "var",
    ];
    let mut folders = vec!["/home/".to_owned(), "/root/".to_owned()];
    // The folder in which this very checkout lies.
    let own = root()
        .components()
        .nth(1)
        .and_then(|part| part.as_os_str().to_str());
    folders.extend(
        own.filter(|own| !STANDARD.contains(own))
            .map(|own| format!("/{own}/")),
    );
    let found = find(&[], |line, _| {
        folders.iter().any(|folder| {
            // Behind a letter or a dot it is the end of a longer path or of a URL.
            line.match_indices(folder.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-}/".contains(c))
            })
        })
    });
    refuse("make it relative, or a parameter", &found);
}

#[test]
fn unit_tests_stand_in_files_of_their_own() {
    let inline = |line: &str, _: &str| line.starts_with("mod ") && line.ends_with("tests {");
    refuse("put them into tests.rs below it", &find(&[".rs"], inline));
}

#[test]
fn no_file_of_the_source_is_too_long_to_be_read_at_once() {
    let long = files().into_iter().filter_map(|path| {
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        let source = path.starts_with(root().join("src")) && !is_test;
        let lines = source.then(|| fs::read_to_string(&path).unwrap().lines().count())?;
        (lines >= 400).then(|| format!("{}: {lines} lines", path.display()))
    });
    refuse("split it", &long.collect::<Vec<_>>());
}

#[test]
fn nothing_strange_stands_at_the_top_of_the_repository() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let entries = fs::read_dir(root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strangers: Vec<_> = names
        .filter(|name| !name.starts_with('.') && !ignored.contains(&name.as_str()))
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    refuse("move it into one of the folders, or delete it", &strangers);
}

#[test]
fn every_sleep_in_a_test_says_why_it_is_no_condition() {
    let found = find(&["rs", "sh"], |line, above| {
        let sleeps = line.contains("sleep(") || line.trim_start().starts_with("sleep ");
        let says_why = |line: &str| line.contains("// ") || line.contains("# ");
        sleeps && !says_why(line) && !says_why(above)
    });
    let in_tests = found
        .into_iter()
        .filter(|found| found.starts_with("tests/"));
    refuse(
        "wait for a condition by `until`, or say why not",
        &in_tests.collect::<Vec<_>>(),
    );
}

#[test]
fn no_documented_example_is_left_out_of_the_tests() {
    let marks = ["```ignore", "```rust,ignore", "```rust, ignore"];
    let found = find(&["rs", "md"], |line, _| {
        marks.iter().any(|mark| line.contains(mark))
    });
    refuse(
        "let it compile (`no_run` if need be), or make it `text`",
        &found,
    );
}

#[test]
fn every_script_is_executable_and_parses() {
    use std::os::unix::fs::PermissionsExt;
    let mut scripts = files();
    scripts.retain(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!")));
    assert!(scripts.len() >= 3, "the scripts are gone: {scripts:?}");
    for script in scripts {
        let mode = fs::metadata(&script).unwrap().permissions().mode();
        assert!(
            mode & 0o111 == 0o111,
            "not executable: {}",
            script.display()
        );
        let check = Command::new("bash")
            .arg("-n")
            .arg(&script)
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        );
    }
}

#[test]
fn every_link_of_a_readme_leads_to_a_file() {
    let mut links = 0;
    let mut broken = Vec::new();
    for path in files() {
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let (target, _anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") || target.is_empty() {
                continue;
            }
            links += 1;
            if !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(links > 10, "only {links} links are found");
    refuse("no such file", &broken);
}

#[test]
fn every_flag_that_a_readme_or_a_manual_page_shows_exists() {
    let subcommands = subcommands();
    let known: BTreeMap<_, _> = subcommands
        .iter()
        .map(|subcommand| (subcommand.as_str(), help(&[subcommand, "--help"])))
        .collect();
    let all: BTreeSet<_> = known.values().flat_map(|help| flags_in(help)).collect();
    let mut shown_at_all = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let shown = sidekick_commands(&text, &subcommands);
        for (subcommand, flags) in &shown {
            let known: BTreeSet<_> = flags_in(&known[subcommand.as_str()]).collect();
            let unknown = flags.iter().filter(|flag| !known.contains(flag.as_str()));
            wrong.extend(unknown.map(|flag| format!("{path}: sidekick {subcommand} {flag}")));
        }
        // In prose a flag stands alone.
        for code in text.split('`').filter(|code| code.starts_with("--")) {
            let unknown = flags_in(code).filter(|flag| !all.contains(flag));
            wrong.extend(unknown.map(|flag| format!("{path}: {flag}")));
        }
        if path == "README.md" {
            shown_at_all.extend(shown.into_keys());
        }
    }
    refuse("sidekick has no such flag", &wrong);
    assert_eq!(
        shown_at_all,
        subcommands
            .into_iter()
            .filter(|name| name != "help")
            .collect(),
        "left: the commands that README.md shows, right: those that there are"
    );
}

#[test]
fn every_variable_that_the_source_reads_by_name_stands_in_the_manual() {
    let page = fs::read_to_string(root().join("src/cli/commands/manual/sidekick.roff")).unwrap();
    let mut variables = BTreeSet::new();
    for path in files() {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if !name.starts_with("src/") || name.contains("tests") || !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let calls = text.split("var(\"").skip(1);
        let calls = calls.chain(text.split("var_os(\"").skip(1));
        variables.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
    }
    assert!(variables.len() > 5, "only {variables:?} are found");
    let missing: Vec<_> = variables
        .into_iter()
        .filter(|variable| !page.contains(&format!("\\fB{variable}\\fR")))
        .collect();
    refuse("name it in the manual page of sidekick", &missing);
}

#[test]
fn the_front_page_is_short() {
    const MOST_LINES: usize = 200;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines <= MOST_LINES, "README.md has {lines} lines");
}

#[test]
fn commands_are_found_in_code_and_over_continued_lines() {
    let text = "Run `sidekick push --once`.\n```\nExecStart=/usr/bin/sidekick announce a/b \\\n  --ttl 5s --probe=/x\n```\n";
    let found = sidekick_commands(text, &["announce", "push"].map(str::to_owned));
    let flags = |subcommand: &str| found[subcommand].iter().cloned().collect::<Vec<_>>();
    assert_eq!(flags("push"), ["--once"]);
    assert_eq!(flags("announce"), ["--probe", "--ttl"]);
}

/// The READMEs and the manual pages, as text in which code stands between backticks: where each is, and what it says.
fn documents() -> Vec<(String, String)> {
    let mut documents = Vec::new();
    for path in files() {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !matches!(ending, Some("md" | "roff" | "5")) {
            continue;
        }
        let mut text = fs::read_to_string(&path).unwrap();
        if ending != Some("md") {
            text = text.replace("\\-", "-").replace("\\f", "`\\f");
            text = text.replace("\\fB", "").replace("\\fR", "");
        }
        let path = path.strip_prefix(root()).unwrap();
        documents.push((path.display().to_string(), text));
    }
    assert!(documents.len() > 10, "{documents:?}");
    documents
}

/// What the program prints.
fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidekick"));
    let output = command.args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of the program, as its help lists them.
fn subcommands() -> Vec<String> {
    let help = help(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.trim().is_empty());
    // What is indented further goes on with the line before it.
    let listed = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = listed
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert!(names.len() >= 10, "the help is not understood: {help}");
    names
}

/// The flags of every `sidekick SUBCOMMAND …` in a text, by subcommand.
fn sidekick_commands(text: &str, subcommands: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let text = text.replace("\\\n", " ").replace("&&", "\n");
    // A backtick ends a command in prose, a new line one in a block.
    for code in text.split(['`', '\n']) {
        let Some((_, command)) = code.split_once("sidekick ") else {
            continue;
        };
        let subcommand = command.split_whitespace().next().unwrap_or_default();
        if subcommands.iter().any(|known| known == subcommand) {
            let flags = found.entry(subcommand.to_owned()).or_default();
            flags.extend(flags_in(command).map(str::to_owned));
        }
    }
    found
}

/// Everything that looks like `--flag`.
fn flags_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
}

/// Lines for which `wrong(line, line above)` holds, in files with these endings, or in all.
fn find(endings: &[&str], wrong: impl Fn(&str, &str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in files() {
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if name == HERE || !(endings.is_empty() || endings.contains(&ending)) {
            continue;
        }
        // What is not text has no lines to judge.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let mut above = "";
        for (number, line) in text.lines().enumerate() {
            if wrong(line, above) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
            above = line;
        }
    }
    found
}

#[track_caller]
fn refuse(instead: &str, found: &[Finding]) {
    assert!(found.is_empty(), "{instead}:\n  {}", found.join("\n  "));
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<_> = COMMITTED.iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.exists() {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
