use std::num::NonZeroU16;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::target::api::access::{Credentials, Login};
use crate::target::api::upstream_conf;
use crate::target::{file, vulcand};
use crate::upstream::guard::Share;
use crate::upstream::server::Parameters;

mod large;
mod mistakes;
mod overrides;
mod shown;

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

fn nginx(keys: &str) -> TargetSettings {
    let mut config = right(&format!(
        "[[nginx]]\nname = \"edge\"\n{keys}\n[[upstream]]\nname = \"website\""
    ));
    config.targets.pop().unwrap().settings
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
    let api = ApiSettings::new(url);
    assert_eq!(
        target.settings,
        TargetSettings::Plus(plus::Settings { api })
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
        (said.limits.protect_for, said.drain_timeout),
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
        credentials: Credentials {
            login: Login::Basic {
                user: "sidekick".to_owned(),
                password_file: "/etc/sidekick/password".into(),
            },
            cacert: Some("/etc/ca.pem".into()),
            identity: Some(("/etc/cert.pem".into(), "/etc/key.pem".into())),
        },
    };
    let plus = plus::Settings { api: expected };
    assert_eq!(nginx(api), TargetSettings::Plus(plus));

    let older = "upstream_conf = \"http://h/upstream_conf\"\nstatus = \"http://h/status\"\nbearer_file = \"/run/token\"";
    let mut api = ApiSettings::new("http://h/upstream_conf".parse().unwrap());
    api.credentials.login = Login::Bearer {
        file: "/run/token".into(),
    };
    let status = Some("http://h/status".parse().unwrap());
    let conf = upstream_conf::Settings { api, status };
    assert_eq!(nginx(older), TargetSettings::UpstreamConf(conf));

    let file = file::Settings {
        file: "/etc/nginx/conf.d/up.conf".into(),
        layer: Layer::Http,
        check: Some("nginx -t".parse().unwrap()),
        reload: "nginx -s reload".parse().unwrap(),
        template: None,
        min_reload_interval: file::MIN_RELOAD_INTERVAL,
        timeout: file::TIMEOUT,
        pid: Some(file::PID.into()),
        proof: None,
        adopt: false,
    };
    let short = "file = \"/etc/nginx/conf.d/up.conf\"";
    assert_eq!(nginx(short), TargetSettings::File(file.clone()));
    let full = format!(
        "{short}\ncheck = \"sudo 'my nginx' -t\"\nreload = \"systemctl reload nginx\"\ntemplate = \"/etc/t\"\nmin_reload_interval = \"0s\"\ncommand_timeout = \"1m\"\npid = \"/run/n.pid\"\nproof = \"[::1]:9181\""
    );
    let file = file::Settings {
        check: Some("sudo 'my nginx' -t".parse().unwrap()),
        reload: "systemctl reload nginx".parse().unwrap(),
        template: Some("/etc/t".into()),
        min_reload_interval: Duration::ZERO,
        timeout: Duration::from_secs(60),
        pid: Some("/run/n.pid".into()),
        proof: Some("[::1]:9181".parse().unwrap()),
        ..file
    };
    assert_eq!(nginx(&full), TargetSettings::File(file));

    let vulcand =
        right("[[vulcand]]\nname = \"v\"\nscheme = \"https\"\n[[upstream]]\nname = \"website\"");
    let settings = vulcand::Settings {
        prefix: vulcand::PREFIX.parse().unwrap(),
        scheme: vulcand::Scheme::Https,
    };
    assert_eq!(
        vulcand.targets[0].settings,
        TargetSettings::Vulcand(settings)
    );
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
    let TargetSettings::Plus(plus) = &config.targets[0].settings else {
        panic!("{config:?}")
    };
    assert_eq!(
        plus.api.credentials.login,
        Login::Bearer {
            file: "/run/credentials/push/token".into()
        }
    );
    let said = "f:4:15: `bearer_file`: this is no absolute path, and this process has no systemd credentials (LoadCredential=)";
    assert_eq!(wrong(text), [said]);
}
