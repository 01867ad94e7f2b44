//! How one run of an agent behaves, by what it logs and uses (I4): it does not flood its log, does not spin, and does not grow; no
//! I/O.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// Lines in a minute, beside those that tell what was done with a server: each of the latter is a change that somebody wants to read,
/// and there are as many as there are changes, of 10 instances in up to 2 load balancers.
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

/// How much more it may occupy later, in bytes.
const GROWTH: u64 = 6 << 20;
const MORE_FILES: usize = 40;
const MORE_THREADS: usize = 4;

/// Share of a core in [`SPIN_WINDOW`] that is work no more.
const SPIN: f64 = 0.5;
const SPIN_WINDOW: Duration = Duration::from_secs(10);

/// The same within a short time, in which there may be much to do.
const BURST: f64 = 0.9;
const BURST_WINDOW: Duration = Duration::from_millis(2_500);

/// What a process occupies: bytes of memory, open files, threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory: u64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

impl Size {
    /// The larger one of each.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }

    fn outgrows(self, warm: Self) -> bool {
        self.memory > warm.memory + GROWTH
            || self.files > warm.files + MORE_FILES
            || self.threads > warm.threads + MORE_THREADS
    }
}

/// One look at a run. Lines and CPU time are those since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    /// Lines that tell no step.
    pub(crate) lines: usize,
    pub(crate) steps: usize,
    pub(crate) cpu: Duration,
    /// `None` where it could not be read: the process is about to end.
    pub(crate) size: Option<Size>,
}

/// How often each rule was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) flood: u64,
    pub(crate) spin: u64,
    pub(crate) growth: u64,
}

/// What is known of one run.
#[derive(Debug)]
pub(crate) struct Conduct {
    began: Instant,
    lines: Minute,
    steps: Minute,
    cpu: VecDeque<(Instant, Duration)>,
    /// What it occupied when it was warm.
    warm: Option<Size>,
    /// The most of each, ever.
    most: Size,
    judged: Judged,
}

impl Conduct {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            lines: Minute::default(),
            steps: Minute::default(),
            cpu: VecDeque::new(),
            warm: None,
            most: Size::default(),
            judged: Judged::default(),
        }
    }

    /// Judges one look; gives what is wrong.
    pub(crate) fn look(&mut self, look: Look) -> Vec<String> {
        let flood = self.floods(look);
        let spin = self.spins(look);
        let growth = look.size.and_then(|size| self.grows(size, look.at));
        flood.into_iter().chain(spin).chain(growth).collect()
    }

    /// Lines of the last minute that tell no step, and steps.
    pub(crate) fn lines_of_a_minute(&self) -> (usize, usize) {
        (self.lines.count(), self.steps.count())
    }

    pub(crate) fn most(&self) -> Size {
        self.most
    }

    /// How often each rule was applied since this was last asked.
    pub(crate) fn take_judged(&mut self) -> Judged {
        std::mem::take(&mut self.judged)
    }

    fn floods(&mut self, look: Look) -> Vec<String> {
        self.judged.flood += 1;
        self.lines.note(look.at, look.lines);
        self.steps.note(look.at, look.steps);
        let (lines, steps) = self.lines_of_a_minute();
        let lines = (lines > LINES).then(|| format!("logs {lines} lines in a minute"));
        let steps = (steps > MANY_STEPS).then(|| format!("logs {steps} steps in a minute"));
        lines.into_iter().chain(steps).collect()
    }

    fn spins(&mut self, look: Look) -> Option<String> {
        self.cpu.push_back((look.at, look.cpu));
        let is_old = |(at, _): &(Instant, Duration)| *at + SPIN_WINDOW * 3 / 2 < look.at;
        while self.cpu.front().is_some_and(is_old) {
            self.cpu.pop_front();
        }
        let long = self.share_of(SPIN_WINDOW);
        self.judged.spin += u64::from(long.is_some());
        let long = long.filter(|share| *share > SPIN);
        let share = long.or_else(|| self.share_of(BURST_WINDOW).filter(|share| *share > BURST))?;
        Some(format!("uses {:.0} % of a core for seconds", share * 100.0))
    }

    /// The share of a core that it used in this time and a little more; `None` where it is not known for so long.
    fn share_of(&self, window: Duration) -> Option<f64> {
        let (to, after) = *self.cpu.back()?;
        let mut earlier = self.cpu.iter().rev();
        let (from, before) = *earlier.find(|(at, _)| *at + window <= to)?;
        Some(after.saturating_sub(before).as_secs_f64() / (to - from).as_secs_f64())
    }

    fn grows(&mut self, size: Size, now: Instant) -> Option<String> {
        self.most = self.most.most(size);
        if now < self.began + WARM {
            return None;
        }
        let warm = *self.warm.get_or_insert(self.most);
        self.judged.growth += 1;
        size.outgrows(warm)
            .then(|| format!("grows: {warm:?} when warm, {size:?} now"))
    }
}

/// A count that only grows, over the last minute.
#[derive(Debug, Default)]
struct Minute(VecDeque<(Instant, usize)>);

impl Minute {
    fn note(&mut self, now: Instant, count: usize) {
        if self.0.is_empty() {
            self.0.push_back((now, 0));
        }
        self.0.push_back((now, count));
        let is_old = |(at, _): &(Instant, usize)| *at + Duration::from_secs(60) < now;
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    fn count(&self) -> usize {
        match (self.0.front(), self.0.back()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => 0,
        }
    }
}

/// What is wrong with an agent that was asked to leave: it ends, and says by its exit code that all is in order. `ended` is its code,
/// where it has one, and what it said.
pub(crate) fn left_badly(ended: Option<(Option<i32>, &str)>) -> Option<String> {
    match ended {
        None => Some("does not leave".to_owned()),
        Some((Some(0), _)) => None,
        Some((code, said)) => Some(format!("left with {code:?}: {said}")),
    }
}

/// Whether a line tells what was done with a server.
pub(crate) fn is_step(line: &str) -> bool {
    STEPS.iter().any(|step| line.contains(step))
}
