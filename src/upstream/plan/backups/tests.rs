use super::*;
use crate::upstream::server::Parameters;

fn states(wanted: &[(State, bool)]) -> Vec<State> {
    let server = |(host, (state, backup)): (usize, &(State, bool))| {
        let server = Server {
            weight: std::num::NonZeroU16::MIN,
            state: *state,
            parameters: Parameters {
                backup: *backup,
                ..Parameters::default()
            },
        };
        (format!("10.0.0.{host}:80").parse().unwrap(), server)
    };
    let servers: Servers = wanted.iter().enumerate().map(server).collect();
    let without = without_backups(&servers);
    assert!(without.values().all(|server| !server.parameters.backup));
    without.values().map(|server| server.state).collect()
}

#[test]
fn a_backup_takes_traffic_only_when_no_other_server_does() {
    use State::{Down, Draining, Up};
    assert_eq!(states(&[(Up, false), (Up, true)]), [Up, Down]);
    assert_eq!(states(&[(Draining, false), (Up, true)]), [Draining, Up]);
    assert_eq!(states(&[(Down, false), (Up, true)]), [Down, Up]);
    assert_eq!(states(&[(Up, true), (Up, true)]), [Up, Up]);
    assert_eq!(states(&[(Up, false), (Draining, true)]), [Up, Draining]);
}
