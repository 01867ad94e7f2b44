use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::desired::Parameters;
use crate::desired::keep::Share;
use crate::push::{DRAIN_TIMEOUT, REQUEST_TIMEOUT};
use crate::upstream::{conf_file, vulcand};

/// What is right where nothing else is said; four lines.
const RIGHT: &str = r#"nginx = [{ name = "edge", api = "http://h/api" }]
[[upstream]]
name = "website"
"#;

fn right(text: &str) -> Config {
    let (config, mistakes) = read(text, None);
    assert_eq!(mistakes, [], "{text}");
    config
}

fn wrong(text: &str) -> Vec<String> {
    let (_, mistakes) = read(text, None);
    let (file, invalid) = (PathBuf::from("f"), mistakes);
    let lines = Invalid {
        file,
        mistakes: invalid,
    };
    lines.lines().collect()
}

fn upstream(keys: &str) -> UpstreamSettings {
    let mut config = right(&format!("{RIGHT}{keys}"));
    config.upstreams.pop().unwrap()
}

fn nginx(keys: &str) -> How {
    let mut config = right(&format!(
        "[[nginx]]\nname = \"edge\"\n{keys}\n[[upstream]]\nname = \"website\""
    ));
    config.targets.pop().unwrap().how
}

/// Each of these lines is wrong by itself behind a right beginning, and this is what is said of it.
fn refused(beginning: &str, end: &str, table: &[(&str, &str)]) {
    let line = beginning.lines().count() + 1;
    for (keys, said) in table {
        let expected: Vec<_> = said
            .lines()
            .map(|said| format!("f:{line}:{said}"))
            .collect();
        assert_eq!(
            wrong(&format!("{beginning}{keys}\n{end}")),
            expected,
            "{keys}"
        );
    }
}

#[test]
fn what_is_not_said_is_as_shipped() {
    let config = right(RIGHT);
    assert_eq!(
        (&config.id, &config.prefix, &config.ttl),
        (&None, &None, &None)
    );
    let url = "http://h/api".parse().unwrap();
    let [target] = config.targets.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(&*target.name, "edge");
    assert_eq!(
        target.how,
        How::Plus(ApiSettings::open(url, REQUEST_TIMEOUT))
    );
    let expected = UpstreamSettings {
        name: "website".parse().unwrap(),
        service: "website".parse().unwrap(),
        layer: Layer::Http,
        protocol: Protocol::Tcp,
        targets: vec!["edge".into()],
        versions: Vec::new(),
        tags: Vec::new(),
        limits: Limits::default(),
        drain_timeout: DRAIN_TIMEOUT,
        server: Terms::default(),
        rules: Vec::new(),
        place: Place { line: 2, column: 1 },
    };
    assert_eq!(config.upstreams, [expected]);
}

#[test]
fn the_whole_may_be_said() {
    let top = "id = \"edge-1\"\nprefix = \"/domains\"\nmeta_prefix = \"/own\"\ndebounce = \"0s\"\nresync = \"1m\"\nttl = \"20s\"\n";
    let config = right(&format!("{top}{RIGHT}"));
    assert_eq!(config.id.unwrap().as_str(), "edge-1");
    assert_eq!(config.prefix.unwrap().as_str(), "/domains");
    assert_eq!(config.meta_prefix.unwrap().as_str(), "/own");
    assert_eq!(config.debounce, Some(Duration::ZERO));
    assert_eq!(config.resync, Some(Duration::from_secs(60)));
    assert_eq!(config.ttl, Some(Duration::from_secs(20)));
}

