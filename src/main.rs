//! The `hermitcrab` program.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
