//! What is wrong with a configuration, and where.

use super::*;

#[test]
fn what_is_wrong_with_the_whole_is_said() {
    let etcd = "the address and login of etcd are given by flags or ETCDCTL_... variables";
    refused(
        "",
        RIGHT,
        &[
            (
                "id = \"a/b\"",
                "6: `id`: the pusher id \"a/b\" has a character that is not allowed; letters, digits and ._:@%+~[]- are",
            ),
            (
                "prefix = \"x\"",
                "10: `prefix`: \"x\" is not a prefix: /NAME or /NAME/NAME... is expected",
            ),
            (
                "meta_prefix = 1",
                "15: `meta_prefix`: a text in quotes is expected, this is 1",
            ),
            (
                "debounce = \"1m\"",
                "12: `debounce`: 1m is longer than 50ms, the most that a change may be held back",
            ),
            ("resync = \"0s\"", "10: `resync`: 0s is shorter than 1s"),
            (
                "resync = 30",
                "10: `resync`: a time such as \"500ms\", \"2s\" or \"1m\" is expected, this is 30",
            ),
            (
                "resync = \"soon\"",
                "10: `resync`: a time such as \"500ms\", \"2s\" or \"1m\" is expected, this is \"soon\"",
            ),
            ("resync = \"9000years\"", "10: `resync`: longer than a year"),
            (
                "ttl = \"1s\"",
                "7: `ttl`: below 2s there is no time for three heartbeats, and one lost packet would end the lease",
            ),
            ("endpoints = \"x\"", &format!("1: `endpoints`: {etcd}")),
            ("etcd = {}", &format!("1: `etcd`: {etcd}")),
            (
                "resinc = \"1s\"",
                "1: the file has no key `resinc`; did you mean `resync`?",
            ),
            (
                "zzz = 1",
                "1: the file has no key `zzz`; there are id, prefix, meta_prefix, debounce, resync, ttl, forget_after, nginx, vulcand, upstream",
            ),
            (
                "vulcand = 1",
                "11: `vulcand`: [[vulcand]] with keys of its own is expected, this is 1",
            ),
            (
                "vulcand = [1]",
                "12: `vulcand`: [[vulcand]] with keys of its own is expected, this is 1",
            ),
        ],
    );
    assert_eq!(
        wrong(""),
        ["f: there is no [[nginx]]", "f: there is no [[upstream]]"]
    );
    assert_eq!(
        wrong("[nginx]\n[upstream]"),
        [
            "f:1:1: `nginx`: [[nginx]] with keys of its own is expected, this is a table",
            "f:2:1: `upstream`: [[upstream]] with keys of its own is expected, this is a table",
        ]
    );
}

