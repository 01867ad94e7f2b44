//! What nginx says.

use super::*;

#[test]
fn what_nginx_says_is_told_without_time_and_process() {
    let said = "exit status: 1: 2026/11/21 14:59:52 [emerg] 22480#22480: unknown directive \"x\" in /etc/nginx/a.conf:1; \
                nginx: configuration file /etc/nginx/nginx.conf test failed";
    assert_eq!(
        without_stamps(said),
        "exit status: 1: [emerg] unknown directive \"x\" in /etc/nginx/a.conf:1; nginx: configuration file \
         /etc/nginx/nginx.conf test failed"
    );
    for other in ["", "a  b", "1#: #1: 10:20 2026/1/1", "exit status: 1"] {
        assert_eq!(without_stamps(other), other);
    }
}
