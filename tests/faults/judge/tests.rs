//! The judge finds what it is there to find, and nothing where nothing is wrong.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Asked, Judge, Statement};
use crate::places::{BALANCERS, INSTANCES, PLUS, Part, delay};
use crate::tried::Tried;

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
        self.tries(&[Tried::Ours(instance)], (seconds, seconds), true)
    }

    /// The first balancer tries these in turn; the last one answers, or nobody does.
    fn tries(&mut self, tried: &[Tried], time: (f64, f64), is_answered: bool) -> Vec<String> {
        self.tries_at(0, tried, time, is_answered)
    }

    fn tries_at(
        &mut self,
        balancer: usize,
        tried: &[Tried],
        (sent, over): (f64, f64),
        is_answered: bool,
    ) -> Vec<String> {
        let asked = Asked {
            balancer,
            is_post: false,
            sent: self.at(sent),
            over: self.at(over),
            tried: tried.to_vec(),
            failure: (!is_answered).then(|| "status 502".to_owned()),
        };
        self.judge.asked(&asked)
    }

    fn loses_post(&mut self, tried: Option<usize>, seconds: f64) -> Vec<String> {
        self.ticks(&[], seconds);
        let asked = Asked {
            balancer: 0,
            is_post: true,
            sent: self.at(seconds),
            over: self.at(seconds),
            tried: tried.into_iter().map(Tried::Ours).collect(),
            failure: Some("status 502".to_owned()),
        };
        self.judge.asked(&asked)
    }

    /// The stand-in would send requests to these alone; gives what is violated of I1.
    fn ticks(&mut self, plus: &[Tried], seconds: f64) -> Vec<String> {
        let mut violations = self.judge.tick(self.at(seconds), plus);
        violations.retain(|violation| violation.starts_with("I1"));
        violations
    }

    fn has_judged(&self, invariant: &str) -> bool {
        self.judge.judged().contains(&invariant)
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
                        over: self.at(seconds),
                        tried: vec![Tried::Ours(*instance)],
                        failure: None,
                    };
                    violations.extend(self.judge.asked(&asked));
                }
            }
            let all: Vec<_> = (0..INSTANCES).map(Tried::Ours).collect();
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
fn a_backend_is_not_without_requests_while_the_suite_stands_still() {
    let mut court = Court::new();
    court.asks_all(15.0);
    court.goes_on_without(7, 15.0, 17.0);
    let violations = court.goes_on_without(7, 19.0, 21.5);
    assert_eq!(violations, Vec::<String>::new());
    let violations = court.goes_on_without(7, 21.5, 23.0);
    assert!(violations[0].starts_with("I2: c7"), "{violations:?}");
}

#[test]
fn what_could_not_be_violated_yet_is_not_judged() {
    let mut court = Court::new();
    court.goes_on_without(INSTANCES, 0.0, 12.5);
    assert!(!court.has_judged("I2"));
    court.goes_on_without(INSTANCES, 12.5, 14.0);
    assert!(court.has_judged("I2"));
    assert!(!court.has_judged("I1"));
    court.judge.died(3, court.at(14.0));
    court.goes_on_without(3, 14.0, 17.5);
    assert!(!court.has_judged("I1"));
    court.goes_on_without(3, 17.5, 18.5);
    assert!(court.has_judged("I1"));
}

#[test]
fn a_dead_backend_is_found_while_one_member_is_faulted() {
    let mut court = Court::new();
    court.judge.died(3, court.at(20.0));
    court.judge.trouble(&[Part::Member], court.at(20.0));
    assert_eq!(court.asks(3, 27.5), Vec::<String>::new());
    assert!(court.asks(3, 28.5)[0].starts_with("I1"));
    // It comes back, and with it another election.
    court.judge.relief(&[Part::Member], court.at(29.0));
    assert_eq!(court.asks(3, 36.5), Vec::<String>::new());
    assert!(court.asks(3, 37.5)[0].starts_with("I1"));
    court
        .judge
        .trouble(&[Part::Member, Part::Leaders], court.at(40.0));
    assert_eq!(court.asks(3, 60.0), Vec::<String>::new());
}

#[test]
fn a_new_leader_gives_a_dead_announcers_lease_its_whole_time_again() {
    let mut court = Court::new();
    court.judge.trouble(&[Part::Agent(3)], court.at(20.0));
    court.judge.died(3, court.at(20.0));
    court.judge.elected(court.at(24.0));
    assert!(!court.judge.is_lease_over(3, court.at(32.5)));
    assert!(court.judge.is_lease_over(3, court.at(33.5)));
    assert_eq!(court.asks(3, 36.5), Vec::<String>::new());
    assert!(court.asks(3, 37.5)[0].starts_with("I1"));
}

