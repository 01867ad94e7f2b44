use proptest::prelude::*;

use super::*;

fn unit(groups: &str) -> Option<(String, bool)> {
    Unit::of(groups).map(|unit| (unit.name, unit.of_user))
}

#[test]
fn the_unit_is_found_in_old_and_new_hierarchies_and_for_users() {
    let system = Some(("web1-sidekick.service".to_owned(), false));
    for groups in [
        "0::/system.slice/web1-sidekick.service\n",
        "0::/system.slice/web1-sidekick.service/payload\n",
        "4:memory:/x.service\n1:name=systemd:/system.slice/web1-sidekick.service\n0::/\n",
        "1:name=systemd:/\n0::/system.slice/_web1-sidekick.service\n",
    ] {
        assert_eq!(unit(groups), system, "{groups}");
    }
    let user = "0::/user.slice/user-7.slice/user@7.service/app.slice/web@1.service\n";
    assert_eq!(unit(user), Some(("web@1.service".to_owned(), true)));
}

#[test]
fn what_is_no_service_has_no_unit() {
    for groups in [
        "",
        "0::/\n",
        "0::/user.slice/user-7.slice/session-3.scope\n",
        "0::/user.slice/user-7.slice/user@7.service/app.slice/run-1.scope\n",
        "0::/system.slice/-x.service\n",
        "0::/system.slice/a b.service\n",
        "0::/docker/0123abcd\n",
        "nonsense",
    ] {
        assert_eq!(unit(groups), None, "{groups}");
    }
}

#[test]
fn time_spans_are_read_as_systemctl_shows_them() {
    for (text, millis) in [
        ("1min 30s\n", 90_000),
        ("20s", 20_000),
        ("500ms", 500),
        ("1h 2min 3s 4ms", 3_723_004),
        ("2d 1h", 176_400_000),
        ("1w", 604_800_000),
    ] {
        assert_eq!(
            read_time_span(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in ["infinity\n", "", "0", "[not set]", "Failed to connect"] {
        assert_eq!(read_time_span(text), None, "{text}");
    }
}

#[test]
fn leaving_that_takes_as_long_as_the_timeout_or_longer_is_refused_with_both_figures() {
    let timeout = StopTimeout {
        unit: Unit {
            name: "web.service".to_owned(),
            of_user: false,
        },
        limit: Duration::from_secs(20),
    };
    let seconds = Duration::from_secs;
    assert_eq!(timeout.check(seconds(10), seconds(9), seconds(6)), Ok(()));
    let refused = timeout
        .check(seconds(15), seconds(5), seconds(6))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "--drain-timeout 15s and --linger 5s make stopping take up to 20s, but systemd kills web.service after 20s: \
             set TimeoutStopSec=26 there, or Type=notify, or shorter times"
    );
    let endless = timeout
        .check(Duration::MAX, seconds(1), seconds(6))
        .unwrap_err();
    assert!(endless.to_string().contains("after 20s"));
}

proptest! {
    #[test]
    fn arbitrary_groups_and_answers_never_panic(text in any::<String>(), path in "[0-9:/a-z.@_-]{0,60}(.service)?") {
        let _ = read_time_span(&text);
        let _ = Unit::of(&text);
        if let Some(unit) = Unit::of(&format!("0::/{path}")) {
            prop_assert!(unit.name.ends_with(".service") && !unit.name.starts_with('-'));
            prop_assert!(!unit.name.contains('/'));
        }
    }
}
