//! Sockets in blocks of all kinds.

use super::*;

fn kept_in(block: &str, found: &str, min_servers: usize) -> String {
    let directives = of(found);
    let protection = Protection {
        min_servers,
        ..Protection::default()
    };
    let web = "web".parse().unwrap();
    let block = keep(block.to_owned(), &web, &directives, &protection);
    let kept = kept(&block);
    assert_eq!(kept.len(), block.matches(KEPT).count(), "{block}");
    assert!(
        kept.iter().all(|server| server.starts_with("unix:/")),
        "{kept:?}"
    );
    block.replace(KEPT, "#")
}

const EMPTY: &str = "upstream web {\n    server 127.0.0.1:1 down; # no server\n}\n";

#[test]
fn they_stay_as_they_were_where_too_few_others_take_traffic() {
    let found = "upstream web { server unix:/x.sock weight=2; server 10.0.0.1:80; server unix:/y.sock down; }\n";
    let with = "upstream web {
    server 127.0.0.1:1 down; # no server
    server unix:/x.sock weight=2; #
}
";
    assert_eq!(kept_in(EMPTY, found, 1), with);
    assert_eq!(kept_in(EMPTY, with, 1), with, "found again");
    assert_eq!(kept_in(EMPTY, found, 0), EMPTY);
    let one = "upstream web {\n    server 10.0.0.2:80;\n}\n";
    assert_eq!(kept_in(one, found, 1), one);
    let both = "upstream web {\n    server 10.0.0.2:80;\n    server unix:/x.sock weight=2; #\n}\n";
    assert_eq!(kept_in(one, found, 2), both);
}

#[test]
fn a_users_template_gets_them_too_and_keeps_what_it_says_itself() {
    let found = "upstream web { server unix:/x.sock; }\n";
    let terse = "# mine\nupstream web { least_conn; server b:1 down; }\nserver { listen 1; }\n";
    let with = "# mine\nupstream web { least_conn; server b:1 down; \n    server unix:/x.sock; #\n}\nserver { listen 1; }\n";
    assert_eq!(kept_in(terse, found, 1), with);
    let own = "upstream web { server unix:/x.sock; }\n";
    assert_eq!(kept_in(own, found, 2), own);
}

#[test]
fn of_several_all_stay_as_either_may_be_the_one_that_answers() {
    let found =
        "upstream web { server unix:/b.sock backup; server unix:/x.sock; server unix:/y.sock; }\n";
    let block = kept_in(EMPTY, found, 1);
    assert_eq!(block.matches(".sock").count(), 3, "{block}");
    let with_one = EMPTY.replace("127.0.0.1:1 down", "10.0.0.1:80");
    assert_eq!(kept_in(&with_one, found, 1), with_one);
    let short = kept_in(&with_one, found, 2);
    assert_eq!(short.matches(".sock").count(), 3, "{short}");
}
