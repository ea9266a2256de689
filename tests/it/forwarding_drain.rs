//! A gateway that leaves while others stay: whom balancers still send is passed on to them, and what goes through it to
//! their sessions is let go.

use serde_json::json;

use crate::client::frames::{Frame, WebSocket};
use crate::client::http::{Request, request};
use crate::client::payload::texts;
use crate::client::polling::{Polling, packets};
use crate::client::socket::{Client, Transport};
use crate::cluster::gateway;
use crate::forwarding::{all_know_of_all, fleet, forwarded, tunnelled};
use crate::gateway::TestGateway;
use crate::redis_server::TestRedis;
use roomcast::server::Ended;

/// Whoever is there keeps the gateway: one of five is closed each twelve seconds.
const LINGERS: &str = "drain.delay = \"0s\"\ndrain.spread = \"60s\"\ndrain.timeout = \"60s\"\n";

const QUICK: &str = "drain.delay = \"0s\"\ndrain.spread = \"100ms\"\ndrain.timeout = \"10s\"\n";

/// What the ids of this gateway's sessions begin with.
async fn tag(gateway: &TestGateway) -> String {
    Polling::open(gateway.address, 4).await.sid[..4].to_owned()
}

async fn one_stays_and_one_leaves_quickly() -> (TestRedis, Vec<TestGateway>) {
    let redis = TestRedis::start().await;
    let gateways = vec![gateway(&redis, "").await, gateway(&redis, QUICK).await];
    all_know_of_all(&gateways).await;
    (redis, gateways)
}

/// A gateway that drains and lets nobody in any more, with sessions that keep it.
async fn leaves(gateway: &TestGateway) -> Vec<Polling> {
    let mut here = Vec::new();
    for _ in 0..5 {
        here.push(Polling::open(gateway.address, 4).await);
    }
    gateway.stop();
    gateway.reaches("roomcast_draining", 1.0).await;
    here
}

#[tokio::test]
async fn late_handshakes_are_passed_on() {
    let fleet = fleet(2, LINGERS).await;
    let [leaving, staying] = [&fleet.gateways[0], &fleet.gateways[1]];
    let heir = tag(staying).await;
    let _here = leaves(leaving).await;
    for (transport, eio) in [
        (Transport::Polling, 4),
        (Transport::Polling, 3),
        (Transport::WebSocket, 4),
        (Transport::WebSocket, 3),
    ] {
        let mut client = Client::join(leaving, transport, eio).await;
        assert_eq!(client.sid[..4], heir);
        client.does(json!(["join", "r"])).await;
        client.does(json!(["publish", "r", "n", 1])).await;
    }
    leaving.reaches("roomcast_forwarded_connections", 0.0).await;
    assert_eq!(leaving.metric(&forwarded("broken")).await, Some(0.0));
}

#[tokio::test]
async fn late_handshakes_count_for_the_address_that_they_come_from() {
    let settings = format!("{LINGERS}limits.connections_per_ip = 6\nserver.trusted_proxies = [\"127.0.0.0/8\"]\n");
    let fleet = fleet(2, &settings).await;
    let [leaving, staying] = [&fleet.gateways[0], &fleet.gateways[1]];
    let _here = leaves(leaving).await;
    let handshake =
        |address: &str| Request::get("/socket.io/?EIO=4&transport=polling").header("X-Forwarded-For", address);
    for _ in 0..6 {
        assert_eq!(request(leaving.address, &handshake("203.0.113.9")).await.status, 200);
    }
    assert_eq!(request(leaving.address, &handshake("203.0.113.9")).await.status, 503);
    assert_eq!(request(leaving.address, &handshake("203.0.113.10")).await.status, 200);
    staying.has_limited("connections_per_ip", 1.0).await;
}

#[tokio::test]
async fn nobody_is_passed_on_to_one_that_leaves_too() {
    let fleet = fleet(2, &format!("{LINGERS}cluster.heartbeat = \"200ms\"\n")).await;
    let [first, second] = [&fleet.gateways[0], &fleet.gateways[1]];
    let (_these, _those) = (leaves(first).await, leaves(second).await);
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    let mut status = 0;
    for _ in 0..100 {
        status = request(first.address, &handshake).await.status; // until it has heard that the other leaves
        if status == 503 {
            break;
        }
        tokio::time::sleep(crate::client::LOOK_AGAIN).await;
    }
    assert_eq!(status, 503);
}

