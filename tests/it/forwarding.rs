//! Any node takes any request: those for a session of another gateway are answered by that one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::frames::{Frame, WebSocket};
use crate::client::http::{Connection, Request, request};
use crate::client::payload::{Packet, texts};
use crate::client::polling::{Polling, packets};
use crate::client::socket::{Client, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN, within};
use crate::cluster::{Fleet, gateway};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::redis_server::TestRedis;

/// Waits until every gateway knows of all.
pub(crate) async fn all_know_of_all(gateways: &[TestGateway]) {
    for gateway in gateways {
        gateway.reaches("roomcast_cluster_nodes", gateways.len() as f64).await;
    }
}

/// So many gateways that know of each other.
pub(crate) async fn fleet(count: usize, settings: &str) -> Fleet {
    let fleet = Fleet::start(count, settings).await;
    all_know_of_all(&fleet.gateways).await;
    fleet
}

fn addresses(gateways: &[TestGateway]) -> Vec<SocketAddr> {
    gateways.iter().map(|gateway| gateway.address).collect()
}

/// The series of requests that were passed on, or were not.
pub(crate) fn forwarded(result: &str) -> String {
    format!("roomcast_forwarded_requests_total{{result=\"{result}\"}}")
}

/// The session of a client on the first gateway, its WebSocket through the second one.
pub(crate) async fn tunnelled(gateways: &[TestGateway], eio: u8) -> (Polling, WebSocket) {
    let mut polling = Polling::open(gateways[0].address, eio).await;
    polling.join_root().await;
    let mut socket = polling.probe_at(gateways[1].address).await;
    let parked = polling.start_poll_at(gateways[1].address).await;
    upgraded(&polling, parked, &mut socket).await;
    (polling, socket)
}

/// Ends an upgrade: the parked poll is answered, and the WebSocket is the transport.
async fn upgraded(polling: &Polling, mut parked: Connection, socket: &mut WebSocket) {
    assert_eq!(packets(polling.eio, &parked.response().await), texts(&["6"]));
    socket.send_text("5").await;
}

#[tokio::test]
async fn requests_of_polling_clients_may_go_to_the_nodes_in_turn() {
    let fleet = fleet(3, "").await;
    for (index, eio) in [4, 3, 4, 3].into_iter().enumerate() {
        let owner = &fleet.gateways[index % 3];
        let mut polling = Client::join(owner, Transport::Polling, eio).await;
        polling.polling().go_round(&addresses(&fleet.gateways)).await;
        let mut other = Client::new(&fleet.gateways[(index + 1) % 3]).await;
        polling.does(json!(["join", "r"])).await;
        other.does(json!(["join", "r"])).await;
        for number in 0..30 {
            other.does(json!(["publish", "r", "n", number, "é😀"])).await;
            polling.does(json!(["publish", "r", "m", number])).await;
            polling.hears(json!(["n", number, "é😀"])).await;
            other.hears(json!(["m", number])).await;
        }
    }
    for gateway in &fleet.gateways {
        let answered = gateway.metric(&forwarded("answered")).await.unwrap();
        assert!(answered > 20.0, "{answered}");
        assert_eq!(gateway.metric(&forwarded("broken")).await, Some(0.0));
    }
}

