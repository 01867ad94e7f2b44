//! Files of others.

use super::*;
use crate::target::Layer;

fn checked(text: &str, adopt: bool) -> Result<Option<Blocks>, String> {
    let mut settings = Settings::new("/etc/nginx/a.conf", Layer::Http);
    settings.adopt = adopt;
    check(text, &settings).map_err(|error| error.to_string())
}

const CONFD: &str =
    "# by confd\nupstream a {\n  server 10.0.0.5:80; # one\n}\n\nupstream b { server c; }\n";

#[test]
fn a_file_of_upstreams_alone_is_taken_over_when_that_is_asked_for() {
    let error = checked(CONFD, false).unwrap_err();
    assert!(
        error.contains("it holds upstreams a, b; `sidekick push --adopt`"),
        "{error}"
    );
    let blocks = checked(CONFD, true).unwrap().unwrap();
    let texts: Vec<_> = blocks.values().map(String::as_str).collect();
    let one = "upstream a {\n  server 10.0.0.5:80; # one\n}\n";
    assert_eq!(texts, [one, "upstream b { server c; }\n"]);
    assert_eq!(
        shown(&blocks),
        "upstream a {\\n  server 10.0.0.5:80; # one\\n}\\nupstream b { server c; }",
        "what is after a # ends with its line when it is copied back"
    );
    assert_eq!(checked("# sidekick: begin a\n", false), Ok(None));
    assert_eq!(checked("  \n", false), Ok(None));
}

#[test]
fn what_would_be_lost_is_named_with_its_line() {
    for (text, reason) in [
        (
            "upstream a { server b; }\nserver { listen 80; }\n",
            "(line 2: server)",
        ),
        ("include x;", "(line 1: include)"),
        ("upstream a b { }", "(line 1: upstream)"),
        ("upstream a {", "cannot be understood (a { too many)"),
        ("upstream $a { }", "upstream name"),
        (
            "upstream a { server b; }\n\nupstream c { server b; }\nupstream a { server d; }\n",
            "upstream a twice, in lines 1 and 4, which nginx refuses too",
        ),
    ] {
        for adopt in [false, true] {
            let error = checked(text, adopt).unwrap_err();
            assert!(
                error.contains(reason) && error.contains("so --adopt cannot take it over"),
                "{text}: {error}"
            );
        }
    }
}

#[test]
fn what_a_taken_over_block_loses_is_named() {
    let block = "upstream a {\n least_conn; keepalive 8;\n server b weight=5 max_fails=3; server c backup;\n}\n";
    let lost = |text: &str| dropped([text.to_owned()].iter());
    let (directives, parameters) = lost(block);
    assert_eq!(directives, "keepalive, least_conn");
    assert_eq!(parameters, "backup, max_fails, weight");
    assert_eq!(lost("upstream a { server b; }\n"), Default::default());
}

#[test]
fn lines_are_counted_over_comments_and_blocks() {
    let text = "# one\n\nupstream a {\n server b;\n}\nupstream b { }\n\n\nlisten 80;\n";
    let error = blocks(text).unwrap_err();
    assert!(error.ends_with("(line 9: listen)"), "{error}");
}
