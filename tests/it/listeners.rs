//! Where the gateway can be reached, and what it does when it runs out of room.

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tokio::net::TcpStream;

use crate::bridge::{Bridge, To};
use crate::client::http::{Connection, Request, request};
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::client::{DEADLINE, LOOK_AGAIN, within};
use crate::gateway::{ECHO, TestGateway};
use crate::process::Process;

/// A path that no other test uses, with nothing there.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// The address of a Unix socket as it is written in TOML.
fn unix(path: &Path) -> String {
    format!("{:?}", format!("unix:{}", path.display()))
}

async fn is_reached(path: &Path) {
    let bridge = Bridge::open(To::Unix(path.into()), b"").await;
    assert_eq!(request(bridge.address, &Request::get("/livez")).await.status, 200);
}

#[tokio::test]
async fn every_client_works_over_a_unix_socket() {
    let path = path("clients.sock");
    let mut gateway = TestGateway::listen(&unix(&path), ECHO).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let bridge = Bridge::open(To::Unix(path.clone()), b"").await;
    gateway.address = bridge.address;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "room"])).await;
    }
    gateway.stop_now();
    gateway.ended().await;
    assert!(!path.exists(), "the socket is left behind");
}

#[tokio::test]
async fn a_unix_socket_is_taken_over_from_the_dead_alone() {
    let path = path("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "what a node leaves that was killed");
    let first = TestGateway::listen(&unix(&path), "").await;
    is_reached(&path).await;
    let second = TestGateway::try_listen(&unix(&path), "").await.err();
    let error = second.expect("the first is there").to_string();
    assert!(error.contains("in use"), "{error}");
    is_reached(&path).await;
    drop(first);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let path = path("no.sock");
    std::fs::write(&path, "mine").unwrap();
    let error = TestGateway::try_listen(&unix(&path), "").await.err();
    let error = error.expect("there is a file").to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[tokio::test]
async fn a_socket_that_replaced_ours_is_left_alone() {
    let path = path("replaced.sock");
    let mut gateway = TestGateway::listen(&unix(&path), "").await;
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    gateway.stop_now();
    gateway.ended().await;
    assert!(path.exists());
}

#[tokio::test]
async fn forwarding_headers_from_unix_sockets_are_believed_where_they_are_trusted() {
    for (trusted, status) in [("unix", 200), ("127.0.0.0/8", 403)] {
        let path = path(&format!("trusted-{status}.sock"));
        let settings = format!("server.trusted_proxies = [\"{trusted}\"]\n");
        let _gateway = TestGateway::listen(&unix(&path), &settings).await;
        let bridge = Bridge::open(To::Unix(path), b"").await;
        let handshake = Request::get("/socket.io/?EIO=4&transport=polling")
            .header("Origin", "https://app.example")
            .header("X-Forwarded-Host", "app.example");
        assert_eq!(request(bridge.address, &handshake).await.status, status, "{trusted}");
    }
}

#[tokio::test]
async fn several_addresses_of_any_kind_are_served_at_once() {
    let path = path("several.sock");
    let addresses = format!("[\"[::1]:0\", \"127.0.0.1:0\", {}]", unix(&path));
    let gateway = TestGateway::listen(&addresses, ECHO).await;
    assert!(gateway.address.is_ipv6());
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "room"])).await;
    }
    is_reached(&path).await;
}

#[tokio::test]
async fn both_wildcards_may_be_asked_for() {
    // The port is free now; should somebody take it meanwhile, the next one will do.
    for attempt in 1.. {
        let port = std::net::TcpListener::bind("0.0.0.0:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let addresses = format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]");
        match TestGateway::try_listen(&addresses, "").await {
            Ok(_gateway) => {
                for host in ["127.0.0.1", "[::1]"] {
                    let address = format!("{host}:{port}").parse().unwrap();
                    assert_eq!(request(address, &Request::get("/livez")).await.status, 200, "{host}");
                }
                return;
            }
            Err(error) => assert!(attempt < 5, "{error}"),
        }
    }
}

/// Whether the other side has reset a connection, or refused it.
fn was_reset(stream: &io::Result<TcpStream>) -> bool {
    let heard = match stream {
        Ok(stream) => stream.try_read(&mut [0; 1]).map_err(|error| error.kind()).err(),
        Err(error) => Some(error.kind()),
    };
    heard == Some(ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn without_descriptors_connections_are_reset_and_it_goes_on_afterwards() {
    const CONNECTIONS: usize = 100;
    const DESCRIPTORS: usize = 64;
    let limit = [("ROOMCAST_LIMITS__CONNECTIONS", "1000")];
    let mut process = Process::start(&format!("ulimit -n {DESCRIPTORS};"), &limit).await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(within(TcpStream::connect(process.address)).await);
    }
    process.log_line("cannot accept connections").await;
    // More come than there are descriptors: those that are not let in hear so at once, instead of waiting.
    let started = Instant::now();
    loop {
        streams.retain(|stream| !was_reset(stream));
        if streams.len() <= DESCRIPTORS {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "they wait to be let in");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    drop(streams);
    let started = Instant::now();
    loop {
        let mut connection = Connection::open(process.address).await;
        connection.send(&Request::get("/livez")).await;
        match connection.try_response().await {
            Some(response) => return assert_eq!(response.status, 200),
            None => assert!(started.elapsed() < DEADLINE, "it never came back"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
