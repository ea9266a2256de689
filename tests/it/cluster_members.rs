//! `members` of a room whose members are on several gateways.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::socket::{Client, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::cluster_nodes::{gateways, sees, settings, tag};
use crate::gateway::TestGateway;
use crate::node_server::node_server;
use crate::observed::Observed;
use crate::redis_server::TestRedis;

/// Joins a room and returns the id that others are shown.
async fn join(client: &mut Client, room: &str) -> String {
    let answer = client.does(json!(["join", room])).await;
    answer["socket"].as_str().unwrap().to_owned()
}

/// The shown ids in an answer, sorted.
fn ids(answer: &Value) -> Vec<String> {
    let members = answer["members"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let ids = members
        .iter()
        .map(|member| member["socket"].as_str().unwrap().to_owned());
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids
}

/// Asks again until the answer counts that many and nobody is missing, as an answer may be given for a second.
async fn reaches(client: &mut Client, room: &str, total: u64) -> Value {
    let started = Instant::now();
    loop {
        let answer = client.does(json!(["members", room])).await;
        if answer["total"] == total && answer.get("partial").is_none() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "{total} members expected: {answer}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn members_on_all_gateways_are_listed_by_their_shown_ids() {
    let redis = TestRedis::start().await;
    let gateways = gateways(3, &settings(&redis, "1s")).await;
    let (mut clients, mut shown) = (Vec::new(), Vec::new());
    for gateway in &gateways {
        for eio in [3, 4] {
            let mut client = Client::join(gateway, Transport::WebSocket, eio).await;
            shown.push(join(&mut client, "r").await);
            clients.push(client);
        }
    }
    shown.sort();
    let sids: Vec<_> = clients.iter().map(|client| client.sid.clone()).collect();
    for client in &mut clients {
        let answer = reaches(client, "r", 6).await;
        assert_eq!(ids(&answer), shown);
        assert!(sids.iter().all(|sid| !answer.to_string().contains(sid)), "{answer}");
    }
    let mut leaving = clients.pop().unwrap();
    leaving.does(json!(["leave", "r"])).await;
    reaches(&mut clients[0], "r", 5).await;
    join(&mut leaving, "other").await;
    assert_eq!(
        reaches(&mut leaving, "other", 1).await["members"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let complete = "roomcast_cluster_requests_total{type=\"members\",result=\"complete\"}";
    assert!(gateways[0].metric(complete).await >= Some(1.0));
}

#[tokio::test]
async fn a_crowd_that_asks_at_once_costs_one_question() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::new(&gateways[0]).await;
        join(&mut client, "r").await;
        clients.push(client);
    }
    let started = Instant::now();
    for client in &mut clients {
        client.send(r#"4277["members","r"]"#).await;
    }
    for client in &mut clients {
        let answer = client.find(|packet| packet.id == Some(77)).await;
        assert_eq!(answer.data[0]["total"], 8);
    }
    let asked = gateways[0]
        .metric("roomcast_cluster_requests_total{type=\"members\",result=\"complete\"}")
        .await
        .unwrap();
    assert!(asked <= 1.0 + started.elapsed().as_secs_f64(), "{asked} questions");
}

#[tokio::test]
async fn who_does_not_answer_is_named_and_holds_up_nobody_else() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "1s");
    let gateway = TestGateway::start(&settings).await;
    let (process, other) = Observed::start("cluster-mute", &settings, "text").await;
    sees(&gateway, 2).await;
    let mute = tag(&other).await;
    let mut there = Client::new(&other).await;
    join(&mut there, "room 0").await;
    let mut clients = Vec::new();
    for number in 0..65 {
        let mut client = Client::new(&gateway).await;
        join(&mut client, &format!("room {number}")).await;
        clients.push(client);
    }
    process.signal("-STOP").await;
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!(r#"4277["members","room {number}"]"#)).await;
    }
    let mut refused = 0;
    for client in &mut clients {
        let answer = client.find(|packet| packet.id == Some(77)).await.data[0].take();
        if answer["ok"] == false {
            assert_eq!(answer["error"], "rate_limited", "{answer}");
            refused += 1;
            continue;
        }
        assert_eq!(
            (&answer["total"], &answer["partial"]),
            (&json!(1), &json!([mute])),
            "{answer}"
        );
    }
    assert_eq!(refused, 1);
    gateway.has_limited("questions", 1.0).await;
    process.signal("-CONT").await;
    reaches(&mut clients[0], "room 0", 2).await;
    drop(process);
    sees(&gateway, 1).await;
    reaches(&mut clients[0], "room 0", 1).await;
}

#[tokio::test]
async fn without_redis_own_members_are_listed_and_the_rest_is_named() {
    let mut redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let mut clients = Vec::new();
    for gateway in &gateways {
        let mut client = Client::new(gateway).await;
        join(&mut client, "r").await;
        clients.push(client);
    }
    redis.kill().await;
    gateways[0].reaches("roomcast_relay_up", 0.0).await;
    let answer = clients[0].does(json!(["members", "r"])).await;
    let other = tag(&gateways[1]).await;
    assert_eq!(
        (&answer["total"], &answer["partial"]),
        (&json!(1), &json!([other, "node.js"]))
    );
    redis.start_again().await;
    reaches(&mut clients[0], "r", 2).await;
}

/// A Node server that answers what is asked about the room `r` with this list of sockets, or not at all.
async fn node_server_with(redis: &TestRedis, sockets: Option<Value>) -> JoinHandle<()> {
    let answer = move |request: &Value| {
        let sockets = sockets.as_ref()?;
        assert_eq!(request["type"], 5, "{request}");
        assert_eq!(request["opts"]["rooms"], json!(["r"]), "{request}");
        Some(json!({"sockets": sockets}))
    };
    node_server(redis, answer).await
}

#[tokio::test]
async fn node_servers_are_asked_and_only_sockets_of_new_clients_are_named() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let (mut clients, mut shown) = (Vec::new(), vec!["nodeNODEnodeNODE0001".to_owned()]);
    for gateway in &gateways {
        let mut client = Client::new(gateway).await;
        shown.push(join(&mut client, "r").await);
        clients.push(client);
    }
    shown.sort();
    let socket = |id: &str, eio: &str| {
        let handshake = json!({"query": {"EIO": eio, "transport": "polling"}, "headers": {}, "auth": {}});
        json!({"id": id, "handshake": handshake, "rooms": [id, "r"], "data": {}})
    };
    let sockets = json!([socket("nodeNODEnodeNODE0001", "4"), socket("nodeNODEnodeNODE0002", "3")]);
    let server = node_server_with(&redis, Some(sockets)).await;
    let empty = node_server_with(&redis, Some(json!([]))).await;
    for client in &mut clients {
        assert_eq!(ids(&reaches(client, "r", 4).await), shown);
    }
    for server in [server, empty] {
        server.abort();
        let _ = server.await;
    }
    let mute = node_server_with(&redis, None).await;
    redis
        .shows(
            &[
                "EVAL",
                "return redis.call('PUBSUB', 'NUMSUB', ARGV[1])[2]",
                "0",
                "socket.io-request#/#",
            ],
            ":3",
        )
        .await;
    let mut client = Client::new(&gateways[0]).await;
    join(&mut client, "other").await;
    let answer = client.does(json!(["members", "other"])).await;
    assert_eq!((&answer["total"], &answer["partial"]), (&json!(1), &json!(["node.js"])));
    drop(mute);
}
