//! Acknowledgements: the right id, the right namespace, once, in order.

use serde_json::json;

use crate::client::payload::{Packet, texts};
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::{ECHO, TestGateway};

#[tokio::test]
async fn an_ack_carries_the_id_of_its_event() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        for id in [0_u64, 1, 7, 4_294_967_296, 9_007_199_254_740_991, 0] {
            client.send(&format!(r#"42{id}["echo","a",{{"b":[]}}]"#)).await;
            assert_eq!(client.text().await, format!(r#"43{id}["a",{{"b":[]}}]"#));
        }
        client.send(r#"425["echo"]"#).await;
        assert_eq!(client.text().await, "435[]");
    }
}

#[tokio::test]
async fn an_ack_is_sent_on_its_events_namespace() {
    let namespaces = ECHO.to_owned() + &ECHO.replace("\"/\"", "\"/admin\"");
    let gateway = TestGateway::start(&namespaces).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.enter("/admin").await;
        client
            .send_packets(&texts(&[r#"42/admin,13["echo",1]"#, r#"4213["echo",2]"#]))
            .await;
        assert_eq!(client.text().await, "43/admin,13[1]");
        assert_eq!(client.text().await, "4313[2]");
    }
}

#[tokio::test]
async fn acks_come_in_the_order_of_their_events_whatever_these_do() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let events = [
            r#"420["echo"]"#,
            r#"421["join","r"]"#,
            r#"422["publish","r","x"]"#,
            r#"423["nothing"]"#,
            r#"424["leave","r"]"#,
            r#"425["publish","r","x"]"#,
            r#"426["echo"]"#,
        ];
        client.send_packets(&texts(&events)).await;
        for id in 0..7 {
            let answer = client.packet().await;
            assert_eq!((answer.kind, answer.id), ('3', Some(id)), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn an_ack_may_carry_bytes() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let packets = [
            Packet::text(r#"452-3["echo",{"a":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1}]]"#),
            Packet::Binary(vec![1]),
            Packet::Binary(vec![]),
        ];
        client.send_packets(&packets).await;
        let answer = client.packet().await;
        assert_eq!((answer.kind, answer.attachments, answer.id), ('6', 2, Some(3)));
        let placeholder = |n: u64| json!({"_placeholder": true, "num": n});
        assert_eq!(answer.data, json!([{"a": placeholder(0)}, [placeholder(1)]]));
        assert_eq!(client.next().await, Packet::Binary(vec![1]));
        assert_eq!(client.next().await, Packet::Binary(vec![]));
    }
}

#[tokio::test]
async fn a_binary_event_without_binary_answers_in_text() {
    let gateway = TestGateway::start(ECHO).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let packets = [
            Packet::text(r#"451-3["join",{"_placeholder":true,"num":0}]"#),
            Packet::Binary(vec![1]),
            Packet::text(r#"424["echo"]"#),
        ];
        client.send_packets(&packets).await;
        let answer = client.packet().await;
        assert_eq!((answer.kind, answer.id), ('3', Some(3)));
        assert_eq!(answer.data[0]["error"], "bad_request");
        assert_eq!(client.text().await, "434[]");
    }
}
