//! From polling to WebSocket: nothing lost, nothing out of order, nothing left behind.

use serde_json::json;

use crate::client::frames::{Frame, WebSocket, frame};
use crate::client::http::{Connection, Request};
use crate::client::payload::{Packet, SocketPacket, decode, texts};
use crate::client::polling::{Polling, packets};
use crate::client::socket::Client;
use crate::gateway::{ECHO, TestGateway};

async fn joined(gateway: &TestGateway, eio: u8) -> Polling {
    let mut polling = Polling::open(gateway.address, eio).await;
    polling.join_root().await;
    polling
}

/// Finishes an upgrade that is probed.
async fn finish(polling: &Polling, socket: &mut WebSocket) {
    socket.send_text("5").await;
    socket
        .send_packet(polling.eio, &Packet::text(r#"42999["echo","upgraded"]"#))
        .await;
    assert_eq!(socket.text().await, r#"43999["upgraded"]"#);
}

#[tokio::test]
async fn a_session_moves_to_its_websocket() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut parked = polling.start_poll().await;
        let mut socket = polling.probe().await;
        let response = parked.response().await;
        assert_eq!(packets(eio, &response), [Packet::text("6")]);
        finish(&polling, &mut socket).await;
        polling.get().await.is_error(400, 3, "Bad request");
        polling.post_body("x").await.is_error(400, 3, "Bad request");
        socket.send_text(r#"421["echo"]"#).await;
        assert_eq!(socket.text().await, "431[]");
    }
    gateway.reaches("roomcast_upgrades_total{result=\"done\"}", 2.0).await;
}

#[tokio::test]
async fn every_poll_is_answered_at_once_while_a_session_moves() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut socket = polling.probe().await;
        for _poll in 0..5 {
            assert_eq!(polling.poll().await, [Packet::text("6")]);
        }
        finish(&polling, &mut socket).await;
    }
}

#[tokio::test]
async fn a_poll_that_crosses_the_end_of_the_upgrade_is_answered() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        for _round in 0..10 {
            let polling = joined(&gateway, eio).await;
            let mut socket = polling.probe().await;
            let mut crossing = polling.start_poll().await;
            finish(&polling, &mut socket).await;
            let response = crossing.response().await;
            if response.status == 200 {
                let packets = decode(eio, "text/plain", &response.body);
                assert!(packets == texts(&["6"]) || packets == texts(&["1"]), "{packets:?}");
            } else {
                response.is_error(400, 3, "Bad request");
            }
        }
    }
}

