use std::num::NonZeroU16;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::State;
use crate::upstream::guard::{Share, Sight};
use crate::upstream::server::{Origin, Origins, Parameters, Server, Servers};

const HOLD: Duration = Duration::from_secs(60);

fn at(number: u8) -> Endpoint {
    format!("10.0.0.{number}:80").parse().unwrap()
}

fn instance(number: u8) -> InstanceName {
    format!("i{number}").parse().unwrap()
}

fn up() -> Server {
    Server {
        weight: NonZeroU16::new(3).unwrap(),
        state: State::Up,
        parameters: Parameters::default(),
    }
}

fn origin(number: u8) -> Arc<Origin> {
    Arc::new(Origin {
        instance: instance(number),
        version: None,
        tags: Vec::new(),
        meta: BTreeMap::new(),
    })
}

/// Records by number, and what is made of them.
struct Story {
    guard: RemovalGuard,
    records: BTreeMap<u8, State>,
    claims: BTreeMap<Endpoint, Instant>,
    now: Instant,
    said: Vec<Notice>,
}

fn claim(claims: &BTreeMap<Endpoint, Instant>) -> impl Fn(&Endpoint) -> Claim {
    |endpoint| {
        claims
            .get(endpoint)
            .map_or(Claim::Nobody, |since| Claim::Other(*since))
    }
}

impl Story {
    fn new(limits: Limits) -> Self {
        Self {
            guard: RemovalGuard::new(limits),
            records: BTreeMap::new(),
            claims: BTreeMap::new(),
            now: Instant::now(),
            said: Vec::new(),
        }
    }

    /// So many that are up from the start.
    fn of(count: u8, limits: Limits) -> Self {
        let mut story = Self::new(limits);
        story.change(|records| records.extend((1..=count).map(|number| (number, State::Up))));
        story
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<u8, State>)) {
        self.change_to(RecordState::Missing, change);
    }

    /// Records that are gone are gone like this.
    fn change_to(&mut self, gone: RecordState, change: impl FnOnce(&mut BTreeMap<u8, State>)) {
        change(&mut self.records);
        let records = self.records.clone();
        let fate =
            |name: &InstanceName| match records.keys().any(|number| instance(*number) == *name) {
                true => RecordState::Present,
                false => gone,
            };
        let claims = self.claims.clone();
        let decision = self
            .guard
            .follow(self.wanted(), fate, claim(&claims), self.now);
        self.said.extend(decision.notices);
    }

    /// Another service names these addresses from now on.
    fn claim(&mut self, numbers: &[u8]) {
        let now = self.now;
        self.claims
            .extend(numbers.iter().map(|number| (at(*number), now)));
        let claims = self.claims.clone();
        let decision = self.guard.yield_to(claim(&claims), now);
        self.said.extend(decision.notices);
    }

    fn tell(&mut self, number: u8, state: State) {
        self.change(|records| records.extend([(number, state)]));
    }

    fn vanish(&mut self, numbers: &[u8]) {
        self.change(|records| records.retain(|number, _| !numbers.contains(number)));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let said = self.guard.pass(self.now).notices;
        self.said.extend(said);
    }

    fn wanted(&self) -> Desired {
        let servers = self.records.iter();
        let servers: Servers = servers
            .map(|(number, state)| {
                (
                    at(*number),
                    Server {
                        state: *state,
                        ..up()
                    },
                )
            })
            .collect();
        let origins: Origins = self
            .records
            .keys()
            .map(|number| (at(*number), origin(*number)))
            .collect();
        Desired {
            origins,
            ..Desired::at(1, &servers)
        }
    }

    /// The last parts of the addresses that take traffic.
    fn serving(&self) -> Vec<u8> {
        let outcome = self.guard.outcome.as_ref().unwrap();
        let number = |(endpoint, _): (&Endpoint, &Server)| {
            let text = endpoint.to_string();
            text.strip_prefix("10.0.0.")
                .unwrap()
                .strip_suffix(":80")
                .unwrap()
                .parse()
                .unwrap()
        };
        ups(outcome).map(number).collect()
    }

    fn said(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.said)
    }
}

