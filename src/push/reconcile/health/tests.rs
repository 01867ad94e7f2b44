use super::*;

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
fn trouble_that_comes_and_goes_is_logged_a_few_times_and_the_last_of_it_later() {
    let mut health = Health::new("floods".into(), "website".into());
    let now = Instant::now();
    let mut logged = 0;
    for _ in 0..20 {
        health.observe(&refusing(&[]), &desired(), now);
        health.observe(&Err(Error::ReadOnly), &desired(), now);
        logged += u32::from(health.failure.as_ref().unwrap().logged);
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
