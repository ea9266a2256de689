//! Namespaces: who comes in by itself, who must ask, and what is answered.

use serde_json::{Value, json};

use crate::client::frames::WebSocket;
use crate::client::payload::{SocketPacket, texts};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

const NAMESPACES: &str = r#"
[[namespace]]
name = "/"
[[namespace]]
name = "/admin"
[[namespace.event]]
name = "who"
action = "ack"
"#;

fn is_socket_id(id: &Value) -> bool {
    id.as_str().is_some_and(|id| {
        id.len() == 20
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

const V4_CLIENTS: [(Transport, u8); 2] = [(Transport::WebSocket, 4), (Transport::Polling, 4)];
const V3_CLIENTS: [(Transport, u8); 2] = [(Transport::WebSocket, 3), (Transport::Polling, 3)];

#[tokio::test]
async fn a_v5_client_asks_for_each_namespace_and_gets_an_id_for_each() {
    let gateway = TestGateway::start(NAMESPACES).await;
    for (transport, eio) in V4_CLIENTS {
        let mut client = Client::open(&gateway, transport, eio).await;
        client.send("40{\"token\":\"t\"}").await;
        let root = client.packet().await;
        assert_eq!((root.kind, root.namespace.as_str()), ('0', "/"));
        client.send("40/admin,{\"token\":\"t\"}").await;
        let admin = client.packet().await;
        assert_eq!((admin.kind, admin.namespace.as_str()), ('0', "/admin"));
        for packet in [&root, &admin] {
            assert!(is_socket_id(&packet.data["sid"]), "{packet:?}");
            assert_eq!(
                packet.data.as_object().map(serde_json::Map::len),
                Some(1),
                "only the id: {packet:?}"
            );
        }
        assert_ne!(root.data["sid"], admin.data["sid"]);
        assert_ne!(root.data["sid"], client.sid, "the engine's id is nobody's business");
    }
}

#[tokio::test]
async fn every_form_of_connect_is_understood() {
    let gateway = TestGateway::start(NAMESPACES).await;
    for (packet, namespace) in [
        ("40", "/"),
        ("40{}", "/"),
        ("40/,", "/"),
        ("40/,{}", "/"),
        ("40/admin", "/admin"),
        ("40/admin,", "/admin"),
        ("40/admin,{}", "/admin"),
    ] {
        for (transport, eio) in V4_CLIENTS {
            let mut client = Client::open(&gateway, transport, eio).await;
            client.send(packet).await;
            let answer = client.packet().await;
            assert_eq!((answer.kind, answer.namespace.as_str()), ('0', namespace), "{packet}");
        }
    }
}

#[tokio::test]
async fn a_v5_client_may_use_other_namespaces_alone() {
    let gateway = TestGateway::start(NAMESPACES).await;
    let mut client = Client::open(&gateway, Transport::WebSocket, 4).await;
    client.enter("/admin").await;
    assert_eq!(client.ask("/admin", &json!(["who", 1])).await, json!([1]));
    client.send("42[\"x\"]").await;
    client.is_closed().await;
}

#[tokio::test]
async fn a_namespace_that_was_left_can_be_joined_again_under_a_new_id() {
    let gateway = TestGateway::start(NAMESPACES).await;
    for (transport, eio) in V4_CLIENTS {
        let mut client = Client::join(&gateway, transport, eio).await;
        let first = client.enter("/admin").await;
        client.send("41/admin,").await;
        let second = client.enter("/admin").await;
        assert_ne!(first.data["sid"], second.data["sid"]);
        client.send_packets(&texts(&["41", "40"])).await;
        assert_eq!(client.packet().await.kind, '0');
    }
}

#[tokio::test]
async fn nothing_of_a_namespace_is_heard_after_it_was_left() {
    let gateway = TestGateway::plain().await;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "r"])).await;
        publisher.does(json!(["publish", "r", "before"])).await;
        client.hears(json!(["before"])).await;
        client.send("41").await;
        gateway.reaches("roomcast_sockets{namespace=\"/\"}", 1.0).await;
        publisher.does(json!(["publish", "r", "after"])).await;
        client.send("40/marker,").await;
        assert_eq!(client.packet().await.namespace, "/marker");
    }
}

