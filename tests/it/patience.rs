//! Clients that take their time: each gets as long as it needs, and not for ever.
//!
//! Where the gateway's deadline is a constant it is one of ten to fifteen seconds, and all cases wait at once.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::frames::{Frame, TEXT, TEXT_START, frame};
use crate::client::http::{Connection, Request};
use crate::client::polling::Polling;
use crate::client::socket::Client;
use crate::gateway::TestGateway;

/// The longest that any of the gateway's deadlines may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Reads on until the other side ends the connection; panics when it does not in time.
async fn is_ended(what: &str, stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(end.is_ok(), "{what} is still open after {PATIENCE:?}");
}

async fn sends(gateway: &TestGateway, bytes: &[u8]) -> TcpStream {
    let mut connection = Connection::open(gateway.address).await;
    connection.write(bytes).await;
    connection.stream
}

#[tokio::test]
async fn requests_that_are_never_finished_are_given_up() {
    let gateway = TestGateway::plain().await;
    let mut polling = Polling::open(gateway.address, 4).await;
    let body = Request::post(&polling.target(), "4").header("Content-Length", "100");
    let mut half_body = sends(&gateway, &body.bytes(gateway.address)).await;
    let mut silent = sends(&gateway, b"").await;
    let mut half_head = sends(&gateway, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: ").await;
    let mut kept = Connection::open(gateway.address).await;
    assert_eq!(kept.request(&Request::get("/livez")).await.status, 200);
    tokio::join!(
        is_ended("a connection that says nothing", &mut silent),
        is_ended("half a head", &mut half_head),
        is_ended("half a body", &mut half_body),
    );
    // Balancers keep theirs for a minute.
    assert_eq!(kept.request(&Request::get("/livez")).await.status, 200);
    polling.is_gone().await;
}

#[tokio::test]
async fn messages_that_are_never_finished_end_with_the_heartbeat() {
    let quick = "engine.ping_interval = \"800ms\"\nengine.ping_timeout = \"800ms\"\n";
    let gateway = TestGateway::start(quick).await;
    let mut half_frame = Client::new(&gateway).await;
    let mut half_message = Client::new(&gateway).await;
    half_frame.socket().send_raw(&frame(TEXT, b"42[\"echo\"]")[..8]).await;
    half_message.socket().send_frame(TEXT_START, b"42[").await;
    is_ended("half a frame", &mut half_frame.socket().connection.stream).await;
    is_ended("half a message", &mut half_message.socket().connection.stream).await;
    gateway.has_ended("ping_timeout", 2.0).await;
}

#[tokio::test]
async fn a_header_without_its_bytes_is_given_up_whatever_else_the_client_does() {
    let gateway = TestGateway::start("engine.ping_interval = \"500ms\"\n").await;
    let mut client = Client::new(&gateway).await;
    client.send(r#"451-["x",{"_placeholder":true,"num":0}]"#).await;
    let socket = client.socket();
    let started = Instant::now();
    while socket.next().await == Frame::Text("2".into()) {
        socket.send_text("3").await;
        assert!(started.elapsed() < PATIENCE, "still open after {PATIENCE:?}");
    }
    gateway.has_ended("malformed", 1.0).await;
}
