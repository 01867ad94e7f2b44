//! Errors of connections and of TLS, in words.
//!
//! The crates nest their errors, show some as Rust's `Debug`, and often say only that something failed. Pass such an
//! error through [`explain`] before showing it: it says what happened, at which end, and which option helps.

mod certificate;

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, OtherError};

use crate::util::sanitize::printable;

/// The longest sentence, in bytes.
const MAX_SENTENCE: usize = 320;
/// How many causes in a row are followed at most.
const MAX_CAUSES: usize = 32;

/// The other side of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// `HOST:PORT`, or the path of a socket.
    pub place: &'a str,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// What it had sent.
    pub received: Received,
    /// The options that help.
    pub options: Options,
}

impl<'a> Peer<'a> {
    /// The peer at `place`, without TLS, before its first answer.
    #[must_use]
    pub const fn plain(place: &'a str) -> Self {
        Self {
            place,
            tls: false,
            received: Received::Nothing,
            options: Options {
                authority: None,
                name: None,
                certificate: None,
            },
        }
    }
}

/// What a connection had received before it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Received {
    /// Nothing: the other side may speak another protocol.
    #[default]
    Nothing,
    /// Perhaps answers to earlier requests: then it speaks the right protocol.
    Earlier,
    /// Part of the answer.
    Part,
}

/// The options that a user can set against an error; `None` where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Gives the authority that the other side's certificate is checked with: `--cacert`.
    pub authority: Option<&'static str>,
    /// Gives the name that the other side's certificate is for: `--probe-tls-name`.
    pub name: Option<&'static str>,
    /// Gives the client certificate, if none is given: `--cert and --key`.
    pub certificate: Option<&'static str>,
}

/// Says what went wrong with a connection, in one printable line that names `peer`.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static), peer: Peer<'_>) -> String {
    let links = links(error);
    let sentence = links
        .iter()
        .find_map(|&link| Some(of_tls(link.downcast_ref()?, peer)))
        .or_else(|| links.iter().find_map(|&link| of_words(link, peer)))
        .or_else(|| links.iter().rev().find_map(|&link| of_http(link, peer)))
        .or_else(|| links.iter().rev().find_map(|&link| of_io(link, peer)))
        .or_else(|| of_http2(&links, peer))
        .unwrap_or_else(|| last_words(&links, peer));
    printable(sentence, MAX_SENTENCE)
}

/// The error and its causes, including those inside an [`io::Error`] or an error of etcd's client.
fn links<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let first: Option<&'a (dyn StdError + 'static)> = Some(error);
    let links = std::iter::successors(first, |&link| {
        if let Some(io) = link.downcast_ref::<io::Error>()
            && let Some(inside) = io.get_ref()
        {
            return Some(inside);
        }
        match link.downcast_ref() {
            Some(etcd_client::Error::GRpcStatus(status)) => Some(status),
            Some(etcd_client::Error::TransportError(error)) => Some(error),
            Some(etcd_client::Error::IoError(error)) => Some(error),
            _ => link.source(),
        }
    });
    links.take(MAX_CAUSES).collect()
}

fn of_tls(error: &rustls::Error, peer: Peer<'_>) -> String {
    let place = peer.place;
    match error {
        rustls::Error::InvalidCertificate(error) => certificate::explain(error, peer),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, peer),
        rustls::Error::InvalidMessage(_) if peer.received == Received::Nothing => {
            format!("{place} does not speak TLS: perhaps it is an http:// port")
        }
        rustls::Error::InvalidMessage(_) | rustls::Error::DecryptError => {
            format!("{place} sent data that cannot be decrypted")
        }
        rustls::Error::NoCertificatesPresented => format!("{place} shows no certificate"),
        rustls::Error::PeerIncompatible(_) => nothing_in_common(place),
        rustls::Error::NoApplicationProtocol => format!("{place} does not speak HTTP/2"),
        rustls::Error::InconsistentKeys(_) => "the key does not fit the certificate".to_owned(),
        rustls::Error::General(text) => plain(text),
        rustls::Error::Other(OtherError(inner)) => words(&inner.to_string()),
        other => format!("TLS with {place} failed: {}", words(&other.to_string())),
    }
}