#[tokio::test]
async fn a_v5_client_that_joins_nothing_is_closed_in_time() {
    let gateway = TestGateway::start(&format!("engine.connect_timeout = \"300ms\"\n{NAMESPACES}")).await;
    for (transport, eio) in V4_CLIENTS {
        let mut silent = Client::open(&gateway, transport, eio).await;
        silent.is_closed().await;
        let mut refused = Client::open(&gateway, transport, eio).await;
        refused.send("40/x,").await;
        refused.is_closed().await;
    }
    gateway.has_ended("connect_timeout", 4.0).await;
}

#[tokio::test]
async fn who_joined_in_time_stays() {
    let gateway = TestGateway::start(&format!("engine.connect_timeout = \"1500ms\"\n{NAMESPACES}")).await;
    let mut v5 = Client::open(&gateway, Transport::WebSocket, 4).await;
    v5.enter("/admin").await;
    let mut v4 = Client::join(&gateway, Transport::WebSocket, 3).await;
    let mut left = Client::join(&gateway, Transport::WebSocket, 4).await;
    left.send("41").await;
    let mut silent = Client::open(&gateway, Transport::WebSocket, 4).await;
    silent.is_closed().await;
    assert_eq!(v5.ask("/admin", &json!(["who"])).await, json!([]));
    v4.does(json!(["join", "r"])).await;
    left.enter("/").await;
}

#[tokio::test]
async fn v3_clients_are_in_the_root_without_asking() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in V3_CLIENTS {
        let mut client = Client::open(&gateway, transport, eio).await;
        assert_eq!(client.text().await, "40");
        client.does(json!(["join", "r"])).await;
    }
}

#[tokio::test]
async fn a_question_mark_belongs_to_the_name_that_v4_clients_ask_for() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/admin\"\n").await;
    let mut socket = WebSocket::open(gateway.address, "/socket.io/?EIO=4&transport=websocket").await;
    socket.text().await;
    socket.send_text("40/admin?tok=1,").await;
    // The client waits for an answer in this name.
    assert_eq!(socket.text().await, r#"44/admin?tok=1,{"message":"Invalid namespace"}"#);
}

#[tokio::test]
async fn v3_clients_name_namespaces_with_a_query_and_hear_the_bare_name() {
    let gateway = TestGateway::start(NAMESPACES).await;
    for (transport, eio) in V3_CLIENTS {
        for packet in [
            "40/admin",
            "40/admin,",
            "40/admin?tok=1&x=%20y",
            "40/admin?tok=1&x=%20y,",
            "40/admin?__proto__=x,",
            "40/admin?,",
        ] {
            let mut client = Client::open(&gateway, transport, eio).await;
            client.send(packet).await;
            let mut answers = [client.text().await, client.text().await];
            answers.sort();
            assert_eq!(answers, ["40", "40/admin,"], "{packet}");
            assert_eq!(client.ask("/admin", &json!(["who", 1])).await, json!([1]));
        }
    }
}

#[tokio::test]
async fn v3_clients_may_leave_a_namespace_and_come_back() {
    let gateway = TestGateway::start(NAMESPACES).await;
    for (transport, eio) in V3_CLIENTS {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.enter("/admin").await;
        client.send("41/admin").await;
        client.enter("/admin").await;
        client.does(json!(["join", "r"])).await;
    }
}