#[test]
fn a_lease_that_etcd_revokes_late_excuses_pushers_until_the_record_goes() {
    let mut court = Court::new();
    court.judge.trouble(&[Part::Agent(3)], court.at(20.0));
    court.judge.died(3, court.at(20.0));
    court.judge.lease_told(3, 0, court.at(25.5));
    assert!(court.asks(3, 29.5)[0].starts_with("I1"));
    court.judge.lease_told(3, -1, court.at(26.2));
    court.judge.lease_told(3, -3, court.at(28.3));
    assert_eq!(court.asks(3, 29.5), Vec::<String>::new());
    court.judge.record_gone(3, court.at(28.5));
    assert_eq!(court.asks(3, 32.0), Vec::<String>::new());
    assert!(court.asks(3, 33.0)[0].starts_with("I1: p3"));
    assert!(court.judge.figures().contains("etcd revoked 1 leases"));
}

#[test]
fn a_lease_that_etcd_never_revokes_is_found() {
    let mut court = Court::new();
    court.judge.trouble(&[Part::Agent(3)], court.at(20.0));
    court.judge.died(3, court.at(20.0));
    court.judge.lease_told(3, -5, court.at(30.0));
    assert_eq!(court.ticks(&[], 30.0), Vec::<String>::new());
    let violations = court.ticks(&[], 31.0);
    assert!(
        violations[0].starts_with("I1: etcd has the record of p3"),
        "{violations:?}"
    );
    // Nor does it excuse the pushers for ever.
    assert!(court.asks(3, 35.0)[0].starts_with("I1: p3"));
}

#[test]
fn an_address_that_no_record_may_bring_is_found_at_once() {
    let mut court = Court::new();
    let foreign = Tried::Stranger(([6, 6, 6, 6], 80).into());
    assert!(court.tries(&[foreign, Tried::Ours(1)], (20.0, 20.0), true)[0].starts_with("I1"));
    let foreign = Tried::Stranger(([127, 0, 0, 1], 1).into());
    assert!(court.ticks(&[foreign], 20.0)[0].starts_with("I1"));
}

#[test]
fn an_address_of_nobody_is_a_difference_as_long_as_it_is_asked() {
    let mut court = Court::new();
    let unknown: SocketAddr = ([127, 0, 0, 1], 4_711).into();
    let tried = [Tried::Stranger(unknown), Tried::Ours(1)];
    assert_eq!(
        court.tries(&tried, (20.0, 20.0), true),
        Vec::<String>::new()
    );
    assert_eq!(court.ticks(&tried, 20.0), Vec::<String>::new());
    let second = Duration::from_secs(1);
    for balancer in [0, PLUS] {
        let strangers = court.judge.strangers(balancer, second, court.at(20.5));
        assert_eq!(strangers, [unknown]);
        let strangers = court.judge.strangers(balancer, second, court.at(21.5));
        assert_eq!(strangers, []);
    }
}

#[test]
fn an_address_that_a_stranger_wrote_over_a_record_is_found_once_it_should_be_gone() {
    let mut court = Court::new();
    let stranger = [Tried::Stranger(([127, 0, 0, 1], 9).into()), Tried::Ours(1)];
    assert!(court.tries(&stranger, (20.0, 20.0), true)[0].starts_with("I1"));
    court.judge.overwritten(3, court.at(21.0));
    assert_eq!(
        court.tries(&stranger, (24.5, 24.5), true),
        Vec::<String>::new()
    );
    assert!(court.tries(&stranger, (25.5, 25.5), true)[0].starts_with("I1"));
    // While its announcer cannot put it right, nobody can.
    court.judge.trouble(&[Part::Agent(3)], court.at(26.0));
    assert_eq!(
        court.tries(&stranger, (40.0, 40.0), true),
        Vec::<String>::new()
    );
}

#[test]
fn routed_that_is_said_of_one_without_requests_is_found() {
    let mut court = Court::new();
    court.asks_all(15.0);
    court.goes_on_without(7, 15.0, 16.0);
    court.judge.said(Statement::Routed, 6, court.at(16.0));
    assert_eq!(court.goes_on_without(7, 16.0, 16.8), Vec::<String>::new());
    court.judge.said(Statement::Routed, 7, court.at(16.8));
    let violations = court.goes_on_without(7, 16.8, 23.0);
    let found = violations
        .iter()
        .any(|violation| violation.starts_with("I5: c7"));
    assert!(found, "{violations:?}");
}

#[test]
fn routed_is_judged_only_where_there_are_requests_to_show_it() {
    let mut court = Court::new();
    court.judge.said(Statement::Routed, 7, court.at(16.0));
    for tenth in 160..165_u8 {
        court.asks(4, f64::from(tenth) / 10.0);
    }
    let mut violations = court.judge.tick(court.at(18.0), &[Tried::Ours(7)]);
    violations.extend(court.judge.tick(court.at(24.0), &[Tried::Ours(7)]));
    violations.retain(|violation| violation.starts_with("I5"));
    // The stand-in takes none, and had the instance too late.
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].ends_with(&format!("balancer {PLUS}")));
}