#[tokio::test]
async fn polls_that_are_parked_at_it_are_answered_and_their_sessions_go_on() {
    let (_redis, mut gateways) = one_stays_and_one_leaves_quickly().await;
    let mut parked = Vec::new();
    for eio in [4, 3] {
        let mut polling = Polling::open(gateways[0].address, eio).await;
        polling.join_root().await;
        let poll = polling.start_poll_at(gateways[1].address).await;
        parked.push((polling, poll));
    }
    let mut leaving = gateways.remove(1);
    leaving.stop();
    for (polling, poll) in &mut parked {
        assert_eq!(packets(polling.eio, &poll.response().await), texts(&["6"]));
        polling.is_alive().await;
    }
    assert!(matches!(leaving.ended().await, Ended::Clean));
}

#[tokio::test]
async fn tunnels_are_closed_as_its_own_clients_are() {
    let (_redis, mut gateways) = one_stays_and_one_leaves_quickly().await;
    let mut sockets = Vec::new();
    for eio in [4, 3] {
        let (_, mut socket) = tunnelled(&gateways, eio).await;
        socket.send_text(r#"421["join","r"]"#).await;
        assert!(socket.text().await.starts_with(r#"431[{"ok":true"#));
        sockets.push(socket);
    }
    let mut publisher = Client::new(&gateways[0]).await;
    publisher.does(json!(["join", "r"])).await;
    for number in 0..100 {
        publisher.does(json!(["publish", "r", "n", number])).await;
    }
    let mut leaving = gateways.remove(1);
    leaving.stop();
    for socket in &mut sockets {
        for number in 0..100 {
            assert_eq!(socket.text().await, format!(r#"42["n",{number}]"#));
        }
        socket.is_closed(Some(1001)).await;
    }
    assert!(matches!(leaving.ended().await, Ended::Clean));
    gateways[0].has_ended("draining", 2.0).await;
}

#[tokio::test]
async fn late_websockets_that_went_on_through_it_end_with_it() {
    let settings = "drain.delay = \"0s\"\ndrain.spread = \"1s\"\ndrain.timeout = \"10s\"\n";
    let mut gateways = fleet(2, settings).await.gateways;
    // Closed at the end of the spread; until then it keeps the gateway.
    let _here = Polling::open(gateways[0].address, 4).await;
    gateways[0].stop();
    gateways[0].reaches("roomcast_draining", 1.0).await;
    let mut late = WebSocket::open(gateways[0].address, "/socket.io/?EIO=4&transport=websocket").await;
    late.text().await;
    let mut leaving = gateways.remove(0);
    loop {
        match late.next().await {
            Frame::End => break,
            Frame::Close(_) => late.send_frame(0x88, &[]).await,
            _ => {}
        }
    }
    let _ = leaving.ended().await;
}

#[tokio::test]
async fn a_node_that_is_to_stay_serves_again() {
    let gateway = TestGateway::start(QUICK).await;
    let mut before = Client::new(&gateway).await;
    gateway.drain();
    before.socket().is_closed(Some(1001)).await;
    gateway.has_ended("draining", 1.0).await;
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    let refused = request(gateway.address, &handshake).await;
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert_eq!(gateway.admin_get("/readyz").await.status, 503);
    gateway.resume();
    gateway.reaches("roomcast_draining", 0.0).await;
    assert_eq!(gateway.admin_get("/readyz").await.status, 200);
    let accepted = request(gateway.address, &handshake).await;
    assert_eq!((accepted.status, accepted.header("connection")), (200, None));
    Client::new(&gateway).await.does(json!(["join", "r"])).await;
}

#[tokio::test]
async fn a_node_that_drains_and_stays_stops_when_it_is_told_to() {
    let mut gateway = TestGateway::start(QUICK).await;
    let mut before = Client::new(&gateway).await;
    gateway.drain();
    before.socket().is_closed(Some(1001)).await;
    gateway.stop();
    gateway.resume(); // too late
    assert!(matches!(gateway.ended().await, Ended::Clean));
}
