//! What one client may make the gateway hold, and what becomes of one that wants more.

use std::time::Instant;

use serde_json::json;

use crate::client::frames::{
    BINARY, BINARY_START, CONTINUATION, CONTINUATION_END, PING, TEXT, TEXT_START, WebSocket, frame, promise,
};
use crate::client::http::{Connection, Request, request};
use crate::client::payload::{Packet, texts};
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::{ECHO, TestGateway};

const SMALL: &str = "engine.max_payload = \"10kB\"\nlimits.outbox = \"100kB\"\n";

async fn small() -> TestGateway {
    TestGateway::start(&format!("{SMALL}{ECHO}")).await
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_as_soon_as_it_is_announced() {
    let gateway = small().await;
    for first in [TEXT, BINARY, TEXT_START, BINARY_START] {
        for length in [10_001, 70_000, 1 << 40] {
            let mut client = Client::new(&gateway).await;
            client.socket().send_raw(&promise(first, length)).await;
            assert_eq!(client.socket().close_code().await, Some(1009), "{first:02x} {length}");
        }
    }
    gateway.has_ended("too_large", 12.0).await;
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_is_taken() {
    let gateway = small().await;
    let mut client = Client::new(&gateway).await;
    let words = "x".repeat(10_000 - r#"421["echo",""]"#.len());
    client.send(&format!(r#"421["echo","{words}"]"#)).await;
    assert_eq!(client.packet().await.data, json!([words]));
}

#[tokio::test]
async fn fragments_that_are_too_large_together_are_refused() {
    let gateway = small().await;
    for start in [TEXT_START, BINARY_START] {
        let mut client = Client::new(&gateway).await;
        let socket = client.socket();
        socket.send_frame(start, &[b'4'; 6_000]).await;
        socket.send_raw(&promise(CONTINUATION, 4_001)).await;
        assert_eq!(socket.close_code().await, Some(1009));
    }
    let mut client = Client::new(&gateway).await;
    let text = format!(r#"421["echo","{}"]"#, "x".repeat(9_000));
    let (one, two) = text.as_bytes().split_at(5_000);
    client.socket().send_frame(TEXT_START, one).await;
    client.socket().send_frame(CONTINUATION_END, two).await;
    assert_eq!(client.packet().await.kind, '3');
}

#[tokio::test]
async fn endless_fragments_are_refused_even_where_they_are_empty() {
    let gateway = small().await;
    for payload in [b"".as_slice(), b"4"] {
        let mut client = Client::new(&gateway).await;
        let socket = client.socket();
        let flood = frame(CONTINUATION, payload).repeat(5_000);
        socket.send_raw(&[frame(TEXT_START, b"4"), flood].concat()).await;
        assert!(matches!(socket.close_code().await, Some(1008 | 1009)));
    }
    Client::new(&gateway).await.does(json!(["join", "r"])).await;
}

#[tokio::test]
async fn a_header_and_its_attachments_count_together() {
    let gateway = small().await;
    let header = Packet::text(
        r#"453-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]"#,
    );
    for (number, (transport, eio)) in EVERY_CLIENT.into_iter().enumerate() {
        let mut client = Client::join(&gateway, transport, eio).await;
        for packet in [
            &header,
            &Packet::Binary(vec![0; 5_000]),
            &Packet::Binary(vec![0; 5_000]),
        ] {
            client.send_fatal(std::slice::from_ref(packet)).await;
        }
        match transport {
            Transport::WebSocket => drop(client.socket().close_code().await),
            Transport::Polling => client.polling().is_closed().await,
        }
        gateway.has_ended("too_large", number as f64 + 1.0).await;
    }
}

#[tokio::test]
async fn a_client_may_be_in_a_number_of_namespaces() {
    let gateway = TestGateway::start("limits.namespaces_per_client = 3\n[[namespace]]\nname = \"/*\"\n").await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        for namespace in ["/a", "/b"] {
            client.enter(namespace).await;
        }
        client.send("40/c,").await;
        let refused = client.packet().await;
        assert_eq!((refused.kind, refused.namespace.as_str()), ('4', "/c"), "{refused:?}");
        let message = if eio == 4 {
            refused.data["message"].clone()
        } else {
            refused.data
        };
        assert_eq!(message, "too many namespaces");
        client.send("41/a,").await;
        client.enter("/c").await;
    }
}

#[tokio::test]
async fn a_node_may_have_a_number_of_namespaces_of_patterns() {
    let settings = "limits.pattern_namespaces = 2\n[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/org-*\"\n";
    let gateway = TestGateway::start(settings).await;
    let mut one = Client::new(&gateway).await;
    one.enter("/org-1").await;
    one.enter("/org-2").await;
    let mut two = Client::new(&gateway).await;
    two.enter("/org-2").await;
    two.send("40/org-3,").await;
    assert_eq!(two.text().await, r#"44/org-3,{"message":"too many namespaces"}"#);
    let mut three = Client::join(&gateway, Transport::WebSocket, 3).await;
    three.send("40/org-3").await;
    assert_eq!(three.text().await, r#"44/org-3,"too many namespaces""#);
    one.send("41/org-1,").await;
    gateway.reaches("roomcast_sockets{namespace=\"/org-*\"}", 2.0).await;
    two.enter("/org-3").await;
}

#[tokio::test]
async fn a_namespace_whose_name_is_too_long_cannot_be_joined() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/n*\"\n").await;
    for eio in [4, 3] {
        let mut client = Client::join(&gateway, Transport::WebSocket, eio).await;
        client.enter(&format!("/n{}", "x".repeat(126))).await;
        let long = format!("/n{}", "x".repeat(127));
        client
            .send_packets(&[Packet::Text(format!("40{long},")), Packet::text("40/marker,")])
            .await;
        let refused = client.socket().next().await;
        let joined = format!("40{long}");
        assert!(
            !matches!(&refused, crate::client::frames::Frame::Text(text) if text.starts_with(&joined)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_polling_client_that_does_not_poll_is_cut_and_others_are_not_delayed() {
    let gateway = TestGateway::start(SMALL).await;
    let mut fast = Client::new(&gateway).await;
    fast.does(json!(["join", "r"])).await;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    for (number, eio) in [4, 3].into_iter().enumerate() {
        let mut slow = Client::join(&gateway, Transport::Polling, eio).await;
        slow.does(json!(["join", "r"])).await;
        for n in 0..30 {
            publisher.does(json!(["publish", "r", "n", n, "x".repeat(5_000)])).await;
            assert_eq!(fast.event().await[1], n);
        }
        slow.polling().is_gone().await;
        gateway.has_ended("too_slow", number as f64 + 1.0).await;
    }
}

#[tokio::test]
async fn a_websocket_client_that_does_not_read_is_cut_and_others_are_not_delayed() {
    let gateway = TestGateway::start("limits.outbox = \"2MB\"\n").await;
    let mut fast = Client::new(&gateway).await;
    let mut publisher = Client::new(&gateway).await;
    for eio in [4, 3] {
        let mut slow = Client::join(&gateway, Transport::WebSocket, eio).await;
        for client in [&mut fast, &mut publisher, &mut slow] {
            client.does(json!(["join", "r"])).await;
        }
        let words = "x".repeat(500_000);
        let cut = "roomcast_disconnects_total{reason=\"too_slow\"}";
        let before = gateway.metric(cut).await.unwrap();
        // The system's buffers hold some megabytes beside the outbox.
        for n in 0..200 {
            publisher.does(json!(["publish", "r", "n", n, words])).await;
            assert_eq!(fast.event().await[1], n);
            if gateway.metric(cut).await != Some(before) {
                break;
            }
        }
        gateway.has_ended("too_slow", before + 1.0).await;
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 2.0).await;
    gateway.reaches("roomcast_outbox_bytes", 0.0).await;
}

#[tokio::test]
async fn the_number_of_connections_holds() {
    let gateway = TestGateway::start("limits.connections = 2\n").await;
    let websocket = Client::new(&gateway).await;
    let mut polling = Polling::open(gateway.address, 4).await;
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    assert_eq!(request(gateway.address, &handshake).await.status, 503);
    let upgrade = Request::upgrade("/socket.io/?EIO=4&transport=websocket");
    let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
    assert_eq!(refused.status, 503);
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].clone()), (503, json!(false)));
    polling.is_alive().await;

    drop(websocket);
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    let started = Instant::now();
    while request(gateway.address, &handshake).await.status != 200 {
        assert!(started.elapsed() < DEADLINE, "the place is not free again");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn the_number_of_connections_bounds_the_sessions_that_one_of_them_opens() {
    let gateway = TestGateway::start("limits.connections = 3\n").await;
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    let mut connection = Connection::open(gateway.address).await;
    for _ in 0..3 {
        assert_eq!(connection.request(&handshake).await.status, 200);
    }
    let refused = connection.request(&handshake).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    gateway
        .reaches("roomcast_rate_limited_total{limit=\"connections\"}", 1.0)
        .await;
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_session_and_disturbs_nobody_else() {
    let gateway = TestGateway::plain().await;
    let mut other = Client::new(&gateway).await;
    for (number, (eio, ping)) in [(4, frame(PING, b"x")), (3, frame(TEXT, b"2"))].into_iter().enumerate() {
        let mut flooding = Client::join(&gateway, Transport::WebSocket, eio).await;
        let flood = ping.repeat(1_000);
        for _batch in 0..100 {
            flooding.socket().send_raw(&flood).await;
        }
        other.does(json!(["join", "r"])).await;
        gateway.has_ended("rate_limited", number as f64 + 1.0).await;
        flooding.socket().connection.end().await;
    }
}

#[tokio::test]
async fn attachments_that_never_come_hold_nothing_back_from_others() {
    let gateway = small().await;
    let mut waiting = Client::new(&gateway).await;
    waiting.send(r#"4510-["echo"]"#).await;
    let mut other = Client::new(&gateway).await;
    other.does(json!(["join", "r"])).await;
    waiting.send_packets(&texts(&["41"])).await;
    waiting.is_closed().await;
}

#[tokio::test]
async fn megabytes_of_digits_are_neither_an_id_nor_a_number_of_attachments() {
    let gateway = TestGateway::plain().await;
    let digits = "1".repeat(900_000);
    for packet in [
        format!("42{digits}[\"x\"]"),
        format!("42{digits}"),
        format!("45{digits}-[\"x\"]"),
        format!("43{digits}[]"),
        format!("4{digits}"),
    ] {
        let mut client = Client::new(&gateway).await;
        client.send_packets(&[Packet::Text(packet)]).await;
        client.is_closed().await;
    }
    let mut polling = Polling::open(gateway.address, 3).await;
    polling.join_root().await;
    polling.post_body(digits).await.is_error(400, 3, "Bad request");
}
