//! The stories of `examples/stories/`: each prints what its README shows.
//!
//! A README shows the command, and in the `text` block that follows, a part of the output. There, a number stands for any
//! number, but 0 for itself alone, so that nothing lost is nothing lost; `…` stands for anything.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{PATIENCE, Process, Signal, folder, procfs, send};

/// How long a story may take. It builds first, and another build may be on its way.
const LIMIT: Duration = PATIENCE.saturating_mul(15);

/// Fewer lines would say too little about a story.
const FEWEST_LINES: usize = 5;

/// What takes the place of a number.
const NUMBER: char = '\u{1}';

/// Stands for anything within a line; alone in its line, for lines that are left out.
const ANYTHING: &str = "…";

/// A story while it is told.
struct Story(Process);

/// Runs a story as a user would, and compares its output with what its README shows, and with the front page where that
/// shows it too.
///
/// # Panics
/// When it fails, prints something else, or leaves anything behind.
pub(crate) async fn prints_what_its_readme_shows(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = script(name);
    let excerpts = excerpts(root, name).unwrap_or_else(|wrong| panic!("{wrong}"));
    let folder = folder();
    let mut command = Command::new(root.join(&script));
    command.env("TMPDIR", folder.path());
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(is_of_cargo) {
            command.env_remove(variable);
        }
    }
    let mut story = Story(Process::start(&script, &mut command));
    let ended = story.0.end(LIMIT).await;
    assert_eq!(ended.code, Some(0), "{script}:\n{}", ended.output);
    for excerpt in excerpts {
        if let Err(wrong) = compare(&excerpt, &ended.output) {
            panic!("{script}: {wrong}\nIt printed:\n{}", ended.output);
        }
    }
    let left = fs::read_dir(folder.path()).expect("our own folder");
    let left: Vec<_> = left.flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{script} leaves {left:?}");
    let runs = procfs::all_with(&folder.path().display().to_string());
    assert!(runs.is_empty(), "{script} leaves processes: {runs:?}");
}

impl Drop for Story {
    fn drop(&mut self) {
        // What it has started ends by its own hand only. It has some seconds for that.
        if self.0.exited().is_none() && send(self.0.pid(), Signal::TERM).is_ok() {
            for _ in 0..200 {
                if self.0.exited().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50)); // a drop cannot await
            }
        }
    }
}

/// Whether cargo sets this variable for a test. A build script that looks at it would build all again, in the midst of
/// other tests.
fn is_of_cargo(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// The path of a story below the root.
pub(crate) fn script(name: &str) -> String {
    format!("examples/stories/{name}/run.sh")
}

/// What is shown of a story's output: in its own README, and on the front page if that has its command.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn excerpts(root: &Path, name: &str) -> Result<Vec<Vec<String>>, String> {
    let script = script(name);
    let read = |path: String| {
        fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))
    };
    let mut excerpts = vec![excerpt(
        &read(script.replace("run.sh", "README.md"))?,
        &script,
    )?];
    let front = read("README.md".to_owned())?;
    if front.contains(&script) {
        excerpts.push(excerpt(&front, &script)?);
    }
    Ok(excerpts)
}

/// What a README shows of a story's output: the lines of the `text` block that comes next behind the one block that has
/// its command.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn excerpt(readme: &str, script: &str) -> Result<Vec<String>, String> {
    let blocks = blocks(readme);
    let has_command = |block: &Block<'_>| {
        let mut words = block.lines.iter().flat_map(|line| line.split_whitespace());
        block.kind == "sh" && words.any(|word| word == script)
    };
    let shown: Vec<_> = (0..blocks.len())
        .filter(|&at| has_command(&blocks[at]))
        .collect();
    let [at] = shown[..] else {
        return Err(format!(
            "the README has {script} in {} blocks of commands (```sh) instead of one",
            shown.len()
        ));
    };
    let next = blocks.get(at + 1).filter(|block| block.kind == "text");
    let lines = next.map(|block| block.lines.iter().copied());
    let lines = lines.ok_or_else(|| {
        format!(
            "the README does not show the output of {script} in a ```text block behind its command"
        )
    })?;
    let told = |line: &&str| !line.trim().is_empty() && line.trim() != ANYTHING;
    let lines: Vec<_> = lines.filter(told).map(str::to_owned).collect();
    if lines.len() < FEWEST_LINES {
        return Err(format!(
            "the README shows only {} lines of the output of {script}, and {FEWEST_LINES} are the least",
            lines.len()
        ));
    }
    Ok(lines)
}

/// Whether all lines of an excerpt occur in an output, in their order.
///
/// # Errors
/// The first one that does not, in words.
pub(crate) fn compare(excerpt: &[String], output: &str) -> Result<(), String> {
    let mut output = output.lines().map(general);
    let mut above = None;
    for line in excerpt {
        let wanted = general(line);
        if !output.any(|said| fits(&wanted, &said)) {
            let behind = above.map_or(String::new(), |above| format!(" behind «{above}»"));
            return Err(format!(
                "it does not say what the README shows{behind}: «{line}»"
            ));
        }
        above = Some(line);
    }
    Ok(())
}

/// A fenced block of a Markdown text.
struct Block<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in text.lines() {
        match (line.trim().strip_prefix("```"), open.as_mut()) {
            (Some(kind), None) => {
                let lines = Vec::new();
                open = Some(Block { kind, lines });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

/// A line with `NUMBER` in place of every number but a lone 0, and single spaces. Digits behind a letter or a digit
/// belong to a name, as in `nginx1` and `v0.2.0`.
fn general(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let line = words.join(" ");
    let mut general = String::new();
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        let name = rest.len() - rest.trim_start_matches(is_part_of_name).len();
        let number = number(rest);
        let length = match number {
            0 => name.max(first.len_utf8()),
            _ => number,
        };
        let (part, behind) = rest.split_at(length);
        if number == 0 || part == "0" {
            general.push_str(part);
        } else {
            general.push(NUMBER);
        }
        rest = behind;
    }
    general
}

/// The length of the number at the beginning: digits, also around dots and commas.
fn number(text: &str) -> usize {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
    let digits = &text[..end.unwrap_or(text.len())];
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    digits.trim_end_matches(['.', ',']).len()
}

/// Whether a character goes on with a name or a version that begins with a letter.
fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || "._-".contains(c)
}

/// Whether a line is as wanted.
fn fits(wanted: &str, said: &str) -> bool {
    let Some((first, others)) = wanted.split_once(ANYTHING) else {
        return wanted == said;
    };
    let Some(mut said) = said.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = others.split(ANYTHING).collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = said.split_once(part) else {
            return false;
        };
        said = behind;
    }
    said.ends_with(last)
}
