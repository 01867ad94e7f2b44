use tokio::time::timeout;

use super::*;
use crate::docker::daemon::Address;

fn probe(command: &str) -> Result<ContainerExecProbe, String> {
    ContainerExecProbe::new(Daemon::local(), "web1".parse().unwrap(), command)
}

#[test]
fn what_needs_a_shell_is_refused_unless_a_shell_is_named() {
    for command in [
        "true && false",
        "wget x | grep y",
        "x > /dev/null",
        "sh -c 'a",
        " ",
    ] {
        assert!(probe(command).is_err(), "{command}");
    }
    let shell = probe("sh -c 'true && false'").unwrap();
    assert_eq!(shell.0.command.words(), ["sh", "-c", "true && false"]);
    assert_eq!(shell.to_string(), "in the container: sh ...");
}

#[tokio::test]
async fn while_one_command_may_run_no_further_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    // It accepts, and never answers.
    let silent = tokio::net::UnixListener::bind(&socket).unwrap();
    let daemon = Daemon::at(Address::Unix(socket));
    let probe = ContainerExecProbe::new(daemon, "web1".parse().unwrap(), "true").unwrap();
    let first = timeout(Duration::from_millis(100), probe.attempt()).await;
    assert!(first.is_err(), "{first:?}");
    let _connection = silent.accept().await.unwrap();
    let again = probe.clone().attempt().await.unwrap_err();
    assert!(again.contains("still runs"), "{again}");
    let another = timeout(Duration::from_millis(100), silent.accept()).await;
    assert!(another.is_err(), "a second command was asked for");
}
