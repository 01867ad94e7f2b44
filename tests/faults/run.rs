//! Two faults at a time, until the time is over; then the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::agents::by_hand;
use super::draw::duration;
use super::fault::Fault;
use super::judge::{CONVERGENCE, Statement};
use super::monitor::Monitor;
use super::places::{INSTANCES, Part, instance_name};
use super::watcher::Watcher;
use super::world::World;

#[cfg(test)]
mod tests;

/// Lines of each log that a report shows.
const LOG_LINES: usize = 200;

/// Faults in a minute at least, whatever else the machine does.
const LEAST: usize = 6;

/// Faults in an hour at least: that is what an hour is for.
const LEAST_OF_AN_HOUR: usize = 1_000;

/// What is judged in every run of five minutes.
const JUDGED: [&str; 9] = [
    "I1",
    "I2",
    "I3",
    "I4 flood",
    "I4 growth",
    "I4 spin",
    "I5 drained",
    "I5 routed",
    "I6",
];

/// A run that violates so much is broken itself.
const TOO_MANY: usize = 40;

/// How long a wait of 3 s may take, with a silent etcd.
const ASKS: Duration = Duration::from_secs(15);

/// What is right for so long is right.
const STAYS: Duration = Duration::from_millis(500);

/// How long one fault may take to begin or to end: longer, and it is the suite that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happened in one run.
#[derive(Debug, Default)]
struct Tally {
    /// How many of each kind nothing else kept from happening.
    faults: BTreeMap<String, usize>,
    converged: Vec<Duration>,
}

impl Tally {
    fn count(&mut self, fault: &Fault, is_done: bool) {
        if is_done {
            *self.faults.entry(kind(fault)).or_default() += 1;
        }
    }
}

/// Tells the time line where the suite itself ends by a panic, too.
struct Told<'a> {
    monitor: &'a Monitor,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = write_line(self.monitor, self.seed);
            let violations = self.monitor.violations().join("\n\n");
            eprintln!(
                "faults: seed {}: the time line is in {file}\n{violations}",
                self.seed
            );
        }
    }
}

/// The file with the time line.
fn write_line(monitor: &Monitor, seed: u64) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{seed}.txt"));
    let written = fs::write(&file, monitor.line());
    format!("{} ({written:?})", file.display())
}

/// Breaks things for `time`.
///
/// # Panics
/// When anything was violated; with all that was, the seed, and what went before.
pub(crate) async fn run(seed: u64, time: Duration) {
    eprintln!("faults: seed {seed}, {} minutes", time.as_secs() / 60);
    let monitor = Monitor::new();
    let Some(mut world) = World::build(&monitor).await else {
        return;
    };
    world.run().await;
    let began = Instant::now();
    let mut rng = Rng::with_seed(seed);
    let mut watcher = Watcher::default();
    let mut tally = Tally::default();
    let _told = Told {
        monitor: &monitor,
        seed,
    };
    converge(&mut world, &mut watcher, &mut tally, "the start").await;
    // A later restore brings back what every agent was when it began.
    world.cluster.save().await;
    converge(&mut world, &mut watcher, &mut tally, "the first save").await;
    while began.elapsed() < time && monitor.violations().len() < TOO_MANY {
        round(&mut world, &mut watcher, &mut tally, &mut rng).await;
    }
    monitor.stop();
    report(&world, &watcher, &tally, (seed, time));
}

/// Two faults, one into the other, and all that follows.
async fn round(world: &mut World, watcher: &mut Watcher, tally: &mut Tally, rng: &mut Rng) {
    let first = Fault::draw(rng);
    let second = Fault::draw_beside(rng, &first);
    let (one, two) = (duration(rng, &first), duration(rng, &second));
    let wait = Duration::from_millis(rng.u64(0..3_000));
    let question = question(rng, &first, &second);
    let statement = ask(world, question, wait);
    let before = world.monitor.violations().len();

    tally.count(&first, strike(world, &first, &[]).await);
    look(world, watcher, one, &[&first]).await;
    let majority = first.breaks_majority_with(&second);
    let also: &[Part] = if majority { &[Part::Etcd] } else { &[] };
    tally.count(&second, strike(world, &second, also).await);
    look(world, watcher, two, &[&first, &second]).await;
    let [earlier, later] = if rng.bool() {
        [&first, &second]
    } else {
        [&second, &first]
    };
    if majority {
        // Neither member can be healthy before the other one is there.
        mend_members(world, &first, &second).await;
    } else {
        mend(world, earlier).await;
        mend(world, later).await;
    }
    // Whatever was not confirmed is set back now.
    world.cluster.healthy().await;
    world.monitor.relief(also);
    converge(world, watcher, tally, &format!("{first:?} and {second:?}")).await;
    statement.await.expect("it does not panic");
    if world.monitor.violations().len() > before {
        show_logs(world);
    }
}

/// Whether it could be done.
async fn strike(world: &mut World, fault: &Fault, also: &[Part]) -> bool {
    world.monitor.note(format!("{fault:?}"));
    world.monitor.trouble(also);
    world.monitor.trouble(&fault.takes());
    let struck = timeout(PATIENCE, world.strike(fault)).await;
    // A member that is replaced takes seconds to go, and another leader comes after that.
    if fault.takes().contains(&Part::Member) {
        world.monitor.troubled(&[Part::Member]);
    }
    match struck {
        Ok(true) => true,
        Ok(false) => {
            world.monitor.note(format!("{fault:?} cannot be done now"));
            false
        }
        Err(_) => panic!("the suite itself hangs at the beginning of {fault:?}"),
    }
}

async fn mend(world: &mut World, fault: &Fault) {
    world.monitor.note(format!("{fault:?} ends"));
    if timeout(PATIENCE, world.mend(fault)).await.is_err() {
        panic!("the suite itself hangs at the end of {fault:?}");
    }
    world.monitor.relief(&fault.takes());
}

