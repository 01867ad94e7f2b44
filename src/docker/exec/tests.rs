use serde_json::json;

use super::*;

#[test]
fn how_far_a_command_is_is_told_from_the_words_of_both_daemons() {
    use ExecState::{Ended, NotBegun, Runs};
    // Running, ExitCode, Pid, CanRemove: as Docker 20.10 and Podman 4.3 tell it.
    for (running, exit_code, pid, can_remove, expected) in [
        (false, json!(null), 0, false, NotBegun),
        (false, json!(0), 0, false, NotBegun),
        (true, json!(null), 0, false, Runs),
        (true, json!(0), 1787, false, Runs),
        (false, json!(0), 27435, false, Ended(0)),
        (false, json!(0), 0, true, Ended(0)),
        (false, json!(126), 0, false, Ended(126)),
        (false, json!(3), 0, true, Ended(3)),
    ] {
        let answer = json!({
            "Running": running, "ExitCode": exit_code, "Pid": pid, "CanRemove": can_remove,
        });
        let state = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(state_of(&state), expected, "{answer}");
    }
}
