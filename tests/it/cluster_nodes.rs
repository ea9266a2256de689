//! Gateways on one Redis know of each other: who comes, who goes, who dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::LOOK_AGAIN;
use crate::client::socket::Client;
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;

/// What keys of claims begin with.
const CLAIM: &str = "socket.io-roomcast:node:";

/// Settings of a gateway on this Redis with this time between heartbeats; `[[namespace]]` may follow.
pub(crate) fn settings(redis: &TestRedis, heartbeat: &str) -> String {
    format!(
        "drain.delay = \"0s\"\ndrain.spread = \"0s\"\n[cluster]\nlisten = \"127.0.0.1:0\"\nredis = \"{}\"\nheartbeat = \"{heartbeat}\"\nrequest_timeout = \"2s\"\n",
        redis.url()
    )
}

/// So many gateways, once all know of all.
pub(crate) async fn gateways(count: usize, settings: &str) -> Vec<TestGateway> {
    let mut gateways = Vec::new();
    for _ in 0..count {
        gateways.push(TestGateway::start(settings).await);
    }
    for gateway in &gateways {
        sees(gateway, count).await;
    }
    gateways
}

/// Waits until a gateway knows of so many, itself included.
pub(crate) async fn sees(gateway: &TestGateway, count: usize) {
    gateway.reaches("roomcast_cluster_nodes", count as f64).await;
}

/// What the ids of a gateway begin with.
pub(crate) async fn tag(gateway: &TestGateway) -> String {
    Client::new(gateway).await.sid[..4].to_owned()
}

#[tokio::test]
async fn a_gateway_alone_is_one() {
    let gateway = TestGateway::plain().await;
    sees(&gateway, 1).await;
    for result in ["complete", "partial", "rate_limited"] {
        let series = format!("roomcast_cluster_requests_total{{type=\"members\",result=\"{result}\"}}");
        assert_eq!(gateway.metric(&series).await, Some(0.0), "{series}");
    }
}

#[tokio::test]
async fn all_know_of_all_without_waiting_for_a_heartbeat() {
    let redis = TestRedis::start().await;
    let mut gateways = gateways(3, &settings(&redis, "1m")).await;
    let stranger = settings(&redis, "1m").replace("[cluster]\n", "[cluster]\nprefix = \"other\"\n");
    let stranger = TestGateway::start(&stranger).await;
    sees(&stranger, 1).await;
    // A clean stop is told, and the tag is free.
    let mut leaving = gateways.pop().unwrap();
    let key = format!("{CLAIM}{}", tag(&leaving).await);
    assert_eq!(redis.command(&["EXISTS", &key]).await, ":1");
    leaving.stop();
    leaving.ended().await;
    assert_eq!(redis.command(&["EXISTS", &key]).await, ":0");
    for gateway in &gateways {
        sees(gateway, 2).await;
    }
}

#[tokio::test]
async fn a_gateway_that_is_killed_is_missed_and_its_tag_lapses() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "200ms");
    let gateways = gateways(2, &settings).await;
    let (process, killed) = Observed::start("cluster-killed", &settings, "text").await;
    for gateway in &gateways {
        sees(gateway, 3).await;
    }
    let key = format!("{CLAIM}{}", tag(&killed).await);
    drop(process);
    for gateway in &gateways {
        sees(gateway, 2).await;
    }
    redis.shows(&["EXISTS", &key], ":0").await;
}

#[tokio::test]
async fn one_that_hung_is_missed_and_comes_back() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "100ms");
    let gateway = TestGateway::start(&settings).await;
    let (process, _) = Observed::start("cluster-hung", &settings, "text").await;
    sees(&gateway, 2).await;
    process.signal("-STOP").await;
    sees(&gateway, 1).await;
    process.signal("-CONT").await;
    sees(&gateway, 2).await;
}

#[tokio::test]
async fn a_claim_that_redis_lost_is_made_again() {
    let redis = TestRedis::start().await;
    let gateway = TestGateway::start(&settings(&redis, "100ms")).await;
    let key = format!("{CLAIM}{}", tag(&gateway).await);
    redis.command(&["FLUSHALL"]).await;
    redis.shows(&["EXISTS", &key], ":1").await;
}

