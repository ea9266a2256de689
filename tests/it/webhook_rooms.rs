//! The application is told which rooms are occupied and vacated, and which gateways were lost: once, by whoever it is.

use serde_json::{Value, json};

use crate::backend::{Backend, Call, Reply, settings};
use crate::client::LOOK_AGAIN;
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::cluster_nodes::{self, gateways, sees};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;

const EVENTS: &str = "events = [\"room.occupied\", \"room.vacated\", \"node.lost\"]";

async fn backend() -> Backend {
    Backend::start(|_| Reply::Say(204, String::new())).await
}

/// Settings of a gateway on this Redis that tells this application.
fn shared(redis: &TestRedis, heartbeat: &str, backend: &Backend) -> String {
    cluster_nodes::settings(redis, heartbeat) + &settings(backend.address, EVENTS) + "[[namespace]]\nname = \"/\"\n"
}

/// The next call says this of a room, in `/`; the occupancy's id.
async fn says(backend: &mut Backend, kind: &str, room: &str) -> String {
    let call = backend.next().await;
    is(&call, kind, room)
}

fn is(call: &Call, kind: &str, room: &str) -> String {
    let body = &call.body;
    assert_eq!(
        (&body["type"], &body["namespace"], &body["room"], &body["socket"]),
        (&json!(kind), &json!("/"), &json!(room), &Value::Null),
        "{}",
        call.text
    );
    assert_eq!(body["id"].as_str(), call.headers.get("roomcast-id").map(String::as_str));
    let (id, what) = body["id"].as_str().unwrap().rsplit_once('-').unwrap();
    assert_eq!(kind, format!("room.{what}"));
    id.to_owned()
}

async fn occupies(client: &mut Client, room: &str, backend: &mut Backend) -> String {
    client.does(json!(["join", room])).await;
    says(backend, "room.occupied", room).await
}

/// What happened before has had no consequence, or it would be told by now: a room comes and goes.
async fn is_silent(client: &mut Client, backend: &mut Backend, room: &str) {
    let id = occupies(client, room, backend).await;
    client.does(json!(["leave", room])).await;
    assert_eq!(says(backend, "room.vacated", room).await, id);
    backend.is_left_alone();
}

/// Waits until Redis knows how many runs are in a room, 0 where there is no room.
async fn has_runs(redis: &TestRedis, room: &str, runs: usize) {
    let key = format!("socket.io-roomcast:room:1:/:{room}");
    let fields = if runs == 0 { 0 } else { runs + 1 };
    redis.shows(&["HLEN", &key], &format!(":{fields}")).await;
}

#[tokio::test]
async fn alone_a_room_is_told_of_when_its_first_member_comes_and_its_last_goes() {
    let mut backend = backend().await;
    let more = "[[namespace]]\nname = \"/\"\nrooms = [\"lobby\"]\n";
    let gateway = TestGateway::start(&(settings(backend.address, EVENTS) + more)).await;
    for kind in EVERY_CLIENT {
        let mut first = Client::join(&gateway, kind.0, kind.1).await;
        let lobby = says(&mut backend, "room.occupied", "lobby").await;
        let room = occupies(&mut first, "r", &mut backend).await;
        let mut second = Client::join(&gateway, kind.0, kind.1).await;
        second.does(json!(["join", "r"])).await;
        first.does(json!(["leave", "r"])).await;
        is_silent(&mut first, &mut backend, "marker").await;
        second.does(json!(["leave", "r"])).await;
        assert_eq!(says(&mut backend, "room.vacated", "r").await, room, "{kind:?}");
        assert_ne!(occupies(&mut second, "r", &mut backend).await, room);
        first.send("41").await;
        second.send("41").await;
        let mut last = [backend.next().await, backend.next().await];
        last.sort_by_key(|call| call.body["room"].as_str().unwrap().to_owned());
        assert_eq!(is(&last[0], "room.vacated", "lobby"), lobby);
        is(&last[1], "room.vacated", "r");
        backend.is_left_alone();
    }
}

