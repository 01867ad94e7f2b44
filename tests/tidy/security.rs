//! What `examples/SECURITY.md` says is shown by tests that exist.

use std::fs;
use std::path::Path;

use super::{refuse, root};

/// The page: its points, and what stands outside of them behind the first one.
#[derive(Debug, Default)]
struct Page {
    points: Vec<String>,
    beside: Vec<String>,
}

impl Page {
    /// A point is all that is indented below it.
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            match page.points.last_mut() {
                _ if line.starts_with("- ") => page.points.push(line[2..].to_owned()),
                Some(last) if line.starts_with("  ") => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                Some(_) if !line.is_empty() && !line.starts_with('#') => {
                    page.beside.push(line.to_owned());
                }
                _ => {}
            }
        }
        page
    }
}

/// A sentence, and the tests that stand directly behind it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claim {
    words: String,
    tests: Vec<String>,
}

/// The sentences of a point. The title that it may begin with, such as `**Records.**`, claims nothing.
fn claims(point: &str) -> Vec<Claim> {
    let titled = point.strip_prefix("**").and_then(|it| it.split_once(".**"));
    let body = titled.map_or(point, |(_, body)| body);
    let mut claims = Vec::new();
    let mut claim = Claim::default();
    for (index, part) in body.split('`').enumerate() {
        if index % 2 == 1 && part.contains("::") {
            claim.tests.push(part.to_owned());
        } else if index % 2 == 1 {
            // A command or a path, whose full stops end nothing.
            claim.words.push_str(&part.replace('.', "_"));
        } else if part.trim_matches([',', ' ']).is_empty() && !claim.tests.is_empty() {
            // Between two tests.
        } else {
            let sentences: Vec<_> = part.split_inclusive(". ").collect();
            for (number, sentence) in sentences.into_iter().enumerate() {
                // Words behind tests, or behind a full stop, begin another sentence.
                if number > 0 || !claim.tests.is_empty() {
                    claims.push(std::mem::take(&mut claim));
                }
                claim.words.push_str(sentence);
            }
        }
    }
    claims.push(claim);
    claims.retain(|it| !it.words.trim().is_empty());
    claims
}

/// Whether a file of the suite, or of the source, has a test of this name.
fn exists(name: &str) -> bool {
    let Some((file, test)) = name.rsplit_once("::") else {
        return false;
    };
    let file = format!("{}.rs", file.replace("::", "/"));
    ["tests/suite", "src"].iter().any(|folder| {
        let path = Path::new(root()).join(folder).join(&file);
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let declared = [format!("fn {test}()"), format!("async fn {test}()")];
        lines.windows(2).any(|two| {
            let is_test = two[0].starts_with("#[test]") || two[0].starts_with("#[tokio::test");
            is_test && declared.iter().any(|it| two[1].starts_with(it.as_str()))
        })
    })
}

#[test]
fn behind_each_sentence_of_the_security_page_stands_a_test_that_exists() {
    let page = fs::read_to_string(root().join("examples/SECURITY.md")).unwrap();
    let page = Page::read(&page);
    assert!(page.points.len() > 40, "only {}", page.points.len());
    refuse("make it a point, with its test", &page.beside);
    let mut wrong = Vec::new();
    for claim in page.points.iter().flat_map(|point| claims(point)) {
        if claim.tests.is_empty() {
            wrong.push(format!("no test: {}", claim.words));
        }
        let missing = claim.tests.iter().filter(|name| !exists(name));
        wrong.extend(missing.map(|name| format!("no such test: {name}")));
    }
    refuse("name a test that shows it", &wrong);
}

#[test]
fn a_point_is_all_that_is_indented_below_it() {
    let page =
        Page::read("# Title\n\nWords.\n\n- One.\n  `c::d`\n- Two\n\n## More\n\nAnd so on.\n");
    assert_eq!(page.points, ["One. `c::d`", "Two"]);
    assert_eq!(page.beside, ["And so on."]);
}

#[test]
fn a_sentence_has_the_tests_that_stand_directly_behind_it() {
    let claim = |words: &str, tests: &[&str]| Claim {
        words: words.to_owned(),
        tests: tests.iter().map(|&test| test.to_owned()).collect(),
    };
    let one = claims("**Title.** With `a.b c.` and 3.5.16. `a::b`, `c::d`");
    assert_eq!(one, [claim(" With a_b c_ and 3.5.16. ", &["a::b", "c::d"])]);
    let two = claims("Shown. `a::b` **Not** shown, but said.");
    let expected = [
        claim("Shown. ", &["a::b"]),
        claim(" **Not** shown, but said.", &[]),
    ];
    assert_eq!(two, expected);
    let two = claims("Not shown. Shown. `a::b`");
    let expected = [claim("Not shown. ", &[]), claim("Shown. ", &["a::b"])];
    assert_eq!(two, expected);
    assert!(!exists("tidy::no_such_test"));
}
