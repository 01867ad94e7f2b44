//! Large texts: ten times as much takes ten times as long, not a hundred times.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

/// What this thread has cost so far, whatever else the machine does.
fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = told.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// How long it takes to read such a text of this size, at best.
fn cost(size: usize, text: impl Fn(usize) -> String) -> Duration {
    let text = text(size);
    let once = |_| {
        let began = cpu();
        let (config, _) = read(&text, None);
        let overrides = FromFlags {
            id: "edge".parse().ok(),
            ..FromFlags::default()
        };
        let _ = overrides.settings(&config);
        cpu() - began
    };
    (0..3).map(once).min().unwrap()
}

#[track_caller]
fn linear(size: usize, text: impl Fn(usize) -> String) {
    let (small, large) = (cost(size, &text), cost(size * 10, &text));
    assert!(
        large < small * 30 + Duration::from_millis(50),
        "{size}: {small:?}, ten times as many: {large:?}"
    );
}

/// The lines of so many tables.
fn lines(size: usize, one: impl Fn(&mut String, usize)) -> String {
    let mut text = String::new();
    (0..size).for_each(|number| one(&mut text, number));
    text
}

#[test]
fn many_upstreams_are_read_in_linear_time() {
    linear(300, |size| {
        let upstreams = lines(size, |text, number| {
            writeln!(text, "[[upstream]]\nname = \"u{number}\"").unwrap();
        });
        format!("nginx = [{{ name = \"edge\", api = \"http://h/api\" }}]\n{upstreams}")
    });
}

#[test]
fn one_long_line_is_read_in_linear_time() {
    linear(300, |size| {
        let upstreams = lines(size, |text, number| {
            write!(text, "{{ name = \"u{number}\", nmae = 1 }}, ").unwrap();
        });
        format!(
            "nginx = [{{ name = \"edge\", api = \"http://h/api\" }}]\nupstream = [{upstreams}]\n"
        )
    });
}

#[test]
fn many_targets_with_an_upstream_each_are_read_in_linear_time() {
    linear(100, |size| {
        lines(size, |text, number| {
            let prefix = format!("prefix = \"/v{number}\"");
            writeln!(text, "[[vulcand]]\nname = \"v{number}\"\n{prefix}").unwrap();
            let target = format!("nginx = [\"v{number}\"]");
            writeln!(text, "[[upstream]]\nname = \"u{number}\"\n{target}").unwrap();
        })
    });
}

#[test]
fn names_that_are_all_unknown_are_told_in_linear_time_and_space() {
    let text = |size| {
        lines(size, |text, number| {
            writeln!(text, "[[vulcand]]\nname = \"v{number}\"").unwrap();
            let target = format!("nginx = [\"somewhere{number}\"]");
            writeln!(text, "[[upstream]]\nname = \"u{number}\"\n{target}").unwrap();
        })
    };
    linear(300, text);
    let told: usize = wrong(&text(1000)).iter().map(String::len).sum();
    assert!(told < 300 * 1000, "{told} bytes about 1000 mistakes");
}

#[test]
fn keys_that_are_there_twice_are_told_in_linear_time() {
    linear(300, |size| {
        lines(size, |text, number| {
            let twice = format!("name = \"u{number}\"\nname = \"v{number}\"");
            writeln!(text, "[[upstream]]\n{twice}").unwrap();
        })
    });
}