#[test]
fn an_upstream_may_be_said_in_full() {
    let said = upstream(
        r#"service = "shop"
        protocol = "stream"
        udp = true
        versions = ["v1", "v2"]
        tags = ["blue"]
        min_servers = 0
        max_removal = 3
        hold = "0s"
        drain_timeout = "1h"
        max_fails = 0
        fail_timeout = "10s"
        weight = 5
        [[upstream.server]]
        tags = ["big", "ssd"]
        weight = 10
        max_conns = 100
        slow_start = "30s"
        [[upstream.server]]
        tags = ["spare"]
        backup = true"#,
    );
    assert_eq!(said.service.as_str(), "shop");
    assert_eq!((said.layer, said.protocol), (Layer::Stream, Protocol::Udp));
    let versions: Vec<_> = said.versions.iter().map(Version::as_str).collect();
    assert_eq!(
        (versions.as_slice(), said.tags.as_slice()),
        (["v1", "v2"].as_slice(), ["blue".to_owned()].as_slice())
    );
    assert_eq!(
        (said.limits.min_servers, said.limits.max_removal),
        (0, Share::Count(3))
    );
    assert_eq!(
        (said.limits.hold, said.drain_timeout),
        (Duration::ZERO, Duration::from_secs(3600))
    );
    let general = Parameters {
        max_fails: Some(0),
        fail_timeout: Some(Duration::from_secs(10)),
        ..Parameters::default()
    };
    assert_eq!(
        said.server,
        Terms {
            weight: NonZeroU16::new(5),
            parameters: general
        }
    );
    let big = Parameters {
        max_conns: Some(100),
        slow_start: Some(Duration::from_secs(30)),
        ..general
    };
    let spare = Parameters {
        backup: true,
        ..general
    };
    let rule = |tags: &[&str], weight, parameters| Rule {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        terms: Terms {
            weight: NonZeroU16::new(weight),
            parameters,
        },
    };
    assert_eq!(
        said.rules,
        [rule(&["big", "ssd"], 10, big), rule(&["spare"], 5, spare)]
    );
}

#[test]
fn every_kind_of_target_may_be_said() {
    let api = r#"api = "https://h/api"
    request_timeout = "5s"
    user = "sidekick"
    password_file = "/etc/sidekick/password"
    cacert = "/etc/ca.pem"
    cert = "/etc/cert.pem"
    key = "/etc/key.pem""#;
    let expected = ApiSettings {
        url: "https://h/api".parse().unwrap(),
        timeout: Duration::from_secs(5),
        login: Login::Basic {
            user: "sidekick".to_owned(),
            password_file: "/etc/sidekick/password".into(),
        },
        cacert: Some("/etc/ca.pem".into()),
        identity: Some(("/etc/cert.pem".into(), "/etc/key.pem".into())),
    };
    assert!(!expected.is_open());
    assert_eq!(nginx(api), How::Plus(expected));

    let older = "upstream_conf = \"http://h/upstream_conf\"\nstatus = \"http://h/status\"\nbearer_file = \"/run/token\"";
    let api = ApiSettings {
        login: Login::Bearer {
            file: "/run/token".into(),
        },
        ..ApiSettings::open("http://h/upstream_conf".parse().unwrap(), REQUEST_TIMEOUT)
    };
    let status = Some("http://h/status".parse().unwrap());
    assert_eq!(nginx(older), How::UpstreamConf { api, status });

    let file = FileSettings {
        file: "/etc/nginx/conf.d/up.conf".into(),
        check: "nginx -t".to_owned(),
        reload: "nginx -s reload".to_owned(),
        template: None,
        min_reload_interval: conf_file::MIN_RELOAD_INTERVAL,
        command_timeout: conf_file::TIMEOUT,
        pid: conf_file::PID.into(),
        proof: None,
    };
    let short = "file = \"/etc/nginx/conf.d/up.conf\"";
    assert_eq!(nginx(short), How::ConfFile(file.clone()));
    let full = format!(
        "{short}\ncheck = \"sudo 'my nginx' -t\"\nreload = \"systemctl reload nginx\"\ntemplate = \"/etc/t\"\nmin_reload_interval = \"0s\"\ncommand_timeout = \"1m\"\npid = \"/run/n.pid\"\nproof = \"[::1]:9181\""
    );
    let file = FileSettings {
        check: "sudo 'my nginx' -t".to_owned(),
        reload: "systemctl reload nginx".to_owned(),
        template: Some("/etc/t".into()),
        min_reload_interval: Duration::ZERO,
        command_timeout: Duration::from_secs(60),
        pid: "/run/n.pid".into(),
        proof: Some("[::1]:9181".parse().unwrap()),
        ..file
    };
    assert_eq!(nginx(&full), How::ConfFile(file));

    let vulcand =
        right("[[vulcand]]\nname = \"v\"\nscheme = \"https\"\n[[upstream]]\nname = \"website\"");
    let how = How::Vulcand {
        prefix: vulcand::PREFIX.parse().unwrap(),
        scheme: Scheme::Https,
    };
    assert_eq!(vulcand.targets[0].how, how);
}

