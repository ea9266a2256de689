//! `[limits]` on who comes in: what each of them answers, where it is counted, and when a place is free again.
//!
//! What those may do who are in is in `limits_inside.rs`.

use std::time::Instant;

use serde_json::json;

use crate::client::frames::WebSocket;
use crate::client::http::{Request, Response, request};
use crate::client::payload::texts;
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;

/// The handshakes there are, as requests.
fn handshakes() -> Vec<(&'static str, u8, Request)> {
    let mut handshakes = Vec::new();
    for eio in [3, 4] {
        let target = format!("/socket.io/?EIO={eio}&transport=");
        handshakes.push(("polling", eio, Request::get(&format!("{target}polling"))));
        handshakes.push(("websocket", eio, Request::upgrade(&format!("{target}websocket"))));
    }
    handshakes
}

/// Asserts that a client is asked to come back later.
#[track_caller]
fn is_unavailable(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.header("retry-after"), Some("2"));
}

/// Asserts that every kind of handshake is refused, and counted.
async fn refuses_handshakes(gateway: &TestGateway, limit: &str, forwarded: Option<&str>) {
    let series = format!("roomcast_rate_limited_total{{limit=\"{limit}\"}}");
    let before = gateway.metric(&series).await.unwrap();
    for (number, (transport, eio, handshake)) in handshakes().into_iter().enumerate() {
        let handshake = match forwarded {
            Some(address) => handshake.header("X-Forwarded-For", address),
            None => handshake,
        };
        let labels = format!("{{transport=\"{transport}\",protocol=\"{eio}\",result=\"unavailable\"}}");
        let series = format!("roomcast_handshakes_total{labels}");
        let refused = gateway.metric(&series).await.unwrap();
        is_unavailable(&request(gateway.address, &handshake).await);
        gateway.reaches(&series, refused + 1.0).await;
        gateway.has_limited(limit, before + number as f64 + 1.0).await;
    }
}

