use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::*;

proptest! {
    #[test]
    fn arbitrary_command_lines_never_panic(text in any::<String>()) {
        let _ = text.parse::<CommandLine>();
    }

    #[test]
    fn whatever_a_command_says_only_its_end_is_kept(said in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut tail = Tail::default();
        for bytes in &said {
            tail.take(bytes);
            prop_assert!(tail.0.len() <= MAX_SAID);
        }
        prop_assert!(said.concat().ends_with(&tail.0));
        let text = tail.text();
        prop_assert!(text.len() <= 2 * MAX_SAID + 3 && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    }
}

async fn run(command: &str) -> Result<(), String> {
    command.parse::<CommandLine>().unwrap().run().await
}

#[tokio::test]
async fn the_exit_code_decides_and_the_output_is_the_reason() {
    assert_eq!(run("true").await, Ok(()));
    let reason = run("sh -c 'echo no database; echo really >&2; exit 3'")
        .await
        .unwrap_err();
    assert!(
        reason.contains("exit status: 3") && reason.contains("no database"),
        "{reason}"
    );
    let reason = run("/no/such/command").await.unwrap_err();
    assert!(reason.contains("/no/such/command"), "{reason}");
}

#[test]
fn a_command_line_is_split_as_a_shell_does() {
    let command: CommandLine = "sh -c 'a b' \"c d\"".parse().unwrap();
    assert_eq!(command.arguments, ["-c", "a b", "c d"]);
    assert!(command.is_program("sh") && !command.is_program("h"));
    assert!(CommandLine::new("/usr/bin/sh", &[]).is_program("sh"));
    assert!("sh -c 'a".parse::<CommandLine>().is_err());
    assert!("  ".parse::<CommandLine>().is_err());
}

#[tokio::test]
async fn what_it_leaves_running_neither_delays_the_verdict_nor_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let command = format!("sh -c 'sleep 60 & echo $! > {}'", pid_file.display());
    let started = Instant::now();
    assert_eq!(run(&command).await, Ok(()));
    assert!(started.elapsed() < Duration::from_secs(30));
    until_dead(&pid_file).await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let command = format!("sh -c 'sleep 60 & echo $! > {}; wait'", pid_file.display());
    let command: CommandLine = command.parse().unwrap();
    let mut attempt = Box::pin(command.run());
    while !std::fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n')) {
        let waited = timeout(Duration::from_millis(5), &mut attempt).await;
        assert!(waited.is_err(), "it hangs, but ended with {waited:?}");
    }
    drop(attempt);
    until_dead(&pid_file).await;
}

#[tokio::test]
async fn endless_output_takes_no_memory() {
    let command: CommandLine = "sh -c 'yes | head -c 50000000; echo end; exit 1'"
        .parse()
        .unwrap();
    let reason = command.run().await.unwrap_err();
    assert!(
        reason.ends_with("end") && reason.len() < 2 * MAX_SAID,
        "{reason}"
    );
}

/// Waits until the process named in the file is dead: killed, if perhaps not yet reaped.
async fn until_dead(pid_file: &std::path::Path) {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let dead = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), dead)
        .await
        .expect("the child of the command still lives");
}
