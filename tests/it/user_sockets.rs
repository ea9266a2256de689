//! `limits.sockets_per_user`: so many sockets of a user in a namespace, on all nodes, and never fewer.

use std::time::Instant;

use serde_json::json;

use crate::client::DEADLINE;
use crate::client::payload::SocketPacket;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::cluster_nodes::{self, gateways, sees};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;
use crate::tokens::{plain, verdict};

const LIMIT: &str = "rate_limited_total{limit=\"sockets_per_user\"}";

/// Namespaces with tokens and without, and so many sockets of a user in each.
fn namespaces(max: usize) -> String {
    format!(
        r#"
[limits]
sockets_per_user = {max}
[token]
secrets = ["a-secret-of-these-tests-0123456789-0123456789"]
[[namespace]]
name = "/"
auth = "token"
members_only = false
join = ["*"]
[[namespace]]
name = "/chat"
auth = "token"
[[namespace]]
name = "/open"
"#
    )
}

fn settings(redis: &TestRedis, heartbeat: &str, max: usize) -> String {
    cluster_nodes::settings(redis, heartbeat) + &namespaces(max)
}

/// A client of this user that has said that it wants to enter `/`.
async fn asks(gateway: &TestGateway, (transport, eio): (Transport, u8), user: &str) -> Client {
    let mut client = Client::open_with(gateway, transport, eio, &format!("&token={}", plain(user))).await;
    if eio == 4 {
        client.send("40").await;
    }
    client
}

const KIND: (Transport, u8) = (Transport::WebSocket, 4);

async fn enters(gateway: &TestGateway, user: &str) -> Client {
    let mut client = asks(gateway, KIND, user).await;
    let packet = verdict(&mut client, "/").await;
    assert_eq!(packet.kind, '0', "{packet:?}");
    client
}

async fn is_refused(gateway: &TestGateway, user: &str) {
    let mut client = asks(gateway, KIND, user).await;
    is_too_many(&verdict(&mut client, "/").await);
}

fn is_too_many(packet: &SocketPacket) {
    assert_eq!(
        (packet.kind, &packet.data),
        ('4', &json!({"message": "too many sockets"}))
    );
}

/// Tries until somebody leaves.
async fn enters_at_last(gateway: &TestGateway, user: &str) -> Client {
    let started = Instant::now();
    loop {
        let mut client = asks(gateway, KIND, user).await;
        if verdict(&mut client, "/").await.kind == '0' {
            return client;
        }
        assert!(started.elapsed() < DEADLINE, "there is no place for {user}");
    }
}

/// What Redis knows of a user in `/`: how many nodes have sockets, 0 where there is no key.
async fn nodes_of(redis: &TestRedis, user: &str, count: usize) {
    let key = format!("socket.io-roomcast:user:1:/:{user}");
    redis.shows(&["HLEN", &key], &format!(":{count}")).await;
}

#[tokio::test]
async fn alone_a_user_has_so_many_sockets_in_each_namespace() {
    let gateway = TestGateway::start(&namespaces(2)).await;
    for (number, kind) in EVERY_CLIENT.into_iter().enumerate() {
        let (alice, bob) = (format!("alice-{number}"), format!("bob-{number}"));
        let mut first = asks(&gateway, kind, &alice).await;
        assert_eq!(verdict(&mut first, "/").await.kind, '0');
        let mut second = asks(&gateway, kind, &alice).await;
        assert_eq!(verdict(&mut second, "/").await.kind, '0');
        let mut third = asks(&gateway, kind, &alice).await;
        let refused = verdict(&mut third, "/").await;
        let words = if kind.1 == 4 {
            json!({"message": "too many sockets"})
        } else {
            json!("too many sockets")
        };
        assert_eq!((refused.kind, refused.data), ('4', words), "{kind:?}");
        // Other users, other namespaces and those without users are counted by themselves.
        assert_eq!(third.enter("/chat").await.kind, '0', "{kind:?}");
        assert_eq!(third.enter("/open").await.kind, '0', "{kind:?}");
        enters(&gateway, &bob).await;
        // Who leaves gives its place back; who asked too early may ask again.
        first.send("41").await;
        enters_at_last(&gateway, &alice).await;
    }
    assert!(gateway.metric(&format!("roomcast_{LIMIT}")).await >= Some(4.0));
}

