//! A model server: Anthropic Messages and Amazon Bedrock on the wire, a [`Script`] behind it.
//!
//! It refuses what the real services refuse (keys, versions, malformed conversations), so that a
//! client that works against it is right for a reason, and it misbehaves on demand. It listens on
//! loopback only, answers the same request with the same words, and records all that it was asked.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use test_servers::model::{Fault, Script, Server};
//!
//! let server = Server::start(Script::echo().fault(Fault::overloaded().first(2))).await?;
//! // … point a client at server.url(), then:
//! let requests = server.wait_for(3).await;
//! assert_eq!(requests[2].path, "/v1/messages");
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod anthropic;
mod ask;
mod bedrock;
mod check;
mod failure;
mod fault;
mod gate;
mod message;
mod plan;
mod record;
mod respond;
mod script;
mod signature;
mod stream;
mod wire;

pub use failure::{Denial, Failure};
pub use fault::{Fault, FaultKind};
pub use gate::Gate;
pub use plan::{ECHO_PREFIX, TOOL_PREFIX};
pub use record::Seen;
pub use script::{Answer, Block, Keys, Rule, Script, StopReason, Turn, Usage, When};

use gate::Gates;
use plan::Planner;
use record::Recorder;

/// A running model server; dropping it ends every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    tasks: TaskTracker,
    running: DropGuard,
}

/// What all connections of one server share.
#[derive(Debug)]
struct State {
    planner: Planner,
    gates: Gates,
    recorder: Recorder,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(script: Script) -> io::Result<Self> {
        Self::start_on(0, script).await
    }

    /// Starts a server on this port of 127.0.0.1; 0 takes a free one.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start_on(port: u16, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            planner: Planner::new(script),
            gates: Gates::default(),
            recorder: Recorder::default(),
        });
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        tasks.spawn(accept(listener, Arc::clone(&state), tasks.clone(), stop.clone()));
        Ok(Self { address, state, tasks, running: stop.drop_guard() })
    }

    /// The base of every address here, as `ANTHROPIC_BASE_URL` wants it: no slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, oldest first, token counts and refused ones included.
    ///
    /// Past 64 MiB the oldest are forgotten; [`Server::count`] goes on counting them.
    #[must_use]
    pub fn requests(&self) -> Vec<Arc<Seen>> {
        self.state.recorder.requests()
    }

    /// How many requests were read to their end so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.recorder.count()
    }

    /// Waits until `n` requests were read (answered or not), and returns them all.
    pub async fn wait_for(&self, n: usize) -> Vec<Arc<Seen>> {
        self.state.recorder.wait_for(n).await
    }

    /// The gate that [`FaultKind::Hang`] names; it is closed until opened.
    #[must_use]
    pub fn gate(&self, name: &str) -> Gate {
        self.state.gates.named(name)
    }

    /// Ends every connection, also one that hangs at a gate, and waits until all are gone.
    pub async fn stop(self) {
        drop(self.running);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                tasks.spawn(serve(stream, Arc::clone(&state), stop.clone()));
            }
            // Too many open files: they become free when other connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>, stop: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond::respond(&state, request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        // An error here is a client that went away, or a stream that the script cut.
        _ended = connection => {}
    }
}

#[cfg(test)]
mod tests;
