//! HTTP long polling, version 4's payload, and the rules about requests that overlap.

use serde_json::json;

use crate::client::http::{Connection, Request, Response};
use crate::client::payload::{Packet, decode};
use crate::client::polling::Polling;
use crate::client::socket::{Client, Transport};
use crate::gateway::{ECHO, TestGateway};

async fn joined(gateway: &TestGateway, eio: u8) -> Polling {
    let mut polling = Polling::open(gateway.address, eio).await;
    polling.join_root().await;
    polling
}

/// Asserts that one of two answers is a refusal without a word, and the other the end of the session.
#[track_caller]
fn one_is_refused_and_one_ends(eio: u8, first: Response, second: Response) {
    let (refused, ended) = if first.status == 400 {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!((refused.status, refused.text()), (400, ""));
    assert_eq!(ended.status, 200);
    assert_eq!(decode(eio, "text/plain", &ended.body), [Packet::text("1")]);
}

#[tokio::test]
async fn a_post_is_answered_ok() {
    let gateway = TestGateway::plain().await;
    for (eio, body) in [(4, "40"), (3, "1:2")] {
        let mut polling = Polling::open(gateway.address, eio).await;
        let response = polling.post_body(body).await;
        response.is_ok();
        assert_eq!(response.header("content-type"), Some("text/html"));
        assert_eq!(response.header("content-length"), Some("2"));
    }
}

#[tokio::test]
async fn a_parked_poll_is_answered_as_soon_as_there_is_something() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut parked = polling.start_poll().await;
        polling.post(&[r#"420["join","a"]"#]).await;
        let response = parked.response().await;
        let packets = decode(eio, "text/plain", &response.body);
        assert!(packets[0].as_text().starts_with(r#"430[{"ok":true"#), "{packets:?}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn packets_of_one_post_are_handled_in_their_order() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let sent: Vec<_> = (0..10).map(|n| format!(r#"42{n}["echo",{n}]"#)).collect();
        polling.post(&sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut answers = Vec::new();
        while answers.len() < 10 {
            answers.extend(polling.poll().await);
        }
        let expected: Vec<_> = (0..10).map(|n| Packet::Text(format!("43{n}[{n}]"))).collect();
        assert_eq!(answers, expected);
    }
}

#[tokio::test]
async fn no_packet_is_lost_or_reordered_however_many_wait() {
    let gateway = TestGateway::start(ECHO).await;
    // Python's clients refuse an answer with more than 16 packets.
    let agents = [
        ("curl/8", 4, usize::MAX),
        ("curl/8", 3, usize::MAX),
        ("Python/3.11 aiohttp/3.9", 4, 16),
        ("python-requests/2.31", 3, 16),
    ];
    for (agent, eio, most) in agents {
        let handshake = format!("/socket.io/?EIO={eio}&transport=polling");
        let handshake = Request::get(&handshake).header("User-Agent", agent);
        let mut polling = Polling::open_by(gateway.address, eio, &handshake).await;
        polling.join_root().await;
        let sent: Vec<_> = (0..40).map(|n| format!(r#"42{n}["echo",{n}]"#)).collect();
        polling.post(&sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut answers = Vec::new();
        while answers.len() < 40 {
            let packets = polling.poll().await;
            assert!(
                (1..=most).contains(&packets.len()),
                "{agent}: {} packets",
                packets.len()
            );
            answers.extend(packets);
        }
        let expected: Vec<_> = (0..40).map(|n| Packet::Text(format!("43{n}[{n}]"))).collect();
        assert_eq!(answers, expected, "{agent}");
    }
}

#[tokio::test]
async fn a_second_get_is_refused_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut first = polling.start_poll().await;
        let mut second = polling.start_poll().await;
        one_is_refused_and_one_ends(eio, first.response().await, second.response().await);
        polling.is_gone().await;
        gateway
            .has_ended("transport_error", if eio == 4 { 1.0 } else { 2.0 })
            .await;
    }
}

#[tokio::test]
async fn a_second_post_is_refused_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let half = Request::post(&polling.target(), "4").header("Content-Length", "100");
        let mut first = Connection::open(gateway.address).await;
        first.send(&half).await;
        // The half body may arrive after the whole one: then the second POST is an ordinary one, and is repeated.
        let whole = if eio == 4 { "3" } else { "1:2" };
        let refused = loop {
            let response = polling.post_body(whole).await;
            if response.status != 200 {
                break response;
            }
        };
        assert_eq!((refused.status, refused.text()), (400, ""));
        polling.is_gone().await;
    }
}

#[tokio::test]
async fn a_v4_post_of_bytes_is_answered_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    let bytes = Request::post(&polling.target(), "42[\"x\"]").header("Content-Type", "application/octet-stream");
    let response = polling.request(&bytes).await;
    assert_eq!((response.status, response.text()), (400, ""));
    for _again in 0..3 {
        polling.request(&bytes).await.is_unknown_session();
    }
    polling.is_gone().await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_the_session_goes_on() {
    let gateway = TestGateway::start("engine.max_payload = \"1kB\"\nlimits.outbox = \"1MB\"\n").await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        for length in ["1001", "100000000", "1000000000000000000"] {
            let promise = Request::post(&polling.target(), "").header("Content-Length", length);
            let mut connection = Connection::open(gateway.address).await;
            connection.send(&promise).await;
            let response = connection.response().await;
            assert_eq!(
                (response.status, response.text()),
                (413, ""),
                "Content-Length: {length}"
            );
        }
        polling.is_alive().await;
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted_as_it_arrives() {
    let gateway = TestGateway::start("engine.max_payload = \"1kB\"\nlimits.outbox = \"1MB\"\n").await;
    let mut polling = joined(&gateway, 4).await;
    let endless = Request::post(&polling.target(), "").header("Transfer-Encoding", "chunked");
    let mut connection = Connection::open(gateway.address).await;
    connection.send(&endless).await;
    connection
        .write(format!("3ff\r\n4{}\r\n", "x".repeat(1022)).as_bytes())
        .await;
    let response = connection.response().await;
    assert_eq!((response.status, response.text()), (413, ""));
    polling.is_alive().await;
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let gateway = TestGateway::start("engine.max_payload = \"1kB\"\nlimits.outbox = \"1MB\"\n").await;
    let mut polling = joined(&gateway, 4).await;
    let (head, tail) = (r#"420["publish","r","e",""#, r#""]"#);
    let body = format!("{head}{}{tail}", "x".repeat(1000 - head.len() - tail.len()));
    assert_eq!(body.len(), 1000);
    polling.post_body(body).await.is_ok();
    assert!(polling.poll().await[0].as_text().starts_with("430[{"));
}

#[tokio::test]
async fn a_body_may_come_in_pieces_that_cut_characters() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, 4).await;
    let body = "420[\"echo\",\"é€😀\"]".as_bytes();
    let chunked = Request::post(&polling.target(), "").header("Transfer-Encoding", "chunked");
    let mut connection = Connection::open(gateway.address).await;
    connection.send(&chunked).await;
    for byte in body {
        connection
            .write(&[b"1\r\n", [*byte].as_slice(), b"\r\n"].concat())
            .await;
    }
    connection.write(b"0\r\n\r\n").await;
    connection.response().await.is_ok();
    assert_eq!(polling.poll().await, [Packet::text("430[\"é€😀\"]")]);
}

#[tokio::test]
async fn a_poll_that_its_client_aborts_ends_the_session() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        drop(polling.start_poll().await);
        polling.is_gone().await;
    }
    gateway.has_ended("transport_error", 2.0).await;
}

#[tokio::test]
async fn a_post_that_its_client_aborts_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    let mut connection = Connection::open(gateway.address).await;
    connection
        .send(&Request::post(&polling.target(), "4").header("Content-Length", "100"))
        .await;
    drop(connection);
    polling.is_gone().await;
}

