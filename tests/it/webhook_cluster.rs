//! Webhooks where there are several gateways: each tells of its own sockets, and answers reach all.

use serde_json::json;

use crate::backend::{Backend, Reply, settings};
use crate::client::socket::{Client, Transport};
use crate::cluster_nodes::gateways;
use crate::redis_server::TestRedis;

const NAMESPACE: &str = "[[namespace]]\nname = \"/\"\nauth = \"webhook\"\notherwise = \"webhook\"\n";

#[tokio::test]
async fn answers_reach_sockets_of_other_gateways_whose_own_gateway_tells_of_them() {
    let redis = TestRedis::start().await;
    let mut backend = Backend::start(|call| match call.body["event"].as_str() {
        None => Reply::Json(json!({"user": call.body["socket"]["auth"]["name"]})),
        Some(_) => Reply::Json(json!({"ack": ["done"], "actions": [
            {"join": {"user": "alice", "join": ["x"]}},
            {"emit": {"rooms": ["x"], "event": "hi", "args": [1]}},
            {"emit": {"event": "you", "args": []}},
            {"leave": {"user": "alice", "leave": ["x"]}},
            {"disconnect": {"user": "alice"}},
        ]})),
    })
    .await;
    let events = "events = [\"connect\", \"event\", \"join\", \"leave\", \"disconnect\"]";
    let text = format!("cluster.redis = \"{}\"\n", redis.url()) + &settings(backend.address, events) + NAMESPACE;
    let gateways = gateways(2, &text).await;
    let mut clients = Vec::new();
    for (gateway, name) in gateways.iter().zip(["alice", "bob"]) {
        let mut client = Client::open(gateway, Transport::WebSocket, 4).await;
        client.send(&format!("40{}", json!({ "name": name }))).await;
        assert_eq!(client.packet().await.kind, '0');
        assert_eq!(backend.next().await.kind(), "connect");
        clients.push(client);
    }
    let [alice, bob] = &mut clients[..] else {
        panic!("two clients")
    };
    bob.send("420[\"move\"]").await;
    alice.hears(json!(["hi", 1])).await;
    assert_eq!(alice.packet().await.kind, '1');
    let first = bob.packet().await;
    let second = bob.packet().await;
    let mut heard = [first, second].map(|packet| packet.data.to_string());
    heard.sort();
    assert_eq!(heard, ["[\"done\"]", "[\"you\"]"]);
    assert_eq!(backend.next().await.kind(), "event");
    let node = clients[0].sid[..4].to_owned();
    for (kind, rooms, is_in) in [
        ("join", json!(["x"]), json!(["x"])),
        ("leave", json!(["x"]), json!([])),
        ("disconnect", json!(null), json!([])),
    ] {
        let call = backend.next().await;
        assert_eq!((call.kind(), &call.body["rooms"]), (kind, &rooms));
        assert_eq!(
            (&call.body["socket"]["user"], &call.body["socket"]["rooms"]),
            (&json!("alice"), &is_in)
        );
        assert_eq!(call.body["node"], node);
    }
    backend.is_left_alone();
}
