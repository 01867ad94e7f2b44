//! What is wrong with the certificate of the other side.

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError};

use super::{Peer, plain};

/// In words that name the certificate's owner and the option that helps.
pub(super) fn explain(error: &CertificateError, peer: Peer<'_>) -> String {
    let why = why(error, peer);
    format!("the certificate of {} {why}", peer.place)
}

fn why(error: &CertificateError, peer: Peer<'_>) -> String {
    let with = |option: Option<&str>, what: &str| match option {
        Some(option) => format!(": {what} with {option}"),
        None => String::new(),
    };
    match error {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}", date(*not_after))
        }
        CertificateError::NotValidYet => "is not valid yet: is the clock right?".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "is valid from {} on: is the clock right?",
                date(*not_before)
            )
        }
        CertificateError::Revoked => "is revoked".to_owned(),
        CertificateError::UnknownIssuer => format!(
            "is signed by an authority that is not trusted here{}",
            with(peer.options.authority, "name the authority's certificate"),
        ),
        // Two authorities of one name, as those of two test installations.
        CertificateError::BadSignature => format!(
            "is not signed by the authority that it names, though one of that name is trusted here{}",
            with(peer.options.authority, "name the right one's certificate"),
        ),
        CertificateError::NotValidForName => format!(
            "is for another name{}",
            with(peer.options.name, "give the name that it is for"),
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "is for {}, not for {}{}",
            names(presented),
            expected.to_str(),
            with(peer.options.name, "give the name that it is for"),
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers, as its extended key usage says".to_owned()
        }
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with an algorithm that is not supported".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => UNSUPPORTED_EXTENSION.to_owned(),
        CertificateError::Other(OtherError(inner)) => of_name(&inner.to_string()),
        other => not_accepted(&other.to_string()),
    }
}

const UNSUPPORTED_EXTENSION: &str = "has a critical extension that is not supported";

/// An error that rustls passes on from webpki, which shows only the name of its kind.
fn of_name(name: &str) -> String {
    let why = match name {
        "CaUsedAsEndEntity" => "is a CA certificate, not a server's",
        "EndEntityUsedAsCa" => "is signed by a certificate that is not a CA certificate",
        "MaximumPathDepthExceeded" => "has too long a chain of authorities",
        "NameConstraintViolation" => "has a name that its authority may not certify",
        "PathLenConstraintViolated" => "has a longer chain of authorities than one of them allows",
        "UnsupportedCriticalExtension" => UNSUPPORTED_EXTENSION,
        _ if name.starts_with("UnsupportedCertVersion") => {
            "is of X.509 version 1, and only version 3 is accepted: issue a new one with a subjectAltName"
        }
        _ => return not_accepted(name),
    };
    why.to_owned()
}

fn not_accepted(why: &str) -> String {
    format!("is not accepted: {}", plain(why))
}

/// The names as rustls shows them, `DnsName("a")` and `IpAddress(127.0.0.1)`, without their kinds. The other side chose them.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 4;
    if presented.is_empty() {
        return "no host at all (it has no subjectAltName)".to_owned();
    }
    let bare = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inside.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let mut names: Vec<_> = presented.iter().take(SHOWN).map(bare).collect();
    if presented.len() > SHOWN {
        names.push(format!("{} more", presented.len() - SHOWN));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// In UTC, to the minute.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let date = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    date.map_or_else(
        || "a day that no calendar has".to_owned(),
        |date| date.strftime("%Y-%m-%d at %H:%M UTC").to_string(),
    )
}
