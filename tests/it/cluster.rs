//! Several gateways on one Redis are one: rooms, namespaces and private messages span them.

use std::time::Duration;

use serde_json::json;

use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;
use crate::redis_server::TestRedis;

/// Gateways on one Redis.
pub(crate) struct Fleet {
    pub(crate) redis: TestRedis,
    pub(crate) gateways: Vec<TestGateway>,
}

impl Fleet {
    /// So many gateways, each with these settings beside the Redis that they share.
    pub(crate) async fn start(count: usize, settings: &str) -> Self {
        let redis = TestRedis::start().await;
        let mut gateways = Vec::new();
        for _ in 0..count {
            gateways.push(gateway(&redis, settings).await);
        }
        Self { redis, gateways }
    }
}

/// How many connections of this Redis hear a channel by its name.
pub(crate) async fn hearers(redis: &TestRedis, channel: &str) -> String {
    let script = "return redis.call('PUBSUB', 'NUMSUB', ARGV[1])[2]";
    redis.command(&["EVAL", script, "0", channel]).await
}

/// A gateway on this Redis.
pub(crate) async fn gateway(redis: &TestRedis, settings: &str) -> TestGateway {
    let gateway = TestGateway::start(&format!("cluster.redis = \"{}\"\n{settings}", redis.url())).await;
    gateway.reaches("roomcast_relay_up", 1.0).await;
    gateway
}

const PRIVATE: &str =
    "[[namespace]]\nname = \"/\"\nmembers_only = false\n[[namespace]]\nname = \"/chat\"\nmembers_only = false\n";

#[tokio::test]
async fn a_room_spans_all_nodes_for_every_kind_of_client() {
    let fleet = Fleet::start(2, "").await;
    let mut clients = Vec::new();
    for (index, (transport, eio)) in EVERY_CLIENT.into_iter().chain(EVERY_CLIENT).enumerate() {
        let mut client = Client::join(&fleet.gateways[index % 2], transport, eio).await;
        client.does(json!(["join", "r"])).await;
        clients.push(client);
    }
    for sender in 0..clients.len() {
        let event = json!(["hi", sender, {"text": "é€😀 \u{2028} \\ \"", "deep": [[null, true, 1.5, -3]]}]);
        let mut published = json!(["publish", "r"]);
        published
            .as_array_mut()
            .unwrap()
            .extend(event.as_array().unwrap().clone());
        assert_eq!(clients[sender].does(published).await, json!({"ok": true}));
        for (index, client) in clients.iter_mut().enumerate() {
            if index != sender {
                client.hears(event.clone()).await;
            }
        }
    }
    for (index, client) in clients.iter_mut().enumerate() {
        client.does(json!(["join", format!("alone {index}")])).await;
    }
    for client in &mut clients {
        client.does(json!(["leave", "r"])).await;
    }
}

/// Clients join all their rooms in one burst when they come back.
#[tokio::test]
async fn a_client_joins_all_its_rooms_at_once() {
    let fleet = Fleet::start(1, "limits.rooms_per_socket = 500\n").await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&fleet.gateways[0], transport, eio).await;
        let joins = (0..500).map(|room| Packet::text(&format!("42{room}[\"join\",\"r{eio} {room}\"]")));
        client.send_packets(&joins.collect::<Vec<_>>()).await;
        for room in 0..500 {
            let answer = client.packet().await;
            assert_eq!((answer.id, &answer.data[0]["ok"]), (Some(room), &json!(true)));
        }
    }
}

#[tokio::test]
async fn binary_stays_binary() {
    let fleet = Fleet::start(2, "").await;
    let mut here = Client::join(&fleet.gateways[0], Transport::WebSocket, 4).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut there = Client::join(&fleet.gateways[1], transport, eio).await;
        there.does(json!(["join", "b"])).await;
        here.does(json!(["join", "b"])).await;
        let text = r#"452-["publish","b","e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0},"x"]"#;
        here.send_packets(&[
            Packet::text(text),
            Packet::Binary(vec![1, 2, 3]),
            Packet::Binary(vec![0; 300]),
        ])
        .await;
        let packet = there.packet().await;
        assert_eq!(packet.attachments, 2);
        let [first, second] = [there.next().await, there.next().await];
        let placeholder = |number: u64| json!({"_placeholder": true, "num": number});
        let numbers = [
            packet.data[1]["num"].as_u64().unwrap(),
            packet.data[2]["num"].as_u64().unwrap(),
        ];
        assert_eq!(
            packet.data,
            json!(["e", placeholder(numbers[0]), placeholder(numbers[1]), "x"])
        );
        let attachments = [first, second];
        assert_eq!(attachments[numbers[0] as usize], Packet::Binary(vec![0; 300]));
        assert_eq!(attachments[numbers[1] as usize], Packet::Binary(vec![1, 2, 3]));
    }
}

