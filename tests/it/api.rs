//! The HTTP API of one gateway: who may use it, what is refused and how, and what it does.

use serde_json::{Value, json};

use crate::client::http::{Connection, Request, Response, request};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::tokens;

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

/// A command as it is sent.
pub(crate) fn posted(target: &str, body: &Value) -> Request {
    Request::post(target, body.to_string()).header("Content-Type", "application/json")
}

/// Has a command done, which must succeed.
pub(crate) async fn does(gateway: &TestGateway, target: &str, body: Value) -> Value {
    let answer = request(gateway.admin, &posted(target, &body)).await;
    assert_eq!(answer.status, 200, "{target} {body}: {}", answer.text());
    answer.json()
}

/// Asks for a list, which must succeed.
pub(crate) async fn list(gateway: &TestGateway, target: &str) -> Value {
    let answer = gateway.admin_get(target).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.json()
}

#[track_caller]
fn is_refused(answer: &Response, status: u16, code: &str, part: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    let message = body["message"].as_str().unwrap_or_default();
    assert_eq!(body["error"], code, "{body}");
    assert!(message.contains(part), "no {part:?} in {body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

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
async fn a_socket_is_shown_as_it_is() {
    let gateway = TestGateway::start(tokens::SETTINGS).await;
    let claim = json!({"rooms": ["given"], "data": {"age": 7}});
    let query = format!("&token={}", tokens::token("alice", &claim));
    for (transport, eio) in EVERY_CLIENT {
        let before = humantime_now();
        let mut client = Client::open_with(&gateway, transport, eio, &query).await;
        client.enter("/").await;
        let shown = client.does(json!(["join", "open-1"])).await["socket"]
            .as_str()
            .unwrap()
            .to_owned();
        let found = list(&gateway, "/v1/sockets?user=alice").await;
        let sockets = found["sockets"].as_array().unwrap();
        assert_eq!((sockets.len(), &found["partial"]), (1, &json!([])), "{found}");
        let mut socket = sockets[0].clone();
        let id = socket["id"].as_str().unwrap().to_owned();
        let connected = socket["connected"].take();
        let connected = connected.as_str().unwrap();
        assert!(
            *before <= *connected && connected.len() == 24 && connected.ends_with('Z'),
            "{before} {connected}"
        );
        assert_eq!(
            socket,
            json!({
                "id": id, "user": "alice", "rooms": ["user:alice", "given", "open-1"], "data": {"age": 7},
                "address": "127.0.0.1", "transport": if transport == Transport::Polling { "polling" } else { "websocket" },
                "protocol": eio, "node": &client.sid[..4], "connected": null,
            })
        );
        for name in [&id, &shown] {
            let one = list(&gateway, &format!("/v1/sockets/{name}")).await;
            assert_eq!(one, found, "{name}");
            let by_room = list(&gateway, &format!("/v1/sockets?room={name}")).await;
            assert_eq!(by_room, found, "{name}");
        }
        let answer = gateway.admin_get(&format!("/v1/sockets/{id}?namespace=/chat")).await;
        is_refused(&answer, 404, "not_found", "namespace");
        for nobody in [
            "user=bob",
            "room=nobody",
            "namespace=/chat",
            "user=alice&room=nobody",
            "cursor=~",
        ] {
            assert_eq!(
                list(&gateway, &format!("/v1/sockets?{nobody}")).await,
                json!({"sockets": [], "partial": []})
            );
        }
        does(&gateway, "/v1/disconnect", json!({"user": "alice", "close": true})).await;
        client.find(|packet| packet.kind == '1').await;
        gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    }
}

/// The time as the API writes it, to the second.
fn humantime_now() -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    now.trim_end_matches('Z').to_owned()
}

#[tokio::test]
async fn pages_follow_each_other() {
    let gateway = TestGateway::plain().await;
    let mut clients = Vec::new();
    for number in 0..7 {
        let mut client = Client::new(&gateway).await;
        client.does(json!(["join", ["all", format!("r{number}")]])).await;
        clients.push(client);
    }
    let mut ids = Vec::new();
    let mut target = "/v1/sockets?limit=3&room=all".to_owned();
    for expected in [3, 3, 1] {
        let page = list(&gateway, &target).await;
        let sockets = page["sockets"].as_array().unwrap();
        assert_eq!(sockets.len(), expected, "{page}");
        ids.extend(sockets.iter().map(|socket| socket["id"].as_str().unwrap().to_owned()));
        match page.get("cursor") {
            Some(cursor) => target = format!("/v1/sockets?limit=3&room=all&cursor={}", cursor.as_str().unwrap()),
            None => assert_eq!(ids.len(), 7),
        }
    }
    assert!(ids.is_sorted());
    let page = list(&gateway, "/v1/rooms?limit=2").await;
    assert_eq!(
        page,
        json!({"rooms": [{"room": "all", "sockets": 7}, {"room": "r0", "sockets": 1}], "cursor": "r0", "partial": []})
    );
    let page = list(&gateway, "/v1/rooms?prefix=r&cursor=r5").await;
    assert_eq!(page, json!({"rooms": [{"room": "r6", "sockets": 1}], "partial": []}));
    let nodes = list(&gateway, "/v1/nodes").await;
    let node = &nodes["nodes"][0];
    assert_eq!((&nodes["node_servers"], &nodes["partial"]), (&json!(0), &json!([])));
    let expected = json!({
        "id": &clients[0].sid[..4], "address": null, "version": env!("CARGO_PKG_VERSION"), "sockets": 7, "rooms": 8,
        "uptime": node["uptime"], "draining": false,
    });
    assert_eq!(*node, expected);
}

#[tokio::test]
async fn commands_are_done_for_those_they_name_and_nobody_else() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/chat\"\n").await;
    let mut clients = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        clients.push(Client::join(&gateway, transport, eio).await);
    }
    clients[0].does(json!(["join", "a"])).await;
    let ok = json!({"ok": true});
    assert_eq!(
        does(&gateway, "/v1/join", json!({"rooms": ["a"], "join": "b"})).await,
        ok
    );
    assert_eq!(
        does(&gateway, "/v1/emit", json!({"event": "to b", "rooms": ["b"]})).await,
        ok
    );
    clients[0].hears(json!(["to b"])).await;
    assert_eq!(
        does(&gateway, "/v1/leave", json!({"all": true, "leave": ["b"]})).await,
        ok
    );
    does(&gateway, "/v1/emit", json!({"event": "to nobody", "rooms": ["b"]})).await;
    let except = json!({"event": "to all but a", "args": [1.50, {"z": 1, "a": null}], "except": ["a"]});
    does(&gateway, "/v1/emit", except).await;
    does(
        &gateway,
        "/v1/emit",
        json!({"event": "elsewhere", "namespace": "/chat"}),
    )
    .await;
    does(&gateway, "/v1/emit", json!({"event": "to all", "all": true})).await;
    clients[0].hears(json!(["to all"])).await;
    for client in &mut clients[1..] {
        client.hears(json!(["to all but a", 1.5, {"z": 1, "a": null}])).await;
        client.hears(json!(["to all"])).await;
    }
    does(&gateway, "/v1/disconnect", json!({"rooms": ["a"]})).await;
    clients[0].find(|packet| packet.kind == '1').await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 3.0).await;
    gateway.reaches("roomcast_broadcasts_total{origin=\"api\"}", 5.0).await;
    for (route, times) in [("emit", 5.0), ("join", 1.0), ("leave", 1.0), ("disconnect", 1.0)] {
        let series = format!("roomcast_api_request_duration_seconds_count{{route=\"{route}\",status=\"200\"}}");
        assert_eq!(gateway.metric(&series).await, Some(times), "{series}");
    }
}