#[test]
fn what_is_wrong_with_an_nginx_is_said() {
    let end = "[[upstream]]\nname = \"website\"";
    let one = "1: [[nginx]]: one of `api`, `upstream_conf` and `file` is needed";
    refused(
        "",
        end,
        &[
            (
                "[[nginx]]",
                &format!(
                    "1: [[nginx]]: `name` is missing
{one}"
                ),
            ),
            (
                "[[nginx]] # no name\napi = \"http://h/\"",
                "1: [[nginx]]: `name` is missing",
            ),
        ],
    );
    let secret = "a secret does not belong in this file; give `password_file` or `bearer_file`";
    let absolute = "an absolute path such as \"/etc/sidekick/...\" is expected";
    let loopback = "a loopback address with a port such as \"127.0.0.1:9181\" is expected";
    refused(
        "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\n",
        end,
        &[
            ("password = \"x\"", &format!("1: `password`: {secret}")),
            ("token = \"x\"", &format!("1: `token`: {secret}")),
            (
                "insecure = true",
                "1: `insecure`: certificates are always checked; give `cacert` where the system does not know the authority",
            ),
            (
                "file = \"/x\"",
                "1: [[nginx]]: only one of `api`, `upstream_conf` and `file` can be given",
            ),
            (
                "check = \"x\"",
                "1: `check` goes with `file`, and this [[nginx]] has `api`",
            ),
            (
                "status = \"http://h/\"",
                "1: `status` goes with `upstream_conf`, and this [[nginx]] has `api`",
            ),
            (
                "request_timeout = \"0s\"",
                "19: `request_timeout`: it must be longer than 0s",
            ),
            ("user = \"a\"", "1: `user` needs `password_file`"),
            ("password_file = \"/x\"", "1: `password_file` needs `user`"),
            (
                "user = \"\"",
                "1: `user` needs `password_file`\n8: `user`: a user's name is neither empty nor has it a colon or control characters",
            ),
            (
                "password_file = \"x/y\"",
                &format!("1: `password_file` needs `user`\n17: `password_file`: {absolute}"),
            ),
            (
                "cert = \"/x\"",
                "1: `cert` goes with https://, and the URL begins with http://\n1: `cert` needs `key`",
            ),
            ("key = \"/x\"", "1: `key` needs `cert`"),
            (
                "cacert = \"ca.pem\"",
                &format!(
                    "1: `cacert` goes with https://, and the URL begins with http://\n10: `cacert`: {absolute}"
                ),
            ),
            (
                "pasword_file = \"/x\"",
                "1: [[nginx]] has no key `pasword_file`; did you mean `password_file`?",
            ),
            (
                "nam = 1",
                "1: [[nginx]] has no key `nam`; did you mean `name`?",
            ),
        ],
    );
    let both = "user = \"a\"\npassword_file = \"/x\"\nbearer_file = \"/x\"";
    assert_eq!(
        wrong(&format!(
            "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\n{both}\n{end}"
        )),
        ["f:6:1: `bearer_file` and `user`: only one login can be given"]
    );
    refused(
        "[[nginx]]\nname = \"e\"\n",
        end,
        &[
            (
                "api = \"h\"",
                "7: `api`: \"h\" is not the URL of an nginx API, as in http://127.0.0.1:8080/api: it does not begin with http:// or https://",
            ),
            (
                "api = \"http://a:b@h/\"",
                "7: `api`: a login does not belong in a URL; give `user` and `password_file`",
            ),
            ("file = \"up.conf\"", &format!("8: `file`: {absolute}")),
        ],
    );
    refused(
        "[[nginx]]\nname = \"e\"\nfile = \"/x\"\n",
        end,
        &[
            (
                "user = \"a\"",
                "1: `user` goes with `api` or `upstream_conf`, and this [[nginx]] has `file`\n1: `user` needs `password_file`",
            ),
            ("check = \"\"", "9: `check`: the command is missing"),
            ("reload = \"a 'b\"", "10: `reload`: a quote is not closed"),
            (
                "proof = \"10.0.0.1:80\"",
                &format!("9: `proof`: {loopback}"),
            ),
            (
                "proof = \"127.0.0.1:0\"",
                &format!("9: `proof`: {loopback}"),
            ),
            (
                "command_timeout = \"0s\"",
                "19: `command_timeout`: it must be longer than 0s",
            ),
        ],
    );
    refused(
        "[[nginx]]\napi = \"http://h/\"\n",
        end,
        &[
            (
                "name = \"a b\"",
                "8: `name`: the name \"a b\" has a character that is not allowed; letters, digits and ._:@%+~[]- are",
            ),
            (
                "name = 7",
                "8: `name`: a text in quotes is expected, this is 7",
            ),
        ],
    );
    refused(
        "[[vulcand]]\nname = \"v\"\n",
        end,
        &[
            ("scheme = \"ftp\"", "10: `scheme`: expected http or https"),
            (
                "prefix = \"v\"",
                "10: `prefix`: \"v\" is not a prefix: /NAME or /NAME/NAME... is expected",
            ),
        ],
    );
}

#[test]
fn what_is_wrong_with_an_upstream_is_said() {
    refused(
        RIGHT,
        "",
        &[
            (
                "service = \"a/b\"",
                "11: `service`: the service name \"a/b\" has a character that is not allowed; letters, digits and ._:@%+~[]- are",
            ),
            (
                "protocol = \"udp\"",
                "12: `protocol`: \"http\" or \"stream\" is expected",
            ),
            ("udp = true", "1: `udp` goes with `protocol = \"stream\"`"),
            (
                "udp = \"yes\"",
                "7: `udp`: true or false is expected, this is \"yes\"",
            ),
            (
                "min_servers = -1",
                "15: `min_servers`: a whole number from 0 to 1000000 is expected, this is -1",
            ),
            (
                "min_servers = 1.5",
                "15: `min_servers`: a whole number from 0 to 1000000 is expected, this is 1.5",
            ),
            (
                "min_server = 1",
                "1: [[upstream]] has no key `min_server`; did you mean `min_servers`?",
            ),
            (
                "max_removal = \"101%\"",
                "15: `max_removal`: a share such as \"50%\" or a number of servers is expected, this is \"101%\"",
            ),
            (
                "max_removal = \"half\"",
                "15: `max_removal`: a share such as \"50%\" or a number of servers is expected, this is \"half\"",
            ),
            (
                "weight = 0",
                "10: `weight`: a whole number from 1 to 65535 is expected, this is 0",
            ),
            (
                "max_conns = 4294967296",
                "13: `max_conns`: a whole number from 0 to 4294967295 is expected, this is 4294967296",
            ),
            (
                "fail_timeout = \"1500ms\"",
                "16: `fail_timeout`: nginx counts it in whole seconds",
            ),
            (
                "backup = 1",
                "10: `backup`: true or false is expected, this is 1",
            ),
            (
                "versions = \"v1\"",
                "12: `versions`: a list of texts such as [\"a\", \"b\"] is expected, this is \"v1\"",
            ),
            (
                "versions = [\"v1\", 2]",
                "19: `versions`: a list of texts such as [\"a\", \"b\"] is expected, this is 2",
            ),
            (
                "nginx = [\"edeg\"]",
                "10: `nginx`: nothing is called \"edeg\"; did you mean \"edge\"?",
            ),
            (
                "nginx = [\"zz\"]",
                "10: `nginx`: nothing is called \"zz\"; there are edge",
            ),
            (
                "nginx = [\"edge\", \"edge\"]",
                "18: `nginx`: \"edge\" is named twice",
            ),
            (
                "vulcand = [\"edge\"]",
                "1: `vulcand`: name the [[vulcand]] in `nginx`, together with the others",
            ),
            (
                "server = [{ tag = 1 }]",
                "11: [[upstream.server]]: `tags` must name at least one\n13: [[upstream.server]] has no key `tag`; did you mean `tags`?",
            ),
            (
                "server = [{ tags = [] }]",
                "20: [[upstream.server]]: `tags` must name at least one",
            ),
            (
                "server = [{ tags = [\"a\"], weight = 70000 }]",
                "36: `weight`: a whole number from 1 to 65535 is expected, this is 70000",
            ),
        ],
    );
}

