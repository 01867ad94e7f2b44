use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::model::State;
use crate::util::logged::Logged;

fn desired() -> Desired {
    Desired::at(1, &crate::upstream::server::Servers::new())
}

fn steps(names: &[&str]) -> BTreeMap<String, String> {
    let steps = names
        .iter()
        .map(|name| ((*name).to_owned(), "no room".to_owned()));
    steps.collect()
}

impl Refusals {
    fn look(&mut self, names: &[&str]) {
        self.observe(&"edge".into(), &"web".into(), &steps(names), &desired());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_the_limit_has_left_out_is_told_later_if_it_lasts() {
    let (mut refusals, logged) = (Refusals::default(), Logged::start());
    for step in ["set a", "set b", "set c", "set d"] {
        refusals.look(&[step]);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        logged.count("refused; everything"),
        3,
        "{:#?}",
        logged.lines()
    );
    for _ in 0..10 {
        refusals.look(&["set d"]);
        advance(Duration::from_secs(7)).await;
    }
    assert_eq!(logged.count("set d (no room)"), 1, "{:#?}", logged.lines());
    let last = logged.last();
    assert!(
        last.contains("refused all the time; everything else continues (since "),
        "{last}"
    );
}

#[tokio::test(start_paused = true)]
async fn that_nothing_is_refused_any_more_is_told_whatever_came_before() {
    let (mut refusals, logged) = (Refusals::default(), Logged::start());
    let mut comes_and_goes = async |last: &[&str]| {
        for names in [
            &["set a", "set b", "set c"][..],
            &["set a", "set b"],
            &["set a"],
        ] {
            refusals.look(names);
        }
        refusals.look(&["set a", "set b"]);
        refusals.look(&["set a"]);
        refusals.look(&[]);
        refusals.look(last);
        sleep(Duration::from_secs(61)).await;
    };
    comes_and_goes(&[]).await;
    assert_eq!(
        logged.count("no longer refused"),
        3,
        "{:#?}",
        logged.lines()
    );
    let end = "nothing is refused any more (since ";
    assert_eq!(logged.count(end), 1, "{:#?}", logged.lines());
    comes_and_goes(&["set a"]).await;
    assert_eq!(logged.count(end), 1, "it is refused again");
}

#[test]
fn a_refusal_that_ends_with_its_record_is_not_said_to_be_over() {
    let nobody = desired();
    assert!(!is_wanted("add 10.0.0.1:80 weight=1", &nobody));
    assert!(!is_wanted("change [2001:db8::1]:80 weight=2", &nobody));
    assert!(!is_wanted("add web.example:80 weight=1", &nobody));
    assert!(is_wanted(
        "remove 10.0.0.1:80 (no record names it)",
        &nobody
    ));
    assert!(is_wanted("set weights", &nobody));
    let server = crate::upstream::server::Server {
        weight: std::num::NonZeroU16::MIN,
        state: State::Up,
        parameters: crate::upstream::server::Parameters::default(),
    };
    let servers = [("10.0.0.1:80".parse().unwrap(), server)].into();
    let one = Desired::at(1, &servers);
    assert!(is_wanted("add 10.0.0.1:80 weight=1", &one));
    assert!(!is_wanted("add 10.0.0.2:80 weight=1", &one));
}

#[test]
fn a_full_dictionary_gives_a_few_lines_and_a_count() {
    let reasons = |count: usize| {
        let steps = (0..count).map(|number| (format!("add {number:03}"), "full".to_owned()));
        steps.collect::<BTreeMap<_, _>>()
    };
    let (some, later) = (reasons(94), reasons(96));
    let nothing = BTreeMap::new();
    let (named, more) = news(&some, &nothing);
    assert_eq!((named.len(), more), (NAMED, 94 - NAMED));
    assert_eq!(named[0].0, "add 000");
    let (named, more) = news(&later, &some);
    assert_eq!((named.len(), more), (2, 0), "what is known is no news");
    let mut other = reasons(94);
    other.insert("add 003".to_owned(), "no resolver".to_owned());
    assert_eq!(news(&other, &some).0.len(), 1);
}