#[tokio::test]
async fn what_is_sent_while_a_session_moves_arrives_once_and_in_order() {
    let gateway = TestGateway::plain().await;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        polling.post(&[r#"420["join","r"]"#]).await;
        let mut heard = polling.poll().await;
        let mut socket = polling.probe().await;
        for n in 0..60 {
            publisher.does(json!(["publish", "r", "n", n])).await;
            if n % 20 == 10 {
                heard.extend(polling.poll().await);
            }
        }
        socket.send_text("5").await;
        let last = json!(["n", 59]);
        heard.retain(|packet| *packet != Packet::text("6"));
        while heard
            .last()
            .is_none_or(|packet| SocketPacket::parse(packet.as_text()).data != last)
        {
            heard.push(socket.packet(eio).await);
        }
        let heard: Vec<_> = heard[1..]
            .iter()
            .map(|packet| SocketPacket::parse(packet.as_text()).data)
            .collect();
        assert_eq!(heard, (0..60).map(|n| json!(["n", n])).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_session_may_post_while_it_moves() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut socket = polling.probe().await;
        polling.post(&[r#"421["echo","posted"]"#]).await;
        let mut heard = polling.poll().await;
        heard.retain(|packet| *packet != Packet::text("6"));
        socket.send_text("5").await;
        if heard.is_empty() {
            heard.push(socket.packet(eio).await);
        }
        assert_eq!(heard, texts(&[r#"431["posted"]"#]));
    }
}

#[tokio::test]
async fn packets_may_come_in_one_piece_with_the_end_of_the_upgrade() {
    let gateway = TestGateway::start(ECHO).await;
    let polling = joined(&gateway, 4).await;
    let mut socket = polling.probe().await;
    socket
        .send_raw(&[frame(0x81, b"5"), frame(0x81, br#"421["echo"]"#)].concat())
        .await;
    assert_eq!(socket.text().await, "431[]");
}

#[tokio::test]
async fn pings_are_answered_before_and_right_behind_the_end_of_the_upgrade() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let polling = joined(&gateway, eio).await;
        let mut socket = polling.probe().await;
        socket.send_frame(0x89, b"one").await;
        assert_eq!(socket.next().await, Frame::Pong(b"one".to_vec()));
        socket
            .send_raw(&[frame(0x81, b"5"), frame(0x89, b"two")].concat())
            .await;
        assert_eq!(socket.next().await, Frame::Pong(b"two".to_vec()));
    }
}

#[tokio::test]
async fn an_upgrade_needs_no_probe() {
    let gateway = TestGateway::start(ECHO).await;
    let polling = joined(&gateway, 4).await;
    let mut socket = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
    finish(&polling, &mut socket).await;
}

#[tokio::test]
async fn a_websocket_that_does_not_begin_with_a_probe_is_closed_and_polling_goes_on() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        for first in ["2", "2prob", "2probe ", "3probe", "40", "1", "0", "6", "", "x"] {
            let mut polling = joined(&gateway, eio).await;
            let mut socket = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
            socket.send_text(first).await;
            assert_eq!(socket.close_code().await, None, "{first:?}");
            polling.is_alive().await;
        }
        let mut polling = joined(&gateway, eio).await;
        let mut socket = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
        socket.send_binary(b"2probe").await;
        assert_eq!(socket.close_code().await, None);
        polling.is_alive().await;
    }
}

#[tokio::test]
async fn an_upgrade_that_breaks_off_leaves_polling_and_may_be_tried_again() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        drop(WebSocket::open(gateway.address, &polling.upgrade_target()).await);
        polling.is_alive().await;
        drop(polling.probe().await);
        polling.is_alive().await;
        // The server may hear of the broken one after it is asked for the next: then that one is closed at once.
        let mut socket = loop {
            let mut socket = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
            socket.send_text("2probe").await;
            match socket.next().await {
                Frame::Text(text) => {
                    assert_eq!(text, "3probe");
                    break socket;
                }
                closed => assert_eq!(closed, Frame::Close(None)),
            }
        };
        finish(&polling, &mut socket).await;
    }
}

#[tokio::test]
async fn an_upgrade_that_is_not_finished_in_time_is_closed_and_polling_goes_on() {
    let gateway = TestGateway::start("engine.upgrade_timeout = \"800ms\"\n").await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut silent = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
        assert_eq!(silent.close_code().await, None);
        let mut probed = polling.probe().await;
        assert_eq!(probed.close_code().await, None);
        polling.is_alive().await;
    }
    gateway
        .reaches("roomcast_upgrades_total{result=\"timed_out\"}", 4.0)
        .await;
}

#[tokio::test]
async fn a_probing_websocket_ends_with_its_session() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3] {
        let mut polling = joined(&gateway, eio).await;
        let mut socket = polling.probe().await;
        polling.post(&["1"]).await;
        assert_eq!(socket.close_code().await, None);
        polling.is_gone().await;
    }
}

#[tokio::test]
async fn a_second_probing_websocket_is_closed_without_a_code() {
    let gateway = TestGateway::start(ECHO).await;
    let polling = joined(&gateway, 4).await;
    let mut first = polling.probe().await;
    let mut second = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
    second.is_closed(None).await;
    finish(&polling, &mut first).await;
    let mut third = WebSocket::open(gateway.address, &polling.upgrade_target()).await;
    third.is_closed(None).await;
    first.send_text(r#"421["echo"]"#).await;
    assert_eq!(first.text().await, "431[]");
}

#[tokio::test]
async fn a_websocket_for_a_session_that_began_as_one_is_closed_without_a_code() {
    let gateway = TestGateway::plain().await;
    let client = Client::new(&gateway).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    WebSocket::open(gateway.address, &target).await.is_closed(None).await;
}

#[tokio::test]
async fn a_websocket_is_asked_for_by_get() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    let upgrade = Request::upgrade(&polling.upgrade_target()).method("PATCH");
    let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
    assert_eq!((refused.status, refused.text()), (400, "Bad request"));
    polling.is_alive().await;
}

#[tokio::test]
async fn a_websocket_for_an_unknown_session_is_refused() {
    let gateway = TestGateway::plain().await;
    let mut gone = joined(&gateway, 4).await;
    gone.post(&["1"]).await;
    assert_eq!(gone.poll().await, texts(&["6"]));
    gone.is_gone().await;
    for sid in [
        gone.sid.as_str(),
        "AAAAAAAAAAAAAAAAAAAA",
        "x",
        "__proto__",
        "../../etc",
        "%00",
    ] {
        let upgrade = Request::upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"));
        let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
        assert_eq!((refused.status, refused.text()), (400, "Session ID unknown"), "{sid}");
    }
}

#[tokio::test]
async fn an_upgrade_of_another_version_than_the_sessions_is_refused() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    let upgrade = Request::upgrade(&polling.upgrade_target().replace("EIO=4", "EIO=3"));
    let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
    assert_eq!((refused.status, refused.text()), (400, "Bad request"));
    polling.is_alive().await;
}