fn of_alert(alert: AlertDescription, peer: Peer<'_>) -> String {
    let place = peer.place;
    let refused = |why: &str| format!("{place} refuses the certificate that it was shown: {why}");
    match (alert, peer.options.certificate) {
        (AlertDescription::CertificateRequired, None) => {
            format!("{place} requires a client certificate, and none was sent")
        }
        (
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::HandshakeFailure,
            Some(option),
        ) => format!("{place} requires a client certificate: give {option}"),
        (AlertDescription::UnknownCA, _) => refused("it does not know its authority"),
        (AlertDescription::CertificateExpired, _) => refused("it has expired"),
        (AlertDescription::CertificateRevoked, _) => refused("it is revoked"),
        (
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied,
            _,
        ) => format!(
            "{place} does not accept the certificate of this side, or that it shows none: is there one, is it for clients, and of \
            the right authority?"
        ),
        (
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
            _,
        ) => nothing_in_common(place),
        (AlertDescription::UnrecognisedName, _) => {
            let option = peer.options.name.map_or_else(String::new, |option| {
                format!(": give one that it knows with {option}")
            });
            format!("{place} has no certificate for the name that it was asked for{option}")
        }
        (AlertDescription::NoApplicationProtocol, _) => format!("{place} does not speak HTTP/2"),
        (other, _) => {
            let why = words(other.as_str().unwrap_or("for a reason without a name"));
            format!("{place} ended the TLS handshake: {why}")
        }
    }
}

/// The alerts with an explanation of their own.
const ALERTS: [AlertDescription; 13] = [
    AlertDescription::CertificateRequired,
    AlertDescription::NoCertificate,
    AlertDescription::BadCertificate,
    AlertDescription::HandshakeFailure,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::AccessDenied,
    AlertDescription::ProtocolVersion,
    AlertDescription::InsufficientSecurity,
    AlertDescription::DecryptError,
];

/// An alert of which HTTP/2 has kept only the text.
fn of_words(link: &(dyn StdError + 'static), peer: Peer<'_>) -> Option<String> {
    let text = link.to_string();
    let mut alerts = ALERTS.into_iter();
    let alert = alerts.find(|alert| text == rustls::Error::AlertReceived(*alert).to_string());
    alert.map(|alert| of_alert(alert, peer))
}

fn nothing_in_common(place: &str) -> String {
    format!("{place} speaks no version of TLS, or no cipher, that is spoken here (TLS 1.2 and 1.3)")
}

fn of_http(link: &(dyn StdError + 'static), peer: Peer<'_>) -> Option<String> {
    let error: &hyper::Error = link.downcast_ref()?;
    let place = peer.place;
    if error.is_parse() {
        let perhaps = perhaps_tls(peer);
        Some(format!("{place} does not answer in HTTP{perhaps}"))
    } else if error.is_incomplete_message() || error.is_closed() {
        Some(closed(peer))
    } else {
        None
    }
}

fn of_io(link: &(dyn StdError + 'static), peer: Peer<'_>) -> Option<String> {
    let error: &io::Error = link.downcast_ref()?;
    let place = peer.place;
    let text = plain(&error.to_string());
    if let Some((_, why)) = text.split_once("failed to lookup address information: ") {
        let host = host(place);
        return Some(format!("the name {host} cannot be resolved: {why}"));
    }
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("connection refused: nothing listens at {place}")
        }
        io::ErrorKind::ConnectionReset => {
            format!("{place} reset the connection{}", perhaps_other(peer))
        }
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected => closed(peer),
        io::ErrorKind::TimedOut => {
            format!("no answer from {place}: the host is down, or a firewall drops the packets")
        }
        io::ErrorKind::HostUnreachable => format!("the host of {place} is unreachable"),
        io::ErrorKind::NetworkUnreachable => format!("there is no route to {place}"),
        io::ErrorKind::AddrNotAvailable => format!("no local address or port is left for {place}"),
        // It wraps an error that says more, or says nothing itself.
        io::ErrorKind::Other
            if error
                .get_ref()
                .is_some_and(|inside| inside.source().is_some()) =>
        {
            return None;
        }
        _ => text,
    })
}