#[tokio::test]
async fn without_a_configured_root_v3_clients_get_an_empty_one() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/chat\"\n").await;
    for (transport, eio) in V3_CLIENTS {
        let mut client = Client::open(&gateway, transport, eio).await;
        assert_eq!(client.text().await, "40");
        for event in [
            json!(["join", "r"]),
            json!(["publish", "r", "x"]),
            json!(["leave", "r"]),
            json!(["x"]),
        ] {
            client.is_refused(event, "no_rule", "").await;
        }
        client.enter("/chat").await;
        let joined = client.ask("/chat", &json!(["join", "r"])).await;
        assert_eq!(joined[0]["ok"], true);
    }
    for (transport, eio) in V4_CLIENTS {
        let mut client = Client::open(&gateway, transport, eio).await;
        client.send("40").await;
        assert_eq!(client.text().await, r#"44{"message":"Invalid namespace"}"#);
        client.enter("/chat").await;
    }
}

/// Joins a namespace of the form `/x` and returns which rule answers `which`.
async fn answered_by(gateway: &TestGateway, namespace: &str) -> Option<String> {
    let mut client = Client::open(gateway, Transport::WebSocket, 4).await;
    client.send(&format!("40{namespace},")).await;
    let answer: SocketPacket = client.packet().await;
    assert_eq!(answer.namespace, namespace);
    if answer.kind == '4' {
        assert_eq!(answer.data, json!({"message": "Invalid namespace"}));
        return None;
    }
    for name in ["exact", "pattern", "second"] {
        let answer = client.ask(namespace, &json!([name])).await;
        if answer == json!([]) {
            return Some(name.into());
        }
    }
    panic!("no rule answers in {namespace}");
}

#[tokio::test]
async fn patterns_make_namespaces_and_the_exact_name_wins_then_the_first() {
    let rule = |name: &str, event: &str| {
        format!("[[namespace]]\nname = \"{name}\"\n[[namespace.event]]\nname = \"{event}\"\naction = \"ack\"\n")
    };
    let settings = [
        rule("/org-*", "pattern"),
        rule("/org-1*", "second"),
        rule("/room-?", "second"),
        rule("/org-7", "exact"),
    ]
    .concat();
    let gateway = TestGateway::start(&settings).await;
    for (namespace, expected) in [
        ("/org-1", Some("pattern")),
        ("/org-", Some("pattern")),
        ("/org-a/b", Some("pattern")),
        ("/org-7", Some("exact")),
        ("/org-77", Some("pattern")),
        ("/room-1", Some("second")),
        ("/room-", None),
        ("/room-12", None),
        ("/ORG-1", None),
        ("/xorg-1", None),
        ("/org", None),
        ("/room-é", Some("second")),
    ] {
        assert_eq!(
            answered_by(&gateway, namespace).await.as_deref(),
            expected,
            "{namespace}"
        );
    }
    gateway.reaches("roomcast_sockets{namespace=\"/org-*\"}", 0.0).await;
}

#[tokio::test]
async fn namespaces_of_one_pattern_are_apart() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/org-*\"\n").await;
    let mut one = Client::open(&gateway, Transport::WebSocket, 4).await;
    let mut two = Client::open(&gateway, Transport::WebSocket, 4).await;
    for (client, namespace) in [(&mut one, "/org-1"), (&mut two, "/org-2")] {
        client.enter(namespace).await;
        assert_eq!(client.ask(namespace, &json!(["join", "r"])).await[0]["ok"], true);
    }
    assert_eq!(one.ask("/org-1", &json!(["publish", "r", "x"])).await[0]["ok"], true);
    assert_eq!(two.ask("/org-2", &json!(["publish", "r", "y"])).await[0]["ok"], true);
    one.enter("/org-2").await;
    assert_eq!(one.ask("/org-2", &json!(["join", "r"])).await[0]["ok"], true);
    assert_eq!(
        one.ask("/org-2", &json!(["publish", "r", "marker"])).await[0]["ok"],
        true
    );
    let heard = two.packet().await;
    assert_eq!((heard.namespace.as_str(), heard.data), ("/org-2", json!(["marker"])));
    gateway.reaches("roomcast_sockets{namespace=\"/org-*\"}", 3.0).await;
}
