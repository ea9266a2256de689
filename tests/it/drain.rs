//! Leaving: not ready first, then clients closed so that they come back elsewhere.

use std::time::Instant;

use roomcast::server::Ended;
use serde_json::json;

use crate::client::frames::{Frame, WebSocket};
use crate::client::http::{Request, request};
use crate::client::payload::texts;
use crate::client::polling::{Polling, packets};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;

const QUICK: &str = "drain.delay = \"100ms\"\ndrain.spread = \"200ms\"\ndrain.timeout = \"8s\"\n";
const SLOW: &str = "drain.delay = \"60s\"\ndrain.spread = \"60s\"\ndrain.timeout = \"120s\"\n";
const NO_DELAY: &str = "drain.delay = \"0s\"\ndrain.spread = \"60s\"\ndrain.timeout = \"60s\"\n";

#[tokio::test]
async fn a_gateway_without_clients_stops_clean() {
    let mut gateway = TestGateway::start(QUICK).await;
    gateway.stop();
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn a_draining_gateway_is_alive_but_not_ready_and_still_accepts() {
    let gateway = TestGateway::start(SLOW).await;
    let mut before = Client::new(&gateway).await;
    gateway.stop();
    gateway.reaches("roomcast_draining", 1.0).await;
    for address in [gateway.admin, gateway.address] {
        let ready = request(address, &Request::get("/readyz")).await;
        assert_eq!(ready.status, 503, "{address}");
        assert_eq!(request(address, &Request::get("/livez")).await.status, 200);
    }
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.json(), json!({"ready": false, "reasons": ["draining"]}));
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "r"])).await;
    }
    before.does(json!(["join", "r"])).await;
}