#[tokio::test]
async fn a_client_may_ask_for_its_connection_to_be_closed() {
    let gateway = TestGateway::plain().await;
    let polling = joined(&gateway, 4).await;
    let mut connection = Connection::open(gateway.address).await;
    let request = Request::post(&polling.target(), "40/marker,").header("Connection", "close");
    connection.request(&request).await.is_ok();
    assert_eq!(connection.end().await, b"");
    let mut connection = Connection::open(gateway.address).await;
    let response = connection
        .request(&Request::get(&polling.target()).header("Connection", "close"))
        .await;
    assert!(response.text().starts_with("44/marker,"), "{}", response.text());
    assert_eq!(connection.end().await, b"");
}

#[tokio::test]
async fn nothing_after_a_close_in_a_post_is_handled() {
    let gateway = TestGateway::plain().await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        polling
            .post(&[
                r#"42["join","r"]"#,
                r#"42["publish","r","before"]"#,
                "1",
                r#"42["publish","r","after"]"#,
            ])
            .await;
        listener.hears(json!(["before"])).await;
        polling.is_gone().await;
        let mut other = Client::join(&gateway, Transport::WebSocket, 4).await;
        other.does(json!(["join", "r"])).await;
        other.does(json!(["publish", "r", "marker"])).await;
        listener.hears(json!(["marker"])).await;
    }
}

#[tokio::test]
async fn another_version_than_the_sessions_is_a_bad_request() {
    let gateway = TestGateway::plain().await;
    for (eio, other) in [(4, 3), (3, 4)] {
        let mut polling = joined(&gateway, eio).await;
        let target = polling.target().replace(&format!("EIO={eio}"), &format!("EIO={other}"));
        polling
            .request(&Request::get(&target))
            .await
            .is_error(400, 3, "Bad request");
        polling
            .request(&Request::post(&target, "2"))
            .await
            .is_error(400, 3, "Bad request");
        polling.is_alive().await;
    }
}

#[tokio::test]
async fn another_transport_than_the_sessions_is_a_bad_request() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    let target = polling.upgrade_target();
    polling
        .request(&Request::get(&target))
        .await
        .is_error(400, 3, "Bad request");
    polling.is_alive().await;
}

#[tokio::test]
async fn a_session_takes_get_and_post_alone() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = Request::new(method, &polling.target()).header("Content-Length", "0");
        let response = polling.request(&request).await;
        assert_eq!((response.status, response.text()), (500, ""), "{method}");
    }
    polling.is_alive().await;
}
