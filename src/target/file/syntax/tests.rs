//! Texts as nginx reads them.

use super::*;

#[test]
fn directives_are_read_as_nginx_reads_them() {
    let text = "# c;\nupstream a {\n server \"b c\" x\\\"y '\\'';}\nset $x ${y};";
    let found = statements(text).unwrap();
    let words: Vec<_> = found
        .iter()
        .map(|s| (s.depth, s.words.join("|"), s.block))
        .collect();
    assert_eq!(
        words,
        [
            (0, "upstream|a".to_owned(), true),
            (1, "server|b c|x\"y|'".to_owned(), false),
            (0, "set|$x|${y}".to_owned(), false),
        ]
    );
}

#[test]
fn a_directive_is_found_with_its_whole_block() {
    let text = "a;\n# upstream x { }\nupstream \"y z\" { server é; if (x) { b; } } c d;";
    let found = statements(text).unwrap();
    let top = found.into_iter().filter(|statement| statement.depth == 0);
    let top: Vec<_> = top.map(|statement| &text[statement.range]).collect();
    let block = "upstream \"y z\" { server é; if (x) { b; } }";
    assert_eq!(top, ["a;", block, "c d;"]);
}

#[test]
fn punctuation_that_nginx_refuses_is_an_error() {
    for text in ["a", "a {", "}", ";", "a }", "a \"b", "a \"b\"c;"] {
        assert!(statements(text).is_err(), "{text}");
    }
}