#[tokio::test]
async fn a_batch_is_done_in_order_and_what_fails_stops_nothing() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    let batch = json!({"commands": [
        {"join": {"all": true, "join": ["new"]}},
        {"emit": {"event": "one", "rooms": ["new"]}},
        {"emit": {"event": "", "rooms": ["new"]}},
        {"shout": {}},
        7,
        {"leave": {"all": true, "leave": ["new"]}},
        {"emit": {"event": "nobody", "rooms": ["new"]}},
        {"emit": {"event": "two", "id": "x"}},
        {"emit": {"event": "three", "id": "x"}},
    ]});
    let results = does(&gateway, "/v1/batch", batch).await;
    let results = results["results"].as_array().unwrap();
    let summary: Vec<_> = results
        .iter()
        .map(|result| (result["ok"] == true, result["error"].as_str()))
        .collect();
    let (done, wrong) = ((true, None), (false, Some("bad_request")));
    assert_eq!(
        summary,
        [done, done, wrong, wrong, wrong, done, done, done, done],
        "{results:?}"
    );
    assert_eq!(results[8], json!({"ok": true, "duplicate": true}));
    assert!(
        results[2]["message"].as_str().unwrap().contains("`event`"),
        "{results:?}"
    );
    client.hears(json!(["one"])).await;
    client.hears(json!(["two"])).await;
    assert_eq!(
        does(&gateway, "/v1/batch", json!({"commands": []})).await,
        json!({"results": []})
    );
    let many = json!({"commands": vec![json!({"emit": {"event": "a"}}); 1001]});
    is_refused(
        &request(gateway.admin, &posted("/v1/batch", &many)).await,
        400,
        "bad_request",
        "1001",
    );
}

