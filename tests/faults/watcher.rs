//! Looks at every agent from outside: that it runs, does not grow, does not spin, and does not flood its log (I4).

use tokio::time::Instant;

use super::agents::Agent;
use super::conduct::{Conduct, Look, Size, is_step};
use super::judge::Statement;
use super::monitor::Monitor;
use super::places::{AGENTS, INSTANCES};
use super::world::World;
use crate::support::procfs;

/// Lines of a flood that a report shows.
const LINES_SHOWN: usize = 20;

/// One run of an agent.
#[derive(Debug)]
struct Run {
    pid: u32,
    conduct: Conduct,
    /// Whether READY=1 was seen.
    is_ready: bool,
}

/// Remembers what every agent occupied.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    runs: [Option<Run>; AGENTS],
    most: Size,
    most_lines: usize,
    most_steps: usize,
}

impl Watcher {
    /// Looks at all of them; gives what is violated. `down` are those that a fault has ended.
    pub(crate) fn look(&mut self, world: &mut World, down: &[usize]) -> Vec<String> {
        let now = Instant::now();
        let mut violations = Vec::new();
        for number in (0..AGENTS).filter(|number| !down.contains(number)) {
            let agent = &mut world.agents[number];
            let name = agent.name.clone();
            let wrong = self.look_at(number, agent, &world.monitor, now);
            violations.extend(wrong.into_iter().map(|wrong| format!("I4: {name} {wrong}")));
        }
        violations
    }

    fn look_at(
        &mut self,
        number: usize,
        agent: &mut Agent,
        monitor: &Monitor,
        now: Instant,
    ) -> Vec<String> {
        let is_routed = agent.says_routed();
        let Some(running) = &mut agent.running else {
            return Vec::new();
        };
        if !running.runs() {
            let said = tail(&running.process().output());
            // From now on it is judged anew.
            agent.start();
            return vec![format!("has ended by itself: {said}")];
        }
        let (pid, lines) = (running.process().pid(), running.process().lines());
        let run = self.runs[number].take().filter(|run| run.pid == pid);
        let run = self.runs[number].insert(run.unwrap_or_else(|| Run::new(pid, now)));
        if is_routed && !run.is_ready {
            run.is_ready = true;
            if number < INSTANCES {
                monitor.said(Statement::Routed, number);
            }
        }
        let (steps, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| is_step(line));
        let mut wrong = run
            .conduct
            .look(look(pid, now, (others.len(), steps.len())));
        if let Some(wrong) = wrong
            .iter_mut()
            .find(|wrong| wrong.contains(" lines in a minute"))
        {
            let last = &others[others.len().saturating_sub(LINES_SHOWN)..];
            wrong.extend(last.iter().flat_map(|line| ["\n", line.as_str()]));
        }
        wrong.extend(
            lines
                .iter()
                .find(|line| line.contains("panicked at"))
                .cloned(),
        );
        let judged = run.conduct.take_judged();
        monitor.hold("I4 flood", judged.flood);
        monitor.hold("I4 spin", judged.spin);
        monitor.hold("I4 growth", judged.growth);
        let (lines, steps) = run.conduct.lines_of_a_minute();
        self.most_lines = self.most_lines.max(lines);
        self.most_steps = self.most_steps.max(steps);
        self.most = self.most.most(run.conduct.most());
        wrong
    }

    /// The largest figures of all, for the report.
    pub(crate) fn figures(&self) -> String {
        let Size {
            memory,
            files,
            threads,
        } = self.most;
        format!(
            "most memory of an agent {:.1} MiB, {files} files, {threads} threads, {} log lines and {} steps in a minute",
            memory as f64 / f64::from(1 << 20),
            self.most_lines,
            self.most_steps,
        )
    }
}

impl Run {
    fn new(pid: u32, now: Instant) -> Self {
        Self {
            pid,
            conduct: Conduct::new(now),
            is_ready: false,
        }
    }
}

fn look(pid: u32, at: Instant, (lines, steps): (usize, usize)) -> Look {
    let memory = procfs::memory(pid).get("Rss").copied();
    Look {
        at,
        lines,
        steps,
        cpu: procfs::cpu_time(pid),
        size: memory.map(|memory| Size {
            memory,
            files: procfs::files(pid),
            threads: procfs::threads(pid),
        }),
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
