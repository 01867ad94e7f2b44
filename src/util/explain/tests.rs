use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, InvalidMessage};

use super::*;

const PLACE: &str = "10.0.0.5:8443";

fn peer(tls: bool) -> Peer<'static> {
    let options = Options {
        authority: Some("--cacert"),
        name: Some("--probe-tls-name"),
        certificate: None,
    };
    Peer {
        tls,
        options,
        ..Peer::plain(PLACE)
    }
}

/// As the crates below nest it: in an I/O error, in another one.
fn nested(error: rustls::Error) -> io::Error {
    io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
}

fn of_certificate(error: CertificateError) -> String {
    explain(&nested(error.into()), peer(true))
}

/// What webpki says and rustls has no word for: `Display` of its errors is their name in Rust.
fn other(name: &'static str) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(io::Error::other(name))))
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_with_whose_it_is_and_the_option_that_helps() {
    let time = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let not_for_name = |presented: &[&str]| CertificateError::NotValidForNameContext {
        expected: ServerName::try_from("10.0.0.5").unwrap(),
        presented: presented.iter().map(|&name| name.to_owned()).collect(),
    };
    for (error, expected) in [
        (
            other("CaUsedAsEndEntity"),
            "is a CA certificate, not a server's",
        ),
        (
            CertificateError::ExpiredContext {
                time: time(1_800_000_000),
                not_after: time(1_735_689_600),
            },
            "expired on 2025-01-01 at 00:00 UTC",
        ),
        (
            CertificateError::NotValidYetContext {
                time: time(1),
                not_before: time(1_735_689_660),
            },
            "is valid from 2025-01-01 at 00:01 UTC on: is the clock right?",
        ),
        (
            CertificateError::UnknownIssuer,
            "is signed by an authority that is not trusted here: name the authority's certificate with --cacert",
        ),
        (
            CertificateError::BadSignature,
            "is not signed by the authority that it names, though one of that name is trusted here: name the right one's certificate with --cacert",
        ),
        (
            not_for_name(&["DnsName(\"web.example\")", "IpAddress(127.0.0.1)"]),
            "is for web.example and 127.0.0.1, not for 10.0.0.5: give the name that it is for with --probe-tls-name",
        ),
        (
            not_for_name(&[]),
            "is for no host at all (it has no subjectAltName), not for 10.0.0.5: give the name that it is for with --probe-tls-name",
        ),
        (
            other("MaximumPathDepthExceeded"),
            "has too long a chain of authorities",
        ),
        (
            other("a new kind of error"),
            "is not accepted: a new kind of error",
        ),
        (
            CertificateError::UnhandledCriticalExtension,
            "has a critical extension that is not supported",
        ),
    ] {
        let told = of_certificate(error);
        assert_eq!(told, format!("the certificate of {PLACE} {expected}"));
    }
}

#[test]
fn the_wrong_protocol_is_told_from_both_sides() {
    let corrupt = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
    let told = explain(&nested(corrupt), peer(true));
    assert_eq!(
        told,
        "10.0.0.5:8443 does not speak TLS: perhaps it is an http:// port"
    );
    let broken = io::Error::from(io::ErrorKind::BrokenPipe);
    let told = explain(&broken, peer(false));
    assert_eq!(
        told,
        "10.0.0.5:8443 closed the connection without an answer (perhaps it speaks TLS: is it an https:// port?)"
    );
}

#[test]
fn an_end_of_tls_without_a_word_is_told_without_a_link_and_with_what_may_be_missing() {
    let text = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof";
    let eof = io::Error::new(io::ErrorKind::UnexpectedEof, text);
    let mut peer = peer(true);
    let told = explain(&eof, peer);
    assert_eq!(
        told,
        "10.0.0.5:8443 closed the connection without an answer"
    );
    peer.options.certificate = Some("--cert and --key");
    let told = explain(&eof, peer);
    assert!(
        told.ends_with("answer (it may require a client certificate: give --cert and --key)"),
        "{told}"
    );
    peer.received = Received::Part;
    let told = explain(&eof, peer);
    assert_eq!(
        told,
        "10.0.0.5:8443 closed the connection in the middle of its answer"
    );
}

#[test]
fn a_refused_certificate_and_a_missing_one_are_told_apart() {
    let told = |alert, certificate| {
        let mut peer = peer(true);
        peer.options.certificate = certificate;
        explain(&nested(rustls::Error::AlertReceived(alert)), peer)
    };
    for alert in [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
    ] {
        let none_shown = told(alert, Some("--cert and --key"));
        assert_eq!(
            none_shown,
            "10.0.0.5:8443 requires a client certificate: give --cert and --key"
        );
    }
    let expired = told(AlertDescription::CertificateExpired, None);
    assert_eq!(
        expired,
        "10.0.0.5:8443 refuses the certificate that it was shown: it has expired"
    );
    let other = told(AlertDescription::InternalError, None);
    assert_eq!(
        other,
        "10.0.0.5:8443 ended the TLS handshake: internal error"
    );
}

#[test]
fn errors_of_the_system_lose_their_numbers_and_gain_a_place() {
    for (number, expected) in [
        (111, "connection refused: nothing listens at 10.0.0.5:8443"),
        (
            104,
            "10.0.0.5:8443 reset the connection (perhaps it speaks TLS: is it an https:// port?)",
        ),
        (
            110,
            "no answer from 10.0.0.5:8443: the host is down, or a firewall drops the packets",
        ),
        (113, "the host of 10.0.0.5:8443 is unreachable"),
        (101, "there is no route to 10.0.0.5:8443"),
        (24, "Too many open files"),
    ] {
        let error = io::Error::from_raw_os_error(number);
        assert_eq!(explain(&error, peer(false)), expected);
    }
    let dns = "failed to lookup address information: Name or service not known";
    let peer = Peer::plain("web.example:80");
    let told = explain(&io::Error::other(dns), peer);
    assert_eq!(
        told,
        "the name web.example cannot be resolved: Name or service not known"
    );
}

proptest! {
    #[test]
    fn whatever_the_text_it_is_one_printable_line(text in any::<String>(), kind in 0..3) {
        let error: Box<dyn StdError> = match kind {
            0 => Box::new(io::Error::other(text)),
            1 => Box::new(nested(rustls::Error::General(text))),
            _ => Box::new(nested(rustls::Error::Other(OtherError(Arc::new(io::Error::other(text)))))),
        };
        let told = explain(&*error, peer(true));
        prop_assert!(told.len() < MAX_SENTENCE + 8);
        prop_assert!(told.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    }
}

/// HTTP/2 keeps of an error its words alone: TLS 1.3 refuses a certificate after the handshake, when HTTP/2 has begun.
#[test]
fn a_refusal_of_which_only_the_words_are_left_is_told_as_any_other() {
    for alert in ALERTS {
        let options = Options {
            certificate: Some("--cert and --key"),
            ..Options::default()
        };
        let peer = Peer {
            options,
            ..peer(true)
        };
        let error = rustls::Error::AlertReceived(alert);
        let words = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        assert_eq!(explain(&words, peer), explain(&nested(error), peer));
    }
}
