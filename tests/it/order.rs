//! One order: all members of a room hear all publications, in the same order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::payload::{Packet, SocketPacket};
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

const PUBLISHERS: u64 = 8;
const EVENTS: u64 = 100;
const MEMBERS: usize = 24;

/// Publisher and number of each event, in the order in which a member heard them.
type Heard = Vec<(u64, u64)>;

async fn listen(mut client: Client, count: usize) -> Heard {
    let mut heard = Vec::new();
    while heard.len() < count {
        let event = client.event().await;
        let number = |at: usize| event[at].as_u64().unwrap_or_else(|| panic!("{event}"));
        heard.push((number(1), number(2)));
    }
    heard
}

async fn publish(mut client: Client, publisher: u64, room: &'static str) -> Client {
    for n in 0..EVENTS {
        client
            .send(&format!(r#"42["publish","{room}","e",{publisher},{n}]"#))
            .await;
    }
    client
}

/// Asserts that nothing is lost or doubled, and that each publisher's events kept their order.
#[track_caller]
fn is_whole(heard: &Heard) {
    let mut by_publisher: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (publisher, n) in heard {
        by_publisher.entry(*publisher).or_default().push(*n);
    }
    assert_eq!(by_publisher.len() as u64, PUBLISHERS);
    for (publisher, numbers) in by_publisher {
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "publisher {publisher}");
    }
}

async fn member(gateway: &TestGateway, number: usize, rooms: Value) -> Client {
    let (transport, eio) = EVERY_CLIENT[number % EVERY_CLIENT.len()];
    let mut client = Client::join(gateway, transport, eio).await;
    client.does(json!(["join", rooms])).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_members_agree_on_one_order_and_nothing_is_lost() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\nmembers_only = false\n").await;
    let mut listeners = JoinSet::new();
    for number in 0..MEMBERS {
        let client = member(&gateway, number, json!("r")).await;
        listeners.spawn(listen(client, (PUBLISHERS * EVENTS) as usize));
    }
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let client = Client::new(&gateway).await;
        publishers.spawn(publish(client, number, "r"));
    }
    let _still_connected = publishers.join_all().await;
    let heard = listeners.join_all().await;
    is_whole(&heard[0]);
    for other in &heard[1..] {
        assert!(*other == heard[0], "two members heard two orders");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_order_holds_across_rooms() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\nmembers_only = false\n").await;
    let mut listeners = JoinSet::new();
    for number in 0..8 {
        let client = member(&gateway, number, json!(["a", "b"])).await;
        listeners.spawn(listen(client, (PUBLISHERS * EVENTS) as usize));
    }
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let client = Client::new(&gateway).await;
        publishers.spawn(publish(client, number, if number % 2 == 0 { "a" } else { "b" }));
    }
    let _still_connected = publishers.join_all().await;
    let heard = listeners.join_all().await;
    is_whole(&heard[0]);
    assert!(
        heard.iter().all(|other| *other == heard[0]),
        "two members heard two orders"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn echoed_publications_have_the_same_order_for_their_senders() {
    let rule = "[[namespace.event]]\nname = \"publish\"\naction = \"publish\"\necho = true\n";
    let gateway = TestGateway::start(&format!("[[namespace]]\nname = \"/\"\n{rule}")).await;
    let mut clients = Vec::new();
    for number in 0..PUBLISHERS {
        clients.push((number, member(&gateway, number as usize, json!("r")).await));
    }
    let mut running = JoinSet::new();
    for (number, client) in clients {
        running.spawn(async move { listen(publish(client, number, "r").await, (PUBLISHERS * EVENTS) as usize).await });
    }
    let heard = running.join_all().await;
    is_whole(&heard[0]);
    assert!(
        heard.iter().all(|other| *other == heard[0]),
        "two members heard two orders"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_reordered_while_members_upgrade() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\nmembers_only = false\n").await;
    let mut listeners = JoinSet::new();
    let mut ready = Vec::new();
    for eio in [4, 3, 4, 3] {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        polling.post(&[r#"420["join","r"]"#]).await;
        assert!(polling.poll().await[0].as_text().starts_with("430[{\"ok\":true"));
        ready.push(polling);
    }
    for mut polling in ready {
        listeners.spawn(async move {
            let mut packets = polling.poll().await;
            let mut socket = polling.probe().await;
            packets.extend(polling.poll().await);
            socket.send_text("5").await;
            packets.retain(|packet| *packet != Packet::text("6"));
            while packets.len() < (PUBLISHERS * EVENTS) as usize {
                packets.push(socket.packet(polling.eio).await);
            }
            packets
                .iter()
                .map(|packet| SocketPacket::parse(packet.as_text()).data)
                .collect::<Vec<_>>()
        });
    }
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let client = Client::join(&gateway, Transport::WebSocket, 4).await;
        publishers.spawn(publish(client, number, "r"));
    }
    let _still_connected = publishers.join_all().await;
    let heard = listeners.join_all().await;
    for other in &heard {
        assert_eq!(other.len(), (PUBLISHERS * EVENTS) as usize);
        assert!(*other == heard[0], "two members heard two orders");
    }
    let numbers = |event: &Value| (event[1].as_u64().unwrap(), event[2].as_u64().unwrap());
    is_whole(&heard[0].iter().map(numbers).collect());
}
