use proptest::prelude::*;

use super::*;

#[test]
fn addresses_are_read_as_docker_host_has_them() {
    for (text, shown) in [
        ("unix:///run/docker.sock", "unix:///run/docker.sock"),
        ("/run/docker.sock", "unix:///run/docker.sock"),
        ("tcp://10.0.0.5:2375", "tcp://10.0.0.5:2375"),
        ("tcp://[::1]:2375/", "tcp://[::1]:2375"),
        ("http://dock:2375", "tcp://dock:2375"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }
}

#[test]
fn what_cannot_be_dialled_is_refused() {
    for text in [
        "",
        "unix://",
        "unix://run/x",
        "/",
        "docker.sock",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:x",
        "tcp://me:secret@host:2375",
        "ssh://me@host",
        "https://host:2376",
        "fd://",
        "npipe:////./pipe/x",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
}

#[test]
fn docker_comes_before_podman_and_root_before_the_user() {
    let daemon = Daemon::first_of(usual_places(Some(Path::new("/run/user/7"))));
    assert_eq!(
        daemon.to_string(),
        "unix:///var/run/docker.sock or unix:///run/podman/podman.sock \
             or unix:///run/user/7/podman/podman.sock"
    );
    assert_eq!(usual_places(None).len(), 2);
}

#[tokio::test]
async fn a_daemon_that_answered_once_is_not_exchanged_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let places = ["docker", "podman"].map(place).map(Address::Unix);
    let daemon = Daemon::first_of(places.to_vec());
    let error = daemon.connect().await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);

    let podman = tokio::net::UnixListener::bind(place("podman")).unwrap();
    daemon.connect().await.unwrap();
    let _docker = tokio::net::UnixListener::bind(place("docker")).unwrap();
    assert_eq!(daemon.clone().to_string(), places[1].to_string());
    daemon.connect().await.unwrap();

    drop(podman);
    let error = daemon.connect().await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_addresses_come_back(
        text in any::<String>(), near in "(unix://|tcp://|http://)?/?[a-z0-9.:/]{0,30}"
    ) {
        for text in [text, near] {
            match text.parse::<Address>() {
                Ok(address) => prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address)),
                Err(error) => prop_assert!(error.to_string().len() < 250),
            }
        }
    }
}