#[tokio::test]
async fn an_upgrade_may_go_to_another_node_and_stays_there() {
    let fleet = fleet(3, "").await;
    for eio in [4, 3] {
        let (mut polling, mut socket) = tunnelled(&fleet.gateways, eio).await;
        fleet.gateways[1].reaches("roomcast_forwarded_connections", 1.0).await;
        let mut other = Client::new(&fleet.gateways[2]).await;
        other.does(json!(["join", "r"])).await;
        socket.send_text(r#"421["join","r"]"#).await;
        assert!(socket.text().await.starts_with(r#"431[{"ok":true"#));
        for number in 0..100 {
            other.does(json!(["publish", "r", "n", number])).await;
            assert_eq!(socket.text().await, format!(r#"42["n",{number}]"#));
            socket.send_text(&format!(r#"42["publish","r","m",{number}]"#)).await;
            other.hears(json!(["m", number])).await;
        }
        // As large as may be, both ways.
        let large = "x".repeat(900_000);
        socket.send_text(&format!(r#"42["publish","r","l","{large}"]"#)).await;
        other.hears(json!(["l", large])).await;
        other.does(json!(["publish", "r", "l", large])).await;
        assert_eq!(socket.text().await.len(), format!(r#"42["l","{large}"]"#).len());
        drop(socket);
        fleet.gateways[1].reaches("roomcast_forwarded_connections", 0.0).await;
        polling.is_gone().await;
    }
    fleet.gateways[0].has_ended("transport_closed", 2.0).await;
}

#[tokio::test]
async fn what_the_owner_refuses_is_refused_as_by_itself() {
    let fleet = fleet(2, "engine.max_payload = \"10kB\"\nlimits.outbox = \"1MB\"\n").await;
    let [owner, other] = [fleet.gateways[0].address, fleet.gateways[1].address];
    for through in [owner, other] {
        let mut polling = Polling::open(owner, 4).await;
        polling.join_root().await;
        polling.go_round(&[through]).await;
        let response = polling.post_body(vec![b'x'; 20_000]).await;
        assert_eq!((response.status, response.text()), (413, ""));
        polling.go_round(&[through]).await;
        polling.is_alive().await;
        let wrong_transport = Request::get(&polling.target().replace("=polling", "=nothing"));
        polling
            .request(&wrong_transport)
            .await
            .is_error(400, 0, "Transport unknown");
        let foreign = Request::get(&polling.target()).header("Origin", "https://elsewhere.example");
        polling.request(&foreign).await.is_error(403, 4, "Forbidden");
        polling.post(&["4no packet"]).await;
        polling.is_gone().await;
    }
}

#[tokio::test]
async fn the_page_that_asks_is_told_by_the_owner_that_it_may_read() {
    let fleet = fleet(2, "server.trusted_proxies = [\"127.0.0.0/8\"]\n").await;
    let mut polling = Polling::open(fleet.gateways[0].address, 4).await;
    polling.join_root().await;
    let page = "https://chat.example.com";
    for asks in [
        Request::post(&polling.target(), "3").header("Host", "chat.example.com"),
        Request::post(&polling.target(), "3").header("X-Forwarded-Host", "chat.example.com"),
    ] {
        let response = request(fleet.gateways[1].address, &asks.header("Origin", page)).await;
        response.is_ok();
        assert_eq!(response.header("access-control-allow-origin"), Some(page));
    }
}

#[tokio::test]
async fn an_abort_reaches_the_owner() {
    let fleet = fleet(2, "").await;
    let mut polling = Polling::open(fleet.gateways[0].address, 4).await;
    polling.go_round(&[fleet.gateways[1].address]).await;
    polling.join_root().await;
    drop(polling.start_poll_at(fleet.gateways[1].address).await);
    polling.is_gone().await;
    fleet.gateways[1].reaches(&forwarded("aborted"), 1.0).await;

    let polling = Polling::open(fleet.gateways[0].address, 4).await;
    let mut connection = Connection::open(fleet.gateways[1].address).await;
    let half = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n42[",
        polling.target()
    );
    connection.write(half.as_bytes()).await;
    fleet.gateways[0].has_ended("transport_error", 1.0).await;
    drop(connection);
    fleet.gateways[0].has_ended("transport_error", 2.0).await;
}

#[tokio::test]
async fn a_session_of_nobody_is_unknown_at_once() {
    let fleet = fleet(2, "").await;
    let mut gateways = fleet.gateways;
    let mut polling = Polling::open(gateways[0].address, 4).await;
    let stranger = "/socket.io/?EIO=4&transport=polling&sid=zzzz0123456789abcdef";
    request(gateways[1].address, &Request::get(stranger))
        .await
        .is_unknown_session();
    gateways[1].reaches(&forwarded("unknown_owner"), 1.0).await;
    // Of a gateway that is gone, too.
    let mut gone = gateways.remove(0);
    gone.stop_now();
    within(gone.ended()).await;
    gateways[0].reaches("roomcast_cluster_nodes", 1.0).await;
    polling.go_round(&[gateways[0].address]).await;
    polling.get().await.is_unknown_session();
    let upgrade = Request::upgrade(&polling.upgrade_target());
    let refused = WebSocket::try_open(gateways[0].address, &upgrade).await.unwrap_err();
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_gateway_that_beats_but_is_not_reached_keeps_its_sessions() {
    let redis = TestRedis::start().await;
    let nowhere = "cluster.advertise = \"127.0.0.1:1\"\n"; // nobody listens there
    let gateways = [gateway(&redis, nowhere).await, gateway(&redis, "").await];
    all_know_of_all(&gateways).await;
    let mut polling = Polling::open(gateways[0].address, 4).await;
    polling.join_root().await;
    for _ in 0..3 {
        let refused = request(gateways[1].address, &Request::get(&polling.target())).await;
        assert_eq!(refused.status, 503);
        assert!(refused.header("retry-after").is_some());
    }
    let upgrade = Request::upgrade(&polling.upgrade_target());
    let refused = WebSocket::try_open(gateways[1].address, &upgrade).await.unwrap_err();
    assert_eq!(refused.status, 503);
    gateways[1].reaches(&forwarded("unreachable"), 4.0).await;
    polling.is_alive().await;
}

#[tokio::test]
async fn a_gateway_that_listens_everywhere_tells_the_address_by_which_it_goes_to_redis() {
    let redis = TestRedis::start().await;
    let settings = format!("[cluster]\nlisten = \"0.0.0.0:0\"\nredis = \"{}\"\n", redis.url());
    let gateways = [TestGateway::start(&settings).await, TestGateway::start(&settings).await];
    all_know_of_all(&gateways).await;
    let mut polling = Polling::open(gateways[0].address, 4).await;
    polling.go_round(&[gateways[1].address]).await;
    polling.join_root().await;
    polling.is_alive().await;
}

#[tokio::test]
async fn requests_under_way_end_when_their_owner_dies_or_hangs() {
    let redis = TestRedis::start().await;
    let settings = format!("[cluster]\nredis = \"{}\"\n", redis.url());
    let (process, owner) = Observed::start("forwarding-killed", &settings, "text").await;
    owner.reaches("roomcast_relay_up", 1.0).await;
    let other = gateway(&redis, "").await;
    other.reaches("roomcast_cluster_nodes", 2.0).await;
    let gateways = [owner, other];
    let mut polling = Polling::open(gateways[0].address, 4).await;
    polling.join_root().await;
    let mut parked = polling.start_poll_at(gateways[1].address).await;
    let (_, mut socket) = tunnelled(&gateways, 4).await;
    process.signal("-STOP").await;
    // The link is tried each second, and given up after four more.
    assert_eq!(parked.response().await.status, 503);
    gateways[1].reaches(&forwarded("broken"), 1.0).await;
    drop(process);
    assert_eq!(socket.next().await, Frame::End);
}

#[tokio::test]
async fn the_port_of_gateways_answers_gateways_alone() {
    let fleet = fleet(2, "").await;
    let mut polling = Polling::open(fleet.gateways[0].address, 4).await;
    polling.join_root().await;
    let peers = fleet.gateways[0].peers.unwrap();
    let forged = "t=1764000000,for=request,address=127.0.0.1,scheme=http,v1=AAAA";
    for asks in [
        Request::get(&polling.target()),
        Request::get(&polling.target()).header("Roomcast-Peer", forged),
        Request::get("/readyz"),
        Request::get("/metrics"),
        Request::upgrade(&polling.upgrade_target()),
    ] {
        let refused = request(peers, &asks).await;
        assert_eq!(refused.status, 401);
        assert!(refused.header("roomcast-time").is_some());
        assert_eq!(refused.text(), "");
    }
    fleet.gateways[0].reaches(&forwarded("refused"), 5.0).await;
    // A client that says such things itself gains nothing.
    let lies = Request::post(&polling.target(), "3")
        .header("Roomcast-Peer", forged)
        .header("Roomcast-Time", "1");
    request(fleet.gateways[1].address, &lies).await.is_ok();
}

#[tokio::test]
async fn a_secret_of_ones_own_is_needed_by_all() {
    let redis = TestRedis::start().await;
    let secret = |letter: &str| format!("cluster.secret = \"{}\"\n", letter.repeat(32));
    let gateways = [
        gateway(&redis, &secret("a")).await,
        gateway(&redis, &secret("a")).await,
        gateway(&redis, &secret("b")).await,
    ];
    all_know_of_all(&gateways).await;
    let mut polling = Polling::open(gateways[0].address, 4).await;
    polling.join_root().await;
    request(gateways[1].address, &Request::post(&polling.target(), "3"))
        .await
        .is_ok();
    let refused = request(gateways[2].address, &Request::post(&polling.target(), "3")).await;
    assert_eq!(refused.status, 503);
    gateways[2].reaches(&forwarded("unreachable"), 1.0).await;
    assert!(gateways[0].metric(&forwarded("refused")).await.unwrap() > 0.0);
    polling.is_alive().await;
    redis.shows(&["EXISTS", SECRET], ":0").await;
}

const SECRET: &str = "socket.io-roomcast:secret";

#[tokio::test]
async fn the_secret_that_redis_keeps_may_be_lost_and_changed() {
    let fleet = fleet(2, "cluster.heartbeat = \"200ms\"\n").await;
    let (redis, gateways) = (&fleet.redis, &fleet.gateways);
    redis.shows(&["STRLEN", SECRET], ":43").await;
    redis.shows(&["TTL", SECRET], ":-1").await;
    redis.command(&["COPY", SECRET, "made"]).await;
    let mut polling = Polling::open(gateways[0].address, 4).await;
    polling.join_root().await;
    polling.go_round(&addresses(gateways)).await;
    polling.is_alive().await;
    redis.command(&["DEL", SECRET]).await;
    let is_same = "return redis.call('GET', KEYS[1]) == redis.call('GET', KEYS[2]) and 1 or 0";
    redis.shows(&["EVAL", is_same, "2", SECRET, "made"], ":1").await;
    // Both take the new one with a heartbeat, and nobody is refused meanwhile.
    redis.command(&["SET", SECRET, &"n".repeat(40)]).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        polling.is_alive().await;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    for gateway in gateways {
        assert_eq!(gateway.metric(&forwarded("refused")).await, Some(0.0));
    }
    assert!(started.elapsed() < DEADLINE);
}

#[tokio::test]
async fn scripts_get_their_answers_through_any_node() {
    let fleet = fleet(2, "").await;
    let mut polling = Polling::open(fleet.gateways[0].address, 3).await;
    polling.join_root().await;
    let form = Request::post(
        &format!("{}&j=0", polling.target()),
        "d=14%3A42%5B%22join%22%2C%22r%22%5D",
    )
    .header("Content-Type", "application/x-www-form-urlencoded")
    .header("Sec-Fetch-Site", "same-origin");
    request(fleet.gateways[1].address, &form).await.is_ok();
    polling.post(&["420[\"leave\",\"r\"]"]).await;
    let script = request(
        fleet.gateways[1].address,
        &Request::get(&format!("{}&j=7", polling.target())).header("Sec-Fetch-Site", "same-origin"),
    )
    .await;
    assert!(script.text().starts_with("___eio[7](\""), "{}", script.text());
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=UTF-8"));
}

#[tokio::test]
async fn binary_payloads_of_old_clients_go_through_any_node() {
    let fleet = fleet(2, "").await;
    let mut polling = Client::join(&fleet.gateways[0], Transport::Polling, 3).await;
    polling.polling().go_round(&addresses(&fleet.gateways)).await;
    let mut other = Client::new(&fleet.gateways[1]).await;
    polling.does(json!(["join", "b"])).await;
    other.does(json!(["join", "b"])).await;
    let text = r#"451-["publish","b","e",{"_placeholder":true,"num":0}]"#;
    let bytes: Vec<u8> = (0..=255).collect();
    other
        .send_packets(&[Packet::text(text), Packet::Binary(bytes.clone())])
        .await;
    assert_eq!(polling.packet().await.attachments, 1);
    assert_eq!(polling.next().await, Packet::Binary(bytes));
}
