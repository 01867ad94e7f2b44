//! What `examples/nginx-lua/` costs a request, beside an nginx whose upstream is written down: `tests/bench/run.sh nginx_lua`.
//!
//! To compare another version of the library in the same run: `NGINX_LUA_BEFORE=FOLDER`, where the folder has its
//! `upstream_api.lua`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests share it, and neither needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

use support::{PATIENCE, Process, Settings, free_port, procfs};

/// Rounds of all variants, so that whatever else the machine does meets all of them. Each starts another nginx, because
/// LuaJIT compiles by chance: the same code is a little slower in one process than in the next.
const ROUNDS: usize = 9;

/// How long an nginx is loaded before it counts: LuaJIT compiles, connections open.
const WARMED: &str = "1s";

/// How long each variant is loaded in a round.
const LOADED: &str = "2s";

/// Connections of the load, all busy all the time.
const CONNECTIONS: &str = "16";

/// Servers of the upstream, which are one server: the addresses differ.
const SERVERS: u8 = 4;

/// CPU of one request through lua, in terms of one through a plain upstream.
const TIMES_PLAIN: f64 = 1.75;

/// CPU of one request, in terms of the version before. On a busy machine, two equal ones differ by up to 7 %.
const TIMES_BEFORE: f64 = 1.1;

/// What is compared: an nginx of one worker, and the path to ask it for.
struct Variant {
    name: &'static str,
    settings: Settings,
    path: &'static str,
    /// Of each round: requests a second, CPU microseconds of the worker a request.
    rounds: Vec<(f64, f64)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let port = free_port();
    let addresses: Vec<_> = (1..=SERVERS)
        .map(|number| format!("127.0.0.{number}:{port}"))
        .collect();
    let listening: String = addresses
        .iter()
        .map(|address| format!("listen {address}; "))
        .collect();
    let backend =
        format!("server {{ {listening} keepalive_requests 1000000; return 200 \"ok\\n\"; }}");
    let _backend = Settings::default()
        .workers(1)
        .without_log()
        .http(backend)
        .start()
        .await;

    let mut variants = vec![
        Variant::new("plain upstream", plain(&addresses), "/plain"),
        Variant::new("nginx-lua", lua(&addresses), "/"),
    ];
    if let Ok(folder) = std::env::var("NGINX_LUA_BEFORE") {
        let folder = Path::new(&folder).canonicalize().expect("a folder");
        let before = lua(&addresses).library(folder);
        variants.push(Variant::new("nginx-lua before", before, "/"));
    }
    for round in 0..ROUNDS {
        for turn in 0..variants.len() {
            // Nobody is always the first.
            let at = (round + turn) % variants.len();
            let found = variants[at].measure().await;
            variants[at].rounds.push(found);
        }
    }

    println!(
        "{CONNECTIONS} connections, {SERVERS} servers, one worker; medians of {ROUNDS} rounds of {LOADED}:"
    );
    for variant in &variants {
        println!(
            "  {:<20} {:8.0} requests/s {:7.2} µs of the worker's CPU a request, {:.2} in its best round",
            variant.name,
            variant.median(|round| round.0),
            variant.median(|round| round.1),
            variant.sorted(|round| round.1)[0],
        );
    }
    let cpu = |at: usize| variants[at].median(|round| round.1);
    let mut ok = cheap("a plain upstream", cpu(1) / cpu(0), TIMES_PLAIN);
    if variants.len() > 2 {
        ok &= cheap("before", cpu(1) / cpu(2), TIMES_BEFORE);
    }
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the CPU of a request in terms of something else, and tells whether it keeps the limit.
fn cheap(than: &str, times: f64, limit: f64) -> bool {
    let ok = times <= limit;
    let word = if ok { "met" } else { "MISSED" };
    println!("{word}: {times:.2} times the CPU of {than}, limit {limit:.2}");
    ok
}

/// An nginx that knows nothing of lua but its API, which nobody asks.
fn plain(addresses: &[String]) -> Settings {
    let servers: String = addresses
        .iter()
        .map(|address| format!("server {address}; "))
        .collect();
    Settings::default()
        .workers(1)
        .without_log()
        .http(format!(
            "keepalive_requests 1000000; upstream plain {{ {servers} keepalive 32; }}"
        ))
        .locations("location /plain { proxy_pass http://plain; }")
}

fn lua(addresses: &[String]) -> Settings {
    let servers: String = addresses
        .iter()
        .map(|address| format!("\"{address}\", "))
        .collect();
    Settings::default()
        .workers(1)
        .http("keepalive_requests 1000000;")
        .declared(format!("{{ website = {{ servers = {{ {servers} }} }} }}"))
}

impl Variant {
    fn new(name: &'static str, settings: Settings, path: &'static str) -> Self {
        Self {
            name,
            settings,
            path,
            rounds: Vec::new(),
        }
    }

    /// Requests a second and CPU microseconds a request, in an nginx of its own.
    async fn measure(&self) -> (f64, f64) {
        let nginx = self.settings.clone().start().await;
        let answer = nginx.get(self.path).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "ok\n"),
            "{}",
            self.name
        );
        let [worker] = nginx.workers()[..] else {
            panic!("{}: one worker", self.name);
        };
        let url = format!("http://{}{}", nginx.traffic(), self.path);
        load(&url, WARMED).await;
        let before = procfs::cpu_time(worker);
        let (rate, requests) = load(&url, LOADED).await;
        let used: Duration = procfs::cpu_time(worker) - before;
        (rate, used.as_secs_f64() * 1e6 / requests)
    }

    /// A figure of all rounds, the smallest first.
    fn sorted(&self, figure: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        let mut found: Vec<_> = self.rounds.iter().map(figure).collect();
        found.sort_by(f64::total_cmp);
        found
    }

    fn median(&self, figure: impl Fn(&(f64, f64)) -> f64) -> f64 {
        self.sorted(figure)[self.rounds.len() / 2]
    }
}

/// Requests a second, and requests in all, of wrk. All must be answered well.
async fn load(url: &str, time: &str) -> (f64, f64) {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", CONNECTIONS, "-d", time, url]);
    let output = Process::start("wrk", &mut wrk).end(PATIENCE).await.output;
    assert!(
        !output.contains("Non-2xx") && !output.contains("Socket errors"),
        "{output}"
    );
    // "  123456 requests in 3.00s, 12.34MB read" and "Requests/sec:  41152.00"
    let words: Vec<_> = output.split_whitespace().collect();
    let beside = |word: &str, step: isize| -> f64 {
        let at = words.iter().position(|found| *found == word);
        let at = at.unwrap_or_else(|| panic!("no {word}: {output}"));
        words[at.wrapping_add_signed(step)].parse().unwrap()
    };
    (beside("Requests/sec:", 1), beside("requests", -1))
}
