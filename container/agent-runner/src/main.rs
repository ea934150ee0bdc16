//! The agent-runner binary: everything is in the library, so that fuzz targets can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_runner::main()
}