#[test]
fn routed_may_come_true_later_only_where_nginx_had_marked_the_instance() {
    let late = |is_marked: bool| {
        let mut court = Court::new();
        court.asks_all(15.0);
        if is_marked {
            for balancer in (0..BALANCERS).filter(|balancer| *balancer != PLUS) {
                court.tries_at(
                    balancer,
                    &[Tried::Ours(7), Tried::Ours(1)],
                    (15.5, 16.5),
                    true,
                );
            }
        }
        court.goes_on_without(7, 15.1, 16.0);
        court.judge.said(Statement::Routed, 7, court.at(16.0));
        // It is silent for less than I2 takes to find that.
        let mut violations = court.goes_on_without(7, 16.0, 17.5);
        violations.extend(court.goes_on_without(INSTANCES, 17.5, 24.0));
        violations
    };
    assert_eq!(late(true), Vec::<String>::new());
    let violations = late(false);
    assert!(violations[0].starts_with("I5: c7"), "{violations:?}");
}

#[test]
fn drained_that_is_said_while_a_request_is_under_way_is_found() {
    let slow = (0..INSTANCES)
        .max_by_key(|instance| delay(*instance))
        .expect("some");
    let mut court = Court::new();
    let answers =
        |court: &mut Court, sent| court.tries(&[Tried::Ours(slow)], (sent, sent + 1.0), true);
    court.judge.said(Statement::Drained, slow, court.at(20.0));
    assert_eq!(answers(&mut court, 18.9), Vec::<String>::new());
    assert!(answers(&mut court, 19.1)[0].starts_with("I5"));
    // Where its pusher cannot reach the load balancer, it was not said of that one.
    court
        .judge
        .trouble(&[Part::Link(INSTANCES, 0)], court.at(20.0));
    assert_eq!(answers(&mut court, 19.1), Vec::<String>::new());
}

#[test]
fn gone_that_is_said_of_one_with_requests_is_found_until_it_has_a_record_again() {
    let mut court = Court::new();
    court.judge.said(Statement::Gone, 4, court.at(20.0));
    court.asks(4, 20.9);
    assert_eq!(court.judge.listed(court.at(21.0)), Vec::<String>::new());
    court.asks(4, 21.1);
    let violations = court.judge.listed(court.at(21.2));
    assert!(violations[0].starts_with("I5: p4 was said to be gone"));
    // It has a record again, which is seen a little later than by the pushers.
    court.asks(4, 21.3);
    court.judge.record_came(4, court.at(21.4));
    assert_eq!(court.judge.listed(court.at(21.4)), Vec::<String>::new());
    // "Gone" is heard a little after it was said.
    court.judge.said(Statement::Gone, 4, court.at(22.0));
    court.asks(4, 24.0);
    assert_eq!(court.judge.listed(court.at(24.1)), Vec::<String>::new());
}

#[test]
fn a_bad_way_between_one_balancer_and_one_backend_excuses_only_these_two() {
    let mut court = Court::new();
    court.asks_all(15.0);
    court.judge.trouble(&[Part::Path(1, 4)], court.at(15.0));
    let violations = court.goes_on_without(4, 15.0, 20.0);
    let of = |balancer: usize| {
        let who = format!("balancer {balancer}");
        violations.iter().any(|said| said.contains(&who))
    };
    assert_eq!([0, 1, 2].map(of), [true, false, true], "{violations:?}");
    assert!(court.loses_post(Some(4), 21.0)[0].starts_with("I6"));
    court.judge.trouble(&[Part::Path(0, 4)], court.at(21.0));
    assert_eq!(court.loses_post(Some(4), 22.0), Vec::<String>::new());
    assert!(court.loses_post(Some(5), 22.0)[0].starts_with("I6"));
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
fn a_post_is_no_loss_of_a_backend_that_stood_still_with_the_suite() {
    let mut court = Court::new();
    court.ticks(&[], 20.0);
    let lost = |court: &mut Court, instance, (sent, over)| {
        let asked = Asked {
            balancer: 0,
            is_post: true,
            sent: court.at(sent),
            over: court.at(over),
            tried: vec![Tried::Ours(instance)],
            failure: Some("status 504".to_owned()),
        };
        court.judge.asked(&asked)
    };
    assert_eq!(lost(&mut court, 4, (19.5, 20.6)), Vec::<String>::new());
    court.ticks(&[], 21.6);
    assert_eq!(lost(&mut court, 4, (20.5, 22.0)), Vec::<String>::new());
    assert!(lost(&mut court, 4, (21.7, 22.0))[0].starts_with("I6"));
    // Who has left in good order has nothing under way.
    court.judge.said(Statement::Drained, 4, court.at(20.0));
    assert!(lost(&mut court, 4, (20.5, 22.0))[0].starts_with("I6"));
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
