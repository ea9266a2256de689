//! The end of a token: what its socket hears, what it may still do, and a new one.

use std::time::Duration;

use serde_json::json;

use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;
use crate::tokens::{SETTINGS, now, plain, room_names, signed, token, user, verdict};

#[tokio::test]
async fn a_socket_whose_token_is_over_hears_and_may_refresh() {
    let gateway = TestGateway::start(SETTINGS).await;
    let mut other = user(&gateway, EVERY_CLIENT[0], &plain("bob")).await;
    other.does(json!(["join", "open-1"])).await;
    for kind in EVERY_CLIENT {
        let short =
            signed(&json!({"sub": "alice", "exp": now() + 2, "roomcast": {"join": ["vip-1"], "publish": ["x"]}}));
        let mut client = user(&gateway, kind, &short).await;
        client.does(json!(["join", ["open-1", "vip-1"]])).await;
        client.hears(json!(["expired", {}])).await;
        for event in [
            json!(["join", "open-2"]),
            json!(["publish", "open-1", "x"]),
            json!(["unknown"]),
            json!(["members", "open-1"]),
        ] {
            client.is_refused(event, "expired", "refresh").await;
        }
        other.does(json!(["publish", "open-1", "still"])).await;
        let heard = client
            .find(|packet| packet.kind == '2' && packet.data[0] == "still")
            .await;
        assert_eq!(heard.data[1]["user"], "bob");
        // Others' tokens, bad ones, and what is none.
        for (bad, code) in [
            (json!(["refresh", plain("bob")]), "forbidden"),
            (json!(["refresh", short]), "forbidden"),
            (json!(["refresh", "x"]), "forbidden"),
            (
                json!(["refresh", token("alice", &json!({"namespaces": ["/chat"]}))]),
                "forbidden",
            ),
            (json!(["refresh"]), "bad_request"),
            (json!(["refresh", {"token": 1}]), "bad_request"),
        ] {
            client.is_refused(bad, code, "token").await;
        }
        client.is_refused(json!(["join", "open-2"]), "expired", "refresh").await;
        let expires = now() + 60;
        let new = signed(&json!({"sub": "alice", "exp": expires, "roomcast": {"rooms": ["new"], "join": ["vip-2"]}}));
        let answer = client.does(json!(["refresh", new])).await;
        assert_eq!(answer, json!({"ok": true, "expires": expires}));
        assert_eq!(
            room_names(&mut client).await,
            ["user:alice", "open-1", "vip-1", "new"],
            "rooms stay"
        );
        client.does(json!(["join", "vip-2"])).await;
        client.does(json!(["leave", "vip-1"])).await;
        client.is_refused(json!(["join", "vip-1"]), "forbidden", "vip-1").await;
    }
}

/// Lets time pass for everybody in this process.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_socket_that_does_not_refresh_is_put_out() {
    let gateway = TestGateway::start(&format!("engine.ping_interval = \"1h\"\n{SETTINGS}")).await;
    let mut stays = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    stays.send("40/open,").await;
    assert_eq!(verdict(&mut stays, "/open").await.kind, '0');
    let mut renews = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    let mut goes = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    let mut old = user(&gateway, EVERY_CLIENT[2], &plain("alice")).await;
    later(61).await;
    for client in [&mut stays, &mut renews, &mut goes, &mut old] {
        let expired = client
            .find(|packet| packet.kind == '2' && packet.data[0] == "expired")
            .await;
        assert_eq!(expired.data, json!(["expired", {}]));
    }
    renews
        .does(json!(["refresh", signed(&json!({"sub": "alice", "exp": now() + 600}))]))
        .await;
    later(20).await;
    for client in [&mut stays, &mut goes, &mut old] {
        client.is_refused(json!(["join", "open-1"]), "expired", "refresh").await;
    }
    later(10).await;
    for client in [&mut goes, &mut old] {
        client
            .find(|packet| packet.kind == '1' && packet.namespace == "/")
            .await;
        client.is_closed().await;
    }
    // Where it is in another namespace, it loses the one.
    stays.find(|packet| packet.kind == '1' && packet.namespace == "/").await;
    assert_eq!(stays.ask("/open", &json!(["join", "x"])).await[0]["ok"], true);
    stays.send(&format!("40{}", json!({ "token": plain("alice") }))).await;
    assert_eq!(verdict(&mut stays, "/").await.kind, '0', "it may come back");
    renews.does(json!(["join", "open-1"])).await;
    gateway.has_ended("token_expired", 2.0).await;
}

#[tokio::test]
async fn where_tokens_are_not_read_there_is_nothing_to_refresh() {
    let gateway = TestGateway::start(SETTINGS).await;
    let mut client = Client::open(&gateway, Transport::WebSocket, 4).await;
    client.send("40/open,").await;
    assert_eq!(verdict(&mut client, "/open").await.kind, '0');
    let answer = client.ask("/open", &json!(["refresh", plain("alice")])).await;
    assert_eq!(answer[0]["error"], "no_rule");
}

#[tokio::test]
async fn the_time_of_a_token_counts_for_its_own_namespace() {
    let gateway = TestGateway::start(SETTINGS).await;
    let short = signed(&json!({"sub": "alice", "exp": now() + 1}));
    let mut client = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    client.send(&format!("40/chat,{}", json!({ "token": short }))).await;
    assert_eq!(verdict(&mut client, "/chat").await.kind, '0');
    client.send("40/open,").await;
    assert_eq!(verdict(&mut client, "/open").await.kind, '0');
    let expired = client.find(|packet| packet.kind == '2').await;
    assert_eq!(
        (expired.namespace.as_str(), expired.data),
        ("/chat", json!(["expired", {}]))
    );
    client.does(json!(["join", "open-1"])).await;
    assert_eq!(client.ask("/chat", &json!(["x"])).await[0]["error"], "expired");
    assert_eq!(client.ask("/open", &json!(["join", "x"])).await[0]["ok"], true);
}
