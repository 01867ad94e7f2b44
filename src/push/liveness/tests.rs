use tokio::net::{TcpListener, TcpSocket};

use super::*;

async fn listening(address: &str) -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind(address).await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    (listener, endpoint)
}

/// A server that answers nothing: its queue is full, so the system drops whatever more comes.
async fn silent() -> (TcpListener, Vec<TcpStream>, Endpoint) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(TIMEOUT / 4, TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    (listener, queued, address.to_string().parse().unwrap())
}

fn none() -> BTreeSet<Endpoint> {
    BTreeSet::new()
}

#[tokio::test]
async fn who_refuses_is_dead_and_who_accepts_is_not() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, endpoint) = listening(address).await;
        let inside = Some(Way::Inside);
        assert_eq!(ask(&endpoint).await, (Answer::Accepted, inside));
        drop(listener);
        assert_eq!(ask(&endpoint).await, (Answer::Refused, inside));
    }
}

#[tokio::test]
async fn only_the_dead_are_told_and_each_once() {
    let (_listener, living) = listening("127.0.0.1:0").await;
    let (gone, dead) = listening("127.0.0.1:0").await;
    drop(gone);
    let (mut liveness, mut told) = Liveness::new();
    let candidates = [living.clone(), dead.clone()].into();
    liveness.watch(&candidates, &none());
    assert_eq!(told.recv().await, Some(dead));
    liveness.watch(&candidates, &none());
    liveness.watch(&[living].into(), &none());
    liveness.watch(&none(), &none());
    assert!(liveness.candidates.is_empty() && liveness.witnesses.is_empty());
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn who_says_nothing_is_dead_only_while_another_answers() {
    let (_listener, _queued, mute) = silent().await;
    assert_eq!(ask(&mute).await, (Answer::Silence, Some(Way::Inside)));
    let (mut liveness, mut told) = Liveness::new();
    liveness.watch(&[mute.clone()].into(), &none());
    let long = (TIMEOUT + PERIOD) * (ATTEMPTS + 2);
    assert!(timeout(long, told.recv()).await.is_err(), "nobody answers");
    let (_other, witness) = listening("127.0.0.1:0").await;
    let started = Instant::now();
    liveness.watch(&[mute.clone()].into(), &[witness, mute.clone()].into());
    assert_eq!(told.recv().await, Some(mute));
    assert!(started.elapsed() < long, "{:?}", started.elapsed());
}

/// The name never resolves, as RFC 6761 has it; the address is one that this host can never send from.
#[tokio::test]
async fn what_fails_here_tells_nothing_about_a_server() {
    let nowhere: Endpoint = "nowhere.invalid:80".parse().unwrap();
    assert_eq!(ask(&nowhere).await.0, Answer::Unasked);
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied,
        QuotaExceeded,
    };
    let local = [
        NetworkUnreachable,
        AddrNotAvailable,
        PermissionDenied,
        QuotaExceeded,
    ];
    for kind in local {
        assert_eq!(Answer::from(Err(kind.into())), Answer::Unasked, "{kind}");
    }
    // EMFILE: no file descriptor is left.
    let exhausted = io::Error::from_raw_os_error(24);
    assert_eq!(Answer::from(Err(exhausted)), Answer::Unasked);
    assert_eq!(Answer::from(Err(ConnectionRefused.into())), Answer::Refused);
    assert_eq!(Answer::from(Err(HostUnreachable.into())), Answer::Silence);
}

#[test]
fn no_more_witnesses_are_asked_than_needed() {
    let all: BTreeSet<Endpoint> = (1..=100)
        .map(|number| format!("10.0.0.{number}:80").parse().unwrap())
        .collect();
    assert!((2..=WITNESSES).contains(&some(all.iter()).len()));
    assert_eq!(some(all.iter().take(3)).len(), 3);
    assert!(some([].iter()).is_empty());
}
