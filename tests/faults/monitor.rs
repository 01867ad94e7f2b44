//! What all parts of the suite tell, and what was violated: with the time line before it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::judge::{Asked, Judge, STANDSTILL, Statement};
use super::places::Part;
use super::tried::Tried;

/// Lines of the time line that stand before a violation.
const LINES_BEFORE: usize = 30;

/// Between two looks at what does not happen.
const TICK: Duration = Duration::from_millis(100);

/// The same violation is told once in this time.
const REPEATED: Duration = Duration::from_secs(15);

/// Shared by everything that runs at once.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
    over: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Inner {
    judge: Judge,
    line: VecDeque<String>,
    violations: Vec<String>,
    told: BTreeMap<String, Instant>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        let began = Instant::now();
        let inner = Inner {
            judge: Judge::new(began),
            line: VecDeque::new(),
            violations: Vec::new(),
            told: BTreeMap::new(),
        };
        Self {
            began,
            inner: Arc::new(Mutex::new(inner)),
            over: Arc::default(),
        }
    }

    /// What happens from now on is only the end of the suite.
    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Puts a line into the time line.
    pub(crate) fn note(&self, what: impl AsRef<str>) {
        let line = format!("{} {}", self.clock(), what.as_ref());
        if std::env::var_os("SIDEKICK_FAULTS_SHOW").is_some() {
            eprintln!("{line}");
        }
        self.lock().line.push_back(line);
    }

    /// Seconds since the beginning.
    pub(crate) fn clock(&self) -> String {
        format!("{:9.3}", self.began.elapsed().as_secs_f64())
    }

    pub(crate) fn trouble(&self, parts: &[Part]) {
        self.lock().judge.trouble(parts, Instant::now());
    }

    /// The same fault took until now to begin.
    pub(crate) fn troubled(&self, parts: &[Part]) {
        self.lock().judge.troubled(parts, Instant::now());
    }

    pub(crate) fn relief(&self, parts: &[Part]) {
        self.lock().judge.relief(parts, Instant::now());
    }

    /// Said before it happens.
    pub(crate) fn dies(&self, instance: usize) {
        self.lock().judge.died(instance, Instant::now());
    }

    /// Said after it has happened.
    pub(crate) fn lives(&self, instance: usize) {
        self.lock().judge.lives(instance, Instant::now());
    }

    /// etcd has another leader.
    pub(crate) fn elected(&self) {
        self.lock().judge.elected(Instant::now());
    }

    /// A stranger writes over the record of this instance, or may yet do so.
    pub(crate) fn overwritten(&self, instance: usize) {
        self.lock().judge.overwritten(instance, Instant::now());
    }

    /// Whether only the end of its lease takes the instance's record away, and that time is over.
    pub(crate) fn is_lease_over(&self, instance: usize) -> bool {
        self.lock().judge.is_lease_over(instance, Instant::now())
    }

    /// What etcd says of that lease: whole seconds that are left.
    pub(crate) fn lease_told(&self, instance: usize, left: i64) {
        self.lock().judge.lease_told(instance, left, Instant::now());
    }

    pub(crate) fn record_gone(&self, instance: usize) {
        self.lock().judge.record_gone(instance, Instant::now());
    }

    /// etcd has another record of the instance.
    pub(crate) fn record_came(&self, instance: usize) {
        self.lock().judge.record_came(instance, Instant::now());
    }

    /// All records of that time are looked through.
    pub(crate) fn listed(&self, at: Instant) {
        let violations = self.lock().judge.listed(at);
        self.violated(violations);
    }

    pub(crate) fn announced_again(&self, instance: usize) {
        self.lock().judge.announced_again(instance, Instant::now());
    }

    pub(crate) fn is_calm_but_for(&self, part: Part) -> bool {
        self.lock().judge.is_calm_but_for(part)
    }

    pub(crate) fn said(&self, statement: Statement, instance: usize) {
        self.lock().judge.said(statement, instance, Instant::now());
    }

    /// Something was judged so often.
    pub(crate) fn hold(&self, invariant: &'static str, times: u64) {
        self.lock().judge.hold(invariant, times);
    }

    pub(crate) fn asked(&self, asked: &Asked) {
        let violations = self.lock().judge.asked(asked);
        self.violated(violations);
    }

    /// Judges what does not happen, for ever. `plus` is what the stand-in would send requests to.
    pub(crate) async fn tick_all_the_time(self, plus: impl Fn() -> Vec<Tried>) {
        let mut pace = interval(TICK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = Instant::now();
        loop {
            pace.tick().await;
            let still = last.elapsed();
            if still > STANDSTILL {
                let still = still.as_secs_f64();
                self.note(format!("the suite itself stood still for {still:.1} s"));
            }
            last = Instant::now();
            let violations = self.lock().judge.tick(Instant::now(), &plus());
            self.violated(violations);
        }
    }

    pub(crate) fn answering(&self, balancer: usize, time: Duration) -> Vec<usize> {
        self.lock().judge.answering(balancer, time, Instant::now())
    }

    pub(crate) fn strangers(&self, balancer: usize, time: Duration) -> Vec<SocketAddr> {
        self.lock().judge.strangers(balancer, time, Instant::now())
    }

    /// Keeps violations, each with what happened before it.
    pub(crate) fn violated(&self, violations: Vec<String>) {
        for violation in violations {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let mut inner = self.lock();
            let kind = kind(&violation);
            let now = Instant::now();
            let is_repeated = inner
                .told
                .insert(kind, now)
                .is_some_and(|last| last + REPEATED > now);
            if is_repeated {
                continue;
            }
            let line = format!("{} VIOLATION {violation}", self.clock());
            eprintln!("{line}");
            inner.line.push_back(line.clone());
            let from = inner.line.len().saturating_sub(LINES_BEFORE);
            let before: Vec<_> = inner.line.range(from..).cloned().collect();
            inner.violations.push(before.join("\n"));
        }
    }

    /// All so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// What was counted and judged.
    pub(crate) fn figures(&self) -> String {
        self.lock().judge.figures()
    }

    /// Which invariants were ever judged.
    pub(crate) fn judged(&self) -> Vec<&'static str> {
        self.lock().judge.judged()
    }

    /// The whole time line.
    pub(crate) fn line(&self) -> String {
        let inner = self.lock();
        inner.line.iter().map(|line| format!("{line}\n")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with it")
    }
}

/// A violation without its numbers, which differ each time.
fn kind(violation: &str) -> String {
    let words = violation.split_whitespace();
    let words = words.filter(|word| word.parse::<f64>().is_err());
    words.collect::<Vec<_>>().join(" ")
}
