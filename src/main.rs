//! The `hermitcrab` program.

fn main() -> std::process::ExitCode {
    hermitcrab::cli::main()
}
