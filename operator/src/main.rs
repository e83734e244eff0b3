//! The binary `edgereel-operator`.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgereel_operator::cli::main()
}
