//! Looks at every agent from outside: that it runs, does not grow, does not spin, and does not flood its log (I4).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::judge::Statement;
use super::places::{AGENTS, INSTANCES};
use super::world::World;
use crate::support::procfs;

/// Lines in a minute, beside those that tell what was done with a server, which somebody wants to read.
const LINES: usize = 60;
const MANY_STEPS: usize = 300;
const STEPS: [&str; 4] = [
    " INFO add ",
    " INFO change ",
    " INFO drain ",
    " INFO remove ",
];

/// An agent that has run for so long is as large as it gets.
const WARM: Duration = Duration::from_secs(120);

/// How much more it may occupy later.
const GROWTH: u64 = 6 << 20;
const MORE_FILES: usize = 40;
const MORE_THREADS: usize = 4;

/// Share of a core in [`SPIN_WINDOW`] that is work no more.
const SPIN: f64 = 0.5;
const SPIN_WINDOW: Duration = Duration::from_secs(10);

/// The same within a short time, in which there may be much to do.
const BURST: f64 = 0.9;
const BURST_WINDOW: Duration = Duration::from_millis(2_500);

/// What is known of one run of an agent.
#[derive(Debug, Default)]
struct Run {
    pid: u32,
    began: Option<Instant>,
    lines: VecDeque<(Instant, usize)>,
    steps: VecDeque<(Instant, usize)>,
    /// Whether READY=1 was seen.
    is_ready: bool,
    cpu: VecDeque<(Instant, Duration)>,
    /// Memory, files and threads when it was warm.
    warm: Option<(u64, usize, usize)>,
    /// The most of each, ever.
    most: (u64, usize, usize),
}

/// Remembers what every agent occupied.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    runs: [Run; AGENTS],
    most: (u64, usize, usize),
    most_lines: usize,
}

impl Watcher {
    /// Looks at all of them; gives what is violated. `down` are those that a fault has ended.
    pub(crate) fn look(&mut self, world: &mut World, down: &[usize]) -> Vec<String> {
        let now = Instant::now();
        let mut violations = Vec::new();
        for number in (0..AGENTS).filter(|number| !down.contains(number)) {
            let agent = &mut world.agents[number];
            let name = agent.name.clone();
            let is_routed = agent.says_routed();
            let Some(running) = &mut agent.running else {
                continue;
            };
            if !running.runs() {
                let said = running.process().output();
                violations.push(format!("I4: {name} has ended by itself: {}", tail(&said)));
                // From now on it is judged anew.
                agent.start();
                continue;
            }
            let (pid, lines) = (running.process().pid(), running.process().lines());
            let run = &mut self.runs[number];
            if run.pid != pid {
                *run = Run {
                    pid,
                    began: Some(now),
                    ..Run::default()
                };
            }
            if let Some(line) = lines.iter().find(|line| line.contains("panicked at")) {
                violations.push(format!("I4: {name}: {line}"));
            }
            let all = lines.len();
            let lines: Vec<_> = lines.iter().filter(|line| !is_step(line)).collect();
            let steps = all - lines.len();
            violations.extend(
                run.many_steps(now, steps)
                    .map(|count| format!("I4: {name} logs {count} steps in a minute")),
            );
            violations.extend(run.log(now, lines.len()).map(|count| {
                let from = lines.len().saturating_sub(20);
                let last: Vec<_> = lines[from..].iter().map(|line| line.as_str()).collect();
                format!(
                    "I4: {name} logs {count} lines in a minute:\n{}",
                    last.join("\n")
                )
            }));
            self.most_lines = self.most_lines.max(run.lines_of_a_minute());
            if !run.is_ready && is_routed {
                run.is_ready = true;
                if number < INSTANCES {
                    world.monitor.said(Statement::Routed, number);
                }
            }
            violations.extend(run.spins(now).map(|share| {
                format!(
                    "I4: {name} uses {:.0} % of a core for seconds",
                    share * 100.0
                )
            }));
            violations.extend(
                run.grows(now)
                    .map(|what| format!("I4: {name} grows: {what}")),
            );
            self.most = most(self.most, run.most);
        }
        violations
    }

    /// The largest figures of all, for the report.
    pub(crate) fn figures(&self) -> String {
        let (memory, files, threads) = self.most;
        format!(
            "most memory of an agent {:.1} MiB, {files} files, {threads} threads, {} log lines in a minute",
            memory as f64 / f64::from(1 << 20),
            self.most_lines
        )
    }
}

impl Run {
    fn lines_of_a_minute(&self) -> usize {
        within_a_minute(&self.lines)
    }

    /// How many lines of a minute are too many.
    fn log(&mut self, now: Instant, lines: usize) -> Option<usize> {
        count(&mut self.lines, now, lines);
        Some(self.lines_of_a_minute()).filter(|count| *count > LINES)
    }

    /// How many steps of a minute are too many.
    fn many_steps(&mut self, now: Instant, steps: usize) -> Option<usize> {
        count(&mut self.steps, now, steps);
        Some(within_a_minute(&self.steps)).filter(|count| *count > MANY_STEPS)
    }

    /// The share of a core that is too much.
    fn spins(&mut self, now: Instant) -> Option<f64> {
        self.cpu.push_back((now, procfs::cpu_time(self.pid)));
        while self
            .cpu
            .front()
            .is_some_and(|(at, _)| *at + SPIN_WINDOW * 3 / 2 < now)
        {
            self.cpu.pop_front();
        }
        let too_much = |window: Duration, most: f64| {
            let (to, after) = *self.cpu.back()?;
            let mut earlier = self.cpu.iter().rev();
            let (from, before) = *earlier.find(|(at, _)| *at + window <= to)?;
            let share = after.saturating_sub(before).as_secs_f64() / (to - from).as_secs_f64();
            Some(share).filter(|share| *share > most)
        };
        too_much(SPIN_WINDOW, SPIN).or_else(|| too_much(BURST_WINDOW, BURST))
    }

    /// What is larger than when it was warm.
    fn grows(&mut self, now: Instant) -> Option<String> {
        let memory = procfs::memory(self.pid).get("Rss").copied()?;
        let print = (memory, procfs::files(self.pid), procfs::threads(self.pid));
        self.most = most(self.most, print);
        if now < self.began? + WARM {
            return None;
        }
        let warm = *self.warm.get_or_insert(self.most);
        let is_larger = print.0 > warm.0 + GROWTH
            || print.1 > warm.1 + MORE_FILES
            || print.2 > warm.2 + MORE_THREADS;
        is_larger.then(|| format!("(memory, files, threads) {warm:?} when warm, {print:?} now"))
    }
}

fn most(one: (u64, usize, usize), other: (u64, usize, usize)) -> (u64, usize, usize) {
    (one.0.max(other.0), one.1.max(other.1), one.2.max(other.2))
}

/// Notes how many lines there are now.
fn count(lines: &mut VecDeque<(Instant, usize)>, now: Instant, count: usize) {
    if lines.is_empty() {
        lines.push_back((now, 0));
    }
    lines.push_back((now, count));
    let is_old = |(at, _): &(Instant, usize)| *at + Duration::from_secs(60) < now;
    while lines.front().is_some_and(is_old) {
        lines.pop_front();
    }
}

fn within_a_minute(lines: &VecDeque<(Instant, usize)>) -> usize {
    match (lines.front(), lines.back()) {
        (Some((_, first)), Some((_, last))) => last - first,
        _ => 0,
    }
}

/// Whether a line tells what was done with a server.
fn is_step(line: &str) -> bool {
    STEPS.iter().any(|step| line.contains(step))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