fn limits(min_servers: usize) -> Limits {
    Limits {
        min_servers,
        ..Limits::default()
    }
}

#[test]
fn the_last_server_that_drains_stays_up_until_another_is() {
    let mut story = Story::of(2, limits(1));
    story.tell(1, State::Draining);
    assert_eq!((story.serving(), story.said()), (vec![2], vec![]));
    story.tell(2, State::Draining);
    assert_eq!(story.serving(), [2]);
    assert_eq!(story.said(), [Notice::MinServersProtects(vec![at(2)])]);
    story.vanish(&[1, 2]);
    assert_eq!(
        (story.serving(), story.said()),
        (vec![2], vec![]),
        "said once"
    );
    story.tell(3, State::Up);
    assert_eq!(
        (story.serving(), story.said()),
        (vec![3], vec![Notice::MinServersEnds])
    );
}

#[test]
fn a_server_is_kept_as_it_was() {
    let mut story = Story::of(1, limits(1));
    story.tell(1, State::Draining);
    let outcome = story.guard.outcome.clone().unwrap();
    assert_eq!(outcome.servers[&at(1)], up());
    assert_eq!(outcome.origins[&at(1)], origin(1));
    assert_eq!(outcome.revision, 1, "and the change counts as followed");
}

#[test]
fn what_lives_longest_is_kept_of_those_that_leave_at_once() {
    let kept = |states: [Option<State>; 3]| {
        let mut story = Story::of(
            3,
            Limits {
                max_removal: Share::Percent(100),
                ..limits(1)
            },
        );
        story.change(|records| {
            for (number, state) in (1..).zip(states) {
                match state {
                    Some(state) => records.insert(number, state),
                    None => records.remove(&number),
                };
            }
        });
        story.serving()
    };
    let (draining, down) = (Some(State::Draining), Some(State::Down));
    assert_eq!(kept([down, None, draining]), [3]);
    assert_eq!(kept([down, None, down]), [2]);
    assert_eq!(kept([down, down, down]), [1]);
}

#[test]
fn an_upstream_that_never_had_a_server_gets_none() {
    let mut story = Story::new(limits(2));
    story.tell(1, State::Down);
    story.tell(2, State::Draining);
    assert_eq!(story.serving(), Vec::<u8>::new());
    story.tell(1, State::Up);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [1], "not more than it had");
}

#[test]
fn records_that_vanish_together_are_held_until_their_time_is_over() {
    let mut story = Story::of(4, limits(0));
    story.vanish(&[1, 2, 3]);
    assert_eq!(story.serving(), [1, 2, 3, 4]);
    let held = vec![at(1), at(2), at(3)];
    assert_eq!(story.said(), [Notice::GuardProtects(held.clone())]);
    assert_eq!(story.guard.due(), Some(story.now + HOLD));
    story.wait(HOLD - Duration::from_millis(1));
    assert_eq!((story.serving().len(), story.said()), (4, vec![]));
    story.wait(Duration::from_millis(1));
    assert_eq!(story.serving(), [4]);
    assert_eq!(story.said(), [Notice::GuardLetsGo(held, Why::Over)]);
    assert_eq!(story.guard.due(), None);
}

#[test]
fn of_those_that_were_held_it_is_said_who_is_back_and_who_leaves() {
    let mut story = Story::of(4, limits(0));
    story.vanish(&[1, 2, 3]);
    story.said();
    story.tell(1, State::Up);
    assert_eq!(story.said(), [Notice::GuardLetsGo(vec![at(1)], Why::Back)]);
    story.tell(2, State::Draining);
    assert_eq!(
        story.said(),
        [Notice::GuardLetsGo(vec![at(2)], Why::Leaving)]
    );
}

