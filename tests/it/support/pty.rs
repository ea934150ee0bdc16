//! A person at a terminal: the real binary on a pseudo-terminal of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::gateway::{Home, PATIENCE};

/// A program at a terminal of 80 columns.
pub(crate) struct Pty {
    child: Child,
    keys: File,
    seen: watch::Receiver<String>,
    /// How much of what was seen has been looked at.
    read: usize,
}

impl Pty {
    /// Starts `hermitcrab` with these arguments.
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // The program becomes the leader of a session, and the terminal its own, so that Ctrl-C reaches it.
        let plain = home.command(args);
        let plain = plain.as_std();
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(plain.get_program()).args(plain.get_args()).env_clear();
        let set = plain.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(set).env("TERM", "xterm").kill_on_drop(true);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, seen: watched(&master), keys: File::from(master), read: 0 }
    }

    /// Presses keys, all at once.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the terminal so many columns wide.
    pub(crate) fn widen(&self, columns: u16) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).unwrap();
    }

    /// Waits until this is seen after what was waited for before, and returns what came until then.
    pub(crate) async fn expect(&mut self, text: &str) -> String {
        let read = self.read;
        let is_there = |seen: &String| seen[read..].contains(text);
        let found = match timeout(PATIENCE, self.seen.wait_for(is_there)).await {
            Ok(Ok(seen)) => Some(seen.clone()),
            _ => None,
        };
        let Some(seen) = found else { panic!("{text:?} does not come after {:?}", self.seen()) };
        let at = seen[read..].find(text).unwrap();
        self.read = read + at + text.len();
        seen[read..self.read].to_owned()
    }

    /// All that was seen so far.
    pub(crate) fn seen(&self) -> String {
        self.seen.borrow().clone()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {}", self.seen())).unwrap()
    }
}

/// What is shown, as it grows; a thread reads it until the terminal is closed.
fn watched(master: &OwnedFd) -> watch::Receiver<String> {
    let mut screen = File::from(master.try_clone().unwrap());
    let (tell, seen) = watch::channel(String::new());
    std::thread::spawn(move || {
        let mut part = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            part.extend_from_slice(&bytes[..count]);
            // A character may have come in halves.
            let whole = match std::str::from_utf8(&part) {
                Ok(_) => part.len(),
                Err(error) => error.valid_up_to(),
            };
            let text: Vec<u8> = part.drain(..whole).collect();
            tell.send_modify(|seen| seen.push_str(&String::from_utf8(text).unwrap()));
        }
    });
    seen
}