#[test]
fn an_upstream_goes_where_it_is_said() {
    let two = "[[nginx]]\nname = \"a\"\napi = \"http://a/\"\n[[nginx]]\nname = \"b\"\napi = \"http://b/\"\n";
    let config = right(&format!(
        "{two}[[upstream]]\nname = \"x\"\nnginx = [\"b\"]\n[[upstream]]\nname = \"x\"\nnginx = [\"a\"]\nservice = \"y\"\n[[upstream]]\nname = \"all\""
    ));
    let targets = |number: usize| {
        config.upstreams[number]
            .targets
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (targets(0), targets(1), targets(2)),
        (vec!["b"], vec!["a"], vec!["a", "b"])
    );
}

#[test]
fn secrets_may_be_credentials_of_the_unit() {
    let text = "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\nbearer_file = \"token\"\n[[upstream]]\nname = \"x\"";
    let (config, mistakes) = read(text, Some(Path::new("/run/credentials/push")));
    assert_eq!(mistakes, []);
    let How::Plus(api) = &config.targets[0].how else {
        panic!("{config:?}")
    };
    assert_eq!(
        api.login,
        Login::Bearer {
            file: "/run/credentials/push/token".into()
        }
    );
    let said = "f:4:15: `bearer_file`: this is no absolute path, and this process has no systemd credentials (LoadCredential=)";
    assert_eq!(wrong(text), [said]);
}

#[test]
fn what_is_wrong_with_the_whole_is_said() {
    let etcd = "where etcd is and how to get in is said by flags or ETCDCTL_... variables";
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
                "1: the file has no key `zzz`; there are id, prefix, meta_prefix, debounce, resync, ttl, nginx, vulcand, upstream",
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
    let secret = "a secret does not belong into this file; give `password_file` or `bearer_file`";
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
                "7: `api`: a login does not belong into a URL; give `user` and `password_file`",
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

#[test]
fn flags_beat_the_file_and_the_file_beats_what_is_shipped() {
    let top = "id = \"file\"\nprefix = \"/domains\"\nmeta_prefix = \"/own\"\ndebounce = \"1ms\"\nresync = \"1m\"\nttl = \"20s\"\n";
    let config = right(&format!("{top}{RIGHT}drain_timeout = \"3s\""));
    let host: Option<PusherId> = "host".parse().ok();
    let file = Overrides {
        host: host.clone(),
        ..Overrides::default()
    };
    let flags = Overrides {
        id: "flag".parse().ok(),
        host,
        prefix: "/flag".parse().ok(),
        meta_prefix: "/meta".parse().ok(),
        debounce: Some(Duration::ZERO),
        resync: Some(Duration::from_secs(5)),
        ttl: Some(Duration::from_secs(6)),
        request_timeout: Some(Duration::from_secs(7)),
        drain_timeout: Some(Duration::from_secs(8)),
        min_servers: Some(9),
        max_removal: Some(Share::Count(10)),
        hold: Some(Duration::from_secs(11)),
    };
    let told = |overrides: &Overrides, config: &Config| {
        let settings = overrides.settings(config).unwrap();
        let target = &settings.targets[0];
        let How::Plus(api) = target.how() else {
            panic!("{settings:?}")
        };
        let times = [
            settings.pacing.debounce(),
            settings.pacing.resync(),
            settings.ttl,
            api.timeout,
            target.routes()[0].drain_timeout,
        ];
        let times = times.map(|time| humantime::format_duration(time).to_string());
        let names = format!("{} {} {}", settings.id, settings.prefix, settings.meta);
        let limits = target.routes()[0].limits;
        let hold = humantime::format_duration(limits.hold);
        let limits = format!("{} {} {hold}", limits.min_servers, limits.max_removal);
        format!("{names} {} {limits}", times.join(" "))
    };
    assert_eq!(
        told(&flags, &config),
        "flag /flag /meta 0s 5s 6s 7s 8s 9 10 11s"
    );
    assert_eq!(
        told(&file, &config),
        "file /domains /own 1ms 1m 20s 2s 3s 1 50% 1m"
    );
    assert_eq!(
        told(&file, &right(RIGHT)),
        "host /services /sidekick 5ms 30s 15s 2s 10s 1 50% 1m"
    );
    let nested = right(&format!("meta_prefix = \"/services/own\"\n{RIGHT}"));
    let mistakes = file.settings(&nested).unwrap_err();
    let said: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake.text.as_str())
        .collect();
    let expected =
        "--meta-prefix /services/own and --prefix /services: neither may lie inside the other";
    assert_eq!(said, [expected]);
    let nameless = Overrides::default().settings(&right(RIGHT)).unwrap_err();
    assert_eq!(
        nameless[0].text,
        "--id is missing, and this host's name cannot stand for it"
    );
}