#[test]
fn half_of_them_may_vanish_and_the_next_may_not() {
    let mut story = Story::of(4, limits(0));
    story.vanish(&[1]);
    story.wait(HOLD / 3);
    story.vanish(&[2]);
    assert_eq!(story.serving(), [3, 4]);
    story.wait(HOLD / 3);
    story.vanish(&[3]);
    assert_eq!(story.serving(), [3, 4], "three of the four within the hold");
    story.wait(HOLD);
    assert_eq!(story.serving(), [4]);
    story.tell(5, State::Up);
    story.vanish(&[4]);
    assert_eq!(story.serving(), [5], "another time begins");
}

#[test]
fn what_an_etcd_without_memory_does_not_have_stays_however_few_they_are() {
    let mut story = Story::of(4, limits(0));
    // All four are gone, and three are back before anybody looks.
    story.change_to(RecordState::Forgotten, |records| {
        records.remove(&4);
    });
    assert_eq!(story.serving(), [1, 2, 3, 4]);
    story.tell(4, State::Up);
    assert_eq!(story.serving(), [1, 2, 3, 4]);
    story.wait(HOLD);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [2, 3, 4], "that is long ago");
}

#[test]
fn what_an_etcd_without_memory_does_not_get_back_goes_when_the_hold_is_over() {
    let mut story = Story::of(4, limits(0));
    story.change_to(RecordState::Forgotten, |records| {
        records.remove(&4);
    });
    story.wait(HOLD);
    assert_eq!(story.serving(), [1, 2, 3]);
    let unguarded = Limits {
        max_removal: "100%".parse().unwrap(),
        ..limits(0)
    };
    let mut story = Story::of(4, unguarded);
    story.change_to(RecordState::Forgotten, |records| {
        records.remove(&4);
    });
    assert_eq!(story.serving(), [1, 2, 3], "nobody wants a guard");
}

#[test]
fn the_dead_are_let_go_at_once_and_the_living_are_not() {
    let mut story = Story::of(4, limits(0));
    story.vanish(&[1, 2, 3]);
    story.said();
    let decision = story.guard.dead(&at(2));
    assert_eq!(
        decision.notices,
        [Notice::GuardLetsGo(vec![at(2)], Why::Dead)]
    );
    assert_eq!(story.serving(), [1, 3, 4]);
}

#[test]
fn min_servers_prefers_the_living_to_the_dead_and_the_dead_to_nothing() {
    let mut story = Story::of(2, limits(1));
    story.vanish(&[1, 2]);
    story.guard.dead(&at(1));
    assert_eq!(story.serving(), [2]);
    story.guard.dead(&at(2));
    assert_eq!(story.serving(), [2]);
    assert!(
        story.guard.protected().guard.is_empty(),
        "nothing to probe any more"
    );
}

#[test]
fn a_swap_is_no_shrinking() {
    let mut story = Story::of(3, limits(0));
    story.change(|records| *records = [(4, State::Up), (5, State::Up), (6, State::Up)].into());
    assert_eq!(story.serving(), [4, 5, 6], "in one listing");
    let mut story = Story::of(3, limits(0));
    story.vanish(&[1, 2, 3]);
    story.tell(4, State::Up);
    story.tell(5, State::Up);
    assert_eq!(story.serving(), [1, 2, 3, 4, 5]);
    story.said();
    story.tell(6, State::Up);
    assert_eq!(story.serving(), [4, 5, 6], "one after another");
    let held = vec![at(1), at(2), at(3)];
    assert_eq!(story.said(), [Notice::GuardLetsGo(held, Why::Swapped)]);
}

#[test]
fn what_is_back_is_an_ordinary_server_and_the_others_are_held_on() {
    let mut story = Story::of(4, limits(0));
    story.vanish(&[1, 2, 3, 4]);
    story.tell(1, State::Up);
    story.tell(2, State::Up);
    assert_eq!(story.serving(), [1, 2, 3, 4]);
    story.tell(1, State::Draining);
    assert_eq!(story.serving(), [2, 3, 4], "its record gives notice now");
    story.tell(3, State::Up);
    story.tell(4, State::Up);
    assert!(story.guard.protected().is_empty());
}

