//! Redis goes away, hangs, comes back, or says no. Clients stay, nothing comes twice, and all flows again by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::client::http::Request;
use crate::client::socket::{Client, Transport};
use crate::client::{LOOK_AGAIN, within};
use crate::cluster::{Fleet, gateway};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::{TestRedis, TestSentinels};

/// A member of `r` on each gateway.
async fn members(gateways: &[TestGateway]) -> Vec<Client> {
    let mut members = Vec::new();
    for gateway in gateways {
        let mut client = Client::new(gateway).await;
        client.does(json!(["join", "r"])).await;
        members.push(client);
    }
    members
}

/// Publishes markers on one node until one is heard on the other, and says how long that took. Everything else that is
/// heard meanwhile comes back as well.
async fn flows(from: &mut Client, to: &mut Client) -> Duration {
    let started = Instant::now();
    for number in 0_u64.. {
        from.does(json!(["publish", "r", "marker", number])).await;
        let heard = tokio::time::timeout(LOOK_AGAIN, to.event()).await;
        if heard.is_ok_and(|event| event[0] == "marker") {
            // Those that come late are not for the next question.
            from.does(json!(["publish", "r", "end"])).await;
            within(async { while to.event().await != json!(["end"]) {} }).await;
            return started.elapsed();
        }
    }
    unreachable!()
}

async fn is_local(client: &mut Client, event: Value) {
    assert_eq!(client.does(event).await, json!({"ok": true, "local": true}));
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_empty() {
    let mut fleet = Fleet::start(2, "").await;
    let mut all = members(&fleet.gateways).await;
    let mut near = Client::new(&fleet.gateways[0]).await;
    near.does(json!(["join", "r"])).await;
    fleet.redis.kill().await;
    for gateway in &fleet.gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
        assert_eq!(
            gateway.admin_get("/readyz").await.json(),
            json!({"ready": true, "degraded": ["redis"]})
        );
    }
    for number in 0..20 {
        is_local(&mut all[0], json!(["publish", "r", "alone", number])).await;
        near.hears(json!(["alone", number])).await;
    }
    // Joins are answered at once, and their subscription follows.
    let mut late = Client::new(&fleet.gateways[1]).await;
    late.does(json!(["join", "r"])).await;
    fleet.redis.start_again().await;
    for gateway in &fleet.gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await;
        assert_eq!(gateway.metric("roomcast_relay_gaps_total").await, Some(1.0));
        assert!(gateway.metric("roomcast_relay_gap_seconds_total").await > Some(0.0));
        assert_eq!(gateway.metric("roomcast_relay_reconnects_total").await, Some(1.0));
    }
    all[0].does(json!(["publish", "r", "together"])).await;
    all[1].hears(json!(["together"])).await; // and nothing of what was published meanwhile
    late.hears(json!(["together"])).await;
    near.hears(json!(["together"])).await;
    for gateway in &fleet.gateways {
        assert_eq!(
            gateway
                .metric("roomcast_disconnects_total{reason=\"transport_closed\"}")
                .await,
            Some(0.0)
        );
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_found_and_nothing_comes_twice() {
    let fleet = Fleet::start(2, "").await;
    let mut all = members(&fleet.gateways).await;
    let mut near = Client::new(&fleet.gateways[0]).await;
    near.does(json!(["join", "r"])).await;
    fleet.redis.hang().await;
    let started = Instant::now();
    // Published into the void: no answer comes before the node has given up on Redis.
    for number in 0..50 {
        all[0]
            .send(&format!("42{}", json!(["publish", "r", "void", number])))
            .await;
    }
    for number in 0..50 {
        near.hears(json!(["void", number])).await;
    }
    let found = started.elapsed();
    is_local(&mut all[0], json!(["publish", "r", "alone"])).await;
    near.hears(json!(["alone"])).await;
    for gateway in &fleet.gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    eprintln!(
        "hung Redis: delivered after {found:?}, all found after {:?}",
        started.elapsed()
    );
    fleet.redis.wake().await;
    for gateway in &fleet.gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await;
    }
    all[0].does(json!(["publish", "r", "together"])).await;
    near.hears(json!(["together"])).await; // late echoes of the others were dropped
    within(async { while all[1].event().await != json!(["together"]) {} }).await;
    assert!(fleet.gateways[0].metric("roomcast_relay_lost_total").await >= Some(50.0));
}

