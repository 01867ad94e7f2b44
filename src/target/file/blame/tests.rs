//! What is told of a refused server.

use super::*;

#[test]
fn a_line_of_a_file_that_is_gone_is_not_named_and_that_of_another_is() {
    let file = "/etc/nginx/conf.d/up.conf";
    let said = "[emerg] invalid parameter \"max_fails=abc7\" in /etc/nginx/conf.d/up.conf:17; nginx: test failed";
    assert_eq!(
        without_place(said, file),
        "[emerg] invalid parameter \"max_fails=abc7\"; nginx: test failed"
    );
    for other in [
        "",
        "in a",
        "unknown directive in /etc/nginx/conf.d/other.conf:17",
    ] {
        assert_eq!(without_place(other, file), other);
    }
}
