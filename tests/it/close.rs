//! Goodbyes, from either side.

use serde_json::json;

use crate::client::frames::{CLOSE, Frame};
use crate::client::payload::texts;
use crate::client::polling::{Polling, packets};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

async fn joined(gateway: &TestGateway, eio: u8) -> Polling {
    let mut polling = Polling::open(gateway.address, eio).await;
    polling.join_root().await;
    polling
}

#[tokio::test]
async fn a_polling_client_that_leaves_gets_its_poll_back() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut parked = polling.start_poll().await;
        polling.post(&["1"]).await;
        let response = parked.response().await;
        assert_eq!(packets(eio, &response), texts(&["6"]));
        polling.is_gone().await;
        polling.post_body("x").await.is_unknown_session();
    }
    gateway.has_ended("client_left", 2.0).await;
}

#[tokio::test]
async fn a_poll_that_was_under_way_when_its_client_left_is_answered_once() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        polling.post(&["1"]).await;
        polling.post_body("x").await.is_unknown_session();
        assert_eq!(polling.poll().await, texts(&["6"]));
        polling.get().await.is_unknown_session();
    }
}

#[tokio::test]
async fn a_websocket_client_that_leaves_is_closed_at_once() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut client = Client::join(&gateway, Transport::WebSocket, eio).await;
        client.send("1").await;
        client.socket().is_closed(None).await;
    }
    gateway.has_ended("client_left", 2.0).await;
}

#[tokio::test]
async fn a_poll_that_comes_after_the_server_closed_hears_of_it() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        polling.post_packets(&texts(&["4abc"])).await;
        assert_eq!(polling.poll().await, texts(&["6", "1"]));
        polling.is_gone().await;
    }
    gateway.has_ended("malformed", 2.0).await;
}

#[tokio::test]
async fn a_poll_that_waits_when_the_server_closes_hears_of_it() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut parked = polling.start_poll().await;
        polling.post_packets(&texts(&["4abc"])).await;
        let response = parked.response().await;
        let heard = packets(eio, &response);
        // The POST may have overtaken the poll.
        assert!(heard == texts(&["1"]) || heard == texts(&["6", "1"]), "{heard:?}");
        polling.is_gone().await;
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_client_that_is_gone() {
    let gateway = TestGateway::plain().await;
    let mut witness = Client::new(&gateway).await;
    witness.does(json!(["join", "r"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", ["r", "a", "b"]])).await;
        gateway.reaches("roomcast_sockets{namespace=\"/\"}", 2.0).await;
        match transport {
            Transport::WebSocket => client.socket().send_frame(CLOSE, &[3, 233]).await,
            Transport::Polling => client.send("1").await,
        }
        gateway.reaches("roomcast_sockets{namespace=\"/\"}", 1.0).await;
        witness.does(json!(["publish", "r", "anybody?"])).await;
    }
    gateway
        .reaches("roomcast_connections{transport=\"websocket\",protocol=\"4\"}", 1.0)
        .await;
    gateway
        .reaches("roomcast_connections{transport=\"polling\",protocol=\"4\"}", 0.0)
        .await;
    gateway
        .reaches("roomcast_connections{transport=\"websocket\",protocol=\"3\"}", 0.0)
        .await;
    gateway
        .reaches("roomcast_connections{transport=\"polling\",protocol=\"3\"}", 0.0)
        .await;
}

#[tokio::test]
async fn a_client_may_leave_in_the_middle_of_everything() {
    let gateway = TestGateway::plain().await;
    for _round in 0..20 {
        let mut client = Client::new(&gateway).await;
        for room in ["a", "b", "c"] {
            client.send(&format!(r#"42["join","{room}"]"#)).await;
            client.send(&format!(r#"42["publish","{room}","x"]"#)).await;
        }
        drop(client);
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    gateway.reaches("roomcast_rooms", 0.0).await;
    Client::new(&gateway).await.does(json!(["join", "a"])).await;
}

#[tokio::test]
async fn frames_after_a_close_frame_are_not_handled() {
    let gateway = TestGateway::plain().await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    let mut client = Client::new(&gateway).await;
    let socket = client.socket();
    for text in [r#"42["join","r"]"#, r#"42["publish","r","before"]"#] {
        socket.send_text(text).await;
    }
    socket.send_frame(CLOSE, &[3, 232]).await;
    socket.send_text(r#"42["publish","r","after"]"#).await;
    while socket.next().await != Frame::End {}
    listener.hears(json!(["before"])).await;
    let mut other = Client::new(&gateway).await;
    other.does(json!(["join", "r"])).await;
    other.does(json!(["publish", "r", "marker"])).await;
    listener.hears(json!(["marker"])).await;
}
