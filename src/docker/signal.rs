//! Signals by name and number, as in `docker kill` and `STOPSIGNAL`.

/// Ends a process that has no handler for it.
pub(super) const TERM: u8 = 15;
/// From a terminal.
pub(super) const INT: u8 = 2;
/// Kills a process.
pub(super) const KILL: u8 = 9;

/// The lowest real-time signal in the C libraries of Linux.
const RTMIN: u8 = 34;
/// The highest.
const RTMAX: u8 = 64;

/// By number, from 1; the same on every processor that containers run on except MIPS.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of `15`, `TERM`, `SIGTERM` or `SIGRTMIN+3`.
pub(super) fn number(text: &str) -> Option<u8> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = name.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(offset, '+', |by| RTMIN.checked_add(by));
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(offset, '-', |by| RTMAX.checked_sub(by));
    }
    let at = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(at + 1).ok()
}

fn real_time(offset: &str, sign: char, count: impl Fn(u8) -> Option<u8>) -> Option<u8> {
    let by = match offset {
        "" => 0,
        _ => offset.strip_prefix(sign)?.parse().ok()?,
    };
    count(by).filter(|number| (RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests;
