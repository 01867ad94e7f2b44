use super::*;

#[test]
fn the_interval_varies_by_a_tenth_at_most_and_is_never_longer() {
    let delays: Vec<_> = (0..1_000)
        .map(|_| jittered(Duration::from_secs(10)))
        .collect();
    let allowed = Duration::from_secs(9)..=Duration::from_secs(10);
    assert!(delays.iter().all(|delay| allowed.contains(delay)));
    let spread = delays
        .iter()
        .max()
        .unwrap()
        .abs_diff(*delays.iter().min().unwrap());
    assert!(spread > Duration::from_millis(500), "{spread:?}");
}

#[tokio::test]
async fn a_round_names_the_probe_that_fails_and_waits_no_longer_than_its_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open: Endpoint = address.to_string().parse().unwrap();
    let url = format!("http://{address}/health");
    // The listener accepts but never answers.
    let http = HttpProbe::new(&url, HttpOptions::default()).unwrap();
    let probes = [Probe::Tcp(open), Probe::Http(Arc::new(http))];
    let started = Instant::now();
    let failure = round(&probes, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(failure.probe, url);
    assert!(failure.reason.contains("within 200ms"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused_in_words() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let probe = Probe::Tcp(address.to_string().parse().unwrap());
    let failure = probe.attempt(Duration::from_secs(5)).await.unwrap_err();
    assert!(failure.reason.contains("refused"), "{failure}");
}