#[test]
fn withdrawals_with_notice_are_followed_at_once_however_many() {
    let mut story = Story::of(4, limits(0));
    for state in [State::Draining, State::Down] {
        story.change(|records| records.extend([(1, state), (2, state), (3, state), (4, state)]));
        assert_eq!(story.serving(), Vec::<u8>::new());
    }
    story.vanish(&[1, 2, 3, 4]);
    assert_eq!((story.serving(), story.said()), (Vec::<u8>::new(), vec![]));
}

#[test]
fn a_server_that_is_not_selected_any_more_has_not_vanished() {
    let mut story = Story::of(4, limits(0));
    let fate = |_: &InstanceName| RecordState::Present;
    let nothing = Desired::at(2, &Servers::new());
    let decision = story
        .guard
        .follow(nothing, fate, claim(&BTreeMap::new()), story.now);
    assert!(decision.notices.is_empty());
    assert_eq!(story.serving(), Vec::<u8>::new());
}

#[test]
fn a_notice_counts_also_when_it_is_news_together_with_the_deletion() {
    let mut story = Story::of(4, limits(0));
    let fate = |_: &InstanceName| RecordState::Withdrawn;
    let nothing = Desired::at(2, &Servers::new());
    let decision = story
        .guard
        .follow(nothing, fate, claim(&BTreeMap::new()), story.now);
    assert!(decision.notices.is_empty());
    assert_eq!(story.serving(), Vec::<u8>::new());
}

#[test]
fn a_release_lets_go_of_everything_until_min_servers_is_reached_again() {
    let mut story = Story::of(3, limits(2));
    story.vanish(&[1, 2, 3]);
    story.said();
    let notices = story.guard.release().notices;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(story.serving(), Vec::<u8>::new());
    story.tell(4, State::Up);
    story.tell(4, State::Draining);
    assert_eq!(story.serving(), Vec::<u8>::new(), "it holds");
    story.change(|records| records.extend([(5, State::Up), (6, State::Up)]));
    story.tell(5, State::Draining);
    assert_eq!(story.serving(), [5, 6], "until min_servers was reached");
}

#[derive(Debug, Clone)]
enum Deed {
    Tell(u8, State),
    Vanish(Vec<u8>),
    Dead(u8),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let state =
        prop_oneof![3 => Just(State::Up), 1 => Just(State::Draining), 1 => Just(State::Down)];
    let deed = prop_oneof![
        (1..9_u8, state).prop_map(|(number, state)| Deed::Tell(number, state)),
        prop::collection::vec(1..9_u8, 1..6).prop_map(Deed::Vanish),
        (1..9_u8).prop_map(Deed::Dead),
        (0..40_u64).prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 0..60)
}

fn act(story: &mut Story, deed: &Deed) {
    match deed {
        Deed::Tell(number, state) => story.tell(*number, *state),
        Deed::Vanish(numbers) => story.vanish(numbers),
        Deed::Dead(number) => drop(story.guard.dead(&at(*number))),
        Deed::Wait(seconds) => story.wait(Duration::from_secs(*seconds)),
    }
}

