//! Every parser of foreign bytes, fed with changed copies of real data, and of what has its shape.
//!
//! What a parser may never do: panic, overflow its stack, take long, or pass on what it should not. Each target also has
//! properties of its own: see [`targets`].
//!
//! By hand, for half an hour each, two at a time, optimised:
//!
//! ```text
//! FUZZ_SECONDS=1800 FUZZ_THREADS=2 FUZZ_SEED=$RANDOM CARGO_PROFILE_DEV_OPT_LEVEL=2 \
//!     cargo test --test fuzz --target-dir target/fuzz -- --nocapture
//! ```
//!
//! A failure names the file with its input: `FUZZ_INPUT=FILE cargo test --test fuzz TARGET` gives it that input alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test says no, and what it did is for people"
)]

mod cases;
mod checks;
mod corpus;
mod cpu;
mod linear;
mod mutate;
mod settings;
mod slots;
mod targets;
mod watchdog;

macro_rules! fuzz {
    ($($target:ident),+) => {
        $(#[test]
        fn $target() {
            cases::run(stringify!($target), targets::$target);
        })+
    };
}

fuzz!(
    key,
    record,
    hold,
    split,
    release,
    status_record,
    balancer,
    vulcand,
    nginx_api,
    upstream_conf,
    nginx_file,
    template,
    docker_inspect,
    docker_event,
    certificate,
    env_file,
    push_toml,
    http_probe
);
