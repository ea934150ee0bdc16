//! Offers the broker's socket on loopback, so that unmodified programs find it.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

/// The most connections at a time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;

/// Binds the loopback port.
///
/// # Errors
///
/// The port is taken, or there is no loopback device.
pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Forwards every connection to the socket, for as long as it is polled.
pub(crate) async fn run(listener: TcpListener, socket: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(forward(stream, socket.clone())); }
                // Out of descriptors, most likely; a connection that ends frees some.
                Err(_error) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            },
        }
    }
}

async fn forward(mut inside: TcpStream, socket: PathBuf) {
    // A broker that is away, or a connection that breaks, is seen by the program that opened it.
    if let Ok(mut broker) = UnixStream::connect(socket).await {
        inside.set_nodelay(true).ok();
        copy_bidirectional(&mut inside, &mut broker).await.ok();
    }
}
