//! The loop: one input after another, and what is done about one that fails.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::mutate::Mutator;
use crate::slots::Slot;
use crate::watchdog::Watchdog;
use crate::{corpus, cpu, settings};

/// A parser: what became of an input, as text. It panics when a property does not hold.
pub(crate) type Target = fn(&[u8]) -> String;

/// The most time on a core that an input may take, without optimisation.
const LIMIT: Duration = Duration::from_secs(2);
/// How many inputs are changed further at most.
const POOL: usize = 4000;
/// How much of an input is shown, in bytes.
const SHOWN: usize = 2000;

/// Feeds a target with its corpus, and then with what comes of it, for the time that is given.
pub(crate) fn run(name: &'static str, target: Target) {
    if let Some(file) = settings::input() {
        let input = fs::read(&file).unwrap();
        return println!("{name}: {}", target(&input));
    }
    let _slot = Slot::take();
    let mut run = Run::new(name, target);
    for input in corpus::of(name) {
        run.case(&input);
        run.pool.push(input);
    }
    let mut mutator = Mutator::new(run.seed ^ hash(name), &run.pool);
    let end = Instant::now() + settings::time();
    while Instant::now() < end {
        let input = mutator.next(&run.pool);
        // What is answered as nothing before leads somewhere: it is changed further.
        if run.case(&input) {
            match run.pool.len() < POOL {
                true => run.pool.push(input),
                false => mutator.replace_one(&mut run.pool, input),
            }
        }
    }
    run.report();
}

struct Run {
    name: &'static str,
    target: Target,
    seed: u64,
    cases: u64,
    pool: Vec<Vec<u8>>,
    /// The kinds of answers so far, as hashes.
    known: HashSet<u64>,
    slowest: Duration,
    running: Running,
    watchdog: Watchdog,
}

impl Run {
    fn new(name: &'static str, target: Target) -> Self {
        let running = Running::new(name);
        Self {
            name,
            target,
            seed: settings::seed(),
            cases: 0,
            pool: Vec::new(),
            known: HashSet::new(),
            slowest: Duration::ZERO,
            watchdog: Watchdog::start(name, &running.path),
            running,
        }
    }

    /// One input. `true` when its answer is of a new kind.
    fn case(&mut self, input: &[u8]) -> bool {
        self.cases += 1;
        self.watchdog.feed();
        self.running.write(input);
        let mut answer = Ok(String::new());
        let cost = cpu::cost(|| {
            answer = catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        });
        let Ok(answer) = answer else {
            self.fail(input, "it panics");
        };
        if cost > LIMIT {
            self.fail(input, &format!("it takes {cost:?}"));
        }
        self.slowest = self.slowest.max(cost);
        self.known.insert(kind(&answer))
    }

    fn fail(&self, input: &[u8], how: &str) -> ! {
        let file = folder().join(format!("{}-{:016x}", self.name, hash(input)));
        fs::write(&file, input).unwrap();
        let (name, seed, case) = (self.name, self.seed, self.cases);
        let shown = input[..input.len().min(SHOWN)].escape_ascii();
        panic!(
            "{name}: {how}: seed {seed}, case {case}, {} bytes in {}: \"{shown}\"",
            input.len(),
            file.display()
        );
    }

    fn report(self) {
        println!(
            "{}: seed {}, {} inputs, {} kinds of answers, at most {:?} each",
            self.name,
            self.seed,
            self.cases,
            self.known.len(),
            self.slowest
        );
        let _ = fs::remove_file(&self.running.path);
    }
}

/// The present input in a file: a process that overflows its stack says nothing more.
struct Running {
    path: PathBuf,
    file: File,
}

impl Running {
    fn new(name: &str) -> Self {
        let path = folder().join(format!("{name}.running"));
        let file = File::create(&path).unwrap();
        Self { path, file }
    }

    fn write(&mut self, input: &[u8]) {
        self.file.set_len(input.len() as u64).unwrap();
        self.file.write_all_at(input, 0).unwrap();
    }
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The same number for answers that differ in numbers and in what stands between quotes.
fn kind(answer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (place, part) in answer.split('"').enumerate() {
        if place % 2 == 0 {
            part.bytes()
                .filter(|byte| !byte.is_ascii_digit())
                .for_each(|byte| byte.hash(&mut hasher));
        }
    }
    hasher.finish()
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