#[tokio::test]
async fn a_tag_that_another_gateway_has_is_told_and_not_taken_from_it() {
    let redis = TestRedis::start().await;
    let (process, gateway) = Observed::start("cluster-tag", &settings(&redis, "100ms"), "text").await;
    let key = format!("{CLAIM}{}", tag(&gateway).await);
    let other = json!({"run": "somebody", "tag": &key[key.len() - 4..]}).to_string();
    let told = process.line_with("another gateway has this node's tag");
    tokio::pin!(told);
    loop {
        redis.command(&["SET", &key, &other]).await; // again where the claim was being kept at this very moment
        if tokio::time::timeout(Duration::from_secs(1), &mut told).await.is_ok() {
            break; // `told` has a deadline of its own
        }
    }
    assert_eq!(redis.command(&["GET", &key]).await, other);
    redis.command(&["DEL", &key]).await;
    redis.shows(&["EXISTS", &key], ":1").await;
}

#[tokio::test]
async fn nobody_is_declared_dead_while_redis_is_away() {
    let mut redis = TestRedis::start().await;
    let presence = "[[namespace]]\nname = \"/\"\npresence = true\n";
    let gateways = gateways(2, &(settings(&redis, "100ms") + presence)).await;
    let mut here = Client::new(&gateways[0]).await;
    here.does(json!(["join", "r"])).await;
    let mut there = Client::new(&gateways[1]).await;
    there.does(json!(["join", "r"])).await;
    assert_eq!(here.event().await[1]["action"], "join");
    redis.kill().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        for gateway in &gateways {
            assert_eq!(gateway.metric("roomcast_cluster_nodes").await, Some(2.0));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    redis.start_again().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 1.0).await;
    }
    // Many heartbeats later nobody has heard of anybody's leave.
    let beats = gateways[0]
        .metric("roomcast_relay_latency_seconds_count")
        .await
        .unwrap();
    gateways[0]
        .reaches("roomcast_relay_latency_seconds_count", beats + 2.0)
        .await;
    for gateway in &gateways {
        sees(gateway, 2).await;
    }
    there.does(json!(["publish", "r", "marker"])).await;
    here.hears(json!(["marker"])).await;
}

/// A way to Redis by which somebody else is quicker to claim the first tag that is claimed. Returns its URL.
async fn with_a_rival(redis: &TestRedis) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = redis.port;
    tokio::spawn(async move {
        let has_claimed = Arc::new(AtomicBool::new(false));
        while let Ok((gateway, _)) = listener.accept().await {
            let redis = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_gateway, mut to_gateway) = gateway.into_split();
            let (mut from_redis, mut to_redis) = redis.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_redis, &mut to_gateway).await });
            let has_claimed = Arc::clone(&has_claimed);
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while let Ok(count @ 1..) = from_gateway.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    if let Some(at) = text.find(CLAIM)
                        && !has_claimed.swap(true, Ordering::Relaxed)
                    {
                        let key = &text[at..at + CLAIM.len() + 4];
                        let mut rival = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                        let claim = format!("SET {key} '{{\"run\":\"rival\",\"tag\":\"none\"}}'\r\n");
                        rival.write_all(claim.as_bytes()).await.unwrap();
                        assert_ne!(rival.read(&mut [0; 64]).await.unwrap(), 0);
                    }
                    if to_redis.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_new_gateway_takes_a_tag_that_nobody_has() {
    let redis = TestRedis::start().await;
    let url = with_a_rival(&redis).await;
    let open = "[[namespace]]\nname = \"/\"\nmembers_only = false\n";
    let settings = settings(&redis, "100ms").replace(&redis.url(), &url) + open;
    let gateway = TestGateway::start(&settings).await;
    let script = "return table.concat(redis.call('KEYS', ARGV[1]), ' ')";
    let keys = redis.command(&["EVAL", script, "0", &format!("{CLAIM}*")]).await;
    let mut keys: Vec<_> = keys.split(' ').collect();
    let own = format!("{CLAIM}{}", tag(&gateway).await);
    keys.retain(|key| *key != own);
    assert_eq!(keys.len(), 1, "{own} {keys:?}");
    assert!(redis.command(&["GET", keys[0]]).await.contains("rival"));
    assert!(!redis.command(&["GET", &own]).await.contains("rival"));
    // Private rooms are those of the new tag.
    let (mut sender, mut receiver) = (Client::new(&gateway).await, Client::new(&gateway).await);
    let id = receiver.does(json!(["join", "any"])).await["socket"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(own.ends_with(&id[..4]));
    sender.does(json!(["publish", id, "hello"])).await;
    receiver.hears(json!(["hello"])).await;
}
