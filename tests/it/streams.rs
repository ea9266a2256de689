//! The action `stream`: events go into a stream of Redis, in order, and are answered when they are there.

use serde_json::{Value, json};

use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::cluster_nodes;
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;
use crate::tokens::plain;

fn settings(redis: &TestRedis) -> String {
    cluster_nodes::settings(redis, "200ms")
        + r#"
[token]
secrets = ["a-secret-of-these-tests-0123456789-0123456789"]
[[namespace]]
name = "/"
rooms = ["lobby"]
[[namespace.event]]
name = "order*"
action = "stream"
stream = "the orders"
[[namespace.event]]
name = "other"
action = "stream"
stream = "others"
[[namespace]]
name = "/users"
auth = "token"
[[namespace.event]]
name = "order"
action = "stream"
stream = "the orders"
"#
}

/// All entries of a stream, each with its one field.
async fn entries(redis: &TestRedis, stream: &str) -> Vec<Value> {
    let script = "local all = redis.call('XRANGE', KEYS[1], '-', '+')
        local out = {}
        for i, entry in ipairs(all) do assert(#entry[2] == 2 and entry[2][1] == 'event'); out[i] = entry[2][2] end
        return '[' .. table.concat(out, ',') .. ']'";
    let all = redis.command(&["EVAL", script, "1", stream]).await;
    serde_json::from_str(&all).unwrap_or_else(|error| panic!("{error}: {all}"))
}

async fn has_entries(redis: &TestRedis, stream: &str, count: usize) {
    redis.shows(&["XLEN", stream], &format!(":{count}")).await;
}

const UNAVAILABLE: &str = "unavailable";

#[tokio::test]
async fn an_entry_is_the_event_as_webhooks_have_it() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis)).await;
    for (number, (transport, eio)) in EVERY_CLIENT.into_iter().enumerate() {
        let mut client = Client::open_with(
            &gateway,
            transport,
            eio,
            &format!("&from=query&token={}", plain("alice")),
        )
        .await;
        client.enter("/").await;
        assert_eq!(
            client.call(json!(["order", 1.5, {"a": [null]}])).await,
            json!({"ok": true})
        );
        let entry = entries(&redis, "the orders").await.pop().unwrap();
        let socket = &entry["socket"];
        let expected = json!({
            "type": "event", "node": &client.sid[..4], "namespace": "/", "event": "order", "args": [1.5, {"a": [null]}],
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&entry[key], value, "{entry}");
        }
        assert_eq!(entry["id"].as_str().unwrap().len(), 20, "{entry}");
        assert!(entry["time"].as_str().unwrap().ends_with('Z'), "{entry}");
        let transport = if transport == Transport::WebSocket {
            "websocket"
        } else {
            "polling"
        };
        assert_eq!(
            (
                &socket["user"],
                &socket["rooms"],
                &socket["address"],
                &socket["protocol"],
                &socket["transport"]
            ),
            (
                &Value::Null,
                &json!(["lobby"]),
                &json!("127.0.0.1"),
                &json!(eio),
                &json!(transport)
            ),
            "{entry}"
        );
        assert_eq!(socket["query"]["from"], "query", "{entry}");
        let users = format!("40/users,{}", json!({"token": plain("alice"), "n": 1}));
        if eio == 4 {
            client.send(&users).await;
            client
                .find(|packet| packet.kind == '0' && packet.namespace == "/users")
                .await;
            assert_eq!(client.ask("/users", &json!(["order"])).await, json!([{"ok": true}]));
            let entry = entries(&redis, "the orders").await.pop().unwrap();
            assert_eq!((&entry["namespace"], &entry["args"]), (&json!("/users"), &json!([])));
            assert_eq!(
                (&entry["socket"]["user"], &entry["socket"]["auth"]["n"]),
                (&json!("alice"), &json!(1))
            );
        }
        let series = "roomcast_event_duration_seconds_count{action=\"stream\"}";
        assert!(gateway.metric(series).await >= Some((number + 1) as f64));
    }
}