proptest! {
    #[test]
    fn no_upstream_falls_below_min_servers_and_none_gets_what_it_had_not(deeds in deeds(), min_servers in 0..4_usize) {
        let mut story = Story::of(0, limits(min_servers));
        for deed in &deeds {
            let before: BTreeSet<_> = story.guard.outcome.iter().flat_map(|outcome| ups(outcome)).map(|(endpoint, _)| endpoint.clone()).collect();
            act(&mut story, deed);
            let wanted = story.wanted();
            let serving = story.serving();
            prop_assert!(serving.len() >= min_servers.min(before.len()), "{:?}: {:?} of {:?}", deed, serving, before);
            for number in serving {
                prop_assert!(is_up(&wanted, &at(number)) || before.contains(&at(number)));
            }
        }
    }

    #[test]
    fn nothing_is_protected_longer_than_the_hold_beyond_min_servers(deeds in deeds(), min_servers in 0..4_usize) {
        let mut story = Story::of(4, limits(min_servers));
        for deed in &deeds {
            act(&mut story, deed);
        }
        story.wait(HOLD);
        let up = ups(&story.wanted()).count();
        let serving = story.serving().len();
        prop_assert!(serving <= up.max(min_servers), "{} serve, {} are up", serving, up);
        prop_assert!(story.guard.protected().guard.is_empty());
    }

    #[test]
    fn where_nothing_vanishes_the_records_are_followed(deeds in deeds()) {
        let mut story = Story::of(4, limits(0));
        for deed in &deeds {
            if let Deed::Vanish(numbers) = deed {
                // With notice.
                let numbers = numbers.iter().filter(|number| story.records.contains_key(number));
                let numbers: Vec<_> = numbers.copied().collect();
                story.change(|records| records.extend(numbers.iter().map(|number| (*number, State::Down))));
                story.vanish(&numbers);
            } else {
                act(&mut story, deed);
            }
            let wanted = story.wanted();
            let outcome = story.guard.outcome.as_deref().map(|outcome| &outcome.servers);
            prop_assert_eq!(outcome, Some(&wanted.servers));
            prop_assert!(story.said().is_empty());
        }
    }
}

/// What serves after these were found at the start, and these were lacking.
fn find(story: &mut Story, found: &[u8], lacking: &[u8]) -> Vec<u8> {
    let extra = found
        .iter()
        .map(|number| (at(*number), (up(), origin(*number))));
    let finding = Finding {
        extra: extra.collect(),
        lacking: lacking.iter().map(|number| at(*number)).collect(),
    };
    let claims = story.claims.clone();
    let decision = story.guard.find(finding, claim(&claims), story.now);
    story.said.extend(decision.notices);
    story.serving()
}

#[test]
fn backups_found_at_the_start_are_guarded_and_replace_no_server_that_is_none() {
    let mut story = Story::of(1, limits(1));
    let mut backup = up();
    backup.parameters.backup = true;
    let extra = [2, 3].map(|number| (at(number), (backup, origin(number))));
    let finding = Finding {
        extra: extra.into(),
        ..Finding::default()
    };
    let nobody = |_: &Endpoint| Claim::Nobody;
    story.guard.find(finding, nobody, story.now);
    assert_eq!(story.serving(), [1, 2, 3]);
    story.tell(1, State::Draining);
    assert_eq!(story.serving(), [1, 2, 3]);
}