/// Both at once.
async fn mend_members(world: &mut World, first: &Fault, second: &Fault) {
    world.begin_to_mend(first);
    world.begin_to_mend(second);
    mend(world, first).await;
    mend(world, second).await;
}

/// Lets time pass, and looks at everything meanwhile.
async fn look(world: &mut World, watcher: &mut Watcher, time: Duration, faults: &[&Fault]) {
    let down: Vec<usize> = faults
        .iter()
        .filter_map(|fault| fault.ends_agent())
        .collect();
    let until = Instant::now() + time;
    loop {
        look_once(world, watcher, &down);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // Faults last as long as was drawn.
        sleep(left.min(super::agents::LOOKED_AT_EVERY)).await;
    }
}

fn look_once(world: &mut World, watcher: &mut Watcher, down: &[usize]) {
    let violations = watcher.look(world, down);
    world.monitor.violated(violations);
}

/// Waits until all is right again, and judges how long that took (I3).
async fn converge(world: &mut World, watcher: &mut Watcher, tally: &mut Tally, after: &str) {
    let began = Instant::now();
    let mut is_late = false;
    let mut right = None;
    let took = loop {
        let differences = world.differences().await;
        let now = Instant::now();
        // Right for a while, not for a moment.
        match right {
            _ if !differences.is_empty() => right = None,
            None => right = Some(now),
            Some(since) if now > since + STAYS => break since - began,
            Some(_) => {}
        }
        if !differences.is_empty() && began.elapsed() > CONVERGENCE && !is_late {
            is_late = true;
            let said =
                format!("I3: after {after}, not right within {CONVERGENCE:?}: {differences:?}");
            world.monitor.violated(vec![said]);
        }
        if began.elapsed() > CONVERGENCE * 9 {
            show_logs(world);
            panic!("it never comes right after {after}: {differences:?}");
        }
        look(world, watcher, Duration::from_millis(100), &[]).await;
    };
    world
        .monitor
        .note(format!("right after {:.1} s", took.as_secs_f64()));
    world.monitor.hold("I3", 1);
    tally.converged.push(took);
}

/// What somebody asks meanwhile: whether an instance is routed, or whether one is gone that may be.
fn question(rng: &mut Rng, first: &Fault, second: &Fault) -> (Statement, usize) {
    let departing = first.departs().or(second.departs());
    match departing {
        Some(instance) if rng.bool() => (Statement::Gone, instance),
        _ => (Statement::Routed, rng.usize(0..INSTANCES)),
    }
}

/// Asks it after a while.
fn ask(world: &World, (goal, instance): (Statement, usize), wait: Duration) -> JoinHandle<()> {
    let monitor = world.monitor.clone();
    let name = format!("website/{}", instance_name(instance));
    let word = if goal == Statement::Gone {
        "gone"
    } else {
        "routed"
    };
    let command = by_hand(&world.cluster, "wait").args([&name, "--for", word, "--timeout", "3s"]);
    tokio::task::spawn_blocking(move || {
        std::thread::sleep(wait); // until some moment among the faults
        let (mut command, began) = (command.start(), Instant::now());
        while command.runs() {
            if began.elapsed() > ASKS {
                command.kill();
                let said = format!("I4: `sidekick wait {name}` does not end");
                monitor.violated(vec![said]);
                return;
            }
            std::thread::sleep(Duration::from_millis(5)); // on a thread of its own, which cannot await
        }
        if command.code() == Some(0) {
            monitor.said(goal, instance);
            monitor.note(format!("{name} is said to be {word}"));
        }
    })
}

/// How many faults a run of so many minutes must have had.
fn least(minutes: usize) -> usize {
    (LEAST * minutes).max(minutes / 60 * LEAST_OF_AN_HOUR)
}

fn kind(fault: &Fault) -> String {
    let name = format!("{fault:?}");
    let end = name.find('(').unwrap_or(name.len());
    name[..end].to_owned()
}

/// What every agent said lately, in the time line.
fn show_logs(world: &World) {
    for agent in &world.agents {
        let lines = agent.log();
        let from = lines.len().saturating_sub(LOG_LINES);
        let log = lines[from..].join("\n    ");
        world
            .monitor
            .note(format!("log of {}:\n    {log}", agent.name));
    }
    for said in world.cluster.processes() {
        world.monitor.note(said);
    }
}

fn report(world: &World, watcher: &Watcher, tally: &Tally, (seed, time): (u64, Duration)) {
    let violations = world.monitor.violations();
    let faults: usize = tally.faults.values().sum();
    let mut took = tally.converged.clone();
    took.sort_unstable();
    let quantile = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64();
    let summary = format!(
        "faults: seed {seed}: {faults} faults, {} violations; right again after p50 {:.1} s, p99 {:.1} s, at most {:.1} s\n{}\n{}\n{:?}",
        violations.len(),
        quantile(50),
        quantile(99),
        quantile(100),
        world.monitor.figures(),
        watcher.figures(),
        tally.faults,
    );
    eprintln!("{summary}");
    // What was never judged is no proof.
    let minutes = usize::try_from(time.as_secs() / 60).expect("an hour or two");
    let least = least(minutes);
    assert!(
        faults >= least,
        "only {faults} faults, not {least}\n{summary}"
    );
    let judged = world.monitor.judged();
    let missing: Vec<_> = JUDGED.iter().filter(|one| !judged.contains(one)).collect();
    assert!(
        minutes < 5 || missing.is_empty(),
        "never judged: {missing:?}\n{summary}"
    );
    assert!(
        violations.is_empty(),
        "{summary}\n\n{}",
        violations.join("\n\n")
    );
}
