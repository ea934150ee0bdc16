//! What is used up in a sandbox is used up there: memory, processes, disk in memory, the size of files, time.

use std::time::{Duration, Instant};

use hermitcrab::sandbox::{Exit, Limits, SandboxKind};

use crate::place::Place;

const MIB: u64 = 1024 * 1024;

fn small(kind: SandboxKind) -> Place {
    let limits = Limits {
        memory_bytes: 128 * MIB,
        milli_cpus: 500,
        pids: 40,
        tmp_bytes: 16 * MIB,
        file_bytes: 32 * MIB,
    };
    let mut place = Place::new(kind);
    place.limits = limits;
    place
}

async fn memory(kind: SandboxKind) {
    let hungry = "exec python3 -c 'block = bytearray(1 << 30); print(len(block))'";
    let (_, exit) = small(kind).run(hungry).await;
    assert_eq!(exit, Exit::OutOfMemory, "{kind:?}");
    // A tool that runs out of memory is not the end of the agent.
    let survives = format!("bash -c {hungry:?}; test $? = 137");
    let (_, exit) = small(kind).run(&survives).await;
    assert_eq!(exit, Exit::Code(0), "{kind:?}");
}

async fn processes(kind: SandboxKind) {
    let place = small(kind);
    let bomb = r#"
        python3 - <<'PY'
import os, sys
children = 0
try:
    while children < 2000:
        if os.fork() == 0:
            import time; time.sleep(60); os._exit(0)
        children += 1
except OSError:
    pass
open("/workspace/ipc/children", "w").write(str(children))
PY
    "#;
    let (spec, exit) = place.run(bomb).await;
    assert_eq!(exit, Exit::Code(0), "{kind:?}");
    let children: u32 = place.left(&spec, "children").parse().unwrap();
    assert!((10..40).contains(&children), "{kind:?}: {children}");
}

async fn space(kind: SandboxKind) {
    let fill = r"
        fill() { dd if=/dev/zero of=$1/fill bs=1M count=400 2>/dev/null && return 1; stat -c %s $1/fill; rm -f $1/fill; }
        trap '' XFSZ
        cd / && { fill /tmp; fill /workspace/group; fill /workspace/ipc; fill /home/agent; } > /workspace/ipc/sizes";
    let place = small(kind);
    let (spec, exit) = place.run(fill).await;
    assert_eq!(exit, Exit::Code(0), "{kind:?}");
    let sizes: Vec<u64> =
        place.left(&spec, "sizes").lines().map(|size| size.parse().unwrap()).collect();
    let [tmp, folders @ ..] = &sizes[..] else { panic!("{sizes:?}") };
    assert!(*tmp <= 16 * MIB, "{kind:?}: {tmp}");
    assert_eq!(folders, [32 * MIB; 3], "{kind:?}");
}

async fn processors(kind: SandboxKind) {
    let busy = r#"
        for worker in 1 2; do (end=$((SECONDS + 3)); while [ $SECONDS -lt $end ]; do :; done) & done; wait
        times | tail -1 > /workspace/ipc/times"#;
    let place = small(kind);
    let begun = Instant::now();
    let (spec, _) = place.run(busy).await;
    let wall = begun.elapsed().as_secs_f64();
    let times = place.left(&spec, "times");
    let user = times.split_whitespace().next().unwrap();
    let (minutes, seconds) = user.trim_end_matches('s').split_once('m').unwrap();
    let used = minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap();
    assert!(
        used < wall * 0.65,
        "{kind:?}: two busy loops used {used} s of {wall} s with half a processor"
    );
}

#[tokio::test]
async fn memory_in_docker() {
    memory(SandboxKind::Docker).await;
}

#[tokio::test]
async fn memory_in_bubblewrap() {
    memory(SandboxKind::Bubblewrap).await;
}

#[tokio::test]
async fn processes_in_docker() {
    processes(SandboxKind::Docker).await;
}

#[tokio::test]
async fn processes_in_bubblewrap() {
    processes(SandboxKind::Bubblewrap).await;
}

#[tokio::test]
async fn space_in_docker() {
    space(SandboxKind::Docker).await;
}

#[tokio::test]
async fn space_in_bubblewrap() {
    space(SandboxKind::Bubblewrap).await;
}

#[tokio::test]
async fn processors_in_docker() {
    processors(SandboxKind::Docker).await;
}

#[tokio::test]
async fn processors_in_bubblewrap() {
    processors(SandboxKind::Bubblewrap).await;
}

/// An agent that floods its standard error fills nothing.
#[tokio::test]
async fn noise_fills_nothing() {
    let noise = "exec 2>&2; head -c 200M /dev/zero | tr '\\0' x >&2; true";
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let begun = Instant::now();
        let place = small(kind);
        let (_, exit) = place.run(noise).await;
        assert!(matches!(exit, Exit::Code(_)), "{kind:?}: {exit:?}");
        assert!(begun.elapsed() < Duration::from_secs(100), "{kind:?}");
        let state = place.home().join("store/sandboxes");
        if state.exists() {
            let bytes: u64 = walk(&state);
            assert!(bytes < MIB, "{bytes}");
        }
    }
}

fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            data if data.is_dir() => walk(&entry.path()),
            data => data.len(),
        })
        .sum()
}