/// Waits until a handshake is let in again.
async fn lets_in(gateway: &TestGateway, handshake: &Request) {
    let started = Instant::now();
    loop {
        let answer = request(gateway.address, handshake).await;
        if answer.status == 200 {
            return;
        }
        is_unavailable(&answer);
        assert!(started.elapsed() < DEADLINE, "the place is not free again");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn every_limit_is_counted_from_the_start() {
    let gateway = TestGateway::plain().await;
    for limit in [
        "connections",
        "connections_per_ip",
        "handshakes_per_second",
        "events_per_second",
        "control_packets",
    ] {
        gateway.has_limited(limit, 0.0).await;
    }
    gateway
        .reaches("roomcast_dropped_total{reason=\"rate_limited\"}", 0.0)
        .await;
}

#[tokio::test]
async fn connections_over_the_limit_are_asked_to_come_back() {
    let gateway = TestGateway::start("limits.connections = 1\n").await;
    let mut client = Client::new(&gateway).await;
    for (number, (_, _, handshake)) in handshakes().into_iter().enumerate() {
        is_unavailable(&request(gateway.address, &handshake).await);
        gateway.has_limited("connections", number as f64 + 1.0).await;
    }
    client.does(json!(["join", "r"])).await;
    assert_eq!(gateway.admin_get("/readyz").await.status, 503);
    drop(client);
    lets_in(&gateway, &handshakes()[0].2).await;
}

#[tokio::test]
async fn an_address_has_a_number_of_sessions_whatever_carries_them() {
    let gateway = TestGateway::start("limits.connections_per_ip = 4\n").await;
    let mut clients = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        clients.push(Client::join(&gateway, transport, eio).await);
    }
    refuses_handshakes(&gateway, "connections_per_ip", None).await;
    for client in &mut clients {
        client.does(json!(["join", "r"])).await;
    }
    // Each place is free again once its session is over, however that came.
    while let Some(mut client) = clients.pop() {
        match client.eio {
            4 => client.send_fatal(&texts(&["1"])).await,
            _ => client.send_fatal(&texts(&["4nonsense"])).await,
        }
        client.is_closed().await;
        lets_in(&gateway, &handshakes()[0].2).await;
        refuses_handshakes(&gateway, "connections_per_ip", None).await;
    }
}

#[tokio::test]
async fn a_session_that_upgrades_has_one_place() {
    let gateway = TestGateway::start("limits.connections_per_ip = 2\n").await;
    let mut polling = Polling::open(gateway.address, 4).await;
    polling.join_root().await;
    let mut socket = polling.probe().await;
    socket.send_text("5").await;
    socket.send_text(r#"421["join","r"]"#).await;
    while !socket.text().await.starts_with("431") {}
    let _second = Client::new(&gateway).await;
    refuses_handshakes(&gateway, "connections_per_ip", None).await;
    drop(socket);
    lets_in(&gateway, &handshakes()[0].2).await;
}

#[tokio::test]
async fn a_handshake_that_is_refused_for_something_else_takes_no_place() {
    let gateway = TestGateway::start("limits.connections_per_ip = 1\n").await;
    for target in [
        "?EIO=4&transport=telepathy",
        "?EIO=9&transport=polling",
        "?EIO=4&transport=websocket",
    ] {
        let answer = request(gateway.address, &Request::get(&format!("/socket.io/{target}"))).await;
        assert_eq!(answer.status, 400, "{target}");
    }
    // An upgrade that its client gives up at once frees its place, too.
    drop(WebSocket::open(gateway.address, "/socket.io/?EIO=4&transport=websocket").await);
    lets_in(&gateway, &handshakes()[0].2).await;
    gateway.has_limited("handshakes_per_second", 0.0).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_clients_own_address_counts() {
    let settings = "limits.connections_per_ip = 2\nserver.trusted_proxies = [\"127.0.0.1/32\"]\n";
    let gateway = TestGateway::start(settings).await;
    let (polling, websocket) = (&handshakes()[2].2, &handshakes()[3].2);
    let from = |request: &Request, address: &str| request.clone().header("X-Forwarded-For", address);
    let mut sessions = Vec::new();
    // Two of each: of an address, of another one, of an IPv6 network, whatever the client itself wrote before.
    for (address, full) in [
        ("192.0.2.1", "10.9.9.9, 192.0.2.1"),
        ("192.0.2.2", "192.0.2.1, 192.0.2.2, 127.0.0.1"),
        ("2001:db8::1", "2001:db8::ffff"),
        ("::ffff:192.0.2.3", "192.0.2.3"),
    ] {
        sessions.push(Polling::open_by(gateway.address, 4, &from(polling, address)).await);
        let second = WebSocket::try_open(gateway.address, &from(websocket, full)).await;
        let second = second.unwrap_or_else(|refused| panic!("{address}: {}", refused.status));
        refuses_handshakes(&gateway, "connections_per_ip", Some(full)).await;
        drop(second);
        lets_in(&gateway, &from(polling, address)).await;
    }
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_names_another_address() {
    let gateway = TestGateway::start("limits.connections_per_ip = 1\n").await;
    let _client = Client::new(&gateway).await;
    refuses_handshakes(&gateway, "connections_per_ip", Some("192.0.2.1")).await;
}

#[tokio::test]
async fn handshakes_are_paced() {
    let gateway = TestGateway::start("limits.handshakes_per_second = 1\n").await;
    let (_, _, handshake) = &handshakes()[0];
    let (mut accepted, mut refused) = (0.0, 0.0);
    let started = Instant::now();
    while accepted < 2.0 || refused < 2.0 {
        let answer = request(gateway.address, handshake).await;
        if answer.status == 200 {
            accepted += 1.0;
        } else {
            is_unavailable(&answer);
            refused += 1.0;
        }
        assert!(started.elapsed() < DEADLINE, "{accepted} let in, {refused} refused");
    }
    assert!(
        accepted <= 2.0 + started.elapsed().as_secs_f64(),
        "{accepted} let in within {:?}",
        started.elapsed()
    );
    gateway.has_limited("handshakes_per_second", refused).await;
    let labels = "{transport=\"polling\",protocol=\"3\",result=";
    for (result, count) in [("accepted", accepted), ("unavailable", refused)] {
        gateway
            .reaches(&format!("roomcast_handshakes_total{labels}\"{result}\"}}"), count)
            .await;
    }
}

#[tokio::test]
async fn a_paced_node_goes_on_with_the_sessions_it_has() {
    let gateway = TestGateway::start("limits.handshakes_per_second = 1\n").await;
    let mut client = Client::new(&gateway).await;
    let (_, _, handshake) = &handshakes()[0];
    let started = Instant::now();
    while request(gateway.address, handshake).await.status != 503 {
        assert!(started.elapsed() < DEADLINE, "nobody is refused");
    }
    client.does(json!(["join", "r"])).await;
}
