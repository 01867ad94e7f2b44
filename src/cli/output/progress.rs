//! A line on standard error that shows what a command waits for.

use std::io::{IsTerminal, Write, stderr};

use crate::util::sanitize::printable;

/// Longest line, in columns: one that wraps could not be redrawn.
const WIDTH: usize = 76;

/// On a terminal the line is redrawn in place; elsewhere every change of it is a line of its own.
#[derive(Debug)]
pub(crate) struct Progress {
    on_terminal: bool,
    said: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            on_terminal: stderr().is_terminal(),
            said: String::new(),
        }
    }

    /// Shows what it waits for now.
    pub(crate) fn say(&mut self, text: &str) {
        if text == self.said {
            return;
        }
        text.clone_into(&mut self.said);
        // The terminal is closed: nobody can read an error.
        let _ = if self.on_terminal {
            write!(stderr(), "\r\x1b[K{}", printable(text, WIDTH))
        } else {
            writeln!(stderr(), "{text}")
        };
    }
}

impl Drop for Progress {
    /// Leaves a clean line for the next output.
    fn drop(&mut self) {
        if self.on_terminal && !self.said.is_empty() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
