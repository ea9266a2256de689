//! Version 4's payload: packets with a separator between them, bytes as base64.

use serde_json::json;

use crate::client::payload::Packet;
use crate::client::polling::Polling;
use crate::client::socket::Client;
use crate::gateway::{ECHO, TestGateway};

async fn joined(gateway: &TestGateway) -> Polling {
    let mut polling = Polling::open(gateway.address, 4).await;
    polling.join_root().await;
    polling
}

#[tokio::test]
async fn a_payload_that_is_none_is_a_bad_request_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"9",
        b"a",
        b"\x1e3",
        b"3\x1e",
        b"3\x1e\x1e3",
        b"hello",
        b"4\xff",
        b"42[\"\xc3\"]",
    ];
    for body in bodies {
        let mut polling = joined(&gateway).await;
        polling.post_body(body).await.is_error(400, 3, "Bad request");
        polling.is_gone().await;
    }
    gateway.has_ended("malformed", bodies.len() as f64).await;
}

#[tokio::test]
async fn packets_before_a_bad_one_are_handled() {
    let gateway = TestGateway::plain().await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    let mut polling = joined(&gateway).await;
    let body = "42[\"join\",\"r\"]\x1e42[\"publish\",\"r\",\"before\"]\x1e9\x1e42[\"publish\",\"r\",\"after\"]";
    polling.post_body(body).await.is_error(400, 3, "Bad request");
    listener.hears(json!(["before"])).await;
    polling.is_gone().await;
}

#[tokio::test]
async fn base64_may_lack_its_padding_and_be_url_safe() {
    let gateway = TestGateway::start(ECHO).await;
    for (base64, bytes) in [
        ("+/8=", [0xfb, 0xff]),
        ("-_8=", [0xfb, 0xff]),
        ("+/8", [0xfb, 0xff]),
        ("-_8", [0xfb, 0xff]),
    ] {
        let mut polling = joined(&gateway).await;
        let body = format!("451-0[\"echo\",{{\"_placeholder\":true,\"num\":0}}]\x1eb{base64}");
        let taken = polling.post_body(body).await;
        assert_eq!(taken.status, 200, "{base64}");
        let answer = polling.poll().await;
        assert_eq!(
            answer[0],
            Packet::text(r#"461-0[{"_placeholder":true,"num":0}]"#),
            "{base64}"
        );
        assert_eq!(answer[1], Packet::Binary(bytes.to_vec()), "{base64}");
    }
}
