//! A configuration together with what beats it.

use super::*;

#[test]
fn flags_beat_the_file_and_the_file_beats_what_is_shipped() {
    let top = "id = \"file\"\nprefix = \"/domains\"\nmeta_prefix = \"/own\"\ndebounce = \"1ms\"\nresync = \"1m\"\nttl = \"20s\"\n";
    let config = right(&format!("{top}{RIGHT}drain_timeout = \"3s\""));
    let host: Option<PusherId> = "host".parse().ok();
    let file = FromFlags {
        host: host.clone(),
        ..FromFlags::default()
    };
    let flags = FromFlags {
        id: "flag".parse().ok(),
        host,
        prefix: "/flag".parse().ok(),
        meta_prefix: "/meta".parse().ok(),
        debounce: Some(Duration::ZERO),
        resync: Some(Duration::from_secs(5)),
        ttl: Some(Duration::from_secs(6)),
        forget_after: None,
        request_timeout: Some(Duration::from_secs(7)),
        drain_timeout: Some(Duration::from_secs(8)),
        min_servers: Some(9),
        max_removal: Some(Share::Count(10)),
        hold: Some(Duration::from_secs(11)),
        adopt: false,
    };
    let told = |overrides: &FromFlags, config: &Config| {
        let settings = overrides.settings(config).unwrap();
        let target = &settings.targets[0];
        let TargetSettings::Plus(plus) = target.settings() else {
            panic!("{settings:?}")
        };
        let times = [
            settings.pacing.debounce(),
            settings.pacing.resync(),
            settings.ttl,
            plus.api.timeout,
            target.routes()[0].drain_timeout,
        ];
        let times = times.map(|time| humantime::format_duration(time).to_string());
        let names = format!("{} {} {}", settings.id, settings.prefix, settings.meta);
        let limits = target.routes()[0].limits;
        let hold = humantime::format_duration(limits.protect_for);
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
    let nameless = FromFlags::default().settings(&right(RIGHT)).unwrap_err();
    let expected = "--id is missing, and this host's name cannot replace it: ";
    assert!(
        nameless[0].text.starts_with(expected),
        "{}",
        nameless[0].text
    );
}

#[test]
fn a_load_balancer_is_not_forgotten_before_its_pusher() {
    let seconds = std::time::Duration::from_secs;
    let settings = |ttl, forget_after| {
        let overrides = FromFlags {
            id: "edge".parse().ok(),
            ttl,
            forget_after,
            ..FromFlags::default()
        };
        overrides.settings(&right(RIGHT))
    };
    let after = |ttl, time| settings(ttl, time).unwrap().forget_after;
    assert_eq!(after(None, None), seconds(600));
    assert_eq!(after(Some(seconds(3600)), None), seconds(3600));
    assert_eq!(after(None, Some(seconds(15))), seconds(15));
    let mistakes = settings(None, Some(seconds(14))).unwrap_err();
    let expected = "--forget-after 14s is shorter than --ttl 15s: ";
    assert!(mistakes[0].text.starts_with(expected), "{mistakes:?}");
}

#[test]
fn a_target_that_cannot_be_is_refused_together_with_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.toml");
    let text = "[[nginx]]\nname = \"e\"\nfile = \"/x\"\n[[upstream]]\nname = \"x\"\nholt = 1\n[[upstream]]\nname = \"y\"\nprotocol = \"stream\"\n";
    std::fs::write(&path, text).unwrap();
    let overrides = FromFlags {
        id: "edge".parse().ok(),
        ..FromFlags::default()
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

#[test]
fn vulcands_keys_lie_apart_from_records_and_from_sidekicks_own() {
    let text = |prefix: &str| {
        format!("[[vulcand]]\nname = \"v\"\nprefix = \"{prefix}\"\n[[upstream]]\nname = \"x\"\n")
    };
    let overrides = FromFlags {
        id: "edge".parse().ok(),
        ..FromFlags::default()
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
    let elsewhere = FromFlags {
        prefix: "/v/records".parse().ok(),
        ..overrides
    };
    assert!(elsewhere.settings(&right(&text("/services"))).is_ok());
    assert!(elsewhere.settings(&right(&text("/v"))).is_err());
}
