use super::*;
use crate::model::{Quarantined, Reason};
use crate::util::logged::Logged;

fn quarantined(key: &str) -> Quarantined {
    Quarantined {
        key: key.to_owned(),
        service: None,
        reason: Reason::Field("host", "an IP address or a name"),
        instead: Instead::Nothing,
    }
}

#[tokio::test(start_paused = true)]
async fn a_handful_of_keys_that_come_and_go_again_and_again_leaves_room_for_other_lines() {
    let logged = Logged::start();
    let keys: Vec<_> = (0..6)
        .map(|number| format!("/services/website/x{number}"))
        .collect();
    for _ in 0..20 {
        log_quarantined(&Effect {
            quarantined: keys.iter().map(|key| quarantined(key)).collect(),
            ..Effect::default()
        });
        log_quarantined(&Effect {
            readable_again: keys.clone(),
            ..Effect::default()
        });
    }
    // Each of them is named once at least.
    for key in &keys {
        assert!(logged.count(key) >= 2, "{key}: {:?}", logged.lines());
    }
    assert!(logged.lines().len() <= 16, "{:?}", logged.lines());
    assert_eq!(
        logged.count("only counted for a minute"),
        2,
        "{:?}",
        logged.lines()
    );
}
