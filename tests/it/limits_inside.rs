//! `[limits]` on what clients do: what each of them answers, where it is counted, and that nobody else pays for it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::client::payload::{Packet, encode, texts};
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::{ECHO, TestGateway};

/// Sends as many events at once, and returns how many of them were done and refused.
async fn flood(client: &mut Client, namespace: &str, events: usize) -> (f64, f64) {
    let prefix = if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    };
    let packets: Vec<_> = (0..events)
        .map(|id| Packet::Text(format!(r#"42{prefix}{id}["echo"]"#)))
        .collect();
    client.send_packets(&packets).await;
    let (mut done, mut refused) = (0.0, 0.0);
    for id in 0..events as u64 {
        let answer = client
            .find(|packet| packet.kind == '3' && packet.namespace == namespace && packet.id == Some(id))
            .await;
        if answer.data == json!([]) {
            done += 1.0;
        } else {
            assert_eq!(answer.data[0]["error"], "rate_limited", "{answer:?}");
            assert_eq!(answer.data[0]["ok"], false);
            assert_ne!(answer.data[0]["message"], Value::Null);
            refused += 1.0;
        }
    }
    (done, refused)
}

/// Waits until a client's event is done again.
async fn recovers(client: &mut Client) {
    let started = Instant::now();
    while client.ask("/", &json!(["echo", 1])).await != json!([1]) {
        assert!(started.elapsed() < DEADLINE, "it is never let through again");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn events_over_the_rate_are_refused_and_the_client_stays() {
    for (settings, burst) in [("", 5.0), ("limits.events_burst = 20\n", 20.0)] {
        let gateway = TestGateway::start(&format!("limits.events_per_second = 5\n{settings}{ECHO}")).await;
        let (mut other, mut clients, mut total) = (Client::new(&gateway).await, Vec::new(), 0.0);
        for (transport, eio) in EVERY_CLIENT {
            let mut client = Client::join(&gateway, transport, eio).await;
            let started = Instant::now();
            let (done, refused) = flood(&mut client, "/", 60).await;
            let most = burst + 5.0 * started.elapsed().as_secs_f64() + 1.0;
            assert!(done >= burst && done <= most, "{done} of a burst of {burst}");
            total += refused;
            gateway.has_limited("events_per_second", total).await;
            gateway
                .reaches("roomcast_dropped_total{reason=\"rate_limited\"}", total)
                .await;
            // Nobody else's bucket is touched.
            recovers(&mut other).await;
            clients.push(client);
        }
        gateway.reaches("roomcast_sockets{namespace=\"/\"}", 5.0).await;
        for reason in ["rate_limited", "malformed"] {
            gateway.has_ended(reason, 0.0).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_was_too_fast_is_heard_again_later() {
    let gateway = TestGateway::start(&format!("limits.events_per_second = 5\n{ECHO}")).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let (_, refused) = flood(&mut client, "/", 50).await;
        assert!(refused > 0.0);
        client.next_id_from(1_000);
        recovers(&mut client).await;
    }
}

#[tokio::test]
async fn without_an_ack_events_over_the_rate_are_dropped_and_counted() {
    let gateway = TestGateway::start("limits.events_per_second = 3\n").await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    for (number, transport) in [Transport::WebSocket, Transport::Polling].into_iter().enumerate() {
        let mut client = Client::join(&gateway, transport, 4).await;
        let mut packets = texts(&[r#"42["join","r"]"#]);
        packets.extend((0..50).map(|n| Packet::Text(format!(r#"42["publish","r","n",{number},{n}]"#))));
        client.send_packets(&packets).await;
        for n in 0..2 {
            listener.find(|packet| packet.data == json!(["n", number, n])).await;
        }
        client.send("40/marker,").await;
        client.find(|packet| packet.namespace == "/marker").await;
    }
    let dropped = gateway.metric("roomcast_dropped_total{reason=\"rate_limited\"}").await;
    assert!(dropped >= Some(50.0), "{dropped:?}");
}

#[tokio::test]
async fn each_socket_of_a_client_has_a_rate_of_its_own() {
    let rule = "[[namespace.event]]\nname = \"echo\"\naction = \"ack\"\n";
    let settings = format!("limits.events_per_second = 4\n{ECHO}[[namespace]]\nname = \"/chat\"\n{rule}");
    let gateway = TestGateway::start(&settings).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.enter("/chat").await;
        for namespace in ["/", "/chat"] {
            let (done, refused) = flood(&mut client, namespace, 40).await;
            assert!(done >= 4.0 && refused > 0.0, "{namespace}: {done} and {refused}");
        }
    }
}

#[tokio::test]
async fn a_thousand_rooms_are_taken_in_one_event_and_no_more() {
    let gateway = TestGateway::start("limits.rooms_per_socket = 0\n").await;
    let mut client = Client::new(&gateway).await;
    let rooms = |count: usize| (0..count).map(|n| format!("r{n}")).collect::<Vec<_>>();
    let answer = client.does(json!(["join", rooms(1_000)])).await;
    assert_eq!(answer["rooms"].as_array().map(Vec::len), Some(1_000));
    for event in [
        json!(["join", rooms(1_001)]),
        json!(["leave", rooms(1_001)]),
        json!(["publish", rooms(1_001), "x"]),
        json!(["members", rooms(1_001)]),
    ] {
        client.is_refused(event, "too_large", "1001").await;
    }
    client.does(json!(["publish", rooms(1_000), "x"])).await;
    assert_eq!(client.does(json!(["leave", rooms(1_000)])).await["rooms"], json!([]));
    gateway
        .reaches("roomcast_dropped_total{reason=\"too_large\"}", 4.0)
        .await;
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let zero = [
        "rooms_per_socket",
        "room_name_bytes",
        "namespaces_per_client",
        "pattern_namespaces",
        "attachments",
        "connections_per_ip",
        "handshakes_per_second",
        "events_per_second",
    ];
    let settings: String = zero.iter().map(|key| format!("limits.{key} = 0\n")).collect();
    let gateway = TestGateway::start(&format!("{settings}[[namespace]]\nname = \"/*\"\n")).await;
    let mut client = Client::new(&gateway).await;
    let rooms: Vec<_> = (0..500).map(|n| format!("{n}{}", "x".repeat(300))).collect();
    client.does(json!(["join", rooms])).await;
    client.does(json!(["join", "other"])).await;
    for n in 0..50 {
        client.enter(&format!("/{n}")).await;
    }
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "other"])).await;
    let header: Vec<_> = (0..20).map(|num| json!({"_placeholder": true, "num": num})).collect();
    let mut packets = vec![Packet::Text(format!(
        "4520-{}",
        json!(["publish", "other", "x", header])
    ))];
    packets.extend((0..20).map(|n| Packet::Binary(vec![n])));
    client.send_packets(&packets).await;
    assert_eq!(listener.packet().await.attachments, 20);
}

#[tokio::test]
async fn without_a_limit_on_attachments_nothing_is_held_for_those_that_are_only_promised() {
    let gateway = TestGateway::start("limits.attachments = 0\n").await;
    for count in ["1000000", "9007199254740991", "9999999999999999"] {
        let mut client = Client::new(&gateway).await;
        let header = format!(r#"45{count}-["x",{{"_placeholder":true,"num":0}}]"#);
        client.send_packets(&[Packet::Text(header)]).await;
        client.is_closed().await;
    }
    Client::new(&gateway).await.does(json!(["join", "r"])).await;
}

#[tokio::test]
async fn attachments_over_the_limit_end_the_session() {
    let gateway = TestGateway::start("limits.attachments = 2\n").await;
    for (number, (transport, eio)) in EVERY_CLIENT.into_iter().enumerate() {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.send_fatal(&texts(&[r#"453-["x"]"#])).await;
        gateway.has_ended("malformed", number as f64 + 1.0).await;
    }
}

#[tokio::test]
async fn a_slow_client_is_cut_and_delays_nobody() {
    let settings = "engine.max_payload = \"10kB\"\nlimits.outbox = \"50kB\"\n";
    let gateway = TestGateway::start(settings).await;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    let mut others = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "r"])).await;
        others.push(client);
    }
    let words = "x".repeat(9_000);
    let mut published = 0;
    for (number, eio) in [4, 3].into_iter().enumerate() {
        // Nothing but the outbox takes what a client that does not poll is sent.
        let mut slow = Client::join(&gateway, Transport::Polling, eio).await;
        slow.does(json!(["join", "r"])).await;
        for _publication in 0..8 {
            publisher.does(json!(["publish", "r", "n", published, words])).await;
            for other in &mut others {
                other.hears(json!(["n", published, words])).await;
            }
            published += 1;
        }
        gateway.has_ended("too_slow", number as f64 + 1.0).await;
        slow.polling().is_gone().await;
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 5.0).await;
    gateway.reaches("roomcast_outbox_bytes", 0.0).await;
}

#[tokio::test]
async fn a_flood_of_heartbeats_is_counted_where_it_ends_a_session() {
    let gateway = TestGateway::plain().await;
    for (number, eio) in [4, 3].into_iter().enumerate() {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        let heartbeat = if eio == 4 { "3" } else { "2" };
        polling.post_body(encode(eio, &texts(&[heartbeat; 200]))).await;
        gateway.has_ended("rate_limited", number as f64 + 1.0).await;
        gateway.has_limited("control_packets", number as f64 + 1.0).await;
    }
}
