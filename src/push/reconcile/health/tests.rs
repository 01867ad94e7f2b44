use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::util::logged::Logged;

fn desired() -> Desired {
    Desired::at(1, &crate::upstream::server::Servers::new())
}

fn refusing(steps: &[&str]) -> Result<Outcome, Error> {
    let refused = steps
        .iter()
        .map(|step| ((*step).to_owned(), "no room".to_owned()));
    Ok(Outcome {
        refused: refused.collect(),
        ..Outcome::new(Progress::Converged)
    })
}

#[test]
fn trouble_is_told_in_the_words_of_the_last_look() {
    let mut health = Health::new("edge".into(), "website".into());
    let mut after = |result: Result<Outcome, Error>| {
        health.observe(&result, &desired(), Instant::now());
        let errors = health.errors();
        assert!(errors.len() < 2);
        errors.first().map(|text| text.to_string())
    };
    assert_eq!(after(refusing(&[])), None);
    let first = after(Err(Error::Broken("one".to_owned())));
    assert!(first.as_ref().is_some_and(|text| text.contains("one")));
    let second = after(Err(Error::Broken("two".to_owned())));
    assert!(second.is_some_and(|text| text.contains("two") && !text.contains("one")));
    assert_ne!(after(Err(Error::ReadOnly)), first);
    assert_eq!(
        after(refusing(&["add a:1"])).as_deref(),
        Some("refused: add a:1: no room")
    );
    assert_eq!(after(refusing(&[])), None);
}

#[test]
fn every_refusal_is_told_up_to_a_limit() {
    let mut health = Health::new("edge".into(), "website".into());
    let steps: Vec<_> = (0..20).map(|number| format!("add a:{number}")).collect();
    let steps: Vec<_> = steps.iter().map(String::as_str).collect();
    health.observe(&refusing(&steps[..16]), &desired(), Instant::now());
    assert_eq!(health.errors().len(), 16);
    health.observe(&refusing(&steps), &desired(), Instant::now());
    let errors = health.errors();
    assert_eq!(errors.len(), 17);
    assert_eq!(&*errors[16], "refused: 4 steps more");
}

#[test]
fn trouble_ends_when_a_look_has_ended_well_and_not_before() {
    let mut health = Health::new("edge".into(), "website".into());
    let failed = || Err(Error::ReadOnly);
    health.observe(&failed(), &desired(), Instant::now());
    for _ in 0..3 {
        let unfinished = Ok(Outcome::new(Progress::Unfinished));
        health.observe(&unfinished, &desired(), Instant::now());
        assert_eq!(health.errors().len(), 1, "nothing works yet");
        health.observe(&failed(), &desired(), Instant::now());
    }
    let draining = Outcome::new(Progress::Draining {
        active: 1,
        confirmed: 0,
    });
    health.observe(&Ok(draining), &desired(), Instant::now());
    assert_eq!(health.errors(), []);
}

#[test]
fn trouble_that_comes_and_goes_is_logged_a_few_times_and_the_last_of_it_later() {
    let mut health = Health::new("floods".into(), "website".into());
    let now = Instant::now();
    let mut logged = 0;
    for _ in 0..20 {
        health.observe(&refusing(&[]), &desired(), now);
        health.observe(&Err(Error::ReadOnly), &desired(), now);
        logged += u32::from(health.failure.as_ref().unwrap().is_told);
    }
    assert_eq!(logged, 3);
    assert_eq!(
        health.errors().len(),
        1,
        "what is not logged is told all the same"
    );
}

#[test]
fn what_is_refused_is_not_equal() {
    let mut health = Health::new("edge".into(), "website".into());
    health.observe(&refusing(&["add a:1"]), &desired(), Instant::now());
    assert!(!health.was_equal);
    health.observe(&refusing(&[]), &desired(), Instant::now());
    assert!(health.was_equal);
}

fn broken(text: &str) -> Result<Outcome, Error> {
    Err(Error::Broken(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_recovery_is_told_whatever_the_failure_turned_into_while_the_limit_left_it_out() {
    let (mut health, logged) = (Health::new("edge".into(), "web".into()), Logged::start());
    for failure in [
        broken("one"),
        Err(Error::ReadOnly),
        broken("two"),
        Err(Error::ReadOnly),
        broken("three"),
    ] {
        health.observe(&failure, &desired(), Instant::now());
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(logged.count("cannot apply"), 3, "{:#?}", logged.lines());
    health.observe(&refusing(&[]), &desired(), Instant::now());
    assert_eq!(logged.count("works again"), 1, "{:#?}", logged.lines());
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_told_late_with_its_beginning_and_counts_once_before() {
    let (mut health, logged) = (Health::new("edge".into(), "web".into()), Logged::start());
    let mut fails = async |seconds: u64| {
        for _ in 0..seconds * 5 {
            health.observe(&Err(Error::ReadOnly), &desired(), Instant::now());
            advance(Duration::from_millis(200)).await;
        }
        health.observe(&refusing(&[]), &desired(), Instant::now());
    };
    for _ in 0..5 {
        fails(1).await;
    }
    assert_eq!(logged.count("cannot apply"), 3, "{:#?}", logged.lines());
    fails(60).await;
    assert_eq!(logged.count("cannot apply"), 4, "{:#?}", logged.lines());
    let lines = logged.lines();
    let told = lines
        .iter()
        .rfind(|line| line.contains("cannot apply"))
        .unwrap();
    assert!(told.contains("retrying (since "), "{told}");
    assert!(told.contains("(2 lines like this were left out)"), "{told}");
    assert_eq!(logged.count("works again"), 4);
}
