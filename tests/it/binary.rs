//! Binary attachments between all kinds of clients.

use serde_json::{Value, json};

use crate::client::payload::{Packet, SocketPacket, texts};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::{ECHO, TestGateway};

fn placeholder(num: impl Into<Value>) -> Value {
    json!({"_placeholder": true, "num": num.into()})
}

/// A binary event without an ack.
fn binary_event(data: &Value, attachments: &[&[u8]]) -> Vec<Packet> {
    let header = Packet::Text(format!("45{}-{data}", attachments.len()));
    let attachments = attachments.iter().map(|bytes| Packet::Binary(bytes.to_vec()));
    std::iter::once(header).chain(attachments).collect()
}

async fn in_room(gateway: &TestGateway, transport: Transport, eio: u8, query: &str) -> Client {
    let mut client = Client::open_with(gateway, transport, eio, query).await;
    client.enter("/").await;
    client.does(json!(["join", "r"])).await;
    client
}

/// Every kind of client, those that cannot take binary too.
const LISTENERS: [(Transport, u8, &str); 7] = [
    (Transport::WebSocket, 4, ""),
    (Transport::Polling, 4, ""),
    (Transport::WebSocket, 3, ""),
    (Transport::Polling, 3, ""),
    (Transport::Polling, 3, "&b64=1"),
    (Transport::WebSocket, 4, "&b64=1"),
    (Transport::Polling, 3, "&t=1500000000000-0"),
];

#[tokio::test]
async fn bytes_from_every_client_reach_every_client_unchanged() {
    let gateway = TestGateway::plain().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let attachments: [&[u8]; 4] = [b"", &[0x1e, 0, 0xff], &[0xe0, 0x78], &every_byte];
    for (transport, eio) in EVERY_CLIENT {
        let mut publisher = in_room(&gateway, transport, eio, "").await;
        let mut listeners = Vec::new();
        for (transport, eio, query) in LISTENERS {
            listeners.push(in_room(&gateway, transport, eio, query).await);
        }
        let data = json!(["publish", "r", "bytes", {"a": [placeholder(0), "é"]}, placeholder(1), placeholder(2), placeholder(3)]);
        publisher.send_packets(&binary_event(&data, &attachments)).await;
        publisher.does(json!(["publish", "r", "marker"])).await;
        for (listener, (transport, eio, query)) in listeners.iter_mut().zip(LISTENERS) {
            let what = format!("{transport:?} {eio} {query}");
            let header = listener.packet().await;
            assert_eq!((header.kind, header.attachments), ('5', 4), "{what}: {header:?}");
            let expected =
                json!(["bytes", {"a": [placeholder(0), "é"]}, placeholder(1), placeholder(2), placeholder(3)]);
            assert_eq!(header.data, expected, "{what}");
            for expected in attachments {
                let received = match listener.next().await {
                    Packet::Text(text) => Packet::parsed(eio, &text),
                    binary => binary,
                };
                assert_eq!(received, Packet::Binary(expected.to_vec()), "{what}");
            }
            listener.hears(json!(["marker"])).await;
        }
    }
}

#[tokio::test]
async fn a_header_and_its_bytes_are_never_parted() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in EVERY_CLIENT {
        let mut listener = in_room(&gateway, transport, eio, "").await;
        let mut publishers = Vec::new();
        for (number, (transport, eio)) in EVERY_CLIENT.into_iter().enumerate() {
            let mut client = in_room(&gateway, transport, eio, "").await;
            publishers.push(tokio::spawn(async move {
                for n in 0..10_u8 {
                    let data = json!(["publish", "r", "b", number, n, placeholder(0), placeholder(1)]);
                    client
                        .send_packets(&binary_event(&data, &[&[number as u8, n, 0], &[number as u8, n, 1]]))
                        .await;
                    client.send(&format!(r#"42["publish","r","t",{number},{n}]"#)).await;
                }
                client
            }));
        }
        let mut seen = 0;
        while seen < 80 {
            let packet = listener.packet().await;
            seen += 1;
            if packet.kind == '5' {
                let from = |at: usize| u8::try_from(packet.data[at].as_u64().unwrap()).unwrap();
                for part in 0..2 {
                    assert_eq!(listener.next().await, Packet::Binary(vec![from(1), from(2), part]));
                }
            }
        }
        for publisher in publishers {
            drop(publisher.await.unwrap());
        }
    }
}

#[tokio::test]
async fn one_attachment_may_be_named_twice() {
    let gateway = TestGateway::start(ECHO).await;
    let mut client = Client::new(&gateway).await;
    let mut packets = binary_event(&json!(["echo", placeholder(0), placeholder(0)]), &[&[7]]);
    packets[0] = Packet::Text(packets[0].as_text().replacen('-', "-5", 1));
    client.send_packets(&packets).await;
    let answer = client.packet().await;
    assert_eq!((answer.kind, answer.id), ('6', Some(5)));
    let mut attachments = Vec::new();
    for _attachment in 0..answer.attachments {
        attachments.push(client.next().await);
    }
    for argument in answer.data.as_array().unwrap() {
        let at = usize::try_from(argument["num"].as_u64().unwrap()).unwrap();
        assert_eq!(attachments[at], Packet::Binary(vec![7]));
    }
}

#[tokio::test]
async fn a_placeholder_that_names_no_attachment_ends_the_session() {
    let gateway = TestGateway::start(ECHO).await;
    let numbers = [
        json!("splice"),
        json!(-1),
        json!(1),
        json!(5),
        json!(0.5),
        json!("0"),
        json!(null),
        json!([0]),
        json!(1e30),
        json!({}),
    ];
    for (transport, eio) in [
        (Transport::WebSocket, 4),
        (Transport::WebSocket, 3),
        (Transport::Polling, 4),
    ] {
        for number in &numbers {
            let mut client = Client::join(&gateway, transport, eio).await;
            client
                .send_fatal(&binary_event(&json!(["echo", placeholder(number.clone())]), &[&[7]]))
                .await;
            assert!(
                tokio::spawn(async move { client.is_closed().await }).await.is_ok(),
                "not closed: {number}"
            );
        }
        let mut client = Client::join(&gateway, transport, eio).await;
        client
            .send_fatal(&binary_event(&json!(["echo", {"_placeholder": true}]), &[&[7]]))
            .await;
        client.is_closed().await;
    }
}

#[tokio::test]
async fn what_is_no_placeholder_is_left_alone() {
    let gateway = TestGateway::start(ECHO).await;
    let mut client = Client::new(&gateway).await;
    let near = json!(["echo", placeholder(0), {"_placeholder": false, "num": 9}, {"num": 9}, "{\"_placeholder\":true,\"num\":9}"]);
    let mut packets = binary_event(&near, &[&[7]]);
    packets[0] = Packet::Text(packets[0].as_text().replacen('-', "-5", 1));
    client.send_packets(&packets).await;
    let answer = client.packet().await;
    assert_eq!(answer.data.as_array().unwrap()[1..], near.as_array().unwrap()[2..]);
    assert_eq!(client.next().await, Packet::Binary(vec![7]));
}

#[tokio::test]
async fn bytes_without_a_header_end_the_session() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.send_fatal(&[Packet::Binary(vec![1, 2, 3])]).await;
        client.is_closed().await;
        let mut client = Client::join(&gateway, transport, eio).await;
        let mut packets = binary_event(&json!(["x", placeholder(0)]), &[&[1], &[2]]);
        packets[0] = Packet::text(r#"451-["x",{"_placeholder":true,"num":0}]"#);
        client.send_fatal(&packets).await;
        client.is_closed().await;
    }
    gateway.has_ended("malformed", 8.0).await;
}

