//! `presence` over gateways: also when one of them stops, or dies.

use serde_json::{Value, json};

use crate::client::socket::{Client, Transport};
use crate::cluster_nodes::{gateways, sees, settings};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;
use crate::tokens;

fn with_presence(redis: &TestRedis, heartbeat: &str) -> String {
    settings(redis, heartbeat) + "[[namespace]]\nname = \"/\"\npresence = true\n"
}

fn presence(room: &str, action: &str, socket: &str) -> Value {
    json!(["presence", {"room": room, "action": action, "socket": socket, "user": null}])
}

/// A client that joined a room, and the id that others are shown.
async fn member(gateway: &TestGateway, eio: u8, room: &str) -> (Client, String) {
    let mut client = Client::join(gateway, Transport::WebSocket, eio).await;
    let answer = client.does(json!(["join", room])).await;
    (client, answer["socket"].as_str().unwrap().to_owned())
}

/// Everything that a client hears up to an event of its own to its own room, sorted.
async fn heard(client: &mut Client, publisher: &mut Client, room: &str) -> Vec<String> {
    publisher.does(json!(["publish", room, "marker"])).await;
    let mut heard = Vec::new();
    loop {
        let event = client.event().await;
        if event[0] == "marker" {
            heard.sort();
            return heard;
        }
        heard.push(event.to_string());
    }
}

#[tokio::test]
async fn members_on_other_gateways_hear_who_comes_and_goes() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &with_presence(&redis, "1s")).await;
    let (mut watcher, _) = member(&gateways[0], 4, "r").await;
    for eio in [3, 4] {
        let (mut client, id) = member(&gateways[1], eio, "r").await;
        watcher.hears(presence("r", "join", &id)).await;
        client.does(json!(["leave", "r"])).await;
        watcher.hears(presence("r", "leave", &id)).await;
        client.does(json!(["join", "r"])).await;
        watcher.hears(presence("r", "join", &id)).await;
        drop(client);
        watcher.hears(presence("r", "leave", &id)).await;
    }
}

#[tokio::test]
async fn the_sockets_of_a_gateway_that_stops_leave_once() {
    let redis = TestRedis::start().await;
    let mut gateways = gateways(2, &with_presence(&redis, "1s")).await;
    let mut leaving = gateways.pop().unwrap();
    let (mut watcher, _) = member(&gateways[0], 4, "r").await;
    let (mut clients, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let (client, id) = member(&leaving, 4, "r").await;
        watcher.hears(presence("r", "join", &id)).await;
        clients.push(client);
        leaves.push(presence("r", "leave", &id).to_string());
    }
    leaving.stop_now();
    leaving.ended().await;
    sees(&gateways[0], 1).await;
    let (mut publisher, id) = member(&gateways[0], 4, "r").await;
    leaves.push(presence("r", "join", &id).to_string());
    leaves.sort();
    assert_eq!(heard(&mut watcher, &mut publisher, "r").await, leaves);
}

#[tokio::test]
async fn the_sockets_of_a_gateway_that_dies_leave_once_at_all_others() {
    let redis = TestRedis::start().await;
    let settings = with_presence(&redis, "400ms");
    let gateways = gateways(2, &settings).await;
    let (process, killed) = Observed::start("cluster-presence", &settings, "text").await;
    let (mut early, _) = member(&gateways[0], 4, "r").await;
    let (mut clients, mut shown) = (Vec::new(), Vec::new());
    for eio in [3, 4, 3, 4] {
        let (client, id) = member(&killed, eio, "r").await;
        early.hears(presence("r", "join", &id)).await;
        clients.push(client);
        shown.push(id);
    }
    let (_elsewhere, _) = member(&killed, 4, "elsewhere").await;
    // Whoever comes later hears of those who were there before: rosters are there before answers to `members`.
    let (mut late, id) = member(&gateways[1], 4, "r").await;
    early.hears(presence("r", "join", &id)).await;
    assert_eq!(late.does(json!(["members", "r"])).await["total"], 6);
    let mut publishers = Vec::new();
    for gateway in &gateways {
        publishers.push(member(gateway, 4, "watch").await.0);
    }
    for watcher in [&mut early, &mut late] {
        watcher.does(json!(["join", "watch"])).await;
    }
    drop(process);
    for gateway in &gateways {
        sees(gateway, 2).await;
    }
    let mut leaves: Vec<_> = shown.iter().map(|id| presence("r", "leave", id).to_string()).collect();
    leaves.sort();
    for (watcher, publisher) in [&mut early, &mut late].into_iter().zip(&mut publishers) {
        let mut heard = heard(watcher, publisher, "watch").await;
        heard.retain(|event| !event.contains("watch"));
        assert_eq!(heard, leaves);
    }
}

