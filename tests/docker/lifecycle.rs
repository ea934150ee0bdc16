//! From start to end: the contract, and what only real processes do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hermitcrab::sandbox::contract::{self, Act, Stage};
use hermitcrab::sandbox::{Access, Exit, Mount, SandboxError, SandboxKind};

use crate::place::Place;

#[tokio::test]
async fn docker_keeps_the_contract() {
    contract::holds(&Place::new(SandboxKind::Docker)).await.unwrap();
}

#[tokio::test]
async fn bubblewrap_keeps_the_contract() {
    contract::holds(&Place::new(SandboxKind::Bubblewrap)).await.unwrap();
}

/// One that has only just begun may not hear the first word: nobody waits until its grace is over.
#[tokio::test]
async fn what_has_only_just_begun_is_stopped_at_once() {
    for kind in [SandboxKind::Bubblewrap, SandboxKind::Docker] {
        let place = Place::new(kind);
        let sandbox = place.open().await.unwrap();
        for _ in 0..10 {
            let spec = place.spec(Act::Work);
            sandbox.start(&spec).await.unwrap();
            let begun = Instant::now();
            sandbox.stop(&spec.id, Duration::from_secs(30)).await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "{kind:?} {:?}", begun.elapsed());
        }
    }
}

/// Whoever waits for the end of a sandbox that is stopped learns of it then, and not after a patience of their own.
#[tokio::test]
async fn the_end_of_what_is_stopped_is_told_at_once() {
    let place = Place::new(SandboxKind::Bubblewrap);
    let sandbox = place.open().await.unwrap();
    for _ in 0..5 {
        let spec = place.spec(Act::Work);
        sandbox.start(&spec).await.unwrap();
        contract::at_work(&spec).await;
        let stop = async {
            sandbox.stop(&spec.id, Duration::ZERO).await.unwrap();
            Instant::now()
        };
        let told = async {
            sandbox.wait(&spec.id).await.unwrap();
            Instant::now()
        };
        let (stopped, told) = tokio::join!(stop, told);
        let late = told.saturating_duration_since(stopped);
        assert!(late < Duration::from_secs(1), "{late:?}");
    }
}

#[tokio::test]
async fn installs_do_not_see_each_other() {
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let (ours, theirs) = (Place::new(kind), Place::new(kind));
        let spec = theirs.spec(Act::Work);
        let (our, their) = (ours.open().await.unwrap(), theirs.open().await.unwrap());
        their.start(&spec).await.unwrap();
        assert!(our.list().await.unwrap().is_empty());
        our.stop(&spec.id, Duration::ZERO).await.unwrap();
        assert_eq!(our.wait(&spec.id).await.unwrap(), Exit::Gone);
        assert_eq!(their.list().await.unwrap().len(), 1, "what others name alike is not touched");
        their.stop(&spec.id, Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let place = Place::new(kind);
        let mut spec = place.spec(Act::Work);
        spec.mounts.push(Mount {
            host: place.home().join("not/there"),
            inside: "/workspace/extra/x".into(),
            access: Access::ReadOnly,
        });
        let sandbox = place.open().await.unwrap();
        let error = sandbox.start(&spec).await.unwrap_err();
        assert!(matches!(error, SandboxError::Failed { .. }), "{kind:?}: {error:?}");
        assert!(sandbox.list().await.unwrap().is_empty());
        assert!(!place.home().join("not").exists(), "a mount that is missing is not made");
    }
}

/// What a program inside sees of the world it was promised.
#[tokio::test]
async fn the_world_inside_is_as_promised() {
    let script = r#"
        cd / && exec > /workspace/ipc/world
        echo "user=$(id -u):$(id -g)" "home=$HOME" "zone=$TZ" "host=$(hostname)" "pid1=$(cat /proc/1/comm)"
        env | cut -d= -f1 | sort | tr '\n' ' '; echo
        cat /proc/self/limits | awk '/Max (core|file size|open)/ {print $NF, $(NF-1), $(NF-2)}'
    "#;
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let place = Place::new(kind);
        let (spec, exit) = place.run(script).await;
        assert_eq!(exit, Exit::Code(0), "{kind:?}");
        let world = place.left(&spec, "world");
        let line = world.lines().next().unwrap();
        let facts: HashMap<_, _> =
            line.split(' ').filter_map(|fact| fact.split_once('=')).collect();
        let user = format!("{}:{}", spec.user.uid, spec.user.gid);
        for (name, expected) in [
            ("user", user.as_str()),
            ("home", "/home/agent"),
            ("zone", "Europe/Lisbon"),
            ("host", "hermitcrab"),
            ("pid1", "agent-runner"),
        ] {
            assert_eq!(facts.get(name), Some(&expected), "{kind:?} {world}");
        }
        let known = ["HOME", "HOSTNAME", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "TZ", "_"];
        for name in world.lines().nth(1).unwrap().split_whitespace() {
            assert!(known.contains(&name), "{kind:?}: an agent gets {name}");
        }
    }
}

/// No file of the gateway's is open inside, where bubblewrap writes its status above all.
#[tokio::test]
async fn nothing_open_is_handed_in() {
    let script = "readlink /proc/$$/fd/* > /workspace/ipc/open";
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let place = Place::new(kind);
        let (spec, exit) = place.run(script).await;
        assert!(matches!(exit, Exit::Code(_)));
        for open in place.left(&spec, "open").lines() {
            let harmless = ["/dev/null", "pipe:", "/memfd:hermitcrab-words", "/workspace/ipc/open"];
            assert!(harmless.iter().any(|start| open.starts_with(start)), "{kind:?}: {open}");
        }
    }
}

/// Children that nobody waits for are waited for by PID 1.
#[tokio::test]
async fn zombies_are_reaped() {
    let script = r"
        for i in $(seq 200); do (true & exec true); done
        for look in $(seq 100); do
            zombies=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
            [ $zombies = 0 ] && exit 0
            sleep 0.1
        done
        exit 1";
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let (_, exit) = Place::new(kind).run(script).await;
        assert_eq!(exit, Exit::Code(0), "{kind:?}");
    }
}

/// What an agent leaves running ends with it.
#[tokio::test]
async fn nothing_outlives_the_sandbox() {
    let script = r#"
        mark=/workspace/group/mark
        setsid bash -c 'trap "" TERM HUP; while :; do date +%s%N > /workspace/group/mark; sleep 0.02; done' &
        until [ -s $mark ]; do sleep 0.01; done
        exit 5"#;
    for kind in [SandboxKind::Docker, SandboxKind::Bubblewrap] {
        let place = Place::new(kind);
        let (_, exit) = place.run(script).await;
        assert_eq!(exit, Exit::Code(5), "{kind:?}");
        // Whatever is in the mark now stays there: its writer is gone with its namespace.
        let mark = place.home().join("groups/family/mark");
        let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("/workspace/group/mark")
        });
        assert!(mark.exists());
        assert_eq!(processes.count(), 0, "{kind:?}");
    }
}
