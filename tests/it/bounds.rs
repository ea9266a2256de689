//! What one client may make the gateway hold, and what becomes of one that wants more.

use serde_json::json;

use crate::client::frames::{
    BINARY, BINARY_START, CONTINUATION, CONTINUATION_END, PING, TEXT, TEXT_START, WebSocket, frame, promise,
};
use crate::client::http::{Request, request};
use crate::client::payload::{Packet, texts};
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
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
            Transport::Polling => client.polling().is_gone().await,
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
    let _websocket = Client::new(&gateway).await;
    let mut polling = Polling::open(gateway.address, 4).await;
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    assert_eq!(request(gateway.address, &handshake).await.status, 503);
    let upgrade = Request::upgrade("/socket.io/?EIO=4&transport=websocket");
    assert_eq!(
        WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err().status,
        503
    );
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].clone()), (503, json!(false)));
    polling.is_alive().await;
    polling.post(&["1"]).await;
    polling.is_gone().await;
    Polling::open(gateway.address, 4).await.is_alive().await;
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    let flood = frame(PING, b"x").repeat(1_000);
    for _batch in 0..100 {
        client.socket().send_raw(&flood).await;
    }
    client.socket().close_code().await;
    gateway.has_ended("rate_limited", 1.0).await;
    let mut v3 = Client::join(&gateway, Transport::WebSocket, 3).await;
    let flood = frame(TEXT, b"2").repeat(1_000);
    for _batch in 0..100 {
        v3.socket().send_raw(&flood).await;
    }
    v3.socket().close_code().await;
    gateway.has_ended("rate_limited", 2.0).await;
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