#[tokio::test]
async fn binary_is_written_in_its_place() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis)).await;
    let mut client = Client::new(&gateway).await;
    let header = r#"451-7["order",{"picture":{"_placeholder":true,"num":0}}]"#;
    client
        .send_packets(&[Packet::Text(header.into()), Packet::Binary(b"\x00\xff".to_vec())])
        .await;
    client.find(|packet| packet.kind == '3' && packet.id == Some(7)).await;
    let entry = entries(&redis, "the orders").await.pop().unwrap();
    assert_eq!(entry["args"], json!([{"picture": {"$binary": "AP8="}}]));
}

#[tokio::test]
async fn events_come_in_their_order_and_the_last_words_of_who_leaves_too() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis)).await;
    for (wants_acks, goodbye) in [(true, None), (false, Some("41")), (false, Some(""))] {
        let mut client = Client::new(&gateway).await;
        for number in 0..500 {
            let is_asked = wants_acks && number % 7 == 0;
            let ack = if is_asked { number.to_string() } else { String::new() };
            client.send(&format!("42{ack}[\"order-{number}\",{number}]")).await;
        }
        let mut client = Some(client);
        if let Some(goodbye) = goodbye {
            // It has nothing left to read, so its last bytes are not lost on the way.
            let mut leaving = client.take().unwrap();
            if !goodbye.is_empty() {
                leaving.send(goodbye).await;
            }
        }
        has_entries(&redis, "the orders", 500).await;
        let all = entries(&redis, "the orders").await;
        assert!(
            all.iter()
                .enumerate()
                .all(|(number, entry)| entry["args"] == json!([number]))
        );
        assert!(all.iter().all(|entry| entry["socket"]["id"] == all[0]["socket"]["id"]));
        redis.command(&["DEL", "the orders"]).await;
    }
}

#[tokio::test]
async fn old_entries_make_room() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis)).await;
    let fill = "for i = 1, 100500 do redis.call('XADD', KEYS[1], '*', 'event', '{}') end return 1";
    redis.command(&["EVAL", fill, "1", "others"]).await;
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.call(json!(["other", 1])).await, json!({"ok": true}));
    let length = redis.command(&["XLEN", "others"]).await;
    let length: usize = length.trim_start_matches(':').parse().unwrap();
    assert!((100_000..100_200).contains(&length), "{length}");
}

#[tokio::test]
async fn without_redis_events_are_refused_and_nobody_waits_for_ever() {
    let mut redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis)).await;
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.call(json!(["order", 1])).await, json!({"ok": true}));
    redis.kill().await;
    client.is_refused(json!(["order", 2]), UNAVAILABLE, "Redis").await;
    gateway.reaches("roomcast_relay_up", 0.0).await;
    client.is_refused(json!(["order", 3]), UNAVAILABLE, "Redis").await;
    redis.start_again().await;
    gateway.reaches("roomcast_relay_up", 1.0).await;
    assert_eq!(client.call(json!(["order", 4])).await, json!({"ok": true}));
    redis.hang().await;
    client.is_refused(json!(["order", 5]), UNAVAILABLE, "Redis").await;
    redis.wake().await;
    gateway.reaches("roomcast_relay_up", 1.0).await;
    assert_eq!(client.call(json!(["order", 6])).await, json!({"ok": true}));
    // What Redis was told while it hung it may have done when it woke; nothing else has come by itself.
    let mut all: Vec<_> = entries(&redis, "the orders").await;
    all.retain(|entry| entry["args"] != json!([5]));
    let all: Vec<_> = all.iter().map(|entry| entry["args"][0].clone()).collect();
    assert_eq!(all, [json!(4), json!(6)]);
}

#[tokio::test]
async fn what_redis_refuses_is_refused_and_told() {
    let redis = TestRedis::start().await;
    let (process, gateway) = Observed::start("streams-refused", &settings(&redis), "text").await;
    redis.command(&["SET", "the orders", "a text"]).await;
    let mut client = Client::new(&gateway).await;
    client.is_refused(json!(["order", 1]), UNAVAILABLE, "Redis").await;
    process.line_with("Redis refuses to append to a stream").await;
    assert_eq!(client.call(json!(["other", 1])).await, json!({"ok": true}));
    redis.command(&["DEL", "the orders"]).await;
    assert_eq!(client.call(json!(["order", 1])).await, json!({"ok": true}));
}
