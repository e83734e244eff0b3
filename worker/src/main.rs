//! The binary `edgereel`.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgereel_worker::cli::main()
}
