use std::time::Duration;

use tokio::time::Instant;

use super::{Conduct, Judged, Look, Size, is_step, left_badly};

const MIB: u64 = 1 << 20;

/// One run of an agent that is looked at twice a second.
struct Run {
    conduct: Conduct,
    began: Instant,
    look: Look,
    seconds: f64,
}

impl Run {
    fn new() -> Self {
        let began = Instant::now();
        let size = Size {
            memory: 20 * MIB,
            files: 30,
            threads: 1,
        };
        let look = Look {
            at: began,
            lines: 0,
            steps: 0,
            cpu: Duration::ZERO,
            size: Some(size),
        };
        Self {
            conduct: Conduct::new(began),
            began,
            look,
            seconds: 0.0,
        }
    }

    /// It goes on for so long, and something changes before every look; gives what is wrong, once each.
    fn goes_on(&mut self, seconds: u32, mut change: impl FnMut(&mut Look)) -> Vec<String> {
        let mut wrong = Vec::new();
        for _ in 0..2 * seconds {
            self.seconds += 0.5;
            self.look.at = self.began + Duration::from_secs_f64(self.seconds);
            change(&mut self.look);
            wrong.extend(self.conduct.look(self.look));
        }
        wrong.dedup();
        wrong
    }
}

#[test]
fn a_line_a_second_is_no_flood_and_two_are_one() {
    let mut run = Run::new();
    let mut turn = 0;
    let mut one = |look: &mut Look| {
        turn += 1;
        look.lines += (turn + 1) % 2;
    };
    assert_eq!(run.goes_on(300, &mut one), Vec::<String>::new());
    let wrong = run.goes_on(60, |look| look.lines += 1);
    assert!(wrong[0].starts_with("logs 61 lines"), "{wrong:?}");
}

#[test]
fn steps_are_counted_apart_from_lines_and_are_no_exception_without_a_bound() {
    let mut run = Run::new();
    assert_eq!(
        run.goes_on(120, |look| look.steps += 2),
        Vec::<String>::new()
    );
    let (lines, steps) = run.conduct.lines_of_a_minute();
    assert_eq!((lines, steps), (0, 240));
    let wrong = run.goes_on(60, |look| look.steps += 3);
    assert!(wrong[0].starts_with("logs 301 steps"), "{wrong:?}");
    assert!(is_step(
        "2026-01-01T00:00:00Z  INFO add 10.0.0.1:80 to website"
    ));
    assert!(!is_step("2026-01-01T00:00:00Z  WARN etcd does not answer"));
}

#[test]
fn half_a_core_for_ten_seconds_is_a_spin_and_a_whole_one_after_three() {
    let mut run = Run::new();
    let uses =
        |milliseconds| move |look: &mut Look| look.cpu += Duration::from_millis(milliseconds);
    assert_eq!(run.goes_on(30, uses(200)), Vec::<String>::new());
    assert_eq!(run.goes_on(5, uses(280)), Vec::<String>::new());
    let wrong = run.goes_on(10, uses(280));
    assert!(wrong[0].contains("% of a core"), "{wrong:?}");
    assert_eq!(
        run.goes_on(15, uses(10)).last().map(String::as_str),
        wrong.last().map(|_| "uses 51 % of a core for seconds")
    );
    assert_eq!(run.goes_on(15, uses(10)), Vec::<String>::new());
    let wrong = run.goes_on(3, uses(490));
    assert!(wrong[0].starts_with("uses 98 %"), "{wrong:?}");
}

#[test]
fn what_is_larger_than_when_it_was_warm_grows() {
    let grown = |size: fn(&mut Size)| {
        let mut run = Run::new();
        assert_eq!(run.goes_on(130, |_| {}), Vec::<String>::new());
        run.goes_on(1, |look| size(look.size.as_mut().expect("it runs")))
    };
    assert_eq!(grown(|size| size.memory = 26 * MIB), Vec::<String>::new());
    assert_eq!(grown(|size| size.files = 70), Vec::<String>::new());
    assert!(grown(|size| size.memory = 27 * MIB)[0].starts_with("grows"));
    assert!(grown(|size| size.files = 71)[0].starts_with("grows"));
    assert!(grown(|size| size.threads = 6)[0].starts_with("grows"));
}

#[test]
fn a_rule_counts_as_applied_only_where_it_could_find_something() {
    let mut run = Run::new();
    run.goes_on(9, |_| {});
    let judged = run.conduct.take_judged();
    assert_eq!(
        judged,
        Judged {
            flood: 18,
            spin: 0,
            growth: 0
        }
    );
    run.goes_on(110, |_| {});
    let judged = run.conduct.take_judged();
    assert_eq!((judged.spin > 100, judged.growth), (true, 0));
    run.goes_on(2, |_| {});
    assert_eq!(run.conduct.take_judged().growth, 3);
}

#[test]
fn who_leaves_ends_and_says_that_all_is_in_order() {
    assert_eq!(left_badly(Some((Some(0), "left"))), None);
    assert!(left_badly(None).is_some());
    assert!(left_badly(Some((None, "killed"))).is_some());
    let wrong = left_badly(Some((Some(70), "a bug"))).expect("it is wrong");
    assert!(wrong.contains("a bug"), "{wrong}");
}
