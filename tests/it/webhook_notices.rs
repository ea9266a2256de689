//! Webhooks: the application is told who comes and goes, again where it did not listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Semaphore;

use crate::backend::{Backend, Call, Reply, settings};
use crate::client::http::{Request, request};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;
use roomcast::server::Ended;

const ALL: &str = "events = [\"connected\", \"join\", \"leave\", \"disconnect\", \"event\"]";

const NAMESPACE: &str = "[[namespace]]\nname = \"/\"\nrooms = [\"all\"]\notherwise = \"webhook\"\n";

async fn start(settings_of: &str, reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> (Backend, TestGateway) {
    let backend = Backend::start(reply).await;
    let gateway = TestGateway::start(&(settings(backend.address, settings_of) + NAMESPACE)).await;
    (backend, gateway)
}

/// `type`, and the rooms of the event and of the socket.
fn seen(call: &Call) -> serde_json::Value {
    json!([call.kind(), call.body["rooms"], call.body["socket"]["rooms"]])
}

#[tokio::test]
async fn a_sockets_life_is_told_in_order() {
    let (mut backend, gateway) = start(ALL, |_| Reply::Say(204, String::new())).await;
    for kind in EVERY_CLIENT {
        let mut client = Client::join(&gateway, kind.0, kind.1).await;
        client.does(json!(["join", ["a", "b"]])).await;
        client.does(json!(["join", "a"])).await; // changes nothing
        client.does(json!(["leave", ["a", "none"]])).await;
        client.does(json!(["x"])).await;
        client.send("41").await;
        let mut ids = Vec::new();
        for expected in [
            json!(["connected", null, ["all"]]),
            json!(["join", ["a", "b"], ["all", "a", "b"]]),
            json!(["leave", ["a"], ["all", "b"]]),
            json!(["event", null, ["all", "b"]]),
            json!(["disconnect", null, ["all", "b"]]),
        ] {
            let call = backend.next().await;
            let mut found = seen(&call);
            for rooms in found.as_array_mut().unwrap() {
                if let Some(rooms) = rooms.as_array_mut() {
                    rooms.sort_by_key(|room| (room != "all", room.to_string()));
                }
            }
            assert_eq!(found, expected, "{kind:?}");
            assert_eq!(call.headers["roomcast-event"], call.kind());
            assert_eq!(call.body["socket"]["protocol"], kind.1);
            if call.kind() == "disconnect" {
                assert_eq!(call.body["reason"], "client_left");
            }
            ids.push(call.headers["roomcast-id"].clone());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5);
    }
    // Without asking, clients 1.x and 2.x come back into `/` alone.
    backend.is_left_alone();
}

#[tokio::test]
async fn what_the_application_does_itself_is_told_as_well() {
    let (mut backend, gateway) = start(ALL, |call| match call.body["event"].as_str() {
        Some("move") => Reply::Json(json!({"actions": [
            {"join": {"join": ["a"]}}, {"leave": {"leave": ["all"]}}, {"disconnect": {"close": true}},
        ]})),
        _ => Reply::Json(json!({})),
    })
    .await;
    let mut client = Client::new(&gateway).await;
    client.send("42[\"move\"]").await;
    for expected in [
        json!(["connected", null, ["all"]]),
        json!(["event", null, ["all"]]),
        json!(["join", ["a"], ["all", "a"]]),
        json!(["leave", ["all"], ["a"]]),
        json!(["disconnect", null, ["a"]]),
    ] {
        let call = backend.next().await;
        assert_eq!(seen(&call), expected);
        if call.kind() == "disconnect" {
            assert_eq!(call.body["reason"], "kicked");
        }
    }
    client.is_closed().await;
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_with_the_same_id_and_the_last_word_comes_last() {
    let (mut backend, gateway) = start("retries = 2", |call| match call.number {
        0 => Reply::Say(500, String::new()),
        1 => Reply::Raw(String::new()),
        2 => Reply::Json(json!({"data": {"n": 1}})),
        3..=5 => Reply::Say(404, String::new()),
        _ => Reply::Json(json!({})),
    })
    .await;
    let mut client = Client::new(&gateway).await;
    client.send("42[\"x\",0]").await;
    client.send("42[\"x\",1]").await;
    client.send("42[\"x\",2]").await;
    client.does(json!(["join", "a"])).await;
    drop(client);
    gateway.has_ended("transport_closed", 1.0).await;
    let first = backend.next().await;
    for _ in 0..2 {
        let again = backend.next().await;
        assert_eq!(
            (&again.text, &again.headers["roomcast-id"]),
            (&first.text, &first.headers["roomcast-id"])
        );
    }
    for _ in 0..3 {
        let call = backend.next().await;
        assert_eq!(
            (&call.body["args"], &call.body["socket"]["data"]),
            (&json!([1]), &json!({"n": 1}))
        );
    }
    // It is given up, and the next one goes out.
    assert_eq!(backend.next().await.body["args"], json!([2]));
    let last = backend.next().await;
    assert_eq!(
        (last.kind(), &last.body["reason"]),
        ("disconnect", &json!("transport_closed"))
    );
    assert_eq!(last.body["socket"]["rooms"].as_array().unwrap().len(), 2);
    backend.is_left_alone();
}

#[tokio::test]
async fn calls_share_connections_and_no_more_are_under_way_than_may_be() {
    let gate = Arc::new(Semaphore::new(0));
    let (held, under_way) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&under_way);
    let (mut backend, gateway) = start("events = [\"event\"]\nconcurrency = 4", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Held(Arc::clone(&held), Box::new(Reply::Json(json!({}))))
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::new(&gateway).await;
        client.send("42[\"x\"]").await;
        client.does(json!(["join", "a"])).await;
        clients.push(client);
    }
    for _ in 0..3 {
        backend.next().await;
    }
    // One place is kept for calls that somebody waits for.
    assert_eq!(under_way.load(Ordering::SeqCst), 3);
    gate.add_permits(8);
    for _ in 0..5 {
        backend.next().await;
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn a_node_that_leaves_says_who_has_gone() {
    let backend = Backend::start(|call| match call.number {
        0 => Reply::Say(500, String::new()),
        _ => Reply::Json(json!({})),
    })
    .await;
    let drain = "[drain]\ndelay = \"0s\"\nspread = \"0s\"\ntimeout = \"10s\"\n";
    let mut gateway = TestGateway::start(&(settings(backend.address, "") + drain + NAMESPACE)).await;
    let mut backend = backend;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::new(&gateway).await);
    }
    gateway.stop();
    assert_eq!(gateway.ended().await, Ended::Clean);
    for _ in 0..6 {
        let call = backend.next().await;
        assert_eq!((call.kind(), &call.body["reason"]), ("disconnect", &json!("draining")));
    }
}

#[tokio::test]
async fn who_comes_again_by_the_same_id_comes_behind_who_has_gone() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut backend = Backend::start(move |call| match call.kind() {
        "disconnect" => Reply::Held(Arc::clone(&held), Box::new(Reply::Json(json!({})))),
        _ => Reply::Json(json!({"user": "alice"})),
    })
    .await;
    let text = settings(backend.address, "events = [\"connect\", \"connected\", \"disconnect\"]")
        + "[[namespace]]\nname = \"/chat\"\nauth = \"webhook\"\n";
    let gateway = TestGateway::start(&text).await;
    let mut client = Client::open(&gateway, Transport::WebSocket, 3).await;
    client.enter("/chat").await;
    client.send("41/chat").await;
    client.send("40/chat").await;
    let mut ids = Vec::new();
    for kind in ["connect", "connected", "disconnect"] {
        let call = backend.next().await;
        assert_eq!(call.kind(), kind);
        ids.push(call.body["socket"]["id"].clone());
    }
    let mut other = Client::open(&gateway, Transport::WebSocket, 4).await;
    other.enter("/chat").await;
    assert_eq!(backend.next().await.body["socket"]["protocol"], 4);
    assert_eq!(backend.next().await.body["socket"]["protocol"], 4);
    backend.is_left_alone();
    gate.add_permits(10);
    for kind in ["connect", "connected"] {
        let call = backend.next().await;
        assert_eq!(call.kind(), kind);
        ids.push(call.body["socket"]["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn what_the_application_does_not_want_to_hear_is_not_said() {
    let (mut backend, gateway) = start("events = [\"event\"]", |_| Reply::Json(json!({}))).await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "a"])).await;
    client.does(json!(["x"])).await;
    client.send("41").await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    assert_eq!(backend.next().await.kind(), "event");
    backend.is_left_alone();
    let metrics = request(gateway.admin, &Request::get("/metrics")).await;
    assert!(
        metrics
            .text()
            .contains("roomcast_webhook_failures_total{reason=\"overflow\",type=\"disconnect\"} 0")
    );
}