#[tokio::test]
async fn what_the_application_answers_is_done_where_it_names_its_target() {
    let mut backend = Backend::start(|call| {
        let action = if call.body["room"] == "named" {
            json!({"emit": {"rooms": ["named"], "event": "welcome", "args": [call.body["room"]]}})
        } else {
            json!({"emit": {"event": "welcome"}})
        };
        Reply::Json(json!({"actions": [action]}))
    })
    .await;
    let gateway = TestGateway::start(&(settings(backend.address, EVENTS) + "[[namespace]]\nname = \"/\"\n")).await;
    let mut client = Client::new(&gateway).await;
    occupies(&mut client, "unnamed", &mut backend).await;
    let series = "roomcast_webhook_failures_total{type=\"room.occupied\",reason=\"action\"}";
    gateway.reaches(series, 1.0).await;
    occupies(&mut client, "named", &mut backend).await;
    client.hears(json!(["welcome", "named"])).await;
}

#[tokio::test]
async fn of_many_gateways_the_first_and_the_last_tell() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let gateways = gateways(3, &shared(&redis, "300ms", &backend)).await;
    let mut clients = Vec::new();
    for gateway in &gateways {
        clients.push(Client::new(gateway).await);
    }
    let id = occupies(&mut clients[0], "r", &mut backend).await;
    for (number, client) in clients.iter_mut().enumerate() {
        client.does(json!(["join", "r"])).await;
        has_runs(&redis, "r", number + 1).await;
    }
    clients[0].does(json!(["leave", "r"])).await;
    has_runs(&redis, "r", 2).await;
    is_silent(&mut clients[0], &mut backend, "marker").await;
    drop(clients.pop());
    has_runs(&redis, "r", 1).await;
    is_silent(&mut clients[0], &mut backend, "marker").await;
    clients[1].does(json!(["leave", "r"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "r").await, id);
    has_runs(&redis, "r", 0).await;
    // At the same moment by all: once each.
    for round in 0..10 {
        let room = format!("room-{round}");
        for client in &mut clients {
            client.send(&format!(r#"42["join","{room}"]"#)).await;
        }
        let id = says(&mut backend, "room.occupied", &room).await;
        has_runs(&redis, &room, clients.len()).await;
        for client in &mut clients {
            client.send(&format!(r#"42["leave","{room}"]"#)).await;
        }
        assert_eq!(says(&mut backend, "room.vacated", &room).await, id);
    }
    is_silent(&mut clients[0], &mut backend, "marker").await;
}

#[tokio::test]
async fn a_gateway_that_leaves_tells_of_its_rooms_before_it_is_gone() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let mut gateways = gateways(2, &shared(&redis, "300ms", &backend)).await;
    let (mut here, mut there) = (Client::new(&gateways[0]).await, Client::new(&gateways[1]).await);
    let both = occupies(&mut here, "both", &mut backend).await;
    there.does(json!(["join", "both"])).await;
    has_runs(&redis, "both", 2).await;
    let own = occupies(&mut there, "own", &mut backend).await;
    let mut leaving = gateways.pop().unwrap();
    leaving.stop();
    leaving.ended().await;
    assert_eq!(says(&mut backend, "room.vacated", "own").await, own);
    has_runs(&redis, "both", 1).await;
    sees(&gateways[0], 1).await;
    is_silent(&mut here, &mut backend, "marker").await;
    here.does(json!(["leave", "both"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "both").await, both);
}

#[tokio::test]
async fn after_a_gateway_that_was_killed_another_tells_of_it_and_of_its_rooms() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let settings = shared(&redis, "300ms", &backend);
    let gateways = gateways(2, &settings).await;
    let (process, killed) = Observed::start("webhook-rooms-killed", &settings, "text").await;
    for gateway in &gateways {
        sees(gateway, 3).await;
    }
    let (mut here, mut there) = (Client::new(&gateways[0]).await, Client::new(&killed).await);
    let both = occupies(&mut here, "both", &mut backend).await;
    there.does(json!(["join", "both"])).await;
    has_runs(&redis, "both", 2).await;
    let mut own = Vec::new();
    for number in 0..5 {
        own.push(occupies(&mut there, &format!("own-{number}"), &mut backend).await);
    }
    let tag = there.sid[..4].to_owned();
    drop(process);
    let lost = backend.next_of("node.lost").await;
    assert_eq!(
        (&lost.body["lost"]["id"], &lost.body["lost"]["version"]),
        (&json!(tag), &json!(env!("CARGO_PKG_VERSION"))),
        "{}",
        lost.text
    );
    assert!(lost.body["lost"]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(lost.body["id"].as_str().unwrap().ends_with("-lost"), "{}", lost.text);
    let mut vacated = Vec::new();
    for _ in 0..5 {
        let call = backend.next_of("room.vacated").await;
        vacated.push((call.body["room"].as_str().unwrap().to_owned(), call));
    }
    vacated.sort_by(|one, other| one.0.cmp(&other.0));
    for (number, (room, call)) in vacated.iter().enumerate() {
        assert_eq!(room, &format!("own-{number}"));
        assert_eq!(is(call, "room.vacated", room), own[number]);
    }
    has_runs(&redis, "both", 1).await;
    redis.shows(&["SCARD", "socket.io-roomcast:runs:"], ":1").await;
    here.does(json!(["leave", "both"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "both").await, both);
    is_silent(&mut here, &mut backend, "marker").await;
}

#[tokio::test]
async fn a_gateway_that_hung_tells_anew_of_the_rooms_that_were_taken_from_it() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let settings = shared(&redis, "300ms", &backend);
    let gateway = TestGateway::start(&settings).await;
    let (process, hung) = Observed::start("webhook-rooms-hung", &settings, "text").await;
    sees(&gateway, 2).await;
    let mut client = Client::new(&hung).await;
    let first = occupies(&mut client, "r", &mut backend).await;
    process.signal("-STOP").await;
    backend.next_of("node.lost").await;
    assert_eq!(is(&backend.next_of("room.vacated").await, "room.vacated", "r"), first);
    process.signal("-CONT").await;
    let second = says(&mut backend, "room.occupied", "r").await;
    assert_ne!(first, second);
    client.does(json!(["leave", "r"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "r").await, second);
}

#[tokio::test]
async fn a_new_gateway_clears_up_after_those_that_nobody_saw_die() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let settings = shared(&redis, "300ms", &backend);
    let (process, killed) = Observed::start("webhook-rooms-alone", &settings, "text").await;
    let mut client = Client::new(&killed).await;
    let (own, both) = (
        occupies(&mut client, "own", &mut backend).await,
        occupies(&mut client, "both", &mut backend).await,
    );
    drop(process);
    let gateway = TestGateway::start(&settings).await;
    let mut client = Client::new(&gateway).await;
    // The room was never vacated, as far as anybody was told.
    client.does(json!(["join", "both"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "own").await, own);
    has_runs(&redis, "both", 1).await;
    client.does(json!(["leave", "both"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "both").await, both);
    backend.is_left_alone();
}

#[tokio::test]
async fn what_redis_forgot_is_written_again_and_not_told_again() {
    let (mut redis, mut backend) = (TestRedis::start().await, backend().await);
    let gateways = gateways(2, &shared(&redis, "300ms", &backend)).await;
    let (mut here, mut there) = (Client::new(&gateways[0]).await, Client::new(&gateways[1]).await);
    let stays = occupies(&mut here, "stays", &mut backend).await;
    there.does(json!(["join", "stays"])).await;
    let goes = occupies(&mut here, "goes", &mut backend).await;
    has_runs(&redis, "stays", 2).await;
    redis.command(&["FLUSHALL"]).await;
    has_runs(&redis, "stays", 2).await;
    has_runs(&redis, "goes", 1).await;
    redis.kill().await;
    for gateway in &gateways {
        gateway.reaches("roomcast_relay_up", 0.0).await;
    }
    // Nothing is told while nobody can know whose it is to tell.
    here.does(json!(["leave", "goes"])).await;
    here.does(json!(["leave", "stays"])).await;
    here.does(json!(["join", "comes"])).await;
    tokio::time::sleep(LOOK_AGAIN).await;
    backend.is_left_alone();
    redis.start_again().await;
    let call = backend.next_of("room.vacated").await;
    assert_eq!(is(&call, "room.vacated", "goes"), goes);
    let comes = is(&backend.next_of("room.occupied").await, "room.occupied", "comes");
    has_runs(&redis, "stays", 1).await;
    there.does(json!(["leave", "stays"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "stays").await, stays);
    here.does(json!(["leave", "comes"])).await;
    assert_eq!(says(&mut backend, "room.vacated", "comes").await, comes);
    backend.is_left_alone();
}

#[tokio::test]
async fn private_rooms_are_nobodys_business() {
    let (redis, mut backend) = (TestRedis::start().await, backend().await);
    let gateway = TestGateway::start(&shared(&redis, "300ms", &backend)).await;
    for kind in EVERY_CLIENT {
        let mut client = Client::join(&gateway, kind.0, kind.1).await;
        is_silent(&mut client, &mut backend, "marker").await;
    }
}
