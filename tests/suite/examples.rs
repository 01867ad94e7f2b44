//! The stories of `examples/stories/`: each is run, and prints what its README shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::examples::{compare, excerpt, excerpts, prints_what_its_readme_shows, script};

/// Told by another test, among the hosts that it needs.
const TOLD_ELSEWHERE: [&str; 1] = ["cluster"];

/// A test for each, so that they run side by side.
macro_rules! told_here {
    ($($test:ident: $example:literal,)*) => {
        const TOLD_HERE: &[&str] = &[$($example),*];

        $(
            #[tokio::test]
            async fn $test() {
                prints_what_its_readme_shows($example).await;
            }
        )*
    };
}

told_here! {
    a_backend_that_fails_prints_what_its_readme_shows: "failing-health",
    the_hello_prints_what_its_readme_shows: "hello",
    the_quickstart_prints_what_its_readme_shows: "quickstart",
    the_confd_story_prints_what_its_readme_shows: "confd",
    the_nginx_plus_story_prints_what_its_readme_shows: "nginx-plus",
    the_vulcand_story_prints_what_its_readme_shows: "vulcand",
}

#[test]
fn every_story_is_run_by_a_test_and_shown_in_its_readme_and_named_on_the_front_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = fs::read_dir(root.join("examples/stories")).expect("our own folder");
    let folders = folders.map(|entry| entry.expect("our own folder"));
    let there: BTreeSet<_> = folders
        .filter(|entry| entry.path().join("run.sh").exists())
        .map(|entry| entry.file_name().into_string().expect("a plain name"))
        .collect();
    let told = TOLD_HERE.iter().chain(&TOLD_ELSEWHERE);
    let told: BTreeSet<_> = told.map(|&name| name.to_owned()).collect();
    assert_eq!(
        there, told,
        "left: examples/stories/*/run.sh, right: run by tests"
    );
    let wrong: Vec<_> = there
        .iter()
        .filter_map(|name| excerpts(root, name).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let front = fs::read_to_string(root.join("README.md")).expect("it is there");
    for name in there {
        let link = format!("(examples/stories/{name}/)");
        assert!(front.contains(&link), "README.md has no link to {link}");
    }
}

/// A README with one story.
const README: &str = "\
```sh
sudo -E examples/stories/first/run.sh
```

says:

```text
1. One
…
  $ curl 'http://127.0.0.1:20112/'
  ✓ nginx2 is back after 0.7 s
  nginx1   66   nginx2    0   failed 0
  {\"host\":\"127.0.0.1\",…,\"nonce\":\"…\"}
```
";

/// What that story says.
const OUTPUT: &str = "\
Building
1. One
  something else
  $ curl 'http://127.0.0.1:9/'
  ✓ nginx2 is back after 12 s
  nginx1  107   nginx2    0   failed 0
  {\"host\":\"127.0.0.1\",\"port\":1,\"nonce\":\"6660ee4a\"}
the end";

#[test]
fn numbers_and_what_is_left_out_may_differ_from_what_the_readme_shows() {
    assert_eq!(read(OUTPUT), Ok(()));
    // What stands in the README is what a story may say.
    let (_, block) = README.split_once("```text\n").unwrap();
    assert_eq!(read(block), Ok(()));
}

#[test]
fn a_story_that_says_something_else_than_the_readme_is_found_out() {
    for (from, to) in [
        ("1. One\n", ""),
        ("is back", "is gone"),
        ("failed 0", "failed 3"),
        ("nginx1  107", "nginx1    0"),
        ("✓ nginx2", "✓ nginx3"),
        ("after 12 s", "after a while"),
        ("{\"host\"", "{\"post\""),
        ("6660ee4a\"}", "6660ee4a\"} and more"),
        ("failed 0", "failed 0 and more"),
    ] {
        let output = OUTPUT.replacen(from, to, 1);
        assert_ne!(output, OUTPUT);
        assert!(read(&output).is_err(), "{from} → {to}");
    }
    let wrong = read(&OUTPUT.replace("is back", "is gone")).unwrap_err();
    assert_eq!(
        wrong,
        "it does not say what the README shows behind «  $ curl 'http://127.0.0.1:20112/'»: \
         «  ✓ nginx2 is back after 0.7 s»"
    );
}

#[test]
fn the_order_counts_in_which_a_story_says_it() {
    const BACK: &str = "  ✓ nginx2 is back after 12 s\n";
    let also_before = format!("{BACK}{OUTPUT}");
    assert_eq!(read(&also_before), Ok(()));
    let only_before = format!("{BACK}{}", OUTPUT.replacen(BACK, "", 1));
    assert!(read(&only_before).is_err(), "{only_before}");
}

#[test]
fn a_readme_that_does_not_show_what_a_story_says_is_found_out() {
    let script = script("first");
    assert!(excerpt(README, &script).is_ok());
    for (wrong, named) in [
        (String::new(), "in 0 blocks"),
        (README.repeat(2), "in 2 blocks"),
        (README.replace("first", "other"), "in 0 blocks"),
        (README.replace("```sh", "```text"), "in 0 blocks"),
        (README.replace("```text", "```sh"), "does not show"),
        (
            README.replace("says:", "```sh\nls\n```"),
            "does not show the output",
        ),
        (
            README
                .replace("1. One\n", "")
                .replace("  ✓ nginx2", "…\n\n…  ✓ nginx2"),
            "only 4 lines",
        ),
    ] {
        let found = excerpt(&wrong, &script).expect_err(&wrong);
        assert!(found.contains(named), "{found}\n{wrong}");
    }
}

/// Compares an output with the README above.
fn read(output: &str) -> Result<(), String> {
    compare(&excerpt(README, &script("first")).unwrap(), output)
}
