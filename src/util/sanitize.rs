//! Foreign text, made safe to show.
//!
//! Text from etcd, nginx or a backend may contain anything: terminal escapes, line breaks that forge log
//! lines, megabytes. Pass it through here before showing it.

use std::fmt::Write as _;

/// The default length that foreign text is cut to, in bytes.
pub const SHORT: usize = 120;

/// Gives `text` as printable ASCII of at most `limit` bytes, plus `...` where something was cut off.
///
/// Every byte outside the printable ASCII range is written as `\xNN`, a backslash as `\\`: the result is one line,
/// and still shows which bytes were there.
pub fn printable(text: impl AsRef<[u8]>, limit: usize) -> String {
    let bytes = text.as_ref();
    let mut shown = String::with_capacity(bytes.len().min(limit));
    for byte in bytes {
        let width = match byte {
            b'\\' => 2,
            0x20..=0x7e => 1,
            _ => 4,
        };
        if shown.len() + width > limit {
            shown.push_str("...");
            break;
        }
        match width {
            1 => shown.push(char::from(*byte)),
            2 => shown.push_str("\\\\"),
            // Writing to a String cannot fail.
            _ => drop(write!(shown, "\\x{byte:02x}")),
        }
    }
    shown
}

/// [`printable`], cut to [`SHORT`] bytes.
pub fn short(text: impl AsRef<[u8]>) -> String {
    printable(text, SHORT)
}

#[cfg(test)]
mod tests;
