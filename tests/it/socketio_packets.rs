//! Socket.IO packets one by one: what is taken, what is ignored, what ends the session.

use std::sync::Arc;

use serde_json::json;

use crate::client::payload::{Packet, texts};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::{ECHO, TestGateway};

/// What follows a packet from a client that is in `/`.
#[derive(Clone, Debug)]
enum Then {
    /// The whole session ends.
    Closed,
    /// Nothing is answered, and the session goes on.
    Ignored,
    /// This is answered, and the session goes on.
    Answered(&'static str),
}

use Then::{Answered, Closed, Ignored};

const MARKER: &str = r#"42999["echo","marker"]"#;
const MARKED: &str = r#"43999["marker"]"#;

async fn check(gateway: &TestGateway, transport: Transport, eio: u8, packet: &str, then: &Then) {
    let mut client = Client::join(gateway, transport, eio).await;
    match then {
        Closed => {
            client.send_fatal(&texts(&[packet])).await;
            client.is_closed().await;
        }
        Ignored => {
            client.send_packets(&texts(&[packet, MARKER])).await;
            assert_eq!(client.text().await, MARKED);
        }
        Answered(answer) => {
            client.send_packets(&texts(&[packet, MARKER])).await;
            assert_eq!(client.text().await, *answer);
            assert_eq!(client.text().await, MARKED);
        }
    }
}

/// Checks every row with every one of these clients, all at once, and names the rows that fail.
async fn check_all(rows: &[(&str, Then)], clients: &[(Transport, u8)]) {
    let gateway = Arc::new(TestGateway::start(ECHO).await);
    let mut checks = Vec::new();
    for (packet, then) in rows {
        for (transport, eio) in clients.iter().copied() {
            let (gateway, packet, then) = (gateway.clone(), (*packet).to_owned(), then.clone());
            let row = format!("EIO={eio} {transport:?} {packet}: {then:?}");
            checks.push((
                row,
                tokio::spawn(async move { check(&gateway, transport, eio, &packet, &then).await }),
            ));
        }
    }
    let mut failed = Vec::new();
    for (row, check) in checks {
        if check.await.is_err() {
            failed.push(row);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

const WEBSOCKETS: [(Transport, u8); 2] = [(Transport::WebSocket, 4), (Transport::WebSocket, 3)];

#[tokio::test]
async fn packets_that_are_none_end_the_session() {
    let rows = [
        "4",
        "4abc",
        "47",
        "4 2[\"x\"]",
        "42{}",
        "42[]",
        "42[\"x\"",
        "42[\"x\"]]",
        "42\"x\"",
        "42null",
        "42",
    ];
    check_all(&rows.map(|packet| (packet, Closed)), &EVERY_CLIENT).await;
}

#[tokio::test]
async fn ids_that_are_none_end_the_session() {
    let rows = [
        "42abc[\"x\"]",
        "42 [\"x\"]",
        "42-1[\"x\"]",
        "421.5[\"x\"]",
        "421e3[\"x\"]",
        "4299999999999999999[\"echo\"]",
        "4218446744073709551616[\"echo\"]",
        "43abc[]",
        "439{}",
        "439\"x\"",
    ];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn events_that_have_no_name_end_the_session() {
    let rows = [
        "42[{\"toString\":\"foo\"}]",
        "42[null]",
        "42[true]",
        "42[[\"x\"]]",
        "42[{}]",
    ];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn reserved_event_names_end_the_session() {
    let names = [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ];
    let rows = names.map(|name| [format!("42[\"{name}\"]"), format!("427[\"{name}\",1]")]);
    let rows: Vec<_> = rows
        .as_flattened()
        .iter()
        .map(|packet| (packet.as_str(), Closed))
        .collect();
    check_all(&rows, &WEBSOCKETS).await;
    check_all(&[(r#"42["\u0063onnect"]"#, Closed)], &WEBSOCKETS).await;
}

#[tokio::test]
async fn wrong_counts_of_attachments_end_the_session() {
    let rows = [
        "450-[\"x\"]",
        "451[\"x\"]",
        "45-1-[\"x\"]",
        "451.5-[\"x\"]",
        "451e0-[\"x\"]",
        "45[\"x\"]",
        "45-[\"x\"]",
        "4511-[\"x\"]",
        "4599999991:4222222222",
        "45999999999999999999-[\"x\"]",
        "45999999-[\"x\",{\"_placeholder\":true,\"num\":0}]",
        "460-1[]",
    ];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn packets_that_only_servers_send_end_the_session() {
    let rows = ["44{\"message\":\"x\"}", "44\"x\"", "44"];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn wrong_connects_and_disconnects_end_the_session() {
    let rows = ["41{}", "41[]", "40[]", "40null", "40\"x\"", "40", "40{}", "40/,{}"];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn packets_for_namespaces_that_were_not_joined_end_the_session() {
    let rows = [
        "42/nope,[\"x\"]",
        "42/nope,1[\"x\"]",
        "43/nope,1[]",
        "451-/nope,[\"x\",{\"_placeholder\":true,\"num\":0}]",
    ];
    check_all(&rows.map(|packet| (packet, Closed)), &WEBSOCKETS).await;
}

#[tokio::test]
async fn answers_that_nobody_waits_for_are_ignored() {
    let rows = ["43[\"no id\"]", "439[\"bad\"]", "430[]", "439007199254740991[]"];
    check_all(&rows.map(|packet| (packet, Ignored)), &EVERY_CLIENT).await;
}

#[tokio::test]
async fn events_without_an_id_are_never_answered() {
    let rows = [
        "42[\"echo\",1]",
        "42[\"nobody knows it\"]",
        "42[\"join\"]",
        "42[\"error\"]",
        "42[1,2]",
    ];
    check_all(&rows.map(|packet| (packet, Ignored)), &EVERY_CLIENT).await;
}

#[tokio::test]
async fn what_only_looks_wrong_is_taken() {
    let rows = [
        (
            r#"421["echo",{"_placeholder":true,"num":0}]"#,
            Answered(r#"431[{"_placeholder":true,"num":0}]"#),
        ),
        (
            r#"421["echo",1.10,1e2,12345678901234567890]"#,
            Answered("431[1.10,1e2,12345678901234567890]"),
        ),
        (r#"421["echo",{"a":1,"a":2}]"#, Answered(r#"431[{"a":1,"a":2}]"#)),
        (
            r#"421["echo",{"__proto__":{}},null]"#,
            Answered(r#"431[{"__proto__":{}},null]"#),
        ),
        (r#"42/,1["echo"]"#, Answered("431[]")),
        (r#"420["echo"]"#, Answered("430[]")),
        (r#"429007199254740991["echo"]"#, Answered("439007199254740991[]")),
    ];
    check_all(&rows, &EVERY_CLIENT).await;
}

#[tokio::test]
async fn error_is_an_event_like_any_other_and_a_number_is_a_name() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.is_refused(json!(["error"]), "no_rule", "").await;
        client
            .is_refused(json!(["error", {"message": "x"}]), "no_rule", "")
            .await;
        client.is_refused(json!([1, 2]), "no_rule", "").await;
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_in_the_form_of_the_version() {
    let rows = |answer| {
        [
            ("40/x,", Answered(answer)),
            ("40/x", Answered(answer)),
            ("40/x,{\"token\":\"t\"}", Answered(answer)),
        ]
    };
    check_all(
        &rows(r#"44/x,{"message":"Invalid namespace"}"#),
        &[(Transport::WebSocket, 4), (Transport::Polling, 4)],
    )
    .await;
    check_all(
        &rows(r#"44/x,"Invalid namespace""#)[..2],
        &[(Transport::WebSocket, 3), (Transport::Polling, 3)],
    )
    .await;
}

#[tokio::test]
async fn a_client_may_disconnect_and_keep_its_transport() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        for goodbye in ["41", "41/,"] {
            let mut client = Client::join(&gateway, transport, eio).await;
            client.send_packets(&texts(&[goodbye, "40/x,"])).await;
            let answer = client.packet().await;
            assert_eq!((answer.kind, answer.namespace.as_str()), ('4', "/x"), "{answer:?}");
        }
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
}

#[tokio::test]
async fn acks_of_the_oldest_clients_are_known_and_answered_in_kind() {
    let gateway = TestGateway::start(ECHO).await;
    let mut client = Client::join(&gateway, Transport::WebSocket, 3).await;
    client.send(r#"421["echo",1]"#).await;
    assert_eq!(client.text().await, "431[1]");
    client.send(r#"430-7["answer"]"#).await;
    client.send(r#"422["echo",2]"#).await;
    assert_eq!(client.text().await, "430-2[2]");

    let mut v4 = Client::new(&gateway).await;
    v4.send(r#"430-7["answer"]"#).await;
    v4.is_closed().await;
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end_of_all_its_sockets() {
    let gateway = TestGateway::start(&format!("{ECHO}[[namespace]]\nname = \"/other\"\n")).await;
    let mut client = Client::new(&gateway).await;
    client.enter("/other").await;
    gateway.reaches("roomcast_sockets{namespace=\"/other\"}", 1.0).await;
    client.send("42/other,[]").await;
    client.is_closed().await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    gateway.reaches("roomcast_sockets{namespace=\"/other\"}", 0.0).await;
    gateway.has_ended("malformed", 1.0).await;
}

#[tokio::test]
async fn nesting_has_a_measure() {
    let gateway = TestGateway::start(ECHO).await;
    let nested =
        |open: &str, close: &str, depth: usize| format!("421[\"echo\",{}{}]", open.repeat(depth), close.repeat(depth));
    let mut client = Client::new(&gateway).await;
    client.send(&nested("[", "]", 50)).await;
    assert_eq!(client.packet().await.kind, '3');
    for packet in [
        nested("[", "]", 10_000),
        nested("{\"a\":", "}", 10_000).replace(":}", ":1}"),
        nested("[", "", 400_000),
        format!("40/x,{}", nested("[", "]", 10_000).replace("421", "")),
    ] {
        let mut client = Client::new(&gateway).await;
        client.send_packets(&[Packet::Text(packet)]).await;
        client.is_closed().await;
    }
}