#[tokio::test]
async fn several_rooms_reach_each_member_once() {
    let fleet = Fleet::start(3, "").await;
    let mut clients = Vec::new();
    for (gateway, rooms) in fleet
        .gateways
        .iter()
        .zip([json!(["a", "b"]), json!(["b", "c"]), json!(["a", "b", "c"])])
    {
        let mut client = Client::new(gateway).await;
        client.does(json!(["join", rooms])).await;
        clients.push(client);
    }
    clients[0].does(json!(["publish", ["a", "b"], "twice?"])).await;
    clients[2].does(json!(["publish", ["c", "a"], "marker"])).await;
    clients[1].hears(json!(["twice?"])).await;
    clients[1].hears(json!(["marker"])).await;
    clients[2].hears(json!(["twice?"])).await;
    clients[0].hears(json!(["marker"])).await;
}

#[tokio::test]
async fn a_private_message_finds_its_socket_on_another_node() {
    let fleet = Fleet::start(2, PRIVATE).await;
    let mut sender = Client::new(&fleet.gateways[0]).await;
    sender.enter("/chat").await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&fleet.gateways[1], transport, eio).await;
        let shown = client.does(json!(["join", "r"])).await["socket"]
            .as_str()
            .unwrap()
            .to_owned();
        sender.does(json!(["publish", shown, "psst", 1])).await;
        client.hears(json!(["psst", 1])).await;
        // In another namespace as well, where ids of old clients begin with its name.
        client.enter("/chat").await;
        let answer = client.ask("/chat", &json!(["join", "r"])).await;
        let shown = answer[0]["socket"].as_str().unwrap().to_owned();
        sender.ask("/chat", &json!(["publish", shown, "psst", 2])).await;
        let heard = client
            .find(|packet| packet.namespace == "/chat" && packet.kind == '2')
            .await;
        assert_eq!(heard.data, json!(["psst", 2]));
    }
}

#[tokio::test]
async fn a_namespace_is_reached_whole_and_alone() {
    let rules = "[[namespace]]\nname = \"/\"\notherwise = \"broadcast\"\n[[namespace]]\nname = \"/[a]*\\\\-*\"\notherwise = \"broadcast\"\n";
    let fleet = Fleet::start(2, rules).await;
    let namespace = "/[a]*\\-x";
    let mut clients = Vec::new();
    for gateway in &fleet.gateways {
        let mut inside = Client::open(gateway, Transport::WebSocket, 4).await;
        inside.enter(namespace).await;
        clients.push((inside, Client::new(gateway).await));
    }
    let (mut one, mut two) = (clients.remove(0), clients.remove(0));
    one.0.send(&format!("42{namespace},[\"inside\"]")).await;
    one.1.send("42[\"outside\"]").await;
    let heard = two.0.packet().await;
    assert_eq!((&*heard.namespace, heard.data), (namespace, json!(["inside"])));
    two.1.hears(json!(["outside"])).await;
}

#[tokio::test]
async fn rooms_without_members_cost_a_node_nothing() {
    let fleet = Fleet::start(2, "").await;
    let mut here = Client::new(&fleet.gateways[0]).await;
    let mut there = Client::new(&fleet.gateways[1]).await;
    here.does(json!(["join", "only here"])).await;
    for _ in 0..20 {
        here.does(json!(["publish", "only here", "x"])).await;
    }
    there.does(json!(["join", "both"])).await;
    here.does(json!(["join", "both"])).await;
    here.does(json!(["publish", "both", "marker"])).await;
    there.hears(json!(["marker"])).await;
    let received = "roomcast_relay_received_total{from=\"roomcast\"}";
    assert_eq!(fleet.gateways[1].metric(received).await, Some(1.0), "the marker alone");
    assert_eq!(fleet.gateways[0].metric(received).await, Some(21.0));
    assert_eq!(hearers(&fleet.redis, "socket.io#/#only here#").await, ":1");
}

