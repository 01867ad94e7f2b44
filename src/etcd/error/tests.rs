use super::*;

fn renewal_failed(reason: &str) -> Error {
    Error::Etcd {
        endpoint: "http://10.0.0.1:2379".to_owned(),
        error: Box::new(etcd_client::Error::LeaseKeepAliveError(reason.to_owned())),
        text: String::new(),
    }
}

#[test]
fn a_cut_stream_of_renewals_says_nothing_of_the_lease() {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let cut = sender.try_send(()).unwrap_err().to_string();
    let cut = renewal_failed(&cut);
    assert!(!cut.is_lease_not_found() && cut.is_about_the_connection());
    let gone = renewal_failed(LEASE_NOT_FOUND);
    assert!(gone.is_lease_not_found() && !gone.is_about_the_connection());
}
