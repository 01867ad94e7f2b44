//! What holds for every text that people or files are given.

/// Something for people, in one line of at most so many bytes.
#[track_caller]
pub(crate) fn message(text: &str, most: usize) {
    assert!(text.len() <= most, "{} bytes: {text}", text.len());
    let strange = text.chars().find(|c| c.is_control());
    assert_eq!(strange, None, "in {text:?}");
}

/// A message that may quote foreign text: nothing but printable ASCII.
#[track_caller]
pub(crate) fn printable(text: &str, most: usize) {
    message(text, most);
    let strange = text.chars().find(|c| !matches!(c, ' '..='~'));
    assert_eq!(strange, None, "in {text:?}");
}

/// An address that may stand in a file of nginx or in a URL as it is.
#[track_caller]
pub(crate) fn address(text: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    assert!(!text.is_empty() && text.chars().all(allowed), "{text:?}");
}
