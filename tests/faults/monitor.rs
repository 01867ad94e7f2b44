//! What all parts of the suite tell, and what was violated: with the time line before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::judge::{Asked, Judge, Statement};
use super::places::Part;

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

    /// Judges what does not happen, for ever. `plus` are the instances that the stand-in would send requests to.
    pub(crate) async fn tick_all_the_time(self, plus: impl Fn() -> Vec<usize>) {
        let mut pace = interval(TICK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            let violations = self.lock().judge.tick(Instant::now(), &plus());
            self.violated(violations);
        }
    }

    pub(crate) fn asked_within(&self, balancer: usize, time: Duration) -> Vec<usize> {
        self.lock()
            .judge
            .asked_within(balancer, time, Instant::now())
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

    /// How many requests there were, and how often each invariant was judged.
    pub(crate) fn counts(&self) -> String {
        let inner = self.lock();
        let counts = inner.judge.counts.iter();
        let held = inner.judge.held.iter();
        let counts = counts.map(|(what, count)| format!("{what} {count}"));
        let held = held.map(|(what, count)| format!("{what} judged {count} times"));
        counts.chain(held).collect::<Vec<_>>().join(", ")
    }

    /// Which invariants were ever judged to hold.
    pub(crate) fn judged(&self) -> Vec<&'static str> {
        self.lock().judge.held.keys().copied().collect()
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
