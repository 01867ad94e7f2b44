//! What `tests/fuzz` calls.

use super::der;

/// From when until when the first certificate of a PEM text is valid, and the same for bytes that are one in DER.
#[must_use]
pub fn validity(bytes: &[u8]) -> [Option<String>; 2] {
    let text = String::from_utf8_lossy(bytes);
    let of = |certificate: &[u8]| {
        let (from, until) = der::validity(certificate)?;
        Some(format!("{from} {until}"))
    };
    let inside = der::first_certificate(&text);
    [inside.and_then(|certificate| of(&certificate)), of(bytes)]
}
