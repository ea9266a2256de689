//! The first request: versions, transports, and what the server tells a new session.

use serde_json::{Value, json};

use crate::client::frames::WebSocket;
use crate::client::http::{Request, Response, request};
use crate::client::polling::{Polling, packets};
use crate::gateway::TestGateway;

async fn get(gateway: &TestGateway, query: &str) -> Response {
    request(gateway.address, &Request::get(&format!("/socket.io/?{query}"))).await
}

fn is_session_id(sid: &str) -> bool {
    sid.len() == 20
        && sid
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[tokio::test]
async fn a_polling_handshake_names_the_session_and_its_limits_in_nodes_order() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3, 2] {
        let response = get(&gateway, &format!("EIO={eio}&transport=polling")).await;
        assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(
            response.header("content-length"),
            Some(response.body.len().to_string().as_str())
        );
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let packets = packets(if eio == 4 { 4 } else { 3 }, &response);
        let open = packets[0].as_text();
        let value: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = value["sid"].as_str().unwrap();
        assert!(is_session_id(sid), "{sid}");
        let expected = format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        );
        assert_eq!(open, expected, "EIO={eio}");
    }
}

#[tokio::test]
async fn a_websocket_handshake_offers_no_upgrade() {
    let gateway = TestGateway::plain().await;
    for eio in [4, 3, 2] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let mut socket = WebSocket::open(gateway.address, &target).await;
        let open = socket.text().await;
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], json!([]), "EIO={eio}");
        assert_eq!(open["maxPayload"], 1_000_000);
        assert!(is_session_id(open["sid"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_v4_client_is_sent_nothing_but_the_open_packet_until_it_speaks() {
    let gateway = TestGateway::plain().await;
    let mut socket = WebSocket::open(gateway.address, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with('0'));
    socket.send_text("40/marker,").await;
    assert!(socket.text().await.starts_with("44/marker,"));
}

#[tokio::test]
async fn the_configured_limits_are_told() {
    let gateway = TestGateway::start(
        r#"
        engine.ping_interval = "7s"
        engine.ping_timeout = "3500ms"
        engine.max_payload = "64KiB"
        limits.outbox = "1MB"
        "#,
    )
    .await;
    let open = Polling::open(gateway.address, 4).await.open;
    assert_eq!(open["pingInterval"], 7000);
    assert_eq!(open["pingTimeout"], 3500);
    assert_eq!(open["maxPayload"], 65_536);
}

#[tokio::test]
async fn only_eio_2_3_and_4_are_versions() {
    let gateway = TestGateway::plain().await;
    for query in [
        "",
        "EIO=&",
        "EIO=1&",
        "EIO=5&",
        "EIO=04&",
        "EIO=4.0&",
        "EIO=x&",
        "eio=4&",
        "EIO=__proto__&",
    ] {
        let response = get(&gateway, &format!("{query}transport=polling")).await;
        response.is_error(400, 5, "Unsupported protocol version");
        let upgrade = Request::upgrade(&format!("/socket.io/?{query}transport=websocket"));
        let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
        assert_eq!(
            (refused.status, refused.text()),
            (400, "Unsupported protocol version"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn v3_clients_are_refused_before_the_upgrade_where_they_are_not_served() {
    let gateway = TestGateway::start("engine.eio3 = false\n").await;
    for eio in [2, 3] {
        get(&gateway, &format!("EIO={eio}&transport=polling"))
            .await
            .is_error(400, 5, "Unsupported protocol version");
        let upgrade = Request::upgrade(&format!("/socket.io/?EIO={eio}&transport=websocket"));
        let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
        assert_eq!((refused.status, refused.text()), (400, "Unsupported protocol version"));
    }
    Polling::open(gateway.address, 4).await.is_alive().await;
}

#[tokio::test]
async fn the_last_of_two_equal_query_keys_counts() {
    let gateway = TestGateway::plain().await;
    let v4 = get(&gateway, "EIO=3&EIO=4&transport=websocket&transport=polling").await;
    assert!(v4.text().starts_with("0{"), "{}", v4.text());
    get(&gateway, "EIO=4&transport=polling&transport=carrier-pigeon")
        .await
        .is_error(400, 0, "Transport unknown");
}

#[tokio::test]
async fn an_empty_session_id_is_none() {
    let gateway = TestGateway::plain().await;
    assert_eq!(get(&gateway, "EIO=4&transport=polling&sid=").await.status, 200);
}

#[tokio::test]
async fn unknown_query_keys_do_no_harm() {
    let gateway = TestGateway::plain().await;
    for query in [
        "t=OqZt1Ab",
        "token=x%20y&__proto__=1&constructor=2",
        "a=%ff%00&&==&%zz",
        "t=%E2%82%AC",
    ] {
        let response = get(&gateway, &format!("EIO=4&transport=polling&{query}")).await;
        assert_eq!(response.status, 200, "{query}: {}", response.text());
    }
}

#[tokio::test]
async fn a_transport_is_one_of_the_known_and_allowed_ones() {
    let gateway = TestGateway::plain().await;
    for query in [
        "",
        "&transport=",
        "&transport=__proto__",
        "&transport=constructor",
        "&transport=toString",
    ] {
        get(&gateway, &format!("EIO=4{query}"))
            .await
            .is_error(400, 0, "Transport unknown");
        let upgrade = Request::upgrade(&format!("/socket.io/?EIO=4{query}"));
        let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
        assert_eq!((refused.status, refused.text()), (400, "Transport unknown"), "{query}");
    }
    for name in ["Polling", "POLLING", "flashsocket", "webtransport"] {
        get(&gateway, &format!("EIO=4&transport={name}"))
            .await
            .is_error(400, 0, "Transport unknown");
    }
}

#[tokio::test]
async fn a_transport_that_is_not_configured_is_unknown_and_not_offered() {
    let polling = TestGateway::start("engine.transports = [\"polling\"]\n").await;
    assert_eq!(Polling::open(polling.address, 4).await.open["upgrades"], json!([]));
    let upgrade = Request::upgrade("/socket.io/?EIO=4&transport=websocket");
    let refused = WebSocket::try_open(polling.address, &upgrade).await.unwrap_err();
    assert_eq!((refused.status, refused.text()), (400, "Transport unknown"));

    let websocket = TestGateway::start("engine.transports = [\"websocket\"]\n").await;
    get(&websocket, "EIO=4&transport=polling")
        .await
        .is_error(400, 0, "Transport unknown");
    let mut socket = WebSocket::open(websocket.address, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
}

#[tokio::test]
async fn a_session_begins_with_get() {
    let gateway = TestGateway::plain().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request_line = Request::new(method, "/socket.io/?EIO=4&transport=polling").header("Content-Length", "0");
        request(gateway.address, &request_line)
            .await
            .is_error(400, 2, "Bad handshake method");
    }
}

#[tokio::test]
async fn a_websocket_request_without_an_upgrade_is_a_bad_request() {
    let gateway = TestGateway::plain().await;
    get(&gateway, "EIO=4&transport=websocket")
        .await
        .is_error(400, 3, "Bad request");
}

#[tokio::test]
async fn the_cookie_comes_with_the_polling_handshake_alone() {
    let gateway = TestGateway::start("engine.cookie = \"io\"\n").await;
    let response = get(&gateway, "EIO=4&transport=polling").await;
    let open: Value = serde_json::from_str(&response.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let cookie = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(response.header("set-cookie"), Some(cookie.as_str()));

    let mut polling = Polling::open(gateway.address, 4).await;
    polling.post(&["40/marker,"]).await;
    assert_eq!(polling.get().await.header("set-cookie"), None);
    let socket = WebSocket::open(gateway.address, "/socket.io/?EIO=4&transport=websocket").await;
    assert_eq!(socket.response.header("set-cookie"), None);
}

#[tokio::test]
async fn there_is_no_cookie_unless_one_is_configured() {
    let gateway = TestGateway::plain().await;
    assert_eq!(
        get(&gateway, "EIO=4&transport=polling").await.header("set-cookie"),
        None
    );
}

#[tokio::test]
async fn old_browsers_are_told_to_leave_scripts_alone() {
    let gateway = TestGateway::plain().await;
    for (agent, expected) in [
        ("Mozilla/5.0 (compatible;MSIE 10.0; Windows NT 6.2)", Some("0")),
        (
            "Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko",
            Some("0"),
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", None),
    ] {
        let asked = Request::get("/socket.io/?EIO=4&transport=polling").header("User-Agent", agent);
        let response = request(gateway.address, &asked).await;
        assert_eq!(response.header("x-xss-protection"), expected, "{agent}");
    }
}

#[tokio::test]
async fn the_path_is_the_configured_one_and_what_lies_below_it() {
    let gateway = TestGateway::start("server.path = \"/rt/\"\n").await;
    for (path, expected) in [
        ("/rt/", 200),
        ("/rt/anything", 200),
        ("/socket.io/", 404),
        ("/rt", 404),
        ("/rts/", 404),
    ] {
        let target = format!("{path}?EIO=4&transport=polling");
        assert_eq!(
            request(gateway.address, &Request::get(&target)).await.status,
            expected,
            "{path}"
        );
    }
}
