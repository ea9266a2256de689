//! Webhooks: the application gets events, and answers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::backend::{Backend, Call, Reply, settings};
use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;

const NAMESPACE: &str = "[[namespace]]\nname = \"/\"\notherwise = \"webhook\"\n";

async fn start(more: &str, reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> (Backend, TestGateway) {
    let backend = Backend::start(reply).await;
    let gateway = TestGateway::start(&(settings(backend.address, more) + NAMESPACE)).await;
    (backend, gateway)
}

/// The first argument of an event's call.
fn number(call: &Call) -> u64 {
    call.body["args"][0].as_u64().unwrap_or(u64::MAX)
}

#[tokio::test]
async fn an_event_is_answered_by_the_application() {
    let (mut backend, gateway) = start("", |call| match call.body["event"].as_str() {
        Some("order") => Reply::Json(json!({"ack": ["taken", {"n": 1}]})),
        Some("nothing") => Reply::Say(204, String::new()),
        _ => Reply::Json(json!({})),
    })
    .await;
    for kind in EVERY_CLIENT {
        let mut client = Client::join(&gateway, kind.0, kind.1).await;
        assert_eq!(
            client.ask("/", &json!(["order", {"n": 1}, "x"])).await,
            json!(["taken", {"n": 1}])
        );
        let call = backend.next_of("event").await;
        assert_eq!(
            (&call.body["event"], &call.body["args"]),
            (&json!("order"), &json!([{"n": 1}, "x"]))
        );
        for event in ["nothing", "else"] {
            assert_eq!(
                client.ask("/", &json!([event])).await,
                json!([{"ok": true}]),
                "{kind:?}"
            );
            let call = backend.next_of("event").await;
            assert_eq!((&call.body["event"], &call.body["args"]), (&json!(event), &json!([])));
        }
    }
    let mut client = Client::new(&gateway).await;
    client.send(r#"420["order",1.10,12345678901234567890,{"a":1.0}]"#).await;
    client.find(|packet| packet.kind == '3').await;
    let call = backend.next_of("event").await;
    assert!(
        call.text.contains(r#""args":[1.10,12345678901234567890,{"a":1.0}]"#),
        "{}",
        call.text
    );
}

#[tokio::test]
async fn binary_goes_both_ways() {
    let (mut backend, gateway) = start("", |call| {
        Reply::Json(json!({"ack": [call.body["args"][1], {"also": {"$binary": "AP8="}}]}))
    })
    .await;
    let mut client = Client::new(&gateway).await;
    client
        .send_packets(&[
            Packet::text(r#"451-0["file",1.10,{"_placeholder":true,"num":0}]"#),
            Packet::Binary(b"hi".to_vec()),
        ])
        .await;
    let answer = client.packet().await;
    assert_eq!((answer.kind, answer.attachments), ('6', 2));
    assert_eq!(client.next().await, Packet::Binary(b"hi".to_vec()));
    assert_eq!(client.next().await, Packet::Binary(vec![0, 255]));
    let call = backend.next_of("event").await;
    assert!(
        call.text.contains(r#""args":[1.10,{"$binary":"aGk="}]"#),
        "{}",
        call.text
    );
}

#[tokio::test]
async fn an_answer_that_is_none_is_unavailable_and_not_asked_for_again() {
    let (mut backend, gateway) = start("timeout = \"300ms\"", |call| match number(call) {
        0 => Reply::Say(500, "{}".into()),
        1 => Reply::Say(307, String::new()),
        2 => Reply::Say(401, "{}".into()),
        3 => Reply::Say(200, "yes".into()),
        4 => Reply::Json(json!({"ack": "no list", "actions": [{"emit": {"event": "never"}}]})),
        5 => Reply::Say(200, format!("{{\"ack\":[\"{}\"]}}", "x".repeat(10_000_000))),
        6 => Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ack\":[".into()),
        7 => Reply::Raw(String::new()),
        8 => Reply::Hang,
        _ => Reply::Json(json!({"ack": [1]})),
    })
    .await;
    let mut client = Client::new(&gateway).await;
    for number in 0..8 {
        client
            .is_refused(json!(["x", number]), "unavailable", "application")
            .await;
        assert_eq!(backend.next().await.body["args"], json!([number]));
    }
    client.is_refused(json!(["x", 8]), "timeout", "in time").await;
    backend.next().await;
    assert_eq!(client.ask("/", &json!(["x", 9])).await, json!([1]));
    assert_eq!(backend.next().await.body["args"], json!([9]));
    backend.is_left_alone();
    assert_eq!(
        gateway.metric("roomcast_dropped_total{reason=\"timeout\"}").await,
        Some(1.0)
    );
    assert_eq!(
        gateway
            .metric("roomcast_webhook_duration_seconds_count{type=\"event\"}")
            .await,
        Some(10.0)
    );
}

#[tokio::test]
async fn actions_are_done_in_order_and_before_the_answer() {
    let (mut backend, gateway) = start("", |call| match call.body["event"].as_str() {
        Some("go") => Reply::Json(json!({"actions": [
            {"join": {"join": ["a"]}},
            {"emit": {"rooms": ["a"], "event": "in a", "args": [{"$binary": "aGk="}]}},
            {"emit": {"event": "to you", "args": [1]}},
            {"fly": {}},
            {"emit": {"evnt": "typo"}},
            {"emit": {"event": "who answers", "ack_timeout": "60s"}},
            {"leave": {"leave": ["a"]}},
            {"emit": {"rooms": ["a"], "event": "nobody"}},
            {"emit": {"namespace": "/other", "all": true, "event": "elsewhere"}},
        ]})),
        Some("out") => Reply::Json(json!({"actions": [{"disconnect": {}}]})),
        _ => Reply::Json(json!({})),
    })
    .await;
    let mut client = Client::new(&gateway).await;
    let mut bystander = Client::new(&gateway).await;
    client.send("427[\"go\"]").await;
    let packet = client.packet().await;
    assert_eq!((packet.kind, packet.data[0].as_str()), ('5', Some("in a")));
    assert_eq!(client.next().await, Packet::Binary(b"hi".to_vec()));
    client.hears(json!(["to you", 1])).await;
    let answer = client.packet().await;
    assert_eq!(
        (answer.kind, answer.id, answer.data),
        ('3', Some(7), json!([{"ok": true}]))
    );
    gateway
        .reaches("roomcast_webhook_failures_total{type=\"event\",reason=\"action\"}", 3.0)
        .await;
    assert_eq!(
        gateway.metric("roomcast_broadcasts_total{origin=\"backend\"}").await,
        Some(4.0)
    );
    // Without an acknowledgement, too.
    client.send("42[\"go\"]").await;
    client.find(|packet| packet.data[0] == "to you").await;
    // A socket that its own answer puts out hears nothing behind its DISCONNECT.
    client
        .send_packets(&[Packet::text("428[\"out\"]"), Packet::text("429[\"after\"]")])
        .await;
    client.find(|packet| packet.kind == '1').await;
    client.enter("/").await;
    assert_eq!(client.ask("/", &json!(["last"])).await, json!([{"ok": true}]));
    assert_eq!(bystander.ask("/", &json!(["x"])).await, json!([{"ok": true}])); // it heard nothing
    let events: Vec<_> = [
        backend.next_of("event").await,
        backend.next_of("event").await,
        backend.next_of("event").await,
    ]
    .iter()
    .map(|call| call.body["event"].clone())
    .collect();
    assert_eq!(events, ["go", "go", "out"]);
    assert_eq!(backend.next_of("event").await.body["event"], "last");
    assert_eq!(backend.next_of("disconnect").await.body["reason"], "kicked");
}

#[tokio::test]
async fn data_in_an_answer_comes_with_every_later_webhook() {
    let (mut backend, gateway) = start("events = [\"event\", \"join\", \"disconnect\"]", |call| {
        match number(call) {
            0 => Reply::Json(json!({"data": {"n": 0}})),
            1 => Reply::Json(json!({"data": {"n": 1}})),
            _ => Reply::Json(json!({})),
        }
    })
    .await;
    let mut client = Client::new(&gateway).await;
    for text in [r#"42["x",0]"#, r#"42["x",1]"#, r#"42["x",2]"#] {
        client.send(text).await;
    }
    client.does(json!(["x", 3])).await;
    client.does(json!(["join", "a"])).await;
    drop(client);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let call = backend.next().await;
        seen.push((call.kind().to_owned(), call.body["socket"]["data"]["n"].clone()));
    }
    let expected = [
        ("event", Value::Null),
        ("event", json!(0)),
        ("event", json!(1)),
        ("event", json!(1)),
        ("join", json!(1)),
        ("disconnect", json!(1)),
    ];
    assert_eq!(seen, expected.map(|(kind, n)| (kind.to_owned(), n)));
}

#[tokio::test]
async fn events_of_one_socket_come_one_at_a_time_and_do_not_wait_for_others() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let (mut backend, gateway) = start("", move |call| match call.body["event"].as_str() {
        Some("slow") => Reply::Held(Arc::clone(&held), Box::new(Reply::Json(json!({})))),
        _ => Reply::Json(json!({})),
    })
    .await;
    let mut slow = Client::new(&gateway).await;
    let mut other = Client::new(&gateway).await;
    for number in 0..20 {
        slow.send(&format!("42[\"slow\",{number}]")).await;
    }
    // What is no webhook is not held up by those that want no answer.
    slow.does(json!(["join", "a"])).await;
    assert_eq!(number(&backend.next().await), 0);
    for _ in 0..3 {
        other.does(json!(["quick"])).await;
        assert_eq!(backend.next().await.body["event"], "quick");
    }
    backend.is_left_alone();
    gate.add_permits(100);
    for expected in 1..20 {
        assert_eq!(number(&backend.next().await), expected);
    }
    // What wants an answer holds up all that its socket does.
    gate.forget_permits(100);
    slow.send_packets(&[Packet::text("420[\"slow\"]"), Packet::text("421[\"join\",\"b\"]")])
        .await;
    backend.next().await;
    other.does(json!(["quick"])).await;
    gate.add_permits(1);
    assert_eq!(slow.packet().await.id, Some(0));
    assert_eq!(slow.packet().await.id, Some(1));
}

#[tokio::test]
async fn more_than_may_wait_is_rate_limited() {
    let (mut backend, gateway) = start("", |call| match number(call) {
        0 => Reply::Hang,
        _ => Reply::Json(json!({})),
    })
    .await;
    let mut client = Client::new(&gateway).await;
    client.send("42[\"x\",0]").await;
    backend.next().await;
    for number in 1..=70 {
        client.send(&format!("42[\"x\",{number}]")).await;
    }
    client.is_refused(json!(["x", 71]), "rate_limited", "wait").await;
    client.does(json!(["join", "a"])).await;
    gateway.has_limited("waiting_events", 7.0).await;
    let large = "x".repeat(600_000);
    let mut large_client = Client::new(&gateway).await;
    large_client.send("42[\"x\",0]").await;
    backend.next().await;
    large_client.send(&format!("42[\"x\",1,\"{large}\"]")).await;
    large_client
        .is_refused(json!(["x", 2, large]), "rate_limited", "wait")
        .await;
}

#[tokio::test]
async fn an_application_that_is_away_is_found_again_by_itself() {
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    let (mut backend, gateway) = start("retries = 0", move |_| {
        if back.load(Ordering::SeqCst) {
            Reply::Json(json!({}))
        } else {
            Reply::Say(503, String::new())
        }
    })
    .await;
    // One client alone cannot shut the others out.
    let mut clients = [
        Client::new(&gateway).await,
        Client::new(&gateway).await,
        Client::new(&gateway).await,
    ];
    for _ in 0..12 {
        clients[0].is_refused(json!(["x"]), "unavailable", "").await;
        backend.next().await;
    }
    clients[1].is_refused(json!(["x"]), "unavailable", "").await;
    clients[2].is_refused(json!(["x"]), "unavailable", "").await;
    backend.next().await;
    backend.next().await;
    clients[0].is_refused(json!(["x"]), "unavailable", "").await;
    backend.is_left_alone();
    let series = "roomcast_webhook_failures_total{type=\"event\",reason=\"circuit_open\"}";
    assert_eq!(gateway.metric(series).await, Some(1.0));
    is_back.store(true, Ordering::SeqCst);
    let started = Instant::now();
    while clients[0].call(json!(["x"])).await["ok"] != true {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    for client in &mut clients {
        client.does(json!(["x"])).await;
    }
}

#[tokio::test]
async fn an_application_that_is_not_there_is_unavailable() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let gateway = TestGateway::start(&(settings(address, "") + NAMESPACE)).await;
    let mut client = Client::open(&gateway, Transport::Polling, 4).await;
    client.enter("/").await;
    client.is_refused(json!(["x"]), "unavailable", "").await;
    let series = "roomcast_webhook_failures_total{type=\"event\",reason=\"connection\"}";
    assert_eq!(gateway.metric(series).await, Some(1.0));
}
