//! Tunnels to the web, with names that a test decides about.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hyper::Method;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::support::{House, Reply, demo, request};
use crate::broker::web::{Names, REAL_RULE, Web};

/// Every name has these addresses.
struct AllNamesAre {
    addresses: Vec<SocketAddr>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Names for AllNamesAre {
    async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.addresses.clone())
    }
}

fn house(addresses: &[SocketAddr], rule: fn(IpAddr) -> bool) -> (House, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let names = AllNamesAre { addresses: addresses.to_vec(), asked: Arc::clone(&asked) };
    let web = Web::with(names, rule);
    let allow = ["example.org", "*.example.net", "127.0.0.1", "2130706433"];
    (House::with_web(&demo(), web, &allow), asked)
}

async fn connect(house: &House, target: &str) -> Reply {
    let request = request(Method::CONNECT, target, Bytes::new());
    house.connect().await.exchange(request).await
}

#[tokio::test]
async fn only_allowed_hosts_at_the_one_port() {
    let (house, asked) = house(&[], REAL_RULE);
    for (target, says) in [
        ("example.com:443", "this group may not reach example.com"),
        ("sub.example.org:443", "this group may not reach sub.example.org"),
        ("example.net:443", "this group may not reach example.net"),
        ("169.254.169.254:443", "this group may not reach 169.254.169.254"),
        ("[::1]:443", "this group may not reach ::1"),
        ("localhost:443", "this group may not reach localhost"),
        ("example.org:80", "only port 443"),
        ("example.org:22", "only port 443"),
        ("example.org:8443", "only port 443"),
    ] {
        let reply = connect(&house, target).await;
        assert_eq!(reply.status, 403, "{target}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{target}: {message}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "no name was looked up");
    let nothing = House::new(&demo());
    assert_eq!(connect(&nothing, "example.org:443").await.status, 403);
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_after_they_are_resolved() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
    {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let (house, asked) = house(&[address], REAL_RULE);
        let reply = connect(&house, "a.example.net:443").await;
        assert_eq!((reply.status.as_u16(), reply.error().as_str()), (403, "hermitcrab_refused"));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
    // An address that is allowed by name is still not on the public internet.
    let house = House::with_web(&demo(), Web::new(), &["127.0.0.1", "2130706433", "localhost"]);
    for target in ["127.0.0.1:443", "2130706433:443", "localhost:443"] {
        assert_eq!(connect(&house, target).await.status, 403, "{target}");
    }
}

#[tokio::test]
async fn a_tunnel_carries_bytes_to_the_address_that_was_checked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    });
    let private: SocketAddr = "127.0.0.2:1".parse().unwrap();
    let rule = |address: IpAddr| address == IpAddr::from([127, 0, 0, 1]);
    let (house, asked) = house(&[private, address], rule);

    let mut inside = house.connect().await;
    let response = inside.send(request(Method::CONNECT, "EXAMPLE.org.:443", Bytes::new())).await;
    assert_eq!(response.status(), 200);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tunnel.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    tunnel.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut heard).await.unwrap(), 0);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the name is looked up once");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (house, _) = house(&[closed], |_| true);
    let reply = connect(&house, "example.org:443").await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (502, "api_error"));
    let (house, _) = self::house(&[], |_| true);
    assert_eq!(connect(&house, "example.org:443").await.status, 502);
}
