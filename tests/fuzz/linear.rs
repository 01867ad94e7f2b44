//! Ten times as much takes ten times as long, not a hundred times: nobody stops a reader by what they write.

mod shapes;

use std::time::Duration;

use crate::cases::Target;
use crate::slots::Slot;
use crate::{cpu, targets};

/// How much longer ten times as much may take.
const MOST: u32 = 15;
/// How often the two are compared before they count as what they seem: other work on the machine only makes them dearer.
const ROUNDS: usize = 40;

/// An input of about so many bytes.
type Shape = fn(usize) -> Vec<u8>;

/// Compares an input of this size with one that is ten times as large.
#[track_caller]
fn linear(name: &str, target: Target, shape: Shape, size: usize) {
    let (small, large) = (shape(size), shape(10 * size));
    let grown = large.len() as f64 / small.len() as f64;
    assert!(
        (9.0..11.0).contains(&grown),
        "{name}: {grown} times as large"
    );
    let answer: String = target(&large).chars().take(100).collect();
    println!("{name}: {}", answer.escape_debug());
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        // As much work on both sides, one beside the other, so that the machine treats them alike.
        let ten = cpu::cost(|| (0..10).for_each(|_| drop(target(&small))));
        let one = cpu::cost(|| drop(target(&large)));
        costs.push((ten / 10, one));
        let (small, large) = least(&costs);
        if large <= small * MOST {
            return;
        }
        // Noise is no reason for as much as that.
        if costs.len() > 3 && large > small * 3 * MOST {
            break;
        }
    }
    panic!(
        "{name}: {:?} for {size} bytes and ten times as many",
        least(&costs)
    );
}

/// What each costs when nothing disturbs it.
fn least(costs: &[(Duration, Duration)]) -> (Duration, Duration) {
    let small = costs.iter().map(|(small, _)| *small).min();
    let large = costs.iter().map(|(_, large)| *large).min();
    (small.unwrap_or_default(), large.unwrap_or_default())
}

macro_rules! linear {
    ($($target:ident { $($shape:ident: $size:expr),+ $(,)? })+) => {
        $(mod $target {
            use super::*;

            #[test]
            fn is_read_in_linear_time() {
                let _slot = Slot::take();
                $(linear(
                    concat!(stringify!($target), " of ", stringify!($shape)),
                    targets::$target,
                    shapes::$target::$shape,
                    $size,
                );)+
            }
        })+
    };
}

/// Values in etcd have a limit of 64 KiB, but for those of pushers.
const VALUE: usize = 6_000;
const LARGE: usize = 10_000;
/// Unoptimised, its parser takes its time.
const TOML: usize = 4_000;

linear! {
    key { one_segment: LARGE, many_segments: LARGE, odd_bytes: LARGE }
    record {
        long_text: VALUE, escapes: VALUE, many_tags: VALUE, many_meta: VALUE, many_unknown: VALUE, twice: VALUE,
        nested: VALUE, long_number: VALUE, odd_bytes: VALUE, long_plain: VALUE,
    }
    hold { long_text: VALUE, escapes: VALUE, many_unknown: VALUE, twice: VALUE }
    split { many_versions: VALUE, twice: VALUE }
    release { many_unknown: VALUE }
    status_record {
        many_services: LARGE, many_instances: LARGE, many_targets: LARGE, many_errors: LARGE, many_protected: LARGE,
        escapes: LARGE,
    }
    balancer { many_services: LARGE, many_targets: LARGE, many_routes: LARGE, escapes: LARGE }
    vulcand { many: LARGE, long_url: LARGE, nothing: LARGE }
    certificate { long_base64: LARGE, many_certificates: LARGE }
    nginx_api { many_servers: LARGE, many_peers: LARGE, twice: LARGE, long_text: LARGE, tags: LARGE }
    upstream_conf { many_servers: LARGE, many_words: LARGE, long_word: LARGE, blank_lines: LARGE, many_peers: LARGE }
    nginx_file {
        many_upstreams: LARGE, many_blocks: LARGE, many_marks: LARGE, deep: LARGE, long_word: LARGE, quotes: LARGE,
        comments: LARGE, many_names: LARGE,
    }
    template { many_tags: VALUE, many_meta: VALUE, long_text: VALUE, escapes: VALUE }
    docker_inspect { many_labels: LARGE, many_variables: LARGE, many_ports: LARGE, many_networks: LARGE, long_health: LARGE, long_name: LARGE }
    docker_event { many_attributes: LARGE, long_name: LARGE }
    env_file { many: LARGE, mistakes: LARGE, long_value: LARGE, long_name: LARGE, escapes: LARGE, comments: LARGE, unclosed: LARGE }
    http_probe { many_headers: LARGE, long_header: LARGE, long_reason: LARGE, long_body: LARGE, many_chunks: LARGE }
    push_toml {
        many_upstreams: TOML, one_line: TOML, many_targets: TOML, unknown_targets: TOML, unknown_keys: TOML, twice: TOML,
        dotted: TOML, nested: TOML, long_string: TOML, syntax_errors: TOML, long_list: TOML, escapes: TOML,
        many_rules: TOML, headers: TOML, upstreams_of_all: TOML, comments: TOML,
    }
}