#[tokio::test]
async fn an_idle_node_finds_a_redis_that_hangs() {
    let fleet = Fleet::start(1, "").await;
    fleet.redis.hang().await;
    let started = Instant::now();
    fleet.gateways[0].reaches("roomcast_relay_up", 0.0).await;
    eprintln!("hung Redis: found by an idle node after {:?}", started.elapsed());
    fleet.redis.wake().await;
    fleet.gateways[0].reaches("roomcast_relay_up", 1.0).await;
}

#[tokio::test]
async fn a_subscription_that_redis_cuts_is_made_again() {
    let fleet = Fleet::start(2, "").await;
    let mut all = members(&fleet.gateways).await;
    let (first, rest) = all.split_at_mut(1);
    for _ in 0..3 {
        for gateway in &fleet.gateways {
            gateway.reaches("roomcast_relay_up", 1.0).await;
        }
        // What Redis does to a subscriber that does not take what it is sent.
        let cut = fleet.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(cut, ":2");
        let took = flows(&mut first[0], &mut rest[0]).await;
        eprintln!("cut subscription: flows again after {took:?}");
    }
    for gateway in &fleet.gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await;
        assert_eq!(gateway.metric("roomcast_relay_gaps_total").await, Some(3.0));
    }
}

#[tokio::test]
async fn a_publisher_that_redis_cuts_comes_back() {
    let fleet = Fleet::start(2, "").await;
    let mut all = members(&fleet.gateways).await;
    let (first, rest) = all.split_at_mut(1);
    fleet.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    flows(&mut first[0], &mut rest[0]).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_the_start_is_joined_when_it_comes() {
    let mut redis = TestRedis::down().await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(TestGateway::start(&format!("cluster.redis = \"{}\"\n", redis.url())).await);
    }
    assert_eq!(gateways[0].admin_get("/livez").await.status, 200);
    let mut all = members(&gateways).await;
    is_local(&mut all[0], json!(["publish", "r", "alone"])).await;
    redis.start_again().await;
    let (first, rest) = all.split_at_mut(1);
    let took = flows(&mut first[0], &mut rest[0]).await;
    eprintln!("Redis at last: flows after {took:?}");
}

