//! The binary: all of it is in [`sidekick::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sidekick::cli::main()
}
