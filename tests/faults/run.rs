//! Two faults at a time, until the time is over; then the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::agents::by_hand;
use super::fault::{Fault, duration};
use super::judge::{CONVERGENCE, Statement};
use super::monitor::Monitor;
use super::places::{AGENTS, INSTANCES, Part, instance_name};
use super::watcher::Watcher;
use super::world::World;

/// Lines of each log that a report shows.
const LOG_LINES: usize = 200;

/// A run that violates so much is broken itself.
const TOO_MANY: usize = 40;

/// How long one fault may take to begin or to end: longer, and it is the suite that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happened in one run.
#[derive(Debug, Default)]
struct Tally {
    faults: BTreeMap<String, usize>,
    /// Those that nothing else kept from happening.
    done: usize,
    converged: Vec<Duration>,
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
    converge(&mut world, &mut watcher, &mut tally, "the start").await;
    // A later restore brings back what every agent was when it began.
    world.cluster.save().await;
    converge(&mut world, &mut watcher, &mut tally, "the first save").await;
    while began.elapsed() < time && monitor.violations().len() < TOO_MANY {
        round(&mut world, &mut watcher, &mut tally, &mut rng).await;
    }
    monitor.stop();
    report(&world, &watcher, &tally, seed);
}

/// Two faults, one into the other, and all that follows.
async fn round(world: &mut World, watcher: &mut Watcher, tally: &mut Tally, rng: &mut Rng) {
    let first = Fault::draw(rng);
    let second = Fault::draw_beside(rng, &first);
    let (one, two) = (duration(rng), duration(rng));
    let statement = ask(world, rng.usize(0..INSTANCES));
    let before = world.monitor.violations().len();

    let mut done = strike(world, &first, &[]).await as usize;
    look(world, watcher, one, &[&first]).await;
    let majority = first.breaks_majority_with(&second);
    let also: &[Part] = if majority { &[Part::Etcd] } else { &[] };
    done += strike(world, &second, also).await as usize;
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
    tally.done += done;
    for fault in [&first, &second] {
        *tally.faults.entry(kind(fault)).or_default() += 1;
    }
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
    match timeout(PATIENCE, world.strike(fault)).await {
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
    loop {
        let differences = world.differences().await;
        if differences.is_empty() {
            break;
        }
        if began.elapsed() > CONVERGENCE && !is_late {
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
    }
    let took = began.elapsed();
    world
        .monitor
        .note(format!("right after {:.1} s", took.as_secs_f64()));
    tally.converged.push(took);
}

/// Somebody asks whether an instance is routed, meanwhile.
fn ask(world: &World, instance: usize) -> JoinHandle<()> {
    let monitor = world.monitor.clone();
    let name = format!("website/{}", instance_name(instance));
    let command = by_hand(&world.cluster, "wait")
        .args([&name, "--for", "routed", "--timeout", "3s"])
        .start();
    tokio::task::spawn_blocking(move || {
        let mut command = command;
        while command.runs() {
            std::thread::sleep(Duration::from_millis(5)); // on a thread of its own, which cannot await
        }
        if command.code() == Some(0) {
            monitor.said(Statement::Routed, instance);
            monitor.note(format!("{name} is said to be routed"));
        }
    })
}

fn kind(fault: &Fault) -> String {
    let name = format!("{fault:?}");
    let end = name.find('(').unwrap_or(name.len());
    name[..end].to_owned()
}

/// What every agent said lately, in the time line.
fn show_logs(world: &World) {
    for agent in &world.agents[..AGENTS] {
        let Some(running) = &agent.running else {
            continue;
        };
        let lines = running.process().lines();
        let from = lines.len().saturating_sub(LOG_LINES);
        let log = lines[from..].join("\n    ");
        world
            .monitor
            .note(format!("log of {}:\n    {log}", agent.name));
    }
}

fn report(world: &World, watcher: &Watcher, tally: &Tally, seed: u64) {
    let violations = world.monitor.violations();
    let faults = tally.done;
    let mut took = tally.converged.clone();
    took.sort_unstable();
    let quantile = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64();
    let summary = format!(
        "faults: seed {seed}: {faults} faults, {} violations; right again after p50 {:.1} s, p99 {:.1} s, at most {:.1} s\n{}\n{}\n{:?}",
        violations.len(),
        quantile(50),
        quantile(99),
        quantile(100),
        world.monitor.counts(),
        watcher.figures(),
        tally.faults,
    );
    eprintln!("{summary}");
    if violations.is_empty() {
        return;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{seed}.txt"));
    fs::write(&file, world.monitor.line()).expect("cargo's own folder");
    panic!(
        "{summary}\nthe whole time line is in {}\n\n{}",
        file.display(),
        violations.join("\n\n")
    );
}