#[test]
fn servers_found_at_the_start_count_as_vanished_just_now_however_many_records_there_are() {
    for records in 0..=1 {
        let mut story = Story::of(records, limits(1));
        let found: Vec<u8> = (records + 1..=4).collect();
        assert_eq!(find(&mut story, &found, &[]), [1, 2, 3, 4], "{records}");
        let held = found.iter().map(|number| at(*number)).collect();
        assert_eq!(story.said(), [Notice::GuardProtects(held)]);
        story.tell(2, State::Up);
        assert_eq!(story.serving(), [1, 2, 3, 4]);
        story.wait(HOLD);
        assert_eq!(story.serving(), (2 - records..=2).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_replaced_while_nobody_looked_goes_at_once() {
    let mut story = Story::of(3, limits(1));
    assert_eq!(find(&mut story, &[4, 5], &[1, 2]), [1, 2, 3]);
    let mut story = Story::of(3, limits(1));
    assert_eq!(find(&mut story, &[4], &[]), [1, 2, 3], "few");
}

#[test]
fn the_last_server_found_at_the_start_stays_until_it_is_released() {
    let mut story = Story::of(0, limits(1));
    assert_eq!(find(&mut story, &[1, 2], &[]), [1, 2]);
    story.wait(HOLD);
    assert_eq!(story.serving().len(), 1);
    story.guard.release();
    assert_eq!(story.serving(), [0; 0]);
    assert_eq!(find(&mut story, &[1, 2], &[]), [0; 0], "a release holds");
}

#[test]
fn the_last_server_found_at_the_start_stays_though_its_record_drains() {
    let mut story = Story::new(limits(1));
    story.tell(1, State::Draining);
    assert_eq!(find(&mut story, &[1], &[]), [1]);
    assert_eq!(story.said(), [Notice::MinServersProtects(vec![at(1)])]);
}

#[test]
fn an_address_that_another_service_has_taken_over_is_not_kept() {
    let mut story = Story::of(2, limits(1));
    story.vanish(&[1, 2]);
    assert_eq!(story.serving(), [1, 2]);
    story.said();
    story.claim(&[1]);
    assert_eq!(story.serving(), [2], "of the guard");
    assert_eq!(story.said(), [Notice::GuardLetsGo(vec![at(1)], Why::Taken)]);
    story.wait(HOLD);
    assert_eq!(story.serving(), [2]);
    story.claim(&[2]);
    assert_eq!(story.serving(), [0; 0], "of min_servers");
    let outcome = story.guard.outcome.clone().unwrap();
    assert_eq!(outcome.protection.taken, [at(1), at(2)].into());
    assert!(outcome.protection.spares.is_empty());

    let mut story = Story::of(1, limits(1));
    story.claim(&[1]);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [0; 0], "in the other order");
    let mut story = Story::of(0, limits(1));
    story.claim(&[1]);
    assert_eq!(find(&mut story, &[1, 2], &[]), [2], "found at the start");
    let mut story = Story::of(1, limits(1));
    story.tell(1, State::Draining);
    story.claim(&[1]);
    assert_eq!(story.serving(), [0; 0], "against its record");
}

#[test]
fn a_backend_of_two_services_is_kept_for_each() {
    let mut story = Story::of(2, limits(1));
    story.claim(&[1, 2]);
    story.wait(HOLD + Duration::from_secs(1));
    story.vanish(&[1, 2]);
    assert_eq!(story.serving(), [1, 2]);
    story.wait(HOLD);
    assert_eq!(story.serving(), [1]);
}

fn endpoints(numbers: &[u8]) -> Arc<BTreeSet<Endpoint>> {
    Arc::new(numbers.iter().map(|number| at(*number)).collect())
}

/// A target tells that it refuses these, and that those take traffic.
fn see(story: &mut Story, target: usize, refused: &[u8], serving: &[u8]) {
    let seen = Seen {
        refused: endpoints(refused),
        serving: Some(endpoints(serving)),
        current: true,
    };
    let decision = story.guard.see(target, seen, story.now);
    story.said.extend(decision.notices);
}

/// One server that serves, and a newcomer that is refused.
fn with_a_refused_newcomer(limits: Limits) -> Story {
    let mut story = Story::of(1, limits);
    see(&mut story, 0, &[], &[1]);
    story.tell(2, State::Up);
    see(&mut story, 0, &[2], &[1]);
    story
}

#[test]
fn a_refused_newcomer_does_not_stand_in_for_the_last_server() {
    let mut story = with_a_refused_newcomer(limits(1));
    story.tell(1, State::Draining);
    assert_eq!(story.serving(), [1, 2]);
    assert_eq!(story.said(), [Notice::MinServersProtects(vec![at(1)])]);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [1, 2]);
    see(&mut story, 0, &[], &[1, 2]);
    assert_eq!(story.serving(), [2], "it is refused no longer");
    assert_eq!(story.said(), [Notice::MinServersEnds]);
}

#[test]
fn a_newcomer_that_is_refused_after_the_last_server_has_left_does_not_stand_in_for_it() {
    let mut story = Story::of(1, limits(1));
    see(&mut story, 0, &[], &[1]);
    story.tell(1, State::Draining);
    story.change(|records| *records = [(2, State::Up)].into());
    assert_eq!(story.serving(), [2]);
    story.said();
    see(&mut story, 0, &[2], &[1]);
    assert_eq!(story.serving(), [1, 2]);
    assert_eq!(story.said(), [Notice::MinServersProtects(vec![at(1)])]);
    story.claim(&[1]);
    assert_eq!(story.serving(), [2], "its address is taken");
}

#[test]
fn who_has_left_is_forgotten_when_the_targets_have_taken_the_newcomer() {
    let mut story = Story::of(1, limits(1));
    see(&mut story, 0, &[], &[1]);
    see(&mut story, 1, &[], &[1]);
    story.change(|records| records.extend([(1, State::Down), (2, State::Up)]));
    see(&mut story, 0, &[], &[2]);
    assert!(!story.guard.is_idle(), "the other target may refuse it");
    see(&mut story, 1, &[], &[2]);
    assert!(story.guard.is_idle());
    assert_eq!((story.serving(), story.said()), (vec![2], vec![]));
}

#[test]
fn who_has_left_is_remembered_until_every_target_has_told_something() {
    let mut story = Story::of(1, limits(1));
    story.guard.keep_targets(&[0].into(), story.now);
    story.change(|records| records.extend([(1, State::Down), (2, State::Up)]));
    assert_eq!((story.serving(), story.said()), (vec![2], vec![]));
    see(&mut story, 0, &[2], &[1]);
    assert_eq!(story.serving(), [1, 2]);
    assert_eq!(story.said(), [Notice::MinServersProtects(vec![at(1)])]);
}

#[test]
fn of_many_that_left_only_some_are_remembered_for_a_target_that_is_out_of_reach() {
    let mut story = Story::of(1, limits(1));
    see(&mut story, 0, &[], &[1]);
    for number in 0..1_000_u32 {
        let octets = number.to_be_bytes();
        let address = format!("10.1.{}.{}:80", octets[2], octets[3]);
        let mut wanted = story.wanted();
        let mut follow = |state| {
            let endpoint: Endpoint = address.parse().unwrap();
            wanted.servers = [(endpoint.clone(), Server { state, ..up() })].into();
            wanted.origins = [(endpoint, origin(9))].into();
            let fate = |_: &InstanceName| RecordState::Present;
            let claim = |_: &Endpoint| Claim::Nobody;
            drop(story.guard.follow(wanted.clone(), fate, claim, story.now));
        };
        follow(State::Up);
        follow(State::Down);
    }
    assert!(story.guard.left.len() <= MAX_SPARES + 1);
}

#[test]
fn each_target_of_an_upstream_decides_by_what_it_refuses_itself() {
    let mut story = Story::of(1, limits(1));
    see(&mut story, 0, &[], &[1]);
    see(&mut story, 1, &[], &[1]);
    story.tell(2, State::Up);
    see(&mut story, 0, &[2], &[1]);
    see(&mut story, 1, &[], &[1, 2]);
    story.tell(1, State::Down);
    let outcome = story.guard.outcome.clone().unwrap();
    let fitted = |refused: &[u8], serving: &[u8]| {
        let mut sight = Sight::default();
        sight.read((*endpoints(serving)).clone(), &outcome, story.now);
        let fitted = outcome.fit(&sight, &endpoints(refused)).into_owned();
        ups(&fitted).map(|(at, _)| at.clone()).collect::<Vec<_>>()
    };
    assert_eq!(fitted(&[2], &[1]), [at(1), at(2)]);
    assert_eq!(fitted(&[], &[1, 2]), [at(2)]);
    // The one that refuses is gone.
    let decision = story.guard.keep_targets(&[1].into(), story.now);
    assert_eq!(decision.notices, [Notice::MinServersEnds]);
    assert_eq!(story.serving(), [2]);
}

#[test]
fn refusals_outlive_a_change_of_the_limits() {
    let mut story = with_a_refused_newcomer(limits(1));
    story.tell(1, State::Down);
    story.guard = story.guard.succeeded_by(limits(2));
    story.change(|_| {});
    assert_eq!(story.serving(), [1, 2]);
    see(&mut story, 7, &[2], &[1]);
    story.guard.keep_targets(&[7].into(), story.now);
    assert_eq!(story.serving(), [1, 2]);
}

#[test]
fn a_newcomer_that_never_served_is_not_kept() {
    let mut story = Story::new(limits(1));
    see(&mut story, 0, &[], &[]);
    story.tell(1, State::Up);
    see(&mut story, 0, &[1], &[]);
    story.vanish(&[1]);
    assert_eq!((story.serving(), story.said()), (vec![], vec![]));
    assert!(story.guard.is_idle());
    // Where some target takes it, it is.
    let mut story = Story::of(1, limits(1));
    see(&mut story, 0, &[1], &[]);
    see(&mut story, 1, &[], &[1]);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [1]);
}

