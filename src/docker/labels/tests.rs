use proptest::prelude::*;

use super::*;
use crate::docker::fixtures::read;

fn container(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Container {
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    Container {
        labels: owned(labels),
        env: owned(env),
        ..read("docker", "published")
    }
}

fn of(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Labels {
    Labels::of(&container(labels, env), "80".parse().ok())
}

#[test]
fn a_port_beats_all_ports_and_then_a_label_beats_the_environment() {
    let places = [
        ("SERVICE_NAME", "general"),
        ("SERVICE_80_NAME", "port"),
        ("SERVICE_443_NAME", "another port"),
    ];
    let name = |labels: &[(&str, &str)], env: &[(&str, &str)]| {
        let said = of(labels, env).get("name").unwrap().clone();
        (said.value, said.source, said.about_port)
    };
    assert_eq!(
        name(&places[..1], &places),
        ("port".into(), "env SERVICE_80_NAME".into(), true)
    );
    assert_eq!(name(&[("SERVICE_80_NAME", "label")], &places).0, "label");
    assert_eq!(
        name(&[("SERVICE_NAME", "label")], &places[..1]).1,
        "label SERVICE_NAME"
    );
    assert_eq!(name(&[("SERVICE_NAME", "")], &places[..1]).0, "general");
    assert_eq!(of(&[], &places[2..]).get("name"), None);
}

#[test]
fn tags_are_split_at_commas_that_are_not_escaped() {
    for (text, tags) in [
        ("master,backups", vec!["master", "backups"]),
        (r"/(;\,:-_)/", vec!["/(;,:-_)/"]),
        (",a,,b,", vec!["a", "b"]),
        (r"a\b,c\", vec![r"a\b", r"c\"]),
        ("", vec![]),
    ] {
        assert_eq!(split_tags(text), tags, "{text:?}");
    }
}

#[test]
fn documented_checks_are_understood() {
    let checks = |env: &[(&str, &str)]| {
        let of = of(&[], env);
        let checks = of.checks();
        checks
            .into_iter()
            .map(|(check, _)| check)
            .collect::<Vec<_>>()
    };
    let http = |path: &str, tls, method: Option<&str>| Check::Http {
        path: path.to_owned(),
        tls,
        method: method.map(str::to_owned),
        skip_verify: false,
    };
    assert_eq!(
        checks(&[("SERVICE_80_CHECK_HTTP", "/health/endpoint/path")]),
        [http("/health/endpoint/path", false, None)]
    );
    assert_eq!(
        checks(&[
            ("SERVICE_CHECK_HTTPS", "health"),
            ("SERVICE_CHECK_HTTP_METHOD", "HEAD")
        ]),
        [http("/health", true, Some("HEAD"))]
    );
    assert_eq!(
        checks(&[
            ("SERVICE_80_CHECK_TCP", "true"),
            ("SERVICE_CHECK_GRPC", "true"),
            ("SERVICE_443_CHECK_HTTP", "/other")
        ]),
        [Check::Tcp, Check::Grpc { tls: false }]
    );
    assert_eq!(checks(&[("SERVICE_CHECK_TCP", "false")]), []);
    let inside = checks(&[
        ("SERVICE_CHECK_CMD", "false"),
        ("SERVICE_80_CHECK_CMD", "sh -c 'true'"),
        ("SERVICE_443_CHECK_CMD", "false"),
    ]);
    let command = "sh -c 'true'".to_owned();
    assert_eq!(inside, [Check::ContainerExec { command }]);
}

#[test]
fn times_of_checks_are_read_and_others_refused() {
    let said = of(
        &[],
        &[
            ("SERVICE_80_CHECK_INTERVAL", "15s"),
            ("SERVICE_80_CHECK_TIMEOUT", "soon"),
        ],
    );
    let interval = said.duration("check_interval").unwrap();
    assert_eq!(interval, Some(Duration::from_secs(15)));
    let error = said.duration("check_timeout").unwrap_err().to_string();
    assert!(error.contains("env SERVICE_80_CHECK_TIMEOUT"), "{error}");
    assert_eq!(of(&[], &[]).duration("check_timeout"), Ok(None));
}

#[test]
fn everything_else_of_labels_is_a_free_pair_and_unknown_checks_are_told() {
    let said = of(
        &[
            ("SERVICE_REGION", "us2"),
            ("SERVICE_80", "x"),
            ("OTHER", "y"),
        ],
        &[
            ("SERVICE_80_SNI", "enabled"),
            ("SERVICE_CHECK_SCRIPT", "true"),
            ("SERVICE_CHECK_HTTP", "/"),
            ("SERVICE_NAME", "db"),
            ("SERVICE_", "z"),
        ],
    );
    let meta: Vec<_> = said.meta().into_iter().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(meta, [pair("80", "x"), pair("region", "us2")]);
    let unknown: Vec<_> = said.unknown_checks().map(|said| &said.source).collect();
    assert_eq!(unknown, ["env SERVICE_CHECK_SCRIPT"]);
}

#[test]
fn a_container_may_ask_not_to_be_announced() {
    assert!(of(&[("SERVICE_IGNORE", "1")], &[]).ignored().is_some());
    assert!(
        of(&[], &[("SERVICE_80_IGNORE", "true")])
            .ignored()
            .is_some()
    );
    assert!(
        of(&[], &[("SERVICE_443_IGNORE", "true")])
            .ignored()
            .is_none()
    );
    for no in ["false", "0", "no", "False", "NO", ""] {
        assert!(
            of(&[("SERVICE_IGNORE", no)], &[]).ignored().is_none(),
            "{no}"
        );
    }
    for yes in ["true", "1", "yes", "x"] {
        assert!(
            of(&[("SERVICE_IGNORE", yes)], &[]).ignored().is_some(),
            "{yes}"
        );
    }
}

#[test]
fn the_environment_gives_no_free_pairs_and_what_is_left_out_is_told_by_name_only() {
    let env = [
        ("SERVICE_DB_PASSWORD", "hunter2"),
        ("SERVICE_80_REGION", "us2"),
        ("SERVICE_TAGS", "a"),
        ("SERVICE_WEIGHT", "5"),
        ("SERVICE_VERSION", "v1"),
    ];
    let said = of(&[], &env);
    assert_eq!(said.meta(), BTreeMap::new());
    assert_eq!(
        (said.tags(), said.weight()),
        (vec!["a".to_owned()], Ok(Some(5)))
    );
    let note = said.left_out().unwrap();
    assert!(
        note.starts_with("env SERVICE_80_REGION, SERVICE_DB_PASSWORD is not announced"),
        "{note}"
    );
    assert!(!note.contains("hunter2"));
    assert_eq!(of(&env[2..], &env[2..]).left_out(), None);
    let error = of(&[("SERVICE_WEIGHT", "70000")], &[])
        .weight()
        .unwrap_err();
    assert!(
        error.to_string().contains("label SERVICE_WEIGHT \"70000\""),
        "{error}"
    );
}

#[test]
fn passwords_in_addresses_are_no_part_of_a_free_pair() {
    for (value, kept) in [
        ("postgres://me:pw@db:5432/shop", "postgres://db:5432/shop"),
        ("https://token@host/a@2x.png", "https://host/a@2x.png"),
        (
            "a=redis://:p@w@host/0 b=http://host/",
            "a=redis://host/0 b=http://host/",
        ),
        ("me:pw@tcp(db:3306)/shop", "tcp(db:3306)/shop"),
        ("http://a:b@one,http://c:d@two", "http://one,http://two"),
        ("ops@example.com", "ops@example.com"),
        ("https://host/path?x=1", "https://host/path?x=1"),
        ("\u{e4}:\u{e4}@h\u{e4}", "h\u{e4}"),
        ("", ""),
    ] {
        assert_eq!(without_userinfo(value), kept, "{value}");
    }
    let said = of(&[("SERVICE_DSN", "amqp://me:pw@mq/")], &[]);
    assert_eq!(said.meta()["dsn"], "amqp://mq/");
}

#[test]
fn certificates_are_not_verified_where_the_container_says_so() {
    let skips = |value: &str| {
        let said = of(
            &[
                ("SERVICE_CHECK_HTTPS", "/"),
                ("SERVICE_CHECK_TLS_SKIP_VERIFY", value),
            ],
            &[],
        );
        let checks = said.checks();
        matches!(
            checks[0].0,
            Check::Http {
                skip_verify: true,
                tls: true,
                ..
            }
        )
    };
    assert!(skips("true") && !skips("false"));
}

proptest! {
    #[test]
    fn no_name_or_value_panics(name in "(SERVICE_)?([0-9]{1,6}_)?[A-Z_\u{e4}]{0,12}", value: String) {
        let said = of(&[(&name, &value)], &[]);
        let _ = (said.tags(), said.meta(), said.checks(), said.duration("check_interval"));
        let tags = said.tags();
        prop_assert!(tags.iter().all(|tag| !tag.is_empty()));
    }
}
