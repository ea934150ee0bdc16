//! Builds the agent-runner for the sandbox, so that it can be embedded in the gateway: `sandbox::runner` includes it.

use std::error::Error;
use std::ffi::OsString;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use fnv::FnvHasher;

/// What the outer build sets for itself and for its build scripts, and what would disturb a build for another target.
const OUTER: [&str; 10] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "OUT_DIR",
    "TARGET",
    "PROFILE",
];
/// Beginnings of further names of that kind.
const OUTER_PREFIXES: [&str; 4] = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
/// What the agent-runner is made from.
const SOURCES: [&str; 4] = [
    "container/agent-runner/src",
    "container/agent-runner/Cargo.toml",
    "container/protocol",
    "Cargo.lock",
];

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the agent-runner and leaves it in `OUT_DIR`.
fn embed() -> Result<(), Box<dyn Error>> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let processor = variable("CARGO_CFG_TARGET_ARCH")?;
    let target = match processor.to_str() {
        Some("x86_64") => "x86_64-unknown-linux-musl",
        Some("aarch64") => "aarch64-unknown-linux-musl",
        _ => return Err("the agent-runner is for x86_64 and aarch64 processors only".into()),
    };
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    has_target(target)?;
    let built = build(target, &shared_folder(&out_dir))?;
    let runner = out_dir.join("agent-runner");
    fs::copy(&built, &runner)?;
    println!("cargo::rustc-env=HERMITCRAB_AGENT_RUNNER={}", runner.display());
    // The hash names a build, and protects against nothing.
    let mut hash = FnvHasher::default();
    hash.write(&fs::read(&runner)?);
    println!("cargo::rustc-env=HERMITCRAB_AGENT_RUNNER_HASH={:016x}", hash.finish());
    Ok(())
}

/// Fails with the command that helps when the toolchain cannot build for the sandbox.
fn has_target(target: &str) -> Result<(), Box<dyn Error>> {
    let asked = Command::new(variable("RUSTC")?).args(["--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8(asked.stdout)?.trim());
    if sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    Err(format!(
        "the agent-runner is a static program for Linux, and this toolchain cannot build it yet; \
         add its target, here in the project's folder, with: rustup target add {target}"
    )
    .into())
}

/// Runs Cargo for the agent-runner; returns where the binary is.
fn build(target: &str, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--locked", "--package", "agent-runner", "--bin", "agent-runner"])
        .args(["--profile", "runner", "--target", target, "--target-dir"])
        .arg(folder);
    for (name, _) in env::vars_os() {
        if is_outer(&name) {
            cargo.env_remove(name);
        }
    }
    if cfg!(not(target_os = "linux")) {
        // The system's linker knows no Linux; the toolchain brings one that does.
        let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
        cargo.env(linker, "rust-lld");
    }
    let built = cargo.output()?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("the agent-runner cannot be built\n{said}")
            .replace('\n', "\ncargo::error=")
            .into());
    }
    Ok(folder.join(target).join("runner/agent-runner"))
}

/// A folder beside those of the profiles, so that the builds of all profiles and features share one agent-runner.
fn shared_folder(out_dir: &Path) -> PathBuf {
    // <target>/<profile>/build/<package>/out
    out_dir.ancestors().nth(4).unwrap_or(out_dir).join("agent-runner")
}

fn is_outer(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    OUTER.contains(&&*name) || OUTER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo speaks to build scripts through the environment"
)]
fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("Cargo did not set {name}").into())
}
