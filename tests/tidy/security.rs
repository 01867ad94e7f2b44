//! What `examples/SECURITY.md` says is shown by tests that exist.

use std::fs;
use std::path::Path;

use super::{refuse, root};

/// The sentences of the page, each with what stands below it.
fn sentences(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in page.lines() {
        match found.last_mut() {
            _ if line.starts_with("- ") => found.push(line.to_owned()),
            Some(last) if line.starts_with("  ") => last.push_str(line),
            _ => {}
        }
    }
    found
}

/// What is quoted in it as the name of a test: `file::name`.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains("::"))
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
fn each_sentence_of_the_security_page_names_a_test_that_exists() {
    let page = fs::read_to_string(root().join("examples/SECURITY.md")).unwrap();
    let sentences = sentences(&page);
    assert!(sentences.len() > 30, "only {} are found", sentences.len());
    let mut wrong = Vec::new();
    for sentence in sentences {
        if tests_in(&sentence).next().is_none() {
            wrong.push(format!("no test: {sentence}"));
        }
        let missing = tests_in(&sentence).filter(|name| !exists(name));
        wrong.extend(missing.map(|name| format!("no such test: {name}")));
    }
    refuse("name a test that shows it", &wrong);
}

#[test]
fn a_sentence_is_all_that_is_indented_below_it() {
    let page = "# Title\n\nWords.\n\n- One. `a::b`,\n  `c::d`\n- Two\n\n## More\n";
    let found = sentences(page);
    assert_eq!(found.len(), 2);
    assert_eq!(tests_in(&found[0]).collect::<Vec<_>>(), ["a::b", "c::d"]);
    assert_eq!(tests_in(&found[1]).count(), 0);
    assert!(!exists("tidy::no_such_test"));
}