#[tokio::test]
async fn who_came_and_went_while_redis_was_away_is_told_afterwards() {
    let mut redis = TestRedis::start().await;
    let gateways = gateways(2, &with_presence(&redis, "200ms")).await;
    let (mut watcher, _) = member(&gateways[0], 4, "r").await;
    let (stays, stays_id) = member(&gateways[1], 4, "r").await;
    let (mut leaves, leaves_id) = member(&gateways[1], 4, "r").await;
    for id in [&stays_id, &leaves_id] {
        watcher.hears(presence("r", "join", id)).await;
    }
    redis.kill().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    leaves.does(json!(["leave", "r"])).await;
    let (mut comes, comes_id) = member(&gateways[1], 4, "r").await;
    redis.start_again().await;
    let mut told = vec![watcher.event().await.to_string(), watcher.event().await.to_string()];
    told.sort();
    let mut expected = vec![
        presence("r", "join", &comes_id).to_string(),
        presence("r", "leave", &leaves_id).to_string(),
    ];
    expected.sort();
    assert_eq!(told, expected);
    comes.does(json!(["publish", "r", "marker"])).await;
    watcher.hears(json!(["marker"])).await;
    drop(stays);
    watcher.hears(presence("r", "leave", &stays_id)).await;
}

#[tokio::test]
async fn a_gateway_that_hung_gets_its_members_back() {
    let redis = TestRedis::start().await;
    let settings = with_presence(&redis, "300ms");
    let gateway = TestGateway::start(&settings).await;
    let (process, other) = Observed::start("cluster-back", &settings, "text").await;
    sees(&gateway, 2).await;
    let (mut watcher, _) = member(&gateway, 4, "r").await;
    let (mut client, id) = member(&other, 4, "r").await;
    watcher.hears(presence("r", "join", &id)).await;
    process.signal("-STOP").await;
    watcher.hears(presence("r", "leave", &id)).await;
    process.signal("-CONT").await;
    watcher.hears(presence("r", "join", &id)).await;
    client.does(json!(["publish", "r", "marker"])).await;
    watcher.hears(json!(["marker"])).await;
    client.does(json!(["leave", "r"])).await;
    watcher.hears(presence("r", "leave", &id)).await;
}

#[tokio::test]
async fn who_moves_while_members_are_counted_is_counted_as_announced() {
    let redis = TestRedis::start().await;
    let settings = with_presence(&redis, "2s");
    let gateways = gateways(2, &settings).await;
    let (process, _) = Observed::start("cluster-moves", &settings, "text").await;
    for gateway in &gateways {
        sees(gateway, 3).await;
    }
    let (mut asking, asking_id) = member(&gateways[0], 4, "r").await;
    let (mut leaving, leaving_id) = member(&gateways[1], 3, "r").await;
    asking.hears(presence("r", "join", &leaving_id)).await;
    // One does not answer; until its time is up, others come and go.
    process.signal("-STOP").await;
    asking.send(r#"4277["members","r"]"#).await;
    leaving.does(json!(["leave", "r"])).await;
    let (_coming, coming_id) = member(&gateways[1], 4, "r").await;
    asking.hears(presence("r", "leave", &leaving_id)).await;
    asking.hears(presence("r", "join", &coming_id)).await;
    let answer = asking.find(|packet| packet.id == Some(77)).await.data[0].take();
    let listed: Vec<_> = answer["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["socket"])
        .collect();
    assert_eq!(listed, [&json!(asking_id), &json!(coming_id)], "{answer}");
    assert_eq!(answer["total"], 2, "{answer}");
    assert_eq!(answer["partial"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[tokio::test]
async fn users_are_known_on_all_gateways() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "100ms")
        + &format!(
            "[token]\nsecrets = [\"{}\"]\n[[namespace]]\nname = \"/\"\nauth = \"token\"\njoin = [\"r\"]\npresence = true\n",
            tokens::SECRET
        );
    let mut gateways = gateways(2, &settings).await;
    let user = async |gateway: &TestGateway, name: &str| {
        let query = format!("&token={}", tokens::token(name, &json!({})));
        let mut client = Client::open_with(gateway, Transport::WebSocket, 4, &query).await;
        client.enter("/").await;
        let answer = client.does(json!(["join", "r"])).await;
        (client, answer["socket"].as_str().unwrap().to_owned())
    };
    // One who was there before and is told of in answers alone, one who comes and is announced.
    let (early, early_id) = user(&gateways[1], "early").await;
    let (mut watcher, own) = user(&gateways[0], "watcher").await;
    let (late, late_id) = user(&gateways[1], "late \"l\"").await;
    let heard = |action: &str, id: &str, user: &str| json!(["presence", {"room": "r", "action": action, "socket": id, "user": user}]);
    watcher.hears(heard("join", &late_id, "late \"l\"")).await;
    let answer = watcher.does(json!(["members", "r"])).await;
    let mut members = answer["members"].as_array().unwrap().clone();
    members.sort_by_key(|member| member["user"].to_string());
    let expected = [
        (early_id.as_str(), "early"),
        (&late_id, "late \"l\""),
        (&own, "watcher"),
    ];
    assert_eq!(members, expected.map(|(id, user)| json!({"socket": id, "user": user})));
    gateways.remove(1).stop_now();
    let mut gone = [watcher.event().await, watcher.event().await];
    gone.sort_by_key(|event| event[1]["user"].to_string());
    assert_eq!(
        gone,
        [
            heard("leave", &early_id, "early"),
            heard("leave", &late_id, "late \"l\"")
        ]
    );
    drop((early, late));
}
