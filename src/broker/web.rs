//! The way to the web: tunnels to hosts that the group's owner has allowed, by default to none.
//!
//! A name is resolved here and once, every address is checked after that, and the connection is made to an address
//! that was checked: what a name is said to mean a moment later does not matter.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::CONNECT_PATIENCE;
use super::door::Room;
use super::reply::{self, Body, Reply};
use address::is_public;
use host::Host;
use tunnel::Limits;

mod address;
mod host;
mod tunnel;

/// The only port that is tunnelled to: what goes through is encrypted, and is no mail.
const PORT: u16 = 443;
/// How long a name may take to be resolved.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(10);
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// The rule about addresses that holds outside tests.
#[cfg(test)]
pub(super) const REAL_RULE: fn(IpAddr) -> bool = is_public;

/// The way to the web.
pub(super) struct Web {
    names: Box<dyn Names>,
    may_connect: fn(IpAddr) -> bool,
}

/// Resolves names.
#[async_trait]
pub(super) trait Names: Send + Sync {
    /// The addresses of a host.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The machine's own resolver.
struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// What became of a request for a tunnel.
pub(super) enum Connected {
    /// The tunnel is open.
    Open,
    /// There is none, for this reason.
    Refused(Reply),
}

impl Connected {
    /// What the sandbox is told.
    pub(super) fn into_response(self) -> Response<Body> {
        match self {
            Self::Open => reply::respond(StatusCode::OK, HeaderMap::new(), reply::empty()),
            Self::Refused(reply) => reply.into(),
        }
    }
}

impl Web {
    /// The real web.
    pub(super) fn new() -> Self {
        Self { names: Box::new(SystemNames), may_connect: is_public }
    }

    /// A web of these names, with this rule about addresses.
    #[cfg(test)]
    pub(super) fn with(names: impl Names + 'static, may_connect: fn(IpAddr) -> bool) -> Self {
        Self { names: Box::new(names), may_connect }
    }

    /// Opens a tunnel, if the group may have it; `place` is given back when it ends.
    pub(super) async fn connect(
        &self,
        room: &Room,
        place: Arc<OwnedSemaphorePermit>,
        request: Request<Incoming>,
    ) -> Connected {
        let outside = match self.reach(&room.client.web_allow, &request).await {
            Ok(stream) => stream,
            Err(refusal) => return Connected::Refused(refusal),
        };
        let group = room.client.group.clone();
        room.spawn(async move {
            let Ok(inside) = hyper::upgrade::on(request).await else { return };
            let carried = tunnel::carry(TokioIo::new(inside), outside, Limits::default()).await;
            tracing::info!(
                group.name = %group,
                size_bytes = carried.bytes,
                "a tunnel to the web ended: {}", carried.end
            );
            drop(place);
        });
        Connected::Open
    }

    async fn reach<B>(&self, allow: &[String], request: &Request<B>) -> Result<TcpStream, Reply> {
        let authority = request.uri().authority();
        let target =
            authority.and_then(|target| Some((Host::parse(target.host())?, target.port_u16())));
        let Some((host, port)) = target else {
            return Err(Reply::refused("CONNECT needs a host and a port"));
        };
        if !host.is_allowed(allow) {
            let message = format!("this group may not reach {host}; its owner can allow it");
            return Err(Reply::refused(&message));
        }
        if port != Some(PORT) {
            let message = format!("only port {PORT} can be reached");
            return Err(Reply::refused(&message));
        }
        let failed = |why: &str| {
            let message = format!("{host} cannot be reached: {why}");
            Reply::error(StatusCode::BAD_GATEWAY, "api_error", &message)
        };
        let resolving =
            tokio::time::timeout(RESOLVE_PATIENCE, self.names.resolve(host.as_str(), PORT));
        let Ok(Ok(addresses)) = resolving.await else {
            return Err(failed("its name cannot be resolved"));
        };
        let (public, private): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| (self.may_connect)(address.ip()));
        if public.is_empty() && !private.is_empty() {
            let message =
                format!("{host} is not on the public internet, and nothing else can be reached");
            return Err(Reply::refused(&message));
        }
        for address in public.into_iter().take(MAX_ADDRESSES) {
            let connecting = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address));
            if let Ok(Ok(stream)) = connecting.await {
                return Ok(stream);
            }
        }
        Err(failed("it does not answer"))
    }
}
