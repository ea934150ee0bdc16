//! A running agent-runner in a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use protocol::{Done, Input, Progress, Prompt, Sign, layout};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// How long anything may take before a test fails; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_agent-runner");

/// One agent-runner with its places; killed when dropped.
pub(crate) struct Runner {
    pub(crate) root: tempfile::TempDir,
    child: Child,
    next_input: u64,
}

impl Runner {
    /// Starts `serve` in fresh places; `broker` is a socket or an address.
    pub(crate) fn start(broker: &str, more: &[&str]) -> Self {
        Self::start_in(fresh_places(), broker, more)
    }

    /// Starts `serve` in places that exist already.
    pub(crate) fn start_in(root: tempfile::TempDir, broker: &str, more: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("serve");
        Self::launch(root, command, &[&["--broker", broker, "--port", "0"], more].concat())
    }

    /// Starts a command that ends in `init` or `serve`, with its places and other arguments.
    pub(crate) fn launch(root: tempfile::TempDir, mut command: Command, more: &[&str]) -> Self {
        for place in ["ipc", "group", "global", "home"] {
            command.arg(format!("--{place}")).arg(root.path().join(place));
        }
        command.args(more).stdin(Stdio::null());
        Self { root, child: command.spawn().unwrap(), next_input: 1 }
    }

    /// A path below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Leaves an input, as the gateway does.
    pub(crate) fn put(&mut self, input: &Input) {
        self.put_bytes(&serde_json::to_vec(input).unwrap());
    }

    /// Leaves an input of any content.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        let directory = self.path("ipc/input");
        let hidden = directory.join(".new");
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, directory.join(format!("{}.json", self.next_input))).unwrap();
        self.next_input += 1;
    }

    /// Waits until the first `inputs` of all were taken.
    pub(crate) fn taken(&self, inputs: u64) {
        let directory = self.path("ipc/input");
        wait_for(&directory, || {
            (1..=inputs).all(|n| !directory.join(format!("{n}.json")).exists()).then_some(())
        });
    }

    /// Waits for the outcome of a run, and takes it away.
    pub(crate) fn done(&self, run: u64) -> Done {
        let path = self.path("ipc/done.json");
        let done = wait_for(&self.path("ipc"), || {
            serde_json::from_slice::<Done>(&fs::read(&path).ok()?).ok()
        });
        fs::remove_file(path).unwrap();
        assert_eq!(done.run, run);
        done
    }

    /// Waits for a sign and returns what was found in it.
    pub(crate) fn sign<T>(&self, find: impl Fn(&Sign) -> Option<T>) -> T {
        wait_for(&self.path("ipc/progress"), || {
            self.progress().iter().flat_map(|progress| &progress.signs).find_map(&find)
        })
    }

    /// All progress so far, in order.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        let mut paths: Vec<_> = fs::read_dir(self.path("ipc/progress"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
            .collect();
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    /// All signs of a run so far, in order.
    pub(crate) fn signs(&self, run: u64) -> Vec<Sign> {
        let progress = self.progress().into_iter();
        progress
            .filter(|progress| progress.run == run)
            .flat_map(|progress| progress.signs)
            .collect()
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the program's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Kills the program without a chance to tidy up, and keeps its places.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let empty = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.root, empty)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A directory with all the places that a sandbox would have.
pub(crate) fn fresh_places() -> tempfile::TempDir {
    fill(tempfile::tempdir().unwrap())
}

/// The same outside of `/tmp`, which is open to every agent.
pub(crate) fn fresh_places_apart() -> tempfile::TempDir {
    fill(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
}

fn fill(root: tempfile::TempDir) -> tempfile::TempDir {
    for directory in layout::DIRECTORIES {
        fs::create_dir_all(root.path().join("ipc").join(directory)).unwrap();
    }
    for place in ["group", "global", "home"] {
        fs::create_dir(root.path().join(place)).unwrap();
    }
    root
}

/// A prompt for the native engine, or for another one if its name is changed.
pub(crate) fn prompt(run: u64, text: &str) -> Prompt {
    Prompt {
        version: protocol::VERSION,
        run,
        conversation: String::from("terminal-me"),
        session: None,
        from: run,
        through: run,
        text: text.to_owned(),
        system: String::from("You are a test."),
        main: false,
        engine: String::from("native"),
        model: String::from("test-model"),
        max_output_bytes: 10 * 1024 * 1024,
    }
}

/// Waits until `look` finds something, looking again whenever the directory changes.
pub(crate) fn wait_for<T>(directory: &Path, look: impl Fn() -> Option<T>) -> T {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, directory, WatchFlags::MOVED_TO | WatchFlags::CREATE).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "nothing came in {}", directory.display());
        let timeout = Duration::from_millis(200).try_into().unwrap();
        rustix::event::poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&timeout)).unwrap();
        while rustix::io::read(&watch, &mut [0u8; 4096]).is_ok_and(|bytes| bytes > 0) {}
    }
}

/// Waits until a process has ended.
pub(crate) fn wait_until_gone(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // Its descriptor becomes readable at its end; one that has been waited for has none any more.
    if let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let timeout = PATIENCE.try_into().unwrap();
        let ended =
            rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout));
        assert_eq!(ended.unwrap(), 1, "the process lives on");
    }
}
