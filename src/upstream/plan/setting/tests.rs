use proptest::prelude::*;

use super::*;

#[test]
fn times_are_read_as_nginx_writes_them() {
    for (text, millis) in [
        ("10s", 10_000),
        ("10", 10_000),
        ("0s", 0),
        ("1m30s", 90_000),
        ("1m 30s", 90_000),
        ("500ms", 500),
        ("1s500ms", 1_500),
        ("1d1h", 90_000_000),
        ("1y", 31_536_000_000),
    ] {
        assert_eq!(
            read_time(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in [
        "",
        " ",
        "s",
        "1x",
        "1s1m",
        "1s1s",
        "-1s",
        "1.5s",
        "1 s",
        "99999999999999999999s",
        "9999999999999y",
    ] {
        assert_eq!(read_time(text), None, "{text}");
    }
}

#[test]
fn a_setting_is_left_out_only_with_its_own_value() {
    let given = Parameters {
        max_fails: Some(3),
        backup: true,
        ..Parameters::default()
    };
    let without = |setting: Setting| {
        let mut parameters = given;
        setting.leave_out(&mut parameters);
        Setting::of(&parameters)
            .map(|setting| setting.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        without(Setting::MaxFails(2)),
        ["max_fails=3", "backup=true"]
    );
    assert_eq!(without(Setting::MaxFails(3)), ["backup=true"]);
    assert_eq!(without(Setting::Backup), ["max_fails=3"]);
}

proptest! {
    #[test]
    fn a_time_that_is_written_is_read_again(millis in 0..u64::from(u32::MAX)) {
        let time = Duration::from_millis(millis);
        prop_assert_eq!(read_time(&write_time(time)), Some(time));
    }

    #[test]
    fn whatever_stands_for_a_time_does_no_harm(text: String) {
        let _ = read_time(&text);
    }
}
