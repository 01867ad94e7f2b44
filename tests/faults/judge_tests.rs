//! The judge finds what it is there to find, and nothing where nothing is wrong.

use std::time::Duration;

use tokio::time::Instant;

use super::judge::{Asked, Judge, Statement};
use super::places::{BALANCERS, INSTANCES, PLUS, Part};

/// A judge, and seconds since it began.
struct Court {
    judge: Judge,
    began: Instant,
}

impl Court {
    fn new() -> Self {
        let began = Instant::now();
        Self {
            judge: Judge::new(began),
            began,
        }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.began + Duration::from_secs_f64(seconds)
    }

    /// All are asked by all balancers.
    fn asks_all(&mut self, seconds: f64) {
        let violations = self.goes_on_without(INSTANCES, seconds, seconds + 0.1);
        assert_eq!(violations, Vec::<String>::new());
    }

    fn asks(&mut self, instance: usize, seconds: f64) -> Vec<String> {
        let asked = Asked {
            balancer: 0,
            is_post: false,
            sent: self.at(seconds),
            tried: vec![Some(instance)],
            failure: None,
        };
        self.judge.asked(&asked)
    }

    fn loses_post(&mut self, tried: Option<usize>, seconds: f64) -> Vec<String> {
        let asked = Asked {
            balancer: 0,
            is_post: true,
            sent: self.at(seconds),
            tried: tried.into_iter().map(Some).collect(),
            failure: Some("status 502".to_owned()),
        };
        self.judge.asked(&asked)
    }

    /// All but one are asked by all balancers, until then; gives what is violated meanwhile.
    fn goes_on_without(&mut self, missing: usize, from: f64, until: f64) -> Vec<String> {
        let mut violations = Vec::new();
        let others: Vec<usize> = (0..INSTANCES).filter(|one| *one != missing).collect();
        let steps = ((until - from) / 0.1).round() as u32;
        for step in 0..steps {
            let seconds = from + f64::from(step) * 0.1;
            for balancer in (0..BALANCERS).filter(|balancer| *balancer != PLUS) {
                for instance in &others {
                    let asked = Asked {
                        balancer,
                        is_post: false,
                        sent: self.at(seconds),
                        tried: vec![Some(*instance)],
                        failure: None,
                    };
                    violations.extend(self.judge.asked(&asked));
                }
            }
            let all: Vec<usize> = (0..INSTANCES).collect();
            violations.extend(self.judge.tick(self.at(seconds), &all));
        }
        violations
    }
}

#[test]
fn a_dead_backend_that_gets_requests_beyond_its_bound_is_found() {
    let mut court = Court::new();
    court.judge.died(3, court.at(20.0));
    assert_eq!(court.asks(3, 21.0), Vec::<String>::new());
    assert!(court.asks(3, 25.0)[0].starts_with("I1: p3"));
    court.judge.lives(3, court.at(26.0));
    assert_eq!(court.asks(3, 27.0), Vec::<String>::new());
}

#[test]
fn a_dead_backend_is_excused_while_its_pusher_is_faulted_and_a_lease_longer() {
    let mut court = Court::new();
    let pusher = [Part::Agent(INSTANCES)];
    court.judge.trouble(&pusher, court.at(20.0));
    court.judge.died(3, court.at(20.0));
    assert_eq!(court.asks(3, 40.0), Vec::<String>::new());
    court.judge.relief(&pusher, court.at(41.0));
    assert_eq!(court.asks(3, 46.0), Vec::<String>::new());
    assert!(court.asks(3, 51.0)[0].starts_with("I1"));
}

#[test]
fn a_healthy_backend_that_gets_nothing_is_found() {
    let mut court = Court::new();
    court.asks_all(15.0);
    let violations = court.goes_on_without(7, 15.0, 18.0);
    assert_eq!(violations, Vec::<String>::new());
    let violations = court.goes_on_without(7, 18.0, 20.0);
    assert!(violations[0].starts_with("I2: c7"), "{violations:?}");
}

#[test]
fn a_fault_elsewhere_excuses_nothing() {
    let mut court = Court::new();
    court.asks_all(15.0);
    for part in [Part::Etcd, Part::Member, Part::Agent(2), Part::Backend(2)] {
        court.judge.trouble(&[part], court.at(15.0));
    }
    let violations = court.goes_on_without(7, 15.0, 20.0);
    assert!(violations[0].starts_with("I2: c7"), "{violations:?}");
    let own = [Part::Backend(7)];
    court.judge.trouble(&own, court.at(20.0));
    assert_eq!(court.goes_on_without(7, 20.0, 30.0), Vec::<String>::new());
}

#[test]
fn routed_that_is_said_of_one_without_requests_is_found() {
    let mut court = Court::new();
    court.asks_all(15.0);
    court.goes_on_without(7, 15.0, 16.0);
    court.judge.said(Statement::Routed, 6, court.at(16.0));
    assert_eq!(court.goes_on_without(7, 16.0, 16.8), Vec::<String>::new());
    court.judge.said(Statement::Routed, 7, court.at(16.8));
    let violations = court.goes_on_without(7, 16.8, 20.0);
    let found = violations
        .iter()
        .any(|violation| violation.starts_with("I5: c7"));
    assert!(found, "{violations:?}");
}

#[test]
fn drained_that_is_said_of_one_with_requests_is_found_even_where_a_pusher_is_faulted() {
    let mut court = Court::new();
    court
        .judge
        .trouble(&[Part::Agent(INSTANCES)], court.at(1.0));
    court.judge.said(Statement::Drained, 4, court.at(20.0));
    assert_eq!(court.asks(4, 20.9), Vec::<String>::new());
    assert!(court.asks(4, 21.1)[0].starts_with("I5: p4"));
    let now = court.at(21.5);
    court.judge.announced_again(4, now);
    assert_eq!(court.asks(4, 22.0), Vec::<String>::new());
}

#[test]
fn a_lost_post_is_found_unless_its_backend_just_died() {
    let mut court = Court::new();
    assert!(court.loses_post(Some(4), 20.0)[0].starts_with("I6"));
    assert!(court.loses_post(None, 20.0)[0].starts_with("I6"));
    court.judge.died(4, court.at(21.0));
    assert_eq!(court.loses_post(Some(4), 22.0), Vec::<String>::new());
    court.judge.said(Statement::Drained, 4, court.at(22.0));
    assert!(court.loses_post(Some(4), 22.5)[0].starts_with("I6"));
}

#[test]
fn a_post_is_no_loss_while_its_load_balancer_is_faulted() {
    let mut court = Court::new();
    let balancer = [Part::Balancer(0)];
    court.judge.trouble(&balancer, court.at(20.0));
    assert_eq!(court.loses_post(None, 21.0), Vec::<String>::new());
    court.judge.relief(&balancer, court.at(22.0));
    assert_eq!(court.loses_post(None, 23.0), Vec::<String>::new());
    assert!(court.loses_post(None, 26.0)[0].starts_with("I6"));
}
