//! Heartbeats: from the server to v4 clients, from v3 clients to the server.

use std::time::{Duration, Instant};

use crate::client::frames::{Frame, WebSocket};
use crate::client::payload::{Packet, texts};
use crate::client::polling::{Polling, packets};
use crate::gateway::{ECHO, TestGateway};

fn beats(interval: &str, timeout: &str) -> String {
    format!("engine.ping_interval = \"{interval}\"\nengine.ping_timeout = \"{timeout}\"\n{ECHO}")
}

async fn open(gateway: &TestGateway, eio: u8) -> WebSocket {
    let mut socket = WebSocket::open(gateway.address, &format!("/socket.io/?EIO={eio}&transport=websocket")).await;
    assert!(socket.text().await.starts_with("0{"));
    if eio == 4 {
        socket.send_text("40").await;
    }
    assert!(socket.text().await.starts_with("40"));
    socket
}

#[tokio::test]
async fn the_first_ping_comes_after_half_an_interval_at_the_earliest_and_later_ones_after_a_whole_one() {
    let gateway = TestGateway::start(&beats("400ms", "8s")).await;
    let opened = Instant::now();
    let mut socket = open(&gateway, 4).await;
    assert_eq!(socket.text().await, "2");
    assert!(opened.elapsed() >= Duration::from_millis(200), "{:?}", opened.elapsed());
    for _beat in 0..3 {
        let answered = Instant::now();
        socket.send_text("3").await;
        assert_eq!(socket.text().await, "2");
        assert!(
            answered.elapsed() >= Duration::from_millis(390),
            "{:?}",
            answered.elapsed()
        );
    }
}

#[tokio::test]
async fn pongs_that_nobody_asked_for_start_no_timers() {
    let gateway = TestGateway::start(&beats("400ms", "8s")).await;
    let mut socket = open(&gateway, 4).await;
    for _beat in 0..2 {
        for _pong in 0..50 {
            socket.send_text("3").await;
        }
        let answered = Instant::now();
        assert_eq!(socket.text().await, "2");
        assert!(
            answered.elapsed() >= Duration::from_millis(150),
            "a burst of pings: {:?}",
            answered.elapsed()
        );
    }
    socket.send_text(r#"421["echo"]"#).await;
    assert_eq!(socket.text().await, "431[]", "one ping at a time");
}

#[tokio::test]
async fn a_v4_client_that_does_not_answer_is_closed() {
    let gateway = TestGateway::start(&beats("300ms", "300ms")).await;
    let mut socket = open(&gateway, 4).await;
    assert_eq!(socket.text().await, "2");
    socket.is_closed(None).await;

    let mut polling = Polling::open(gateway.address, 4).await;
    assert_eq!(polling.poll().await, texts(&["2"]));
    gateway.has_ended("ping_timeout", 2.0).await;
    polling.is_gone().await;
}

#[tokio::test]
async fn a_v4_client_that_answers_stays() {
    let gateway = TestGateway::start(&beats("100ms", "5s")).await;
    let mut polling = Polling::open(gateway.address, 4).await;
    for _beat in 0..5 {
        assert_eq!(polling.poll().await, texts(&["2"]));
        polling.post(&["3"]).await;
    }
    let mut socket = open(&gateway, 4).await;
    for _beat in 0..5 {
        assert_eq!(socket.text().await, "2");
        socket.send_text("3").await;
    }
}

#[tokio::test]
async fn a_parked_poll_hears_of_the_end() {
    let gateway = TestGateway::start(&beats("1s", "1s")).await;
    let mut v4 = Polling::open(gateway.address, 4).await;
    assert_eq!(v4.poll().await, texts(&["2"]));
    assert_eq!(v4.poll().await, texts(&["1"]));
    v4.is_gone().await;
    let mut v3 = Polling::open(gateway.address, 3).await;
    v3.join_root().await;
    assert_eq!(v3.poll().await, texts(&["1"]));
    v3.is_gone().await;
    gateway.has_ended("ping_timeout", 2.0).await;
}

#[tokio::test]
async fn a_v4_client_may_not_ping() {
    let gateway = TestGateway::plain().await;
    for ping in ["2", "2probe"] {
        let mut socket = open(&gateway, 4).await;
        socket.send_text(ping).await;
        socket.is_closed(None).await;
    }
    let mut polling = Polling::open(gateway.address, 4).await;
    polling.post_body("2").await;
    polling.is_gone().await;
    gateway.has_ended("transport_error", 3.0).await;
}

#[tokio::test]
async fn a_v3_client_may_not_pong() {
    let gateway = TestGateway::plain().await;
    let mut socket = open(&gateway, 3).await;
    socket.send_text("3").await;
    socket.is_closed(None).await;
    let mut polling = Polling::open(gateway.address, 3).await;
    polling.post_body("1:3").await;
    polling.is_gone().await;
    gateway.has_ended("transport_error", 2.0).await;
}

#[tokio::test]
async fn a_ping_of_a_v3_client_is_answered_with_its_own_text() {
    let gateway = TestGateway::plain().await;
    let mut socket = open(&gateway, 3).await;
    let mut polling = Polling::open(gateway.address, 3).await;
    polling.join_root().await;
    for (ping, pong) in [("2", "3"), ("2hello", "3hello"), ("2probe", "3probe")] {
        socket.send_text(ping).await;
        assert_eq!(socket.text().await, pong);
        polling.post(&[ping]).await;
        assert_eq!(polling.poll().await, [Packet::text(pong)]);
    }
}

#[tokio::test]
async fn a_v3_client_is_never_pinged_and_closed_when_its_pings_stop() {
    let gateway = TestGateway::start(&beats("500ms", "2s")).await;
    let mut socket = open(&gateway, 3).await;
    let mut last = Instant::now();
    for _beat in 0..5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        last = Instant::now();
        socket.send_text("2").await;
        assert_eq!(socket.text().await, "3");
    }
    assert_eq!(socket.next().await, Frame::Close(None));
    assert!(last.elapsed() >= Duration::from_millis(2400), "{:?}", last.elapsed());
    gateway.has_ended("ping_timeout", 1.0).await;
}

#[tokio::test]
async fn a_ping_that_finds_no_poll_waits_for_the_next_one() {
    let gateway = TestGateway::start(&beats("100ms", "5s")).await;
    let mut polling = Polling::open(gateway.address, 4).await;
    polling.post(&["40"]).await;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let response = polling.get().await;
        heard.extend(packets(4, &response));
    }
    assert!(
        heard.iter().any(|packet| packet.as_text().starts_with("40{")),
        "{heard:?}"
    );
    assert!(heard.contains(&Packet::text("2")), "{heard:?}");
}