#[tokio::test]
async fn websockets_are_closed_with_1001_and_never_disconnected() {
    let mut gateway = TestGateway::start(QUICK).await;
    let mut clients = Vec::new();
    for eio in [4, 3, 4, 3] {
        clients.push(Client::join(&gateway, Transport::WebSocket, eio).await);
    }
    gateway.stop();
    for client in &mut clients {
        client.socket().is_closed(Some(1001)).await;
    }
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn a_client_that_broke_a_rule_and_never_polls_again_is_not_waited_for() {
    let mut gateway = TestGateway::start(QUICK).await;
    for eio in [3, 4] {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        polling.post(&["4no packet"]).await;
    }
    gateway.has_ended("malformed", 2.0).await;
    gateway.stop();
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

/// A client that gives up polling for a WebSocket that closes then waits for ever.
#[tokio::test]
async fn an_upgrade_under_way_is_finished_before_the_close() {
    let mut gateway = TestGateway::start("drain.delay = \"0s\"\ndrain.spread = \"0s\"\n").await;
    let mut sockets = Vec::new();
    for eio in [4, 3] {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        let mut parked = polling.start_poll().await;
        sockets.push(polling.probe().await);
        assert_eq!(packets(eio, &parked.response().await), texts(&["6"]));
    }
    let mut other = Client::new(&gateway).await;
    gateway.stop();
    other.socket().is_closed(Some(1001)).await; // so were all others told to end
    for socket in &mut sockets {
        socket.send_text("5").await;
        socket.is_closed(Some(1001)).await;
    }
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

/// Three seconds are given to it, once.
#[tokio::test]
async fn a_client_that_does_not_poll_is_gone_before_the_deadline() {
    let mut gateway = TestGateway::start("drain.delay = \"0s\"\ndrain.spread = \"0s\"\ndrain.timeout = \"5s\"\n").await;
    let mut polling = Polling::open(gateway.address, 4).await;
    polling.join_root().await;
    gateway.stop();
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

/// Clients of generation 4 lose events that come in one answer with the close.
#[tokio::test]
async fn the_close_comes_alone_behind_what_waits_for_a_polling_client() {
    let mut gateway = TestGateway::start(QUICK).await;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    let mut listeners = Vec::new();
    for eio in [4, 3] {
        let mut listener = Client::join(&gateway, Transport::Polling, eio).await;
        listener.does(json!(["join", "r"])).await;
        listeners.push(listener);
    }
    publisher.does(json!(["publish", "r", "n", 1])).await;
    gateway.stop();
    gateway.has_ended("draining", 3.0).await;
    for mut listener in listeners {
        assert_eq!(listener.polling().poll().await, texts(&["42[\"n\",1]"]));
        assert_eq!(listener.polling().poll().await, texts(&["1"]));
    }
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn a_parked_poll_is_answered_with_the_close_and_nothing_else() {
    let mut gateway = TestGateway::start(QUICK).await;
    let mut parked = Vec::new();
    for eio in [4, 3] {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        parked.push((eio, polling.start_poll().await));
    }
    gateway.stop();
    for (eio, connection) in &mut parked {
        let response = connection.response().await;
        assert_eq!(packets(*eio, &response), texts(&["1"]));
    }
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn the_last_poll_of_a_python_client_fails_so_that_it_comes_back() {
    let mut gateway = TestGateway::start(QUICK).await;
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling").header("User-Agent", "python-requests/2.34");
    let mut polling = Polling::open_by(gateway.address, 4, &handshake).await;
    polling.join_root().await;
    let mut parked = polling.start_poll().await;
    gateway.stop();
    parked.response().await.is_unknown_session();
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn the_reason_is_draining() {
    let gateway = TestGateway::start("drain.delay = \"0s\"\ndrain.spread = \"200ms\"\ndrain.timeout = \"60s\"\n").await;
    let mut websocket = Client::new(&gateway).await;
    // A client that does not poll hears of the close later, and keeps the gateway until then.
    let _not_polling = Client::join(&gateway, Transport::Polling, 4).await;
    gateway.stop();
    assert_eq!(websocket.socket().close_code().await, Some(1001));
    gateway.has_ended("draining", 2.0).await;
}

#[tokio::test]
async fn after_the_delay_nobody_new_is_let_in() {
    let gateway = TestGateway::start(NO_DELAY).await;
    // Those who are here keep the gateway from stopping: with one client each 12 seconds nobody is closed at once.
    let mut here = Vec::new();
    for _client in 0..5 {
        here.push(Polling::open(gateway.address, 4).await);
    }
    gateway.stop();
    let started = Instant::now();
    let refused = loop {
        let response = request(gateway.address, &Request::get("/socket.io/?EIO=4&transport=polling")).await;
        if response.status != 200 {
            break response;
        }
        assert!(started.elapsed() < DEADLINE, "still accepting");
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    let upgrade = Request::upgrade("/socket.io/?EIO=4&transport=websocket");
    let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
    assert_eq!(refused.status, 503);
}

#[tokio::test]
async fn what_is_under_way_is_delivered_before_the_close() {
    let mut gateway = TestGateway::start(QUICK).await;
    let mut listener = Client::new(&gateway).await;
    let mut publisher = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    publisher.does(json!(["join", "r"])).await;
    for n in 0..100 {
        publisher.does(json!(["publish", "r", "n", n])).await;
    }
    gateway.stop();
    for n in 0..100 {
        listener.hears(json!(["n", n])).await;
    }
    listener.socket().is_closed(Some(1001)).await;
    assert!(matches!(gateway.ended().await, Ended::Clean));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut gateway = TestGateway::start(SLOW).await;
    let mut websocket = Client::new(&gateway).await;
    let mut polling = Client::join(&gateway, Transport::Polling, 4).await;
    let mut parked = polling.polling().start_poll().await;
    gateway.stop();
    gateway.reaches("roomcast_draining", 1.0).await;
    gateway.stop_now();
    assert!(matches!(gateway.ended().await, Ended::Cut));
    loop {
        match websocket.socket().next().await {
            Frame::End => break,
            Frame::Close(_) => {}
            other => panic!("{other:?}"),
        }
    }
    if let Some(response) = parked.try_response().await {
        assert_eq!(packets(4, &response), texts(&["1"]));
    }
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_cut() {
    let mut gateway =
        TestGateway::start("drain.delay = \"100ms\"\ndrain.spread = \"0s\"\ndrain.timeout = \"600ms\"\n").await;
    // It never reads: its close frame cannot be waited for.
    let mut stubborn = Client::new(&gateway).await;
    stubborn.does(json!(["join", "r"])).await;
    let _not_polling = Client::join(&gateway, Transport::Polling, 4).await;
    gateway.stop();
    let _clean_or_cut = gateway.ended().await;
    while stubborn.socket().next().await != Frame::End {}
}
