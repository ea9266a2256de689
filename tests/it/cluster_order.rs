//! A checker over several gateways: what is published is heard by all who are there, once, and in one order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::cluster::Fleet;

const NODES: usize = 3;
const PUBLISHERS: u64 = 8;
const EVENTS: u64 = 150;
const MEMBERS: usize = 12;
const WANDERERS: u64 = 9;
const ROOMS: [&str; 3] = ["a", "b", "c"];

const OPEN: &str = "[[namespace]]\nname = \"/\"\nmembers_only = false\n";

/// A message: publisher and number.
type Message = (u64, u64);

fn message(event: &Value) -> Option<Message> {
    (event[0] == "e").then(|| (event[1].as_u64().unwrap(), event[2].as_u64().unwrap()))
}

async fn publish(mut client: Client, publisher: u64) -> Client {
    for n in 0..EVENTS {
        // Some go to one room, some to several: they take different channels.
        let rooms = match (publisher + n) % 4 {
            0 => json!(ROOMS[0]),
            1 => json!(ROOMS[1]),
            2 => json!(ROOMS),
            _ => json!([ROOMS[0], ROOMS[2]]),
        };
        client
            .send(&format!("42{}", json!(["publish", rooms, "e", publisher, n])))
            .await;
    }
    assert_eq!(
        client.call(json!(["publish", "nobody", "last"])).await,
        json!({"ok": true})
    );
    client
}

fn is_for(publisher: u64, n: u64, room: &str) -> bool {
    match (publisher + n) % 4 {
        0 => room == "a",
        1 => room == "b",
        2 => true,
        _ => room != "b",
    }
}

async fn listen(mut client: Client, count: usize) -> Vec<Message> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.extend(message(&client.event().await));
    }
    heard
}

/// Joins and leaves at random while others publish; what it heard, and for how long at least it was in a room.
async fn wander(mut client: Client, seed: u64) -> Vec<Message> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut heard = Vec::new();
    let mut id = 1000;
    for _ in 0..30 {
        let room = ROOMS[random.random_range(0..ROOMS.len())];
        let act = if random.random_bool(0.6) { "join" } else { "leave" };
        id += 1;
        client.send(&format!("42{id}{}", json!([act, room]))).await;
        loop {
            let packet = client.packet().await;
            if packet.kind == '3' && packet.id == Some(id) {
                assert_eq!(packet.data[0]["ok"], true, "{}", packet.data);
                break;
            }
            heard.extend(message(&packet.data));
        }
    }
    // What was published before this is heard before it.
    client.does(json!(["join", format!("end of {seed}")])).await;
    heard
}

/// Two members' rows agree where both heard something.
#[track_caller]
fn agree(one: &[Message], other: &[Message]) {
    let places: HashMap<_, _> = one
        .iter()
        .enumerate()
        .map(|(place, message)| (*message, place))
        .collect();
    let common: Vec<_> = other.iter().filter_map(|message| places.get(message)).collect();
    assert!(common.is_sorted(), "two members heard two orders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_all_nodes_hear_everything_once_and_in_one_order() {
    let fleet = Fleet::start(NODES, OPEN).await;
    let mut listeners = JoinSet::new();
    for number in 0..MEMBERS {
        let (transport, eio) = EVERY_CLIENT[number % EVERY_CLIENT.len()];
        let mut client = Client::join(&fleet.gateways[number % NODES], transport, eio).await;
        let rooms = match number % 3 {
            0 => vec!["a", "b", "c"],
            1 => vec!["a"],
            _ => vec!["b", "c"],
        };
        client.does(json!(["join", rooms])).await;
        let all = (0..PUBLISHERS).flat_map(|publisher| (0..EVENTS).map(move |n| (publisher, n)));
        let expected: BTreeSet<Message> = all
            .filter(|(publisher, n)| rooms.iter().any(|room| is_for(*publisher, *n, room)))
            .collect();
        listeners.spawn(async move { (listen(client, expected.len()).await, expected) });
    }
    let mut wanderers = JoinSet::new();
    for seed in 0..WANDERERS {
        let (transport, eio) = (Transport::WebSocket, [4, 3][seed as usize % 2]);
        let client = Client::join(&fleet.gateways[seed as usize % NODES], transport, eio).await;
        wanderers.spawn(wander(client, seed));
    }
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let client = Client::new(&fleet.gateways[number as usize % NODES]).await;
        publishers.spawn(publish(client, number));
    }
    let _still_connected = publishers.join_all().await;
    let heard = listeners.join_all().await;
    for (heard, expected) in &heard {
        let once: BTreeSet<_> = heard.iter().copied().collect();
        assert_eq!(once.len(), heard.len(), "something came twice");
        assert_eq!(once, *expected);
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (publisher, n) in heard {
            assert!(
                last.insert(*publisher, *n).is_none_or(|before| before < *n),
                "of one publisher, in another order"
            );
        }
    }
    let wandered = wanderers.join_all().await;
    let rows: Vec<_> = heard.iter().map(|(heard, _)| heard).chain(&wandered).collect();
    for (index, one) in rows.iter().enumerate() {
        let once: BTreeSet<_> = one.iter().collect();
        assert_eq!(once.len(), one.len(), "something came twice");
        rows[index + 1..].iter().for_each(|other| agree(one, other));
    }
    for gateway in &fleet.gateways {
        assert_eq!(gateway.metric("roomcast_relay_lost_total").await, Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_after_a_joins_answer_is_heard() {
    let fleet = Fleet::start(NODES, OPEN).await;
    let mut publisher = Client::new(&fleet.gateways[0]).await;
    for number in 0..60 {
        // A room of its own each time: nobody on that node has heard of it before.
        let room = format!("new {number}");
        let mut client = Client::new(&fleet.gateways[1 + number % 2]).await;
        client.does(json!(["join", room])).await;
        publisher.does(json!(["publish", room, "e", 0, number])).await;
        client.hears(json!(["e", 0, number])).await;
    }
}
