use super::*;

#[test]
fn names_that_lead_to_this_host_only_are_refused() {
    let host: Host = "web.example".parse().unwrap();
    let why = |resolved: &[&str]| {
        let resolved: Vec<IpAddr> = resolved.iter().map(|it| it.parse().unwrap()).collect();
        unreachable_from_elsewhere(&host, &resolved).unwrap_or_default()
    };
    assert_eq!(why(&[]), "");
    assert_eq!(why(&["10.0.0.5", "fd00::5"]), "");
    assert_eq!(
        why(&["127.0.1.1"]),
        "a name that leads to 127.0.1.1, a loopback address"
    );
    assert_eq!(
        why(&["10.0.0.5", "::1"]),
        "a name that leads to ::1, a loopback address"
    );
    assert_eq!(why(&["10.0.0.5", "fe80::1"]), "");
    assert_eq!(
        why(&["fe80::1"]),
        "a name that leads to fe80::1, a link-local address"
    );
    assert_eq!(
        why(&["fe80::1", "0.0.0.0", "10.0.0.5"]),
        "a name that leads to 0.0.0.0, the unspecified address"
    );
}
