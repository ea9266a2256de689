//! The HTTP API's doors: who may use it, what is refused and how, and what is written down of it.

use serde_json::{Value, json};

use crate::api::{is_refused, list, posted};
use crate::client::http::{Connection, Request, request};
use crate::client::socket::Client;
use crate::gateway::TestGateway;
use crate::observed::Observed;

/// Every path with its methods.
const EVERYTHING: [(&str, &[&str]); 12] = [
    ("/v1/emit", &["POST"]),
    ("/v1/join", &["POST"]),
    ("/v1/leave", &["POST"]),
    ("/v1/disconnect", &["POST"]),
    ("/v1/batch", &["POST"]),
    ("/v1/sockets", &["GET", "HEAD"]),
    ("/v1/sockets/abc", &["GET", "HEAD"]),
    ("/v1/rooms", &["GET", "HEAD"]),
    ("/v1/rooms/abc", &["GET", "HEAD"]),
    ("/v1/nodes", &["GET", "HEAD"]),
    ("/v1/drain", &["POST", "DELETE"]),
    ("/openapi.json", &["GET", "HEAD"]),
];

const KEYS: &str = "admin.keys = [\"the-first-key-0123456789-0123456789\", \"the-second-key-0123456789-0123456789\"]\n";

#[tokio::test]
async fn nothing_is_answered_to_who_has_no_key() {
    let gateway = TestGateway::start(KEYS).await;
    let unknown = ("/v1/nothing", &["GET", "POST"][..]);
    for (path, methods) in EVERYTHING.into_iter().chain([unknown]) {
        for method in methods.iter().chain(&["PATCH"]) {
            for key in [
                None,
                Some("Bearer wrong"),
                Some("Basic the-first-key-0123456789-0123456789"),
            ] {
                let mut asked = Request::new(method, path);
                if let Some(key) = key {
                    asked = asked.header("Authorization", key);
                }
                let mut connection = Connection::open(gateway.admin).await;
                connection.send(&asked.header("Connection", "close")).await;
                if *method == "HEAD" {
                    let head = connection.end().await;
                    assert!(
                        head.starts_with(b"HTTP/1.1 401 ") && head.ends_with(b"\r\n\r\n"),
                        "{path}"
                    );
                    continue;
                }
                let answer = connection.response().await;
                is_refused(&answer, 401, "unauthorized", "key");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
            }
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.admin_get(path).await.status, 200, "{path}");
    }
    for key in [
        "Bearer the-first-key-0123456789-0123456789",
        "bearer the-second-key-0123456789-0123456789",
    ] {
        let asked = Request::get("/v1/nodes")
            .header("Authorization", key)
            .header("Host", "gateway.example")
            .header("Origin", "https://dashboard.example");
        assert_eq!(request(gateway.admin, &asked).await.status, 200);
    }
    let series = "roomcast_api_request_duration_seconds_count{route=\"nodes\",status=\"200\"}";
    gateway.reaches(series, 2.0).await;
    assert_eq!(gateway.metric(&series.replace("200", "401")).await, Some(9.0));
}