/// Waits longer than channels without users linger.
async fn patiently(fact: impl Future<Output = ()>) {
    let deadline = Duration::from_secs(10) + DEADLINE;
    tokio::time::timeout(deadline, fact).await.expect("a fact in time");
}

#[tokio::test]
async fn channels_of_a_node_without_clients_are_given_up() {
    let fleet = Fleet::start(1, "").await;
    let mut client = Client::new(&fleet.gateways[0]).await;
    client.does(json!(["join", "r"])).await;
    assert_eq!(hearers(&fleet.redis, "socket.io#/#r#").await, ":1");
    client.does(json!(["leave", "r"])).await;
    drop(client);
    for channel in [
        "socket.io#/#r#",
        "socket.io#/#",
        "socket.io-request#/#",
        "socket.io-response#/#",
    ] {
        patiently(async {
            while hearers(&fleet.redis, channel).await != ":0" {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }
    // Servers of the first generation are always heard, and so is the root's private pattern.
    fleet.redis.shows(&["PUBSUB", "NUMPAT"], ":2").await;
}

#[tokio::test]
async fn with_local_order_a_nodes_own_members_come_first_and_hear_it_once() {
    let fleet = Fleet::start(2, "cluster.order = \"local\"\n").await;
    let mut clients = Vec::new();
    for index in 0..4 {
        let mut client = Client::new(&fleet.gateways[index % 2]).await;
        client.does(json!(["join", "r"])).await;
        clients.push(client);
    }
    for number in 0..50 {
        clients[0].does(json!(["publish", "r", "n", number])).await;
        for client in &mut clients[1..] {
            client.hears(json!(["n", number])).await;
        }
    }
}

#[tokio::test]
async fn nodes_with_another_prefix_are_another_cluster() {
    let redis = TestRedis::start().await;
    let ours = gateway(&redis, "").await;
    let others = gateway(&redis, "cluster.prefix = \"other\"\n").await;
    let mut here = Client::new(&ours).await;
    let mut there = Client::new(&others).await;
    for client in [&mut here, &mut there] {
        client.does(json!(["join", "r"])).await;
    }
    here.does(json!(["publish", "r", "ours"])).await;
    let mut second = Client::new(&others).await;
    second.does(json!(["join", "r"])).await;
    second.does(json!(["publish", "r", "theirs"])).await;
    there.hears(json!(["theirs"])).await;
}

#[tokio::test]
async fn rubbish_on_the_channels_is_passed_over() {
    let fleet = Fleet::start(1, "").await;
    let mut client = Client::new(&fleet.gateways[0]).await;
    client.does(json!(["join", "r"])).await;
    let long = "x".repeat(100_000);
    for channel in [
        "socket.io#/#",
        "socket.io#/#r#",
        "socket.io-request#/#",
        "socket.io-response#/#",
        "socket.io-roomcast",
        "socket.io#emitter",
        "socket.io#abcdef",
    ] {
        for payload in [
            "",
            "{",
            "{}",
            "null",
            "\u{0}",
            "[1,2,3]",
            "{\"type\":99}",
            "{\"requestId\":{}}",
            &*long,
        ] {
            let told = fleet.redis.command(&["PUBLISH", channel, payload]).await;
            assert_eq!(told, ":1", "{channel}");
        }
    }
    let mut other = Client::new(&fleet.gateways[0]).await;
    other.does(json!(["join", "r"])).await;
    other.does(json!(["publish", "r", "still here"])).await;
    client.hears(json!(["still here"])).await;
}

#[tokio::test]
async fn a_redis_that_refuses_patterns_is_no_obstacle() {
    // Rights to channels by their beginning are none to patterns.
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
    let gateways = [gateway(&redis, PRIVATE).await, gateway(&redis, PRIVATE).await];
    let mut sender = Client::new(&gateways[0]).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateways[1], transport, eio).await;
        let shown = client.does(json!(["join", "r"])).await["socket"]
            .as_str()
            .unwrap()
            .to_owned();
        sender.does(json!(["publish", shown, "psst"])).await;
        client.hears(json!(["psst"])).await;
        sender.does(json!(["publish", "r", "hi"])).await;
        client.hears(json!(["hi"])).await;
        client.does(json!(["leave", "r"])).await;
    }
    assert_eq!(redis.command(&["PUBSUB", "NUMPAT"]).await, ":0");
}