#[tokio::test]
async fn clients_answers_come_back() {
    let gateway = TestGateway::plain().await;
    let mut answering = Client::new(&gateway).await;
    let _silent = Client::new(&gateway).await;
    let admin = gateway.admin;
    let asked = tokio::spawn(async move {
        let body = json!({"event": "q", "args": [1], "ack_timeout": 1000});
        request(admin, &posted("/v1/emit", &body)).await.json()
    });
    let question = answering.packet().await;
    assert_eq!(question.data, json!(["q", 1]));
    answering.send(&format!("43{}[\"yes\",2]", question.id.unwrap())).await;
    let answer = asked.await.unwrap();
    assert_eq!(
        answer,
        json!({"ok": true, "expected": 2, "acks": [["yes", 2]], "missing": 1})
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
async fn a_node_drains_and_stays_and_serves_again() {
    let settings = "drain.delay = \"0s\"\ndrain.spread = \"0s\"\ndrain.timeout = \"5s\"\n";
    let mut gateway = TestGateway::start(settings).await;
    let mut client = Client::new(&gateway).await;
    let tag = client.sid[..4].to_owned();
    let drained = does(&gateway, "/v1/drain", json!({})).await;
    assert_eq!(drained, json!({"ok": true, "node": tag, "draining": true}));
    assert_eq!(client.socket().close_code().await, Some(1001));
    gateway.reaches("roomcast_draining", 1.0).await;
    assert_eq!(list(&gateway, "/v1/nodes").await["nodes"][0]["draining"], true);
    let again = request(gateway.admin, &Request::new("POST", "/v1/drain")).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let other = request(gateway.admin, &posted("/v1/drain", &json!({"node": "zzzz"}))).await;
    is_refused(&other, 404, "not_found", "gateway");
    let with_body = request(
        gateway.admin,
        &posted("/v1/drain", &json!({"node": tag})).method("DELETE"),
    )
    .await;
    is_refused(&with_body, 400, "bad_request", "?node=");
    let resumed = request(gateway.admin, &Request::new("DELETE", &format!("/v1/drain?node={tag}"))).await;
    assert_eq!(resumed.json(), json!({"ok": true, "node": tag, "draining": false}));
    gateway.reaches("roomcast_draining", 0.0).await;
    let _client = Client::new(&gateway).await;
    gateway.stop();
    gateway.ended().await;
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_cannot_be_kept() {
    let settings = "drain.delay = \"60s\"\ndrain.spread = \"0s\"\ndrain.timeout = \"60s\"\n";
    let gateway = TestGateway::start(settings).await;
    gateway.stop();
    gateway.reaches("roomcast_draining", 1.0).await;
    let answer = request(gateway.admin, &Request::new("DELETE", "/v1/drain")).await;
    is_refused(&answer, 409, "conflict", "stop");
    does(&gateway, "/v1/drain", json!({})).await;
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