#[tokio::test]
async fn on_all_nodes_together_and_places_are_given_back() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "100ms", 2)).await;
    let here = enters(&gateways[0], "alice").await;
    let there = enters(&gateways[1], "alice").await;
    nodes_of(&redis, "alice", 2).await;
    for gateway in &gateways {
        is_refused(gateway, "alice").await;
        gateway.has_limited("sockets_per_user", 1.0).await;
    }
    enters(&gateways[0], "bob").await;
    drop(here);
    let here = enters_at_last(&gateways[1], "alice").await;
    drop((here, there));
    nodes_of(&redis, "alice", 0).await;
}

#[tokio::test]
async fn of_those_who_come_at_once_exactly_as_many_get_in() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "100ms", 3)).await;
    for round in 0..5 {
        let user = format!("user-{round}");
        let mut clients = Vec::new();
        for number in 0..8 {
            let query = format!("&token={}", plain(&user));
            clients.push(Client::open_with(&gateways[number % 2], KIND.0, KIND.1, &query).await);
        }
        for client in &mut clients {
            client.send("40").await;
        }
        let mut entered = 0;
        for client in &mut clients {
            let packet = verdict(client, "/").await;
            if packet.kind == '0' {
                entered += 1;
            } else {
                is_too_many(&packet);
            }
        }
        assert_eq!(entered, 3, "{user}");
    }
}

#[tokio::test]
async fn sockets_of_a_node_that_died_count_no_longer_and_nobody_is_sent_away_because_of_them() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "200ms", 1);
    let gateway = TestGateway::start(&settings).await;
    let (process, killed) = Observed::start("user-sockets-killed", &settings, "text").await;
    sees(&gateway, 2).await;
    let _lost = enters(&killed, "alice").await;
    is_refused(&gateway, "alice").await;
    drop(process);
    // It comes here before anybody can know that the other node is dead, and is let in as soon as that is known.
    enters(&gateway, "alice").await;
    sees(&gateway, 1).await;
}

#[tokio::test]
async fn what_redis_forgot_is_written_again() {
    let mut redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "100ms", 1)).await;
    let _alice = enters(&gateways[0], "alice").await;
    // Also where the connections stay.
    redis.command(&["FLUSHALL"]).await;
    nodes_of(&redis, "alice", 1).await;
    is_refused(&gateways[1], "alice").await;
    // One that left meanwhile is not written again.
    let bob = enters(&gateways[0], "bob").await;
    redis.kill().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    drop(bob);
    redis.start_again().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await; // until then each counts its own
    }
    nodes_of(&redis, "alice", 1).await;
    is_refused(&gateways[1], "alice").await;
    enters_at_last(&gateways[1], "bob").await;
}

#[tokio::test]
async fn without_redis_each_node_counts_its_own() {
    let mut redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "100ms", 1)).await;
    let mut clients = vec![enters(&gateways[0], "alice").await];
    redis.kill().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    is_refused(&gateways[0], "alice").await;
    clients.push(enters(&gateways[1], "alice").await);
    is_refused(&gateways[1], "alice").await;
    redis.start_again().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await;
    }
    // Both stay, though they are too many; the next is refused.
    nodes_of(&redis, "alice", 2).await;
    for client in &mut clients {
        client.does(json!(["join", "r"])).await;
    }
    is_refused(&gateways[0], "alice").await;
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis, "100ms", 1)).await;
    let _first = enters(&gateway, "alice").await;
    redis.hang().await;
    let _second = enters(&gateway, "bob").await;
    is_refused(&gateway, "bob").await;
    redis.wake().await;
    nodes_of(&redis, "bob", 1).await;
}

#[tokio::test]
async fn a_redis_that_does_not_count_leaves_it_to_each_node() {
    let redis = TestRedis::start_with(&["--rename-command", "EVAL", ""]).await;
    let (process, gateway) = Observed::start("user-sockets-no-eval", &settings(&redis, "100ms", 1), "text").await;
    let _first = enters(&gateway, "alice").await;
    is_refused(&gateway, "alice").await;
    process.line_with("Redis does not count users' sockets").await;
}

#[tokio::test]
async fn who_comes_and_goes_in_crowds_costs_redis_a_command_each_and_no_more() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis, "200ms", 2)).await;
    let mut clients = Vec::new();
    for number in 0..200 {
        clients.push(enters(&gateway, &format!("user-{}", number / 2)).await);
    }
    nodes_of(&redis, "user-99", 1).await;
    drop(clients);
    let script = "return #redis.call('KEYS', 'socket.io-roomcast:user:*')";
    redis.shows(&["EVAL", script, "0"], ":0").await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    let statistics = redis.command(&["INFO", "commandstats"]).await;
    let calls = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_hgetall:calls="));
    let calls: u32 = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((300..=400).contains(&calls), "{calls} for 200 sockets of 100 users");
}