#[tokio::test]
async fn text_between_a_header_and_its_bytes_ends_the_session() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        for between in [
            r#"42["echo"]"#,
            "41",
            "40/x,",
            r#"451-["x",{"_placeholder":true,"num":0}]"#,
        ] {
            let mut client = Client::join(&gateway, transport, eio).await;
            client
                .send_fatal(&texts(&[r#"451-["echo",{"_placeholder":true,"num":0}]"#, between]))
                .await;
            client.is_closed().await;
        }
    }
}

#[tokio::test]
async fn a_heartbeat_may_come_between_a_header_and_its_bytes() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio, beat) in [
        (Transport::WebSocket, 4, "3"),
        (Transport::WebSocket, 3, "2"),
        (Transport::Polling, 4, "3"),
    ] {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.send(r#"451-5["echo",{"_placeholder":true,"num":0}]"#).await;
        client.send(beat).await;
        client.send_packets(&[Packet::Binary(vec![7])]).await;
        let mut answer = client.text().await;
        if eio == 3 {
            assert_eq!(answer, "3");
            answer = client.text().await;
        }
        assert_eq!(SocketPacket::parse(&answer).id, Some(5));
        assert_eq!(client.next().await, Packet::Binary(vec![7]));
    }
}

#[tokio::test]
async fn ten_attachments_are_taken() {
    let gateway = TestGateway::start(ECHO).await;
    let mut client = Client::new(&gateway).await;
    let data: Vec<_> = std::iter::once(json!("echo")).chain((0..10).map(placeholder)).collect();
    let mut packets = binary_event(&json!(data), &[b"x".as_slice(); 10]);
    packets[0] = Packet::Text(packets[0].as_text().replacen('-', "-5", 1));
    client.send_packets(&packets).await;
    assert_eq!(client.packet().await.attachments, 10);
    for _attachment in 0..10 {
        assert_eq!(client.next().await, Packet::Binary(b"x".to_vec()));
    }
}

#[tokio::test]
async fn the_configured_number_of_attachments_holds() {
    let gateway = TestGateway::start(&format!("limits.attachments = 2\n{ECHO}")).await;
    let mut client = Client::new(&gateway).await;
    client
        .send_packets(&binary_event(
            &json!(["echo", placeholder(0), placeholder(1)]),
            &[b"a", b"b"],
        ))
        .await;
    client.does(json!(["join", "r"])).await;
    client.send(r#"453-["echo"]"#).await;
    client.is_closed().await;
}

#[tokio::test]
async fn base64_that_looks_like_a_type_is_not_one() {
    let gateway = TestGateway::start(ECHO).await;
    let mut client = Client::join(&gateway, Transport::Polling, 4).await;
    let mut packets = binary_event(&json!(["echo", placeholder(0)]), &[&[0xe0, 0x78]]);
    assert_eq!(packets[1].printed(4), "b4Hg=");
    packets[0] = Packet::Text(packets[0].as_text().replacen('-', "-5", 1));
    client.send_packets(&packets).await;
    assert_eq!(client.packet().await.kind, '6');
    assert_eq!(client.next().await, Packet::Binary(vec![0xe0, 0x78]));
}

#[tokio::test]
async fn bytes_on_a_namespace_carry_its_name_once() {
    let gateway = TestGateway::start(&ECHO.replace("\"/\"", "\"/bin\"")).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::open(&gateway, transport, eio).await;
        client.enter("/bin").await;
        if eio == 3 {
            client.find(|packet| packet.namespace == "/").await;
        }
        let header = Packet::text(r#"451-/bin,5["echo",{"_placeholder":true,"num":0}]"#);
        client.send_packets(&[header, Packet::Binary(vec![7])]).await;
        assert_eq!(client.text().await, r#"461-/bin,5[{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.next().await, Packet::Binary(vec![7]));
    }
}
