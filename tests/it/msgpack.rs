//! Packets in MessagePack, by hand: who may begin with them, and what ends a session.

use serde_json::json;

use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::{ECHO, TestGateway};

const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Polling];

/// `{type: 0, nsp: "/"}`.
const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

/// `{type: 2, nsp: "/", id: 7, data: […]}`, its data still to come.
const EVENT: &[u8] = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x07\xa4data";

fn event(data: &[u8]) -> Packet {
    Packet::Binary([EVENT, data].concat())
}

/// The gateway's answer to `event`.
fn answer(data: &[u8]) -> Packet {
    Packet::Binary([b"\x84\xa4type\x03\xa4data", data, b"\xa3nsp\xa1/\xa2id\x07"].concat())
}

/// The next message, out of its base64 where it is in that.
async fn message(client: &mut Client) -> Packet {
    match client.next().await {
        Packet::Text(text) => Packet::parsed(4, &text),
        binary => binary,
    }
}

/// A client that entered `/` in MessagePack.
async fn entered(gateway: &TestGateway, transport: Transport, query: &str) -> Client {
    let mut client = Client::open_with(gateway, transport, 4, query).await;
    client.send_packets(&[Packet::Binary(CONNECT.to_vec())]).await;
    let Packet::Binary(connect) = message(&mut client).await else {
        panic!("a CONNECT in text");
    };
    assert!(
        connect.starts_with(b"\x83\xa4type\x00\xa4data\x81\xa3sid\xb4"),
        "{connect:02x?}"
    );
    assert!(connect.ends_with(b"\xa3nsp\xa1/"), "{connect:02x?}");
    client
}

#[tokio::test]
async fn a_client_that_begins_in_msgpack_is_answered_in_it() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, query) in [
        (Transport::WebSocket, ""),
        (Transport::Polling, ""),
        (Transport::WebSocket, "&b64=1"),
    ] {
        let mut client = entered(&gateway, transport, query).await;
        client
            .send_packets(&[event(b"\x94\xa4echo\x01\xc4\x02\x01\x02\xc0")])
            .await;
        let expected = answer(b"\x93\x01\xc4\x02\x01\x02\xc0");
        let expected = if query.is_empty() {
            expected
        } else {
            Packet::Text(expected.printed(4))
        };
        assert_eq!(client.next().await, expected, "{transport:?} {query}");
    }
}

#[tokio::test]
async fn without_a_limit_a_packet_holds_any_number_of_attachments() {
    let gateway = TestGateway::start(&format!("limits.attachments = 0\n{ECHO}")).await;
    let mut client = entered(&gateway, Transport::WebSocket, "").await;
    let bytes = b"\xc4\x01\x07".repeat(20);
    client
        .send_packets(&[event(&[b"\xdc\x00\x15\xa4echo", &*bytes].concat())])
        .await;
    assert_eq!(client.next().await, answer(&[b"\xdc\x00\x14", &*bytes].concat()));
}

#[tokio::test]
async fn neighbours_in_one_room_each_read_their_own_form() {
    let gateway = TestGateway::plain().await;
    for transport in BOTH {
        let mut packed = entered(&gateway, transport, "").await;
        packed.send_packets(&[event(b"\x92\xa4join\xa1r")]).await;
        packed.next().await;
        let mut texts = Vec::new();
        for (transport, eio) in EVERY_CLIENT {
            let mut client = Client::join(&gateway, transport, eio).await;
            client.does(json!(["join", "r"])).await;
            texts.push(client);
        }
        packed
            .send_packets(&[event(b"\x94\xa7publish\xa1r\xa1e\xcf\x00\x20\x00\x00\x00\x00\x00\x01")])
            .await;
        for client in &mut texts {
            assert_eq!(client.text().await, r#"42["e",9007199254740993]"#);
        }
        packed.next().await;
        texts[0].does(json!(["publish", "r", "e", "é"])).await;
        let heard = b"\x83\xa4type\x02\xa4data\x92\xa1e\xa2\xc3\xa9\xa3nsp\xa1/";
        assert_eq!(packed.next().await, Packet::Binary(heard.to_vec()));
    }
}

#[tokio::test]
async fn a_session_keeps_the_form_of_its_first_message() {
    let gateway = TestGateway::start(ECHO).await;
    for transport in BOTH {
        let mut client = entered(&gateway, transport, "").await;
        client.send_fatal(&[Packet::text(r#"42["echo"]"#)]).await;
        client.is_closed().await;
        let mut client = Client::join(&gateway, transport, 4).await;
        client.send_fatal(&[event(b"\x91\xa4echo")]).await;
        client.is_closed().await;
        let mut client = Client::open(&gateway, transport, 3).await;
        client.send_fatal(&[Packet::Binary(CONNECT.to_vec())]).await;
        client.is_closed().await;
    }
    gateway.has_ended("malformed", 6.0).await;
}

#[tokio::test]
async fn bad_packets_end_the_session() {
    let gateway = TestGateway::start(ECHO).await;
    let deep = [&b"\x92\xa4echo"[..], &[0x91; 100], b"\x01"].concat();
    let attachments = [&b"\x9c\xa4echo"[..], &[0xc4, 0].repeat(11)].concat();
    let packets = [
        Packet::Binary(vec![]),
        Packet::Binary(vec![0xc1]),
        Packet::Binary(CONNECT.to_vec()), // a second time
        event(b"\x91\xaadisconnect"),
        event(b"\x90"),
        event(b"\x92\xa4echo\xdd\xff\xff\xff\xff\x01"),
        event(&deep),
        event(&attachments),
    ];
    for transport in BOTH {
        for packet in &packets {
            let mut client = entered(&gateway, transport, "").await;
            client.send_fatal(std::slice::from_ref(packet)).await;
            client.is_closed().await;
        }
    }
    gateway.has_ended("malformed", 2.0 * packets.len() as f64).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_as_text_is_too_large() {
    let gateway = TestGateway::start(&format!("engine.max_payload = \"10kB\"\n{ECHO}")).await;
    let mut client = entered(&gateway, Transport::WebSocket, "").await;
    let nulls = [&b"\x92\xa4echo\xdc\x0b\xb8"[..], &[0xc0; 3000]].concat();
    client.send_fatal(&[event(&nulls)]).await;
    client.is_closed().await;
    gateway.has_ended("too_large", 1.0).await;
}