#[tokio::test]
async fn a_heartbeat_that_falls_due_while_a_session_moves_comes_over_the_websocket() {
    let settings = format!("engine.ping_interval = \"2s\"\nengine.ping_timeout = \"8s\"\n{ECHO}");
    let gateway = TestGateway::start(&settings).await;
    let polling = joined(&gateway, 4).await;
    let mut socket = polling.probe().await;
    socket.send_text("5").await;
    for _heartbeat in 0..2 {
        assert_eq!(socket.text().await, "2");
        socket.send_text("3").await;
    }
}

#[tokio::test]
async fn an_upgraded_v3_session_still_ends_when_its_heartbeats_stop() {
    let gateway = TestGateway::start("engine.ping_interval = \"800ms\"\nengine.ping_timeout = \"800ms\"\n").await;
    let polling = joined(&gateway, 3).await;
    let mut socket = polling.probe().await;
    socket.send_text("5").await;
    assert_eq!(socket.close_code().await, None);
    gateway.has_ended("ping_timeout", 1.0).await;
}

#[tokio::test]
async fn v3_bytes_that_wait_for_the_upgrade_come_with_their_type_byte() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, 3).await;
    let mut socket = polling.probe().await;
    let header = Packet::text(r#"451-1["echo",{"_placeholder":true,"num":0}]"#);
    polling
        .post_packets(&[header, Packet::Binary(vec![1, 2])])
        .await
        .is_ok();
    socket.send_text("5").await;
    assert_eq!(socket.text().await, r#"461-1[{"_placeholder":true,"num":0}]"#);
    assert_eq!(socket.next().await, Frame::Binary(vec![4, 1, 2]));
}

#[tokio::test]
async fn a_connection_that_is_reset_in_the_middle_of_an_upgrade_harms_nobody() {
    let gateway = TestGateway::plain().await;
    let mut polling = joined(&gateway, 4).await;
    for cut in [10, 60, 150] {
        let mut connection = Connection::open(gateway.address).await;
        let upgrade = Request::upgrade(&polling.upgrade_target()).bytes(gateway.address);
        connection.write(&upgrade[..cut]).await;
        socket2::SockRef::from(&connection.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
    polling.is_alive().await;
}