#[tokio::test]
async fn without_keys_programs_of_this_machine_may_and_pages_of_others_may_not() {
    let gateway = TestGateway::plain().await;
    let nodes = Request::get("/v1/nodes");
    for host in ["evil.example", "evil.example:3001", "10.0.0.1"] {
        let answer = request(gateway.admin, &nodes.clone().header("Host", host)).await;
        is_refused(&answer, 403, "forbidden", "loopback");
    }
    let own = format!("http://{}", gateway.admin);
    let emit = posted("/v1/emit", &json!({"event": "a"}));
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        let answer = request(gateway.admin, &emit.clone().header("Origin", origin)).await;
        is_refused(&answer, 403, "forbidden", "origin");
    }
    assert_eq!(request(gateway.admin, &emit.header("Origin", &own)).await.status, 200);
    assert_eq!(
        request(gateway.admin, &nodes.header("Host", "localhost:80"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn every_path_says_which_methods_it_has() {
    let gateway = TestGateway::plain().await;
    for (path, methods) in EVERYTHING {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = request(gateway.admin, &Request::new(method, path)).await;
            is_refused(&answer, 405, "method_not_allowed", path.split("/abc").next().unwrap());
            assert_eq!(answer.header("allow"), Some(&*methods.join(", ")), "{method} {path}");
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/emit/",
        "/v1/rooms/",
        "/v1/rooms/a/b",
        "/v2/emit",
        "/V1/emit",
    ] {
        is_refused(&gateway.admin_get(path).await, 404, "not_found", "openapi.json");
    }
    let answer = request(gateway.admin, &Request::new("DELETE", "/metrics")).await;
    is_refused(&answer, 405, "method_not_allowed", "GET");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn bodies_are_json_of_a_bounded_length_and_the_field_at_fault_is_named() {
    let gateway = TestGateway::start("engine.max_payload = \"10kB\"\n").await;
    for path in [
        "/v1/emit",
        "/v1/join",
        "/v1/leave",
        "/v1/disconnect",
        "/v1/batch",
        "/v1/drain",
    ] {
        for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            let asked = Request::post(path, "{}").header("Content-Type", wrong);
            let answer = request(gateway.admin, &asked).await;
            is_refused(&answer, 415, "unsupported_media_type", "application/json");
        }
        for (body, part) in [
            ("", "JSON"),
            ("{", "EOF"),
            ("[]", ""),
            ("7", ""),
            (r#"{"what":1}"#, "what"),
            ("{} {}", ""),
        ] {
            let asked = Request::post(path, body).header("Content-Type", "application/json");
            let answer = request(gateway.admin, &asked).await;
            if !(body.is_empty() || path == "/v1/drain") || body.contains("what") {
                is_refused(&answer, 400, "bad_request", if body == "{" { "" } else { part });
            } else {
                assert_eq!(answer.status, 400, "{path} {body:?}");
            }
        }
        let invalid = Request::post(path, b"{\"\xff\":1}").header("Content-Type", "application/json");
        is_refused(&request(gateway.admin, &invalid).await, 400, "bad_request", "UTF-8");
        let query = posted(&format!("{path}?x=1"), &json!({}));
        is_refused(&request(gateway.admin, &query).await, 400, "bad_request", "`x`");
        let long = posted(path, &json!({"x": "y".repeat(17 << 20)}));
        let mut connection = Connection::open(gateway.admin).await;
        connection.write(&long.bytes(gateway.admin)[..70_000]).await;
        is_refused(&connection.response().await, 413, "too_large", "longer");
    }
    for (path, body, part) in [
        ("/v1/emit", json!({}), "`event`"),
        ("/v1/emit", json!({"event": "disconnect"}), "`event`"),
        ("/v1/emit", json!({"event": "a", "rooms": []}), "`rooms`"),
        ("/v1/emit", json!({"event": "a", "rooms": null}), "`rooms`"),
        ("/v1/emit", json!({"event": "a", "rooms": ""}), "`rooms`"),
        ("/v1/emit", json!({"event": "a", "user": ""}), "`user`"),
        ("/v1/emit", json!({"event": "a", "ack_timeout": "2m"}), "`ack_timeout`"),
        ("/v1/join", json!({"join": ["a"]}), "`rooms`"),
        ("/v1/leave", json!({"rooms": ["a"]}), "`leave`"),
        ("/v1/disconnect", json!({}), "`all: true`"),
        ("/v1/batch", json!({}), "`commands`"),
        ("/v1/drain", json!({"node": 7}), "`node`"),
        ("/v1/drain", json!({"node": ""}), "`node`"),
    ] {
        is_refused(
            &request(gateway.admin, &posted(path, &body)).await,
            400,
            "bad_request",
            part,
        );
    }
    let long = posted("/v1/emit", &json!({"event": "a", "args": ["x".repeat(10_001)]}));
    is_refused(&request(gateway.admin, &long).await, 413, "too_large", "bytes");
}

#[tokio::test]
async fn parameters_are_checked_and_decoded() {
    let gateway = TestGateway::plain().await;
    for (target, part) in [
        ("/v1/sockets?rooms=a", "`rooms`"),
        ("/v1/sockets?room=", "`room`"),
        ("/v1/sockets?user=", "`user`"),
        ("/v1/sockets?limit=0", "`limit`"),
        ("/v1/sockets?limit=1001", "`limit`"),
        ("/v1/sockets?limit=ten", "`limit`"),
        ("/v1/sockets?namespace=chat", "`namespace`"),
        ("/v1/sockets?room=a&room=b", "`room`"),
        ("/v1/sockets?room=%ff", "`room`"),
        ("/v1/rooms?room=a", "`room`"),
        ("/v1/rooms/%ff", "`room`"),
        ("/v1/rooms/a?limit=1", "`limit`"),
        ("/v1/sockets/%C3", "`id`"),
        ("/v1/nodes?x", "`x`"),
        ("/openapi.json?x=", "`x`"),
    ] {
        is_refused(&gateway.admin_get(target).await, 400, "bad_request", part);
    }
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "a/b c+é?#%"])).await;
    let room = list(&gateway, "/v1/rooms/a%2Fb%20c+%C3%A9%3F%23%25").await;
    assert_eq!(
        room,
        json!({"rooms": [{"room": "a/b c+é?#%", "sockets": 1}], "partial": []})
    );
    let sockets = list(&gateway, "/v1/sockets?room=a/b+c%2B%c3%a9?%23%25").await;
    assert_eq!(sockets["sockets"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        list(&gateway, "/v1/rooms/nobody").await["rooms"],
        json!([{"room": "nobody", "sockets": 0}])
    );
    is_refused(
        &gateway.admin_get("/v1/sockets/nobody").await,
        404,
        "not_found",
        "socket",
    );
}

#[tokio::test]
async fn requests_share_a_connection_and_may_follow_each_other_unasked() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    let mut connection = Connection::open(gateway.admin).await;
    let mut bytes = Vec::new();
    for number in 0..50 {
        bytes.extend(posted("/v1/emit", &json!({"event": "n", "args": [number]})).bytes(gateway.admin));
    }
    connection.write(&bytes).await;
    for number in 0..50 {
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.json()), (200, json!({"ok": true})));
        client.hears(json!(["n", number])).await;
    }
    let answer = connection.request(&Request::new("PATCH", "/v1/emit")).await;
    assert_eq!((answer.status, answer.header("connection")), (405, None));
    assert_eq!(connection.request(&Request::get("/v1/nodes")).await.status, 200);
}

#[tokio::test]
async fn what_was_changed_and_by_which_key_is_logged_and_never_the_key() {
    let (process, gateway) = Observed::start("api-audit", KEYS, "json").await;
    let key = "Bearer the-second-key-0123456789-0123456789";
    for (path, body) in [
        ("/v1/join", json!({"all": true, "join": "r"})),
        ("/v1/drain", json!({})),
    ] {
        let asked = posted(path, &body);
        assert_eq!(
            request(gateway.admin, &asked.clone().header("Authorization", key))
                .await
                .status,
            200
        );
        assert_eq!(
            request(gateway.admin, &asked.header("Authorization", "Bearer canary"))
                .await
                .status,
            401
        );
    }
    let line: Value = serde_json::from_str(&process.line_with("\"route\":\"drain\"").await).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    assert_eq!(
        (&line["level"], &fields["key"], &fields["status"]),
        (&json!("INFO"), &json!(2), &json!(200))
    );
    assert_eq!(fields["peer"], "127.0.0.1");
    process.line_with("\"status\":401").await;
    let log = process.end();
    for secret in ["the-second-key", "canary", "Bearer"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}
