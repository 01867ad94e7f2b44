use super::*;

#[test]
fn nothing_is_announced_before_the_backend_has_proved_itself() {
    for on_failure in [OnFailure::Withdraw, OnFailure::Mark] {
        let phase = Phase::Starting.after(Health::Down);
        assert_eq!(phase.wish(on_failure), Wish::Nothing(State::Down));
    }
}

#[test]
fn a_backend_that_fails_is_withdrawn_or_marked_and_comes_back() {
    let failing = Phase::Starting.after(Health::Up).after(Health::Down);
    assert_eq!(failing, Phase::Failing);
    assert_eq!(
        failing.wish(OnFailure::Withdraw),
        Wish::Nothing(State::Down)
    );
    assert_eq!(failing.wish(OnFailure::Mark), Wish::Record(State::Down));
    let back = failing.after(Health::Up);
    assert_eq!(back.wish(OnFailure::Withdraw), Wish::Record(State::Up));
}

#[test]
fn leaving_is_final_whatever_the_probe_says() {
    for health in [Health::Up, Health::Down] {
        let phase = Phase::Leaving.after(health);
        assert_eq!(phase.wish(OnFailure::Mark), Wish::Nothing(State::Draining));
    }
}
