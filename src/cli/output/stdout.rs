//! Standard output, with errors that name it.

use std::io::{Error, Result, Write, stdout};

/// Standard output, without a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        stdout().write(bytes).map_err(named)
    }

    fn flush(&mut self) -> Result<()> {
        stdout().flush().map_err(named)
    }
}

/// The same kind of error, naming standard output.
pub(crate) fn named(error: Error) -> Error {
    let text = format!("standard output cannot be written: {error}");
    Error::new(error.kind(), text)
}
