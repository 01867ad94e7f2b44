use proptest::prelude::*;

use super::*;

fn settings(arguments: &[&str]) -> Settings {
    Settings {
        backend: "nginx1.service".parse().unwrap(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        slowest: Duration::from_secs(5),
        leaving: Duration::from_secs(16),
        socket: Socket::Any,
    }
}

/// The lines that say something.
fn directives(text: &str) -> Vec<&str> {
    let says = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().filter(says).collect()
}

#[test]
fn a_unit_is_the_shipped_one_with_what_differs_filled_in() {
    let arguments = [
        "website/nginx1",
        "10.0.0.5:8080",
        "--probe",
        "/health?a=100%",
    ];
    let text = service(&settings(&arguments), false);
    let (filled, shipped) = (directives(&text), directives(SERVICE));
    let new: Vec<_> = filled
        .iter()
        .filter(|line| !shipped.contains(line))
        .collect();
    assert_eq!(
        new,
        [
            &"Description=sidekick of nginx1",
            &"BindsTo=nginx1.service",
            &"After=nginx1.service",
            &"EnvironmentFile=-/etc/sidekick/nginx1.env",
            &"Environment=SIDEKICK_ENV_FILE=-/etc/sidekick/sidekick.env:-/etc/sidekick/nginx1.env",
            &"ExecStart=/usr/local/bin/sidekick announce website/nginx1 10.0.0.5:8080 --probe \"/health?a=100%%\"",
            &"WantedBy=nginx1.service",
        ]
    );
    assert_eq!(
        filled.len() + 1,
        shipped.len(),
        "Docker's group alone is left out"
    );
    assert!(!text.contains("Docker's socket"), "nor is there its reason");
    assert!(!text.contains("%i"), "{text}");
}

#[test]
fn a_container_of_docker_needs_its_group() {
    let with_docker = Settings {
        socket: Socket::Docker,
        ..settings(&["--container", "nginx1"])
    };
    assert!(service(&with_docker, false).contains("\nSupplementaryGroups=docker\n"));
}

#[test]
fn a_container_of_podman_needs_what_its_drop_in_says() {
    let with_podman = Settings {
        socket: Socket::Podman,
        ..settings(&["--container", "nginx1"])
    };
    let text = service(&with_podman, false);
    let [first, .., last] = directives(PODMAN)[..] else {
        panic!("{PODMAN}");
    };
    let said = directives(&text);
    assert_eq!((first, said.last()), ("[Unit]", Some(&last)));
    assert!(!said.contains(&"SupplementaryGroups=docker"), "{text}");
    let last_word = said.iter().rfind(|line| line.starts_with("DynamicUser="));
    assert_eq!(last_word, Some(&"DynamicUser=no"));
}

#[test]
fn limits_grow_with_what_they_limit_and_never_shrink() {
    let slow = Settings {
        slowest: Duration::from_secs(31),
        leaving: Duration::from_millis(90_500),
        ..settings(&[])
    };
    let text = service(&slow, false);
    assert!(text.contains("\nWatchdogSec=62s\n"), "{text}");
    assert!(text.contains("\nTimeoutStopSec=91s\n"), "{text}");
    let text = service(&settings(&[]), false);
    assert!(text.contains("\nWatchdogSec=30s\n"), "{text}");
    assert!(text.contains("\nTimeoutStopSec=30s\n"), "{text}");
}

#[test]
fn a_unit_for_fleet_runs_where_its_backend_does() {
    let text = service(&settings(&["a/b", "c:1"]), true);
    assert!(text.ends_with("[X-Fleet]\n# On the machine where the backend runs, wherever that is.\nMachineOf=nginx1.service\n"));
    assert!(!text.contains("[Install]"));
}

#[test]
fn the_two_shipped_services_say_the_same_but_for_where_they_run() {
    let until = |text: &'static str, section| directives(text.split(section).next().unwrap());
    assert_eq!(until(SERVICE, "[Install]"), until(FLEET, "[X-Fleet]"));
}

#[test]
fn every_directive_of_a_sidekick_has_a_reason_above_it_or_stands_in_a_group_that_has() {
    for template in [SERVICE, FLEET, PODMAN, BACKEND_SIDEKICK] {
        let mut explained = false;
        for line in template.lines().filter(|line| !line.starts_with('[')) {
            match line {
                "" => explained = false,
                comment if comment.starts_with('#') => explained = true,
                directive => {
                    let speaks_for_itself = ["Description", "Documentation", "ContainerName"];
                    let name = directive.split('=').next().unwrap();
                    let own = speaks_for_itself.contains(&name)
                        || name.starts_with("EnvironmentFile")
                        || name == "Image";
                    assert!(explained || own, "{directive}");
                }
            }
        }
    }
}

#[test]
fn a_quadlet_pair_names_each_other_and_the_image() {
    let settings = settings(&["website/nginx1", "10.0.0.5:8080"]);
    let [backend, sidekick] = quadlet(&settings, "docker.io/library/nginx:1.29", Some("8080:80"));
    assert_eq!(backend.0, "nginx1.container");
    assert_eq!(sidekick.0, "nginx1-sidekick.container");
    for line in [
        "ContainerName=nginx1",
        "Image=docker.io/library/nginx:1.29",
        "PublishPort=8080:80",
        "Wants=nginx1-sidekick.service",
    ] {
        assert!(
            directives(&backend.1).contains(&line),
            "{line}: {}",
            backend.1
        );
    }
    for line in [
        "BindsTo=nginx1.service",
        "After=nginx1.service",
        "ContainerName=nginx1-sidekick",
        "Exec=announce website/nginx1 10.0.0.5:8080",
        "EnvironmentFile=-/etc/sidekick/nginx1.env",
    ] {
        assert!(
            directives(&sidekick.1).contains(&line),
            "{line}: {}",
            sidekick.1
        );
    }
    let [unpublished, _] = quadlet(&settings, "x", None);
    assert!(!unpublished.1.contains("PublishPort"), "{}", unpublished.1);
    assert!(
        !unpublished.1.contains("HOST:CONTAINER"),
        "{}",
        unpublished.1
    );
}

#[test]
fn names_of_units_are_checked() {
    for (text, name) in [
        ("nginx1", "nginx1"),
        ("nginx1.service", "nginx1"),
        ("nginx@1.service", "nginx@1"),
        ("a\\x2db", "a\\x2db"),
    ] {
        assert_eq!(text.parse::<UnitName>().unwrap().0, name);
    }
    for text in [
        "",
        ".service",
        "a b",
        "a/b",
        "nginx.socket",
        "a%i",
        "a\n",
        &"a".repeat(250),
    ] {
        assert!(text.parse::<UnitName>().is_err(), "{text:?}");
    }
}

#[test]
fn what_means_something_to_systemd_is_quoted() {
    for (argument, quoted) in [
        ("/health", "/health"),
        ("", "\"\""),
        (";", "\";\""),
        ("a b", "\"a b\""),
        ("100%", "\"100%%\""),
        ("$HOME ${x}", "\"$$HOME $${x}\""),
        ("say \"hi\"", "\"say \\\"hi\\\"\""),
        ("it's", "\"it's\""),
        ("a\\d", "\"a\\\\d\""),
        ("a\nb\u{7}", "\"a\\nb\\x07\""),
    ] {
        assert_eq!(quote(argument), quoted, "{argument:?}");
    }
}

proptest! {
    /// A shell reads quotes and backslashes as systemd does; what it does not know are specifiers and control characters.
    #[test]
    fn whatever_is_quoted_is_one_argument_and_the_same(argument in "[^\\p{Cc}]{0,40}") {
        let quoted = quote(&argument).replace("%%", "%");
        let read = shlex::split(&quoted.replace("$$", "\\$")).unwrap();
        prop_assert_eq!(read, [argument]);
    }

    #[test]
    fn a_quoted_argument_is_one_line(argument: String) {
        let quoted = quote(&argument);
        prop_assert!(!quoted.chars().any(char::is_control));
        let doubled = |mark| quoted.matches(mark).count() == argument.matches(mark).count() * 2;
        prop_assert!(doubled('%') && doubled('$'), "{}", quoted);
    }
}