#[test]
fn what_is_named_twice_is_said_with_both_lines() {
    let twice = "[[nginx]]\nname = \"a\"\napi = \"http://h/\"\n[[vulcand]]\nname = \"a\"\n[[upstream]]\nname = \"x\"";
    assert_eq!(
        wrong(twice),
        ["f:5:8: `name`: \"a\" is named already in line 1"]
    );
    assert_eq!(
        wrong(&format!(
            "{RIGHT}[[upstream]]\nname = \"website\"\nservice = \"b\""
        )),
        ["f:5:8: `name`: \"website\" goes to \"edge\" already in line 2"]
    );
    assert_eq!(
        wrong(&format!(
            "{RIGHT}hold = \"1s\"\nmin_servers = 2\nhold = \"2s\""
        )),
        ["f:6:1: duplicate key; the first is in line 4"]
    );
    let other_layer = format!("{RIGHT}[[upstream]]\nname = \"website\"\nprotocol = \"stream\"");
    assert_eq!(right(&other_layer).upstreams.len(), 2);
}

#[test]
fn what_leads_nowhere_is_said() {
    let unused = "[[nginx]]\nname = \"a\"\napi = \"http://h/\"\n[[nginx]]\nname = \"b\"\napi = \"http://h/\"\n[[upstream]]\nname = \"x\"\nnginx = [\"b\"]";
    assert_eq!(wrong(unused), ["f:1:1: \"a\": no [[upstream]] goes there"]);
    assert_eq!(
        wrong(&format!("{RIGHT}nginx = []")),
        ["f:4:9: `nginx`: at least one name is needed; leave it out for all"]
    );
    let stream = "[[vulcand]]\nname = \"v\"\n[[upstream]]\nname = \"x\"\nprotocol = \"stream\"";
    assert_eq!(
        wrong(stream),
        ["f:5:12: `protocol`: vulcand (\"v\") has no stream upstreams"]
    );
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_text() {
    let text = "resync = 1\n[[nginx]]\nname = \"a\"\napi = \"x\"\nuser = 1\n[[upstream]]\nhold = \"\"\nnginx = [\"b\"]\n";
    let lines = wrong(text);
    let places: Vec<_> = lines.iter().map(|line| &line[..6]).collect();
    assert_eq!(
        places,
        [
            "f:1:10", "f:4:7:", "f:5:1:", "f:5:8:", "f:6:1:", "f:7:8:", "f:8:10"
        ],
        "{lines:#?}"
    );
}

#[test]
fn what_is_no_toml_hides_no_other_mistake_and_invents_none() {
    let text = "[[nginx]]\nname = edge\napi = \"http://h/\"\n[[upstream]]\nname = \"x\"\nnginx = [\"edge\"]\nhold = 3\nhold\n";
    let lines = wrong(text);
    assert!(lines[0].starts_with("f:2:8: "), "{lines:#?}");
    assert!(lines[1].starts_with("f:7:8: `hold`: a time"), "{lines:#?}");
    assert!(lines[2].starts_with("f:8:5: "), "{lines:#?}");
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[test]
fn columns_are_counted_in_characters() {
    assert_eq!(
        Place::of("äö = 1\nü = 2", "äö".len()),
        Place { line: 1, column: 3 }
    );
    assert_eq!(
        Place::of("a\nü = 2", "a\nü".len()),
        Place { line: 2, column: 2 }
    );
    assert_eq!(Place::of("a\n", 2), Place { line: 2, column: 1 });
    assert_eq!(Place::of("a", 9), Place { line: 1, column: 2 });
}
