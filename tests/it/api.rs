//! The HTTP API of one gateway: what it knows, and what it does.

use serde_json::{Value, json};

use crate::client::http::{Request, Response, request};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;
use crate::tokens;

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

/// Asserts that a request was refused like this, in a sentence that holds `part`.
#[track_caller]
pub(crate) fn is_refused(answer: &Response, status: u16, code: &str, part: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    let message = body["message"].as_str().unwrap_or_default();
    assert_eq!(body["error"], code, "{body}");
    assert!(message.contains(part), "no {part:?} in {body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
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
async fn who_leaves_is_not_waited_for() {
    let gateway = TestGateway::plain().await;
    let mut leaving = Client::new(&gateway).await;
    let admin = gateway.admin;
    let asked = tokio::spawn(async move {
        let body = json!({"event": "q", "ack_timeout": "60s"}); // longer than this test may take
        request(admin, &posted("/v1/emit", &body)).await.json()
    });
    assert_eq!(leaving.packet().await.data, json!(["q"]));
    drop(leaving);
    let answer = asked.await.unwrap();
    assert_eq!(answer, json!({"ok": true, "expected": 1, "acks": [], "missing": 1}));
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

/// The id of a client 1.x or 2.x is its session's own: whoever knows it can take that over.
#[tokio::test]
async fn who_is_put_into_anothers_private_room_does_not_see_its_name() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\npresence = true\n").await;
    let old = Client::join(&gateway, Transport::WebSocket, 3).await;
    let mut agent = Client::new(&gateway).await;
    let all = list(&gateway, "/v1/sockets").await;
    let ids = all["sockets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|socket| socket["id"].as_str().unwrap());
    let victim = ids.clone().find(|id| **id == *old.sid).expect("the session's own id");
    let own = ids.clone().find(|id| **id != *old.sid).unwrap();
    does(&gateway, "/v1/join", json!({"rooms": [own], "join": [victim]})).await;
    let rooms = list(&gateway, &format!("/v1/sockets/{own}")).await["sockets"][0]["rooms"].clone();
    assert!(rooms.as_array().unwrap().contains(&json!(victim)), "{rooms}");
    let answer = agent.does(json!(["join", "x"])).await;
    assert_eq!(answer["rooms"], json!(["x"]), "{answer}");
    does(&gateway, "/v1/emit", json!({"rooms": [victim], "event": "for both"})).await;
    assert_eq!(
        agent.event().await,
        json!(["for both"]),
        "and nobody was announced before"
    );
}