#[test]
fn a_target_that_cannot_be_is_refused_together_with_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.toml");
    let text = "[[nginx]]\nname = \"e\"\nfile = \"/x\"\n[[upstream]]\nname = \"x\"\nholt = 1\n[[upstream]]\nname = \"y\"\nprotocol = \"stream\"\n";
    std::fs::write(&path, text).unwrap();
    let overrides = Overrides {
        id: "edge".parse().ok(),
        ..Overrides::default()
    };
    let file = File {
        path: path.clone(),
        overrides,
        credentials: None,
    };
    let said: Vec<_> = file.read().unwrap_err().lines().collect();
    let path = path.display();
    assert_eq!(
        said,
        [
            format!(
                "{path}:1:1: \"e\": a file is included in http or in stream, and \"x\" and \"y\" are not of one protocol: give each a file"
            ),
            format!("{path}:6:1: [[upstream]] has no key `holt`; did you mean `hold`?"),
        ]
    );
    std::fs::write(&file.path, b"id = \"\xff\"\n").unwrap();
    let said: Vec<_> = file.read().unwrap_err().lines().collect();
    assert_eq!(said, [format!("{path}:1:7: this is not UTF-8")]);
}

const EXAMPLE: &str = include_str!("../../../examples/push.toml");
const README: &str = include_str!("../../../README.md");

/// The example with every key that it shows in a comment.
fn example_in_full() -> String {
    let lines = EXAMPLE.lines().map(|line| {
        let key = line
            .strip_prefix('#')
            .filter(|key| !key.is_empty() && !key.starts_with(' '));
        format!("{}\n", key.unwrap_or(line))
    });
    lines.collect()
}

#[test]
fn the_example_is_right_as_it_is_and_with_every_key_that_it_shows() {
    assert_eq!(right(EXAMPLE).upstreams.len(), 1);
    let full = right(&example_in_full());
    assert_eq!(full.targets.len(), 5);
    let keys = [
        read::KEYS,
        target::NGINX.keys,
        target::VULCAND.keys,
        upstream::UPSTREAM.keys,
        upstream::SERVER.keys,
    ];
    for key in keys.concat() {
        let shown = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let table = line.starts_with(&format!("[[{key}]]"))
                || line.starts_with(&format!("[[upstream.{key}]]"));
            table || line.starts_with(&format!("{key} = "))
        });
        assert!(shown, "the example does not show {key}");
    }
}

/// The keys and defaults of the table of the README that begins with `title`.
fn documented(title: &str) -> Vec<(String, String)> {
    let head = format!("| {title} | default | meaning |");
    let rows = README.lines().skip_while(|line| *line != head).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let rows = rows.flat_map(|row| {
        let mut cells = row.split(" | ");
        let keys = cells.next().unwrap_or_default().trim_start_matches("| ");
        let default = cells.next().unwrap_or_default().to_owned();
        let keys: Vec<_> = keys
            .split(", ")
            .map(|key| key.trim_matches('`').to_owned())
            .collect();
        keys.into_iter().map(move |key| (key, default.clone()))
    });
    rows.collect()
}

