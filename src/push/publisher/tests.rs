use super::*;
use crate::upstream::server::{Parameters, Servers};
use crate::upstream::state::Desired;

/// So many servers, all of whose records have vanished just now.
fn keeping(count: u16) -> Publisher {
    let mut publisher = Publisher::new(Arc::new("website".parse().unwrap()), None);
    let at = |number: u16| -> Endpoint {
        let [high, low] = number.to_be_bytes();
        format!("10.0.{high}.{low}:80").parse().unwrap()
    };
    let servers = (0..count).map(|number| {
        let server = Server {
            weight: std::num::NonZeroU16::MIN,
            state: State::Up,
            parameters: Parameters::default(),
        };
        (at(number), server)
    });
    let mut wanted = Desired::at(1, &servers.collect());
    for endpoint in wanted.servers.keys() {
        let name = endpoint.to_string().parse().unwrap();
        let origin = Arc::new(Origin::named(name));
        wanted.origins.insert(endpoint.clone(), origin);
    }
    let (fate, claim) = (
        |_: &InstanceName| RecordState::Missing,
        |_: &Endpoint| Claim::Nobody,
    );
    for wanted in [wanted, Desired::at(2, &Servers::new())] {
        let decision = publisher.guard.follow(wanted, fate, claim, Instant::now());
        publisher.apply(decision);
    }
    publisher
}

fn protected(publisher: &Publisher) -> (usize, u64) {
    let mut told = UpstreamStatus::default();
    publisher.protect(0, &mut told, &Clock::new());
    (told.protected.len(), told.protected_more)
}

#[test]
fn as_many_protected_servers_are_listed_as_there_is_room_for_and_the_rest_is_counted() {
    assert_eq!(protected(&keeping(0)), (0, 0));
    assert_eq!(protected(&keeping(256)), (256, 0));
    assert_eq!(protected(&keeping(300)), (256, 44));
}

#[test]
fn of_what_is_kept_only_what_takes_traffic_in_a_target_is_protected_there() {
    let mut publisher = keeping(3);
    let seen = Seen {
        refused: Arc::default(),
        serving: Some(Arc::new(["10.0.0.1:80".parse().unwrap()].into())),
        current: true,
    };
    publisher.rows = [0].into();
    publisher.see(0, &seen, Instant::now());
    assert_eq!(protected(&publisher), (1, 0));
    let troubled = Seen {
        current: false,
        ..seen
    };
    publisher.see(0, &troubled, Instant::now());
    assert_eq!(protected(&publisher), (3, 0), "who knows what it has");
}