#[tokio::test]
async fn without_redis_a_node_that_needs_it_refuses_new_clients_and_keeps_the_old() {
    let mut fleet = Fleet::start(1, "cluster.serve_without_redis = false\n").await;
    let gateway = &fleet.gateways[0];
    let mut client = members(&fleet.gateways).await.remove(0);
    let mut near = members(&fleet.gateways).await.remove(0);
    fleet.redis.kill().await;
    gateway.reaches("roomcast_relay_up", 0.0).await;
    client
        .is_refused(json!(["publish", "r", "never"]), "unavailable", "Redis")
        .await;
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (503, json!({"ready": false, "reasons": ["redis"]}))
    );
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    within(async {
        while crate::client::http::request(gateway.address, &handshake).await.status != 503 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    fleet.redis.start_again().await;
    gateway.reaches("roomcast_relay_up", 1.0).await;
    client.does(json!(["publish", "r", "again"])).await;
    near.hears(json!(["again"])).await;
    within(async {
        while crate::client::http::request(gateway.address, &handshake).await.status != 200 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

#[tokio::test]
async fn rooms_that_redis_does_not_let_us_hear_are_not_joined() {
    let rules = [
        "--user",
        "default",
        "on",
        "nopass",
        "~*",
        "resetchannels",
        "&socket.io*",
        "+@all",
    ];
    let redis = TestRedis::start_with(&rules).await;
    let gateway = gateway(&redis, "").await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "open"])).await;
    let narrowed = [
        "ACL",
        "SETUSER",
        "default",
        "resetchannels",
        "&socket.io#/#",
        "&socket.io#/#open#",
        "&socket.io-*",
    ];
    // A user's open connections are cut where they hear more than they may.
    assert_eq!(redis.command(&narrowed).await, "+OK");
    gateway.reaches("roomcast_relay_reconnects_total", 1.0).await;
    within(async {
        loop {
            let answer = client.call(json!(["join", "closed"])).await;
            if answer["error"] == "unavailable" {
                assert!(answer["message"].as_str().unwrap().contains("\"closed\""), "{answer}");
                return;
            }
            client.does(json!(["leave", "closed"])).await;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let answer = client.does(json!(["join", "open"])).await;
    assert_eq!(answer["rooms"], json!(["open"]));
}

#[tokio::test]
async fn a_failover_of_sentinel_is_followed() {
    let mut service = TestSentinels::start().await;
    let settings = format!("cluster.redis = \"{}\"\n", service.url());
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let gateway = TestGateway::start(&settings).await;
        gateway.reaches("roomcast_relay_up", 1.0).await;
        gateways.push(gateway);
    }
    let mut all = members(&gateways).await;
    let (first, rest) = all.split_at_mut(1);
    flows(&mut first[0], &mut rest[0]).await;
    service.primary.kill().await;
    let took = flows(&mut first[0], &mut rest[0]).await;
    eprintln!("failover: flows again after {took:?}");
}

#[tokio::test]
async fn events_behind_a_join_wait_for_it_and_other_sockets_do_not() {
    let fleet = Fleet::start(1, "").await;
    let mut client = Client::join(&fleet.gateways[0], Transport::WebSocket, 4).await;
    let mut other = members(&fleet.gateways).await.remove(0);
    fleet.redis.hang().await;
    for text in [
        r#"421["join","slow"]"#,
        r#"422["publish","slow","after the join"]"#,
        r#"423["leave","slow"]"#,
    ] {
        client.send(text).await;
    }
    other.does(json!(["members", "r"])).await; // answered by this node, whatever Redis does
    let mut answered = Vec::new();
    for _ in 0..3 {
        let answer = client.packet().await;
        assert_eq!(answer.data[0]["ok"], true, "{}", answer.data);
        answered.extend(answer.id);
    }
    assert_eq!(
        answered[0], 1,
        "the join first; what came of the publishing is known when it is known"
    );
    fleet.redis.wake().await;
}

#[tokio::test]
async fn a_slow_redis_slows_and_loses_nothing() {
    let redis = TestRedis::start().await;
    let way = Bridge::slow(redis.port, Duration::from_millis(200)).await;
    let slow = TestGateway::start(&format!("cluster.redis = \"redis://{}\"\n", way.address)).await;
    slow.reaches("roomcast_relay_up", 1.0).await;
    let gateways = [slow, gateway(&redis, "").await];
    let mut all = members(&gateways).await;
    let (first, rest) = all.split_at_mut(1);
    let (slow, near) = (&mut first[0], &mut rest[0]);
    for number in 0..200 {
        slow.send(&format!("42{}", json!(["publish", "r", "from afar", number])))
            .await;
        near.send(&format!("42{}", json!(["publish", "r", "to afar", number])))
            .await;
    }
    for number in 0..200 {
        near.hears(json!(["from afar", number])).await;
        slow.hears(json!(["to afar", number])).await;
    }
    assert_eq!(slow.does(json!(["publish", "r", "last"])).await, json!({"ok": true}));
    near.hears(json!(["last"])).await;
}

#[tokio::test]
async fn a_node_that_does_not_read_is_cut_off_by_redis_and_comes_back() {
    let redis = TestRedis::start_with(&["--client-output-buffer-limit", "pubsub", "1mb", "256kb", "5"]).await;
    let near = gateway(&redis, "").await;
    let settings = format!("[cluster]\nredis = \"{}\"\n", redis.url());
    let (process, hung) = Observed::start("cluster-cut-off", &settings, "text").await;
    hung.reaches("roomcast_relay_up", 1.0).await;
    let gateways = [near, hung];
    let mut all = members(&gateways).await;
    let (first, rest) = all.split_at_mut(1);
    process.signal("-STOP").await;
    let large = "x".repeat(100_000);
    for _ in 0..300 {
        // More than the system's buffers hold, and what Redis keeps for one who does not read.
        first[0].does(json!(["publish", "r", "large", large])).await;
    }
    process.signal("-CONT").await;
    gateways[1].reaches("roomcast_relay_reconnects_total", 1.0).await;
    flows(&mut first[0], &mut rest[0]).await;
    gateways[1].reaches("roomcast_relay_gaps_total", 1.0).await;
}
