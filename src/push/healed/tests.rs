use super::*;
use crate::util::logged::Logged;

#[tokio::test(start_paused = true)]
async fn an_own_key_that_somebody_has_deleted_is_said_to_be_back() {
    let held = |revision| LeaseStatus::Held {
        revision,
        value: b"v"[..].into(),
    };
    let lost = || LeaseStatus::Pending {
        error: Some("deleted".into()),
    };
    let logged = Logged::start();
    let mut healed = Healed::new("/sidekick/pushers/edge".to_owned());
    for lease in [
        lost(),
        held(3),
        LeaseStatus::Pending { error: None },
        held(4),
    ] {
        healed.note(&lease);
    }
    assert_eq!(
        logged.lines(),
        [""; 0],
        "a start and a new value are no news"
    );
    for lease in [lost(), lost(), held(7)] {
        healed.note(&lease);
    }
    assert_eq!(logged.lines().len(), 1);
    let told = "/sidekick/pushers/edge is in etcd again (etcd revision 7)";
    assert!(logged.last().ends_with(told), "{}", logged.last());
}