#[test]
fn refused_newcomers_are_no_swap() {
    let mut story = Story::of(3, limits(0));
    see(&mut story, 0, &[], &[1, 2, 3]);
    let all = |records: &mut BTreeMap<u8, State>| {
        *records = (4..=6).map(|number| (number, State::Up)).collect();
    };
    story.change(all);
    assert_eq!(story.serving(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(story.said(), [], "they may be taken");
    see(&mut story, 0, &[4, 5, 6], &[1, 2, 3]);
    assert_eq!(story.serving(), [1, 2, 3, 4, 5, 6]);
    let held = vec![at(1), at(2), at(3)];
    assert_eq!(story.said(), [Notice::GuardProtects(held.clone())]);
    see(&mut story, 0, &[], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(story.serving(), [4, 5, 6]);
    assert_eq!(story.said(), [Notice::GuardLetsGo(held, Why::Swapped)]);
}

#[test]
fn a_swap_that_the_targets_take_is_one_without_a_word() {
    let mut story = Story::of(3, limits(0));
    see(&mut story, 0, &[], &[1, 2, 3]);
    story.change(|records| *records = (4..=6).map(|number| (number, State::Up)).collect());
    see(&mut story, 0, &[], &[1, 2, 3, 4, 5, 6]);
    assert_eq!((story.serving(), story.said()), (vec![4, 5, 6], vec![]));
    assert!(story.guard.protected().is_empty());
}

#[test]
fn what_waits_for_its_swap_waits_no_longer_than_the_hold() {
    let mut story = Story::of(3, limits(0));
    see(&mut story, 0, &[], &[1, 2, 3]);
    story.change(|records| *records = (4..=6).map(|number| (number, State::Up)).collect());
    story.wait(HOLD);
    assert_eq!((story.serving(), story.said()), (vec![4, 5, 6], vec![]));
    see(&mut story, 0, &[4, 5, 6], &[]);
    assert_eq!((story.serving(), story.said()), (vec![4, 5, 6], vec![]));
}

#[test]
fn refused_servers_are_no_part_of_what_may_vanish() {
    let mut story = Story::of(4, limits(0));
    see(&mut story, 0, &[2, 3, 4], &[1]);
    story.vanish(&[1]);
    assert_eq!(story.serving(), [1, 2, 3, 4], "all that there was");
    assert_eq!(story.said(), [Notice::GuardProtects(vec![at(1)])]);
}

#[test]
fn a_target_in_trouble_holds_no_swap_of_another_up() {
    let mut story = Story::of(2, limits(0));
    see(&mut story, 0, &[], &[1, 2]);
    let troubled = Seen {
        refused: endpoints(&[]),
        serving: Some(endpoints(&[1, 2])),
        current: false,
    };
    story.guard.see(1, troubled, story.now);
    story.change(|records| *records = (3..=4).map(|number| (number, State::Up)).collect());
    see(&mut story, 0, &[], &[1, 2, 3, 4]);
    assert_eq!((story.serving(), story.said()), (vec![3, 4], vec![]));
}
