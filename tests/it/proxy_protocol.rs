//! Balancers that say who the client is before the client says anything.
//!
//! Who the gateway takes a client for shows in whether it believes what a trusted proxy alone may say.

use std::net::SocketAddr;

use serde_json::json;

use crate::bridge::{Bridge, To};
use crate::client::http::{Connection, Request, request};
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::{ECHO, TestGateway};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x09\x0a\0\0\x01\xdc\x04\x01\xbb\x04\0\0";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A gateway that wants headers and trusts this network.
async fn behind(trusted: &str, more: &str) -> TestGateway {
    let settings = format!("server.proxy_protocol = true\nserver.trusted_proxies = [\"{trusted}\"]\n{more}");
    TestGateway::start(&settings).await
}

/// Whether a page is let in on the word of whoever `first` names.
async fn is_trusted(address: SocketAddr, first: &[u8]) -> bool {
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling")
        .header("Origin", "https://app.example")
        .header("X-Forwarded-Host", "app.example");
    let mut connection = Connection::open(address).await;
    let bytes = [first, &handshake.bytes(address)].concat();
    connection.write(&bytes).await;
    connection.response().await.status == 200
}

#[tokio::test]
async fn every_client_works_behind_either_version() {
    for first in [V1, V2] {
        let mut gateway = behind("203.0.113.0/24", ECHO).await;
        let bridge = Bridge::open(To::Tcp(gateway.address), first).await;
        gateway.address = bridge.address;
        for (transport, eio) in EVERY_CLIENT {
            let mut client = Client::join(&gateway, transport, eio).await;
            client.does(json!(["join", "room"])).await;
        }
    }
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let source = behind("203.0.113.0/24", "").await;
    let balancer = behind("127.0.0.0/8", "").await;
    for first in [V1, V2] {
        assert!(is_trusted(source.address, first).await, "{first:?}");
        assert!(!is_trusted(balancer.address, first).await, "{first:?}");
    }
    for first in [V1_UNKNOWN, V2_LOCAL] {
        assert!(!is_trusted(source.address, first).await, "{first:?}");
        assert!(is_trusted(balancer.address, first).await, "{first:?}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let gateway = behind("203.0.113.0/24", "").await;
    for first in [V1, V2] {
        let mut connection = Connection::open(gateway.address).await;
        for byte in first {
            connection.write(&[*byte]).await;
        }
        assert_eq!(connection.request(&Request::get("/livez")).await.status, 200);
        assert_eq!(connection.request(&Request::get("/livez")).await.status, 200);
    }
}

#[tokio::test]
async fn without_a_header_there_is_no_answer() {
    let gateway = behind("127.0.0.0/8", "").await;
    let get = Request::get("/livez").bytes(gateway.address);
    let long = [b"PROXY UNKNOWN ", &[b'f'; 100][..], b"\r\n"].concat();
    for first in [&get[..], b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", &V2[..11], &long] {
        let mut connection = Connection::open(gateway.address).await;
        connection.write(&[first, &get].concat()).await;
        assert!(connection.end().await.is_empty(), "{first:?}");
    }
    let admin = request(gateway.admin, &Request::get("/livez")).await;
    assert_eq!(admin.status, 200, "operators come without one");
}

#[tokio::test]
async fn a_header_that_is_not_asked_for_is_garbage() {
    let gateway = TestGateway::plain().await;
    for first in [V1, V2] {
        let mut connection = Connection::open(gateway.address).await;
        let get = Request::get("/livez").bytes(gateway.address);
        connection.write(&[first, &get].concat()).await;
        let response = connection.try_response().await;
        assert!(response.is_none_or(|response| response.status == 400), "{first:?}");
        assert!(connection.end().await.is_empty(), "{first:?}");
    }
}
