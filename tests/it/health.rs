//! Health and metrics.

use serde_json::json;

use crate::client::frames::WebSocket;
use crate::client::http::{Request, request};
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::TestGateway;

#[tokio::test]
async fn both_listeners_say_that_the_gateway_lives_and_is_ready() {
    let gateway = TestGateway::plain().await;
    for address in [gateway.admin, gateway.address] {
        let alive = request(address, &Request::get("/livez")).await;
        assert_eq!(alive.status, 200, "{address}");
        let ready = request(address, &Request::get("/readyz")).await;
        assert_eq!(ready.status, 200, "{address}");
    }
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.json(), json!({"ready": true}));
    assert_eq!(ready.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_health_check_may_be_as_plain_as_haproxys() {
    let gateway = TestGateway::plain().await;
    for address in [gateway.admin, gateway.address] {
        for head in [
            "GET /readyz HTTP/1.0\r\n\r\n",
            "OPTIONS /readyz HTTP/1.0\r\n\r\n",
            "HEAD /readyz HTTP/1.0\r\n\r\n",
        ] {
            let mut connection = crate::client::http::Connection::open(address).await;
            connection.write(head.as_bytes()).await;
            let answer = String::from_utf8(connection.end().await).unwrap();
            let method = head.split(' ').next().unwrap();
            let status = answer
                .split(' ')
                .nth(1)
                .unwrap_or_else(|| panic!("{method}: {answer:?}"));
            if method != "OPTIONS" {
                assert_eq!(status, "200", "{method}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn metrics_are_on_the_admin_listener_alone() {
    let gateway = TestGateway::plain().await;
    let metrics = gateway.admin_get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    assert_eq!(request(gateway.address, &Request::get("/metrics")).await.status, 404);
    assert_eq!(gateway.admin_get("/nothing").await.status, 404);
    let handshake = gateway.admin_get("/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(handshake.status, 404, "clients connect elsewhere");
    assert!(
        WebSocket::try_open(
            gateway.admin,
            &Request::upgrade("/socket.io/?EIO=4&transport=websocket")
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn every_series_is_there_from_the_start() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/org-*\"\n").await;
    let mut series = vec![
        "roomcast_rooms".to_owned(),
        "roomcast_bytes_received_total".into(),
        "roomcast_bytes_sent_total".into(),
        "roomcast_broadcasts_total{origin=\"client\"}".into(),
        "roomcast_deliveries_total".into(),
        "roomcast_outbox_bytes".into(),
        "roomcast_draining".into(),
        "roomcast_sockets{namespace=\"/\"}".into(),
        "roomcast_sockets{namespace=\"/org-*\"}".into(),
    ];
    for reason in roomcast::reason::Reason::ALL {
        series.push(format!("roomcast_disconnects_total{{reason=\"{reason}\"}}"));
    }
    for transport in ["polling", "websocket"] {
        for protocol in ["3", "4"] {
            series.push(format!(
                "roomcast_connections{{transport=\"{transport}\",protocol=\"{protocol}\"}}"
            ));
            let labels = format!("transport=\"{transport}\",protocol=\"{protocol}\",result=\"accepted\"");
            series.push(format!("roomcast_handshakes_total{{{labels}}}"));
        }
    }
    for result in ["done", "timed_out", "failed"] {
        series.push(format!("roomcast_upgrades_total{{result=\"{result}\"}}"));
    }
    for reason in ["forbidden", "bad_request", "too_large", "no_rule", "unavailable"] {
        series.push(format!("roomcast_dropped_total{{reason=\"{reason}\"}}"));
    }
    for action in ["join", "leave", "publish", "broadcast", "ack", "drop"] {
        series.push(format!("roomcast_event_duration_seconds_count{{action=\"{action}\"}}"));
    }
    for series in series {
        assert_eq!(gateway.metric(&series).await, Some(0.0), "{series}");
    }
    let metrics = gateway.admin_get("/metrics").await;
    for name in [
        "roomcast_build_info{version=",
        "roomcast_packets_received_total{type=",
        "roomcast_packets_sent_total{type=",
        "process_",
    ] {
        assert!(metrics.text().contains(name), "{name}");
    }
}

#[tokio::test]
async fn every_metric_is_explained_and_has_our_prefix_or_the_processs() {
    let gateway = TestGateway::plain().await;
    let metrics = gateway.admin_get("/metrics").await;
    let text = metrics.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("roomcast_") || line.starts_with("process_"), "{line}");
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert_eq!(line.ends_with(" counter"), name.ends_with("_total"), "{line}");
    }
}

#[tokio::test]
async fn clients_are_counted() {
    let gateway = TestGateway::plain().await;
    let mut clients = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", ["a", "b"]])).await;
        clients.push(client);
    }
    clients[0].does(json!(["publish", "a", "x"])).await;
    for client in &mut clients[1..] {
        client.hears(json!(["x"])).await;
    }
    for transport in ["polling", "websocket"] {
        for protocol in ["3", "4"] {
            let labels = format!("transport=\"{transport}\",protocol=\"{protocol}\"");
            gateway.reaches(&format!("roomcast_connections{{{labels}}}"), 1.0).await;
            gateway
                .reaches(
                    &format!("roomcast_handshakes_total{{{labels},result=\"accepted\"}}"),
                    1.0,
                )
                .await;
        }
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 4.0).await;
    gateway.reaches("roomcast_rooms", 2.0).await;
    gateway
        .reaches("roomcast_broadcasts_total{origin=\"client\"}", 1.0)
        .await;
    gateway.reaches("roomcast_deliveries_total", 3.0).await;
    gateway
        .reaches("roomcast_event_duration_seconds_count{action=\"join\"}", 4.0)
        .await;
}

#[tokio::test]
async fn no_label_is_made_from_what_clients_send() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/org-*\"\n").await;
    let count = async || {
        let metrics = gateway.admin_get("/metrics").await;
        metrics
            .text()
            .lines()
            .filter(|line| line.starts_with("roomcast_"))
            .count()
    };
    let before = count().await;
    for n in 0..20 {
        let mut client = Client::open(&gateway, crate::client::socket::Transport::WebSocket, 4).await;
        let namespace = format!("/org-{n}");
        client.enter(&namespace).await;
        client.ask(&namespace, &json!([format!("event-{n}")])).await;
        client.ask(&namespace, &json!(["join", format!("room-{n}")])).await;
        request(
            gateway.address,
            &Request::get(&format!("/socket.io/?EIO={n}x&transport=t{n}")),
        )
        .await;
    }
    assert_eq!(count().await, before);
}
