use std::time::Duration;

use clap::Parser;
use proptest::prelude::*;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn mistakes(line: &[&str]) -> String {
    let (settings, mistakes) = read(line);
    let result = mistakes.none_or(settings);
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

/// The same of a container that is not found yet: there are no settings, with or without mistakes.
fn mistakes_in(line: &[&str]) -> String {
    let (_, mistakes) = read(line);
    let result = mistakes.none_or(Some(()));
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

fn read(line: &[&str]) -> (Option<Settings>, Mistakes) {
    let line = std::iter::once("announce").chain(line.iter().copied());
    let args = Line::try_parse_from(line).unwrap().args;
    let mut mistakes = Mistakes::default();
    let settings = args.settings(&mut mistakes, None);
    (settings, mistakes)
}

#[test]
fn a_good_command_line_has_no_mistakes() {
    let line = ["website/nginx1", "10.0.0.5:8080/v1", "--probe", "/health"];
    assert_eq!(mistakes(&line), "");
}

#[test]
fn a_timeout_and_an_interval_that_were_both_given_must_fit() {
    let line = |more: &[&'static str]| mistakes_in(&[&["--container", "nginx1"], more].concat());
    let both = line(&["--timeout", "3s", "--interval", "2s"]);
    assert!(
        both.contains("--timeout 3s must not be longer than --interval 2s"),
        "{both}"
    );
    let none = line(&["--timeout", "0s", "--interval", "0s"]);
    assert!(
        none.contains("--timeout 0s:") && none.contains("--interval 0s:"),
        "{none}"
    );
}

#[test]
fn a_timeout_or_an_interval_alone_is_taken_as_it_is() {
    let pace = |more: &[&'static str]| {
        let line = [&["website/nginx1", "10.0.0.5:8080"], more].concat();
        let (settings, mistakes) = read(&line);
        let pace = mistakes.none_or(settings).unwrap().pace;
        (pace.interval, pace.timeout)
    };
    let ms = Duration::from_millis;
    assert_eq!(pace(&["--interval", "200ms"]), (ms(200), ms(200)));
    assert_eq!(pace(&["--timeout", "10s"]), (ms(10_000), ms(10_000)));
    assert_eq!(pace(&["--timeout", "1500ms"]), (ms(2_000), ms(1_500)));
}

#[test]
fn no_mistake_repeats_a_secret() {
    let text = mistakes(&[
        "website/nginx1",
        "10.0.0.5:8080",
        "--probe",
        "https://u:hunter2@host:bad",
        "--probe",
        "ftp://h/?token=hunter2",
        "--probe",
        "tcp://u:hunter2@h:1",
        "--probe",
        "exec:curl 'hunter2",
        "--probe-header",
        "Authorization hunter2",
        "--probe-header",
        "Authorization: \u{7f}hunter2",
        "--probe-tls-name",
        "10.0.0.5",
    ]);
    assert!(text.starts_with("7 mistakes:"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn no_settings_show_a_secret() {
    let line = [
        "website/nginx1",
        "10.0.0.5:8080",
        "--probe",
        "https://u:hunter2@host/?token=hunter2",
        "--probe",
        "exec:curl hunter2",
        "--probe-header",
        "Authorization: hunter2",
        "--endpoints",
        "http://u:hunter2@10.0.0.1:2379",
        "--user",
        "u:hunter2",
        "--password",
        "hunter2",
    ];
    let args = Line::try_parse_from(std::iter::once("announce").chain(line)).unwrap();
    let mut mistakes = Mistakes::default();
    let settings = args.args.settings(&mut mistakes, None).unwrap();
    args.args.etcd.cluster(&mut mistakes);
    let probes: Vec<_> = settings.probes.iter().map(ToString::to_string).collect();
    assert_eq!(probes, ["https://host/?...", "exec:curl ..."]);
    let told = mistakes.none_or(None::<()>).unwrap_err().to_string();
    assert!(
        told.contains("--endpoints: a login does not belong in it"),
        "{told}"
    );
    let shown = format!("{settings:?} {:?} {told}", args.args);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = mistakes(&[
        "website",
        "127.0.0.1:80",
        "--probe",
        "ftp://x",
        "--interval",
        "1s",
        "--timeout",
        "3s",
        "--rise",
        "0",
        "--ttl",
        "1s",
        "--weight",
        "70000",
        "--on-failure",
        "panic",
        "--ready",
        "set",
        "--format",
        "xml",
        "--expect-status",
        "2xx",
        "--meta",
        "novalue",
        "--prefix",
        "services",
    ]);
    for part in [
        "SERVICE/INSTANCE",
        "loopback",
        "--probe",
        "--timeout 3s must not be longer",
        "--rise",
        "--ttl 1s",
        "--weight",
        "--on-failure",
        "--ready",
        "--format",
        "--expect-status",
        "--meta",
        "--prefix",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(text.starts_with("13 mistakes:"), "{text}");
}

#[test]
fn what_is_missing_is_named() {
    let text = mistakes(&[]);
    assert!(text.contains("SERVICE/INSTANCE is missing"), "{text}");
    assert!(text.contains("HOST:PORT[/VERSION] is missing"), "{text}");
}

#[test]
fn addresses_that_only_this_host_reaches_need_a_word() {
    for host in [
        "127.0.0.1",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "169.254.7.7",
        "[fe80::1]",
        "localhost",
    ] {
        let address = format!("{host}:80");
        assert!(
            mistakes(&["a/b", &address]).contains("no other host"),
            "{host}"
        );
        assert_eq!(mistakes(&["a/b", &address, "--allow-loopback"]), "");
    }
}

#[test]
fn a_plain_record_refuses_what_it_cannot_say() {
    let text = mistakes(&[
        "a/b",
        "10.0.0.1:80",
        "--format",
        "plain",
        "--tag",
        "x",
        "--on-failure",
        "mark",
    ]);
    assert!(
        text.contains("--tag:") && text.contains("--on-failure mark:"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn arbitrary_values_are_taken_or_named_as_mistakes(
        value in any::<String>(), near in "[0-9a-z:/.=, -]{0,30}",
        flag in prop::sample::select(vec![
            "--probe", "--interval", "--timeout", "--rise", "--fall", "--grace", "--expect-status", "--expect-body",
            "--expect-header", "--probe-method", "--probe-header", "--probe-tls-name", "--on-failure", "--ttl", "--format", "--weight",
            "--tag", "--meta", "--protocol", "--ready", "--drain-timeout", "--linger", "--prefix", "--meta-prefix",
            "--endpoints", "--user", "--host", "--container-port", "--docker-host", "--on-gone", "--container",
        ])
    ) {
        for value in [value, near] {
            let flag = format!("{flag}={value}");
            let line = ["announce", "website/nginx1", "10.0.0.5:8080", &flag];
            // What is no command line is refused by the parser of command lines.
            let Ok(line) = Line::try_parse_from(line) else { continue };
            let mut mistakes = Mistakes::default();
            let settings = line.args.settings(&mut mistakes, None);
            let cluster = line.args.etcd.cluster(&mut mistakes);
            let pairing = line.args.pairing(&mut mistakes);
            match mistakes.none_or(settings.zip(cluster)) {
                Ok((settings, _)) => {
                    // Nothing that is accepted overflows later.
                    let _ = (settings.bounds(), settings.drain_timeout + settings.linger);
                    let _ = tokio::time::Instant::now() + settings.pace.interval + settings.pace.grace;
                    prop_assert!(settings.record.encode(settings.format).len() < 400 + 6 * value.len());
                }
                Err(invalid) => {
                    let shown = invalid.to_string();
                    prop_assert!(!shown.is_empty() || pairing.is_some(), "{}", flag);
                }
            }
        }
    }
}
