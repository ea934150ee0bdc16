//! Bubblewrap itself: where it is, how old it is, how to get it, and why it may not work.

use std::path::Path;

use tokio::process::Command;

use crate::sandbox::SandboxError;
use crate::text::one_line;

/// Where bubblewrap is looked for.
const PROGRAMS: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
/// The first version that knows every option we use.
const OLDEST: (u32, u32) = (0, 5);

/// Finds bubblewrap.
///
/// # Errors
/// When it is not installed.
pub(super) fn find() -> Result<&'static str, SandboxError> {
    let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
    program.ok_or_else(|| missing("bubblewrap is not installed"))
}

/// How to install bubblewrap here: a program and its arguments.
#[must_use]
pub fn install_command() -> Option<Vec<&'static str>> {
    let managers: [(&str, &[&str]); 5] = [
        ("/usr/bin/apt-get", &["apt-get", "install", "-y", "bubblewrap"]),
        ("/usr/bin/dnf", &["dnf", "install", "-y", "bubblewrap"]),
        ("/usr/bin/pacman", &["pacman", "-S", "--noconfirm", "bubblewrap"]),
        ("/usr/bin/zypper", &["zypper", "--non-interactive", "install", "bubblewrap"]),
        ("/sbin/apk", &["apk", "add", "bubblewrap"]),
    ];
    let (_, command) = managers.into_iter().find(|(program, _)| Path::new(program).exists())?;
    let sudo = (!rustix::process::geteuid().is_root()).then_some("sudo");
    Some(sudo.into_iter().chain(command.iter().copied()).collect())
}

fn missing(reason: &str) -> SandboxError {
    let mend = match install_command() {
        Some(command) => command.join(" "),
        None => "install the package bubblewrap".to_owned(),
    };
    SandboxError::Unavailable { reason: reason.to_owned(), mend }
}

/// Bubblewrap is there and does not work: the reasons that people meet, each with what mends it.
pub(super) fn unusable(said: &str) -> SandboxError {
    let mend = if said.contains("/newroot/proc") {
        "this machine is itself a container that masks /proc: start it with --security-opt systempaths=unconfined"
    } else if said.contains("uid map") || said.contains("namespace") || said.contains("loopback") {
        "allow unprivileged user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), \
         sysctl -w kernel.unprivileged_userns_clone=1 (Debian); or use SANDBOX=docker"
    } else {
        "use SANDBOX=docker"
    };
    let reason = format!("bubblewrap does not work here: {said}");
    SandboxError::Unavailable { reason, mend: mend.to_owned() }
}

/// Asks bubblewrap for its version, such as `bubblewrap 0.8.0`.
pub(super) async fn version(program: &str) -> Result<String, SandboxError> {
    let failed = |source| SandboxError::failed("ask bubblewrap for its version", source);
    let output =
        Command::new(program).arg("--version").env_clear().output().await.map_err(failed)?;
    let version = one_line(&String::from_utf8_lossy(&output.stdout), 40);
    let mut parts =
        version.rsplit(' ').next().unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => Ok(version),
        _ => Err(SandboxError::Unavailable {
            reason: format!("{version} is too old"),
            mend: format!(
                "install bubblewrap {}.{} or newer, or use SANDBOX=docker",
                OLDEST.0, OLDEST.1
            ),
        }),
    }
}
