//! Blocks of all kinds.

use super::*;

#[test]
fn a_block_takes_traffic_when_a_server_of_it_is_not_down() {
    for (block, takes) in [
        ("upstream a { server b:1 weight=2; server c:1 down; }", true),
        ("upstream a { server b:1 down; }", false),
        (
            "upstream a { server 127.0.0.1:1 down; # no server\n }",
            false,
        ),
        ("upstream a { server b:1 backup; }", true),
        ("upstream a { nobody can read this", true),
    ] {
        assert_eq!(takes_traffic(block), takes, "{block}");
    }
}