fn closed(peer: Peer<'_>) -> String {
    let place = peer.place;
    match peer.received {
        Received::Nothing => {
            let perhaps = perhaps_other(peer);
            format!("{place} closed the connection without an answer{perhaps}")
        }
        Received::Earlier => {
            format!("{place} closed the connection before its answer was complete")
        }
        Received::Part => format!("{place} closed the connection in the middle of its answer"),
    }
}

/// What an end without an answer may mean.
fn perhaps_other(peer: Peer<'_>) -> String {
    match peer.options.certificate {
        // TLS 1.3 refuses a missing certificate only after the handshake, and its alert may come too late.
        Some(option) if peer.tls && peer.received == Received::Nothing => {
            format!(" (it may require a client certificate: give {option})")
        }
        _ => perhaps_tls(peer).to_owned(),
    }
}

fn perhaps_tls(peer: Peer<'_>) -> &'static str {
    if !peer.tls && peer.received == Received::Nothing {
        " (perhaps it speaks TLS: is it an https:// port?)"
    } else {
        ""
    }
}

/// The error of gRPC's transport when the other side speaks HTTP/1 or TLS; its types are private.
fn of_http2(links: &[&(dyn StdError + 'static)], peer: Peer<'_>) -> Option<String> {
    let mut texts = links.iter().map(ToString::to_string);
    let broken = |text: String| {
        let words = [
            "frame with invalid size",
            "connection error detected",
            "connection error received",
        ];
        words.iter().any(|word| text.contains(word))
    };
    let place = peer.place;
    texts.any(broken).then(|| {
        let perhaps = perhaps_tls(peer);
        format!("{place} does not speak HTTP/2, which gRPC needs{perhaps}")
    })
}

fn last_words(links: &[&(dyn StdError + 'static)], peer: Peer<'_>) -> String {
    let last = links.last().map(ToString::to_string);
    match last.as_deref() {
        None | Some("" | "transport error" | "connection error" | "client error (Connect)") => {
            format!("the connection to {} failed", peer.place)
        }
        Some("Timeout expired" | "deadline has elapsed" | "operation timed out") => {
            format!("no answer from {} in time", peer.place)
        }
        Some(text) => plain(text),
    }
}

/// Without the error's number and the manual's address, which help no user.
fn plain(text: &str) -> String {
    let text = text.split(" (os error ").next().unwrap_or(text);
    let text = text.split(": https://docs.rs").next().unwrap_or(text);
    text.trim().to_owned()
}

/// Rust's names as words: `BadRecordMac` becomes `bad record mac`.
fn words(text: &str) -> String {
    let is_name = |word: &str| {
        let letters = word.chars().all(|c| c.is_ascii_alphanumeric());
        letters
            && word.chars().skip(1).any(|c| c.is_ascii_lowercase())
            && word.chars().skip(1).any(|c| c.is_ascii_uppercase())
    };
    let spelt = text.split(' ').map(|word| {
        if !is_name(word) {
            return word.to_owned();
        }
        let mut spelt = String::new();
        for (at, letter) in word.char_indices() {
            if at > 0 && letter.is_ascii_uppercase() {
                spelt.push(' ');
            }
            spelt.push(letter.to_ascii_lowercase());
        }
        spelt
    });
    plain(&spelt.collect::<Vec<_>>().join(" "))
}

/// `HOST` of `HOST:PORT`.
fn host(place: &str) -> &str {
    place.rsplit_once(':').map_or(place, |(host, _)| host)
}

#[cfg(test)]
mod tests;