#[test]
fn the_readme_names_every_key_and_the_default_that_counts() {
    let plain = "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\n";
    let file = "[[nginx]]\nname = \"e\"\nfile = \"/f\"\n";
    let vulcand = "[[vulcand]]\nname = \"e\"\n";
    let end = "[[upstream]]\nname = \"website\"\n";
    let tables = [
        (
            "top level",
            read::KEYS,
            String::new(),
            format!("{plain}{end}"),
        ),
        (
            "`[[nginx]]`",
            target::NGINX.keys,
            plain.to_owned(),
            end.to_owned(),
        ),
        (
            "`[[vulcand]]`",
            target::VULCAND.keys,
            vulcand.to_owned(),
            end.to_owned(),
        ),
        (
            "`[[upstream]]`",
            upstream::UPSTREAM.keys,
            format!("{plain}{end}"),
            String::new(),
        ),
    ];
    let mut compared = 0;
    for (title, keys, beginning, end) in tables {
        let rows = documented(title);
        let named: Vec<_> = rows.iter().map(|(key, _)| key.as_str()).collect();
        let missing: Vec<_> = keys.iter().filter(|key| !named.contains(key)).collect();
        let surplus: Vec<_> = named.iter().filter(|key| !keys.contains(key)).collect();
        assert_eq!((missing, surplus), (vec![], vec![]), "{title}");
        for (key, default) in &rows {
            let Some(default) = default.strip_prefix('`') else {
                continue;
            };
            let default = default.trim_end_matches('`');
            // A key of another kind of nginx.
            let beginning = match wrong(&format!("{beginning}{key} = {default}\n{end}")).is_empty()
            {
                true => beginning.as_str(),
                false => file,
            };
            let said = right(&format!("{beginning}{key} = {default}\n{end}"));
            let unsaid = right(&format!("{beginning}\n{end}"));
            assert_eq!(
                effective(&said),
                effective(&unsaid),
                "{title} {key} = {default}"
            );
            compared += 1;
        }
    }
    assert!(compared > 15, "only {compared} defaults are named");
}

/// What a configuration comes to, in all that is decided for the whole.
fn effective(config: &Config) -> (Config, String) {
    let overrides = Overrides {
        id: "edge".parse().ok(),
        ..Overrides::default()
    };
    let settings = overrides.settings(config).map(|settings| {
        let (pacing, ttl) = (settings.pacing, settings.ttl);
        format!("{} {} {pacing:?} {ttl:?}", settings.prefix, settings.meta)
    });
    let top = settings.unwrap_or_default();
    let tables = Config {
        targets: config.targets.clone(),
        upstreams: config.upstreams.clone(),
        ..Config::default()
    };
    (tables, top)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes);
        let (_, mistakes) = read(&text, None);
        prop_assert!(!mistakes.is_empty());
    }

    #[test]
    fn no_text_that_looks_like_a_configuration_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        let _ = read(&pieces.concat(), Some(Path::new("/c")));
    }
}

/// What configurations are made of.
const PIECES: &[&str] = &[
    "[[nginx]]\n",
    "[[upstream]]\n",
    "[[upstream.server]]\n",
    "[[vulcand]]\n",
    "[nginx]\n",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    " = ",
    " = ",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "name",
    "api",
    "file",
    "\"edge\"",
    "\"http://h/api\"",
    "nginx",
    "upstream",
    "server",
    "tags",
    "[\"edge\"]",
    "hold",
    "\"1m\"",
    "weight",
    "1",
    "-1",
    "0x_",
    "1e400",
    "1979-05-27",
    "true",
    "max_removal",
    "\"50%\"",
    "versions",
    "ä",
    "\u{0}",
    "\r",
    "\\u",
];

#[test]
fn vulcands_keys_lie_apart_from_records_and_from_sidekicks_own() {
    let text = |prefix: &str| {
        format!("[[vulcand]]\nname = \"v\"\nprefix = \"{prefix}\"\n[[upstream]]\nname = \"x\"\n")
    };
    let overrides = Overrides {
        id: "edge".parse().ok(),
        ..Overrides::default()
    };
    for (prefix, other) in [
        ("/services", "/services"),
        ("/services/v", "/services"),
        ("/sidekick/v", "/sidekick"),
    ] {
        let mistakes = overrides.settings(&right(&text(prefix))).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes[0].place, Some(Place { line: 1, column: 1 }));
        let said = &mistakes[0].text;
        assert!(said.contains(prefix) && said.contains(other), "{said}");
    }
    assert!(overrides.settings(&right(&text("/services2"))).is_ok());
    // What counts is what a flag says.
    let elsewhere = Overrides {
        prefix: "/v/records".parse().ok(),
        ..overrides
    };
    assert!(elsewhere.settings(&right(&text("/services"))).is_ok());
    assert!(elsewhere.settings(&right(&text("/v"))).is_err());
}
