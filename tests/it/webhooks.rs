//! Webhooks: the application is asked who may enter.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::backend::{Backend, Call, Reply, settings};
use crate::client::frames::WebSocket;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;
use crate::tokens::{self, room_names, signed, verdict};

const NAMESPACE: &str = "[[namespace]]\nname = \"/\"\nauth = \"webhook\"\nrooms = [\"of-{user}\"]\n";

/// Starts a gateway whose `/` asks a backend that answers so.
async fn start(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> (Backend, TestGateway) {
    let backend = Backend::start(reply).await;
    let gateway = TestGateway::start(&(settings(backend.address, "") + NAMESPACE)).await;
    (backend, gateway)
}

/// Opens a session and asks for `/` with this; the verdict.
async fn enter(
    gateway: &TestGateway,
    (transport, eio): (Transport, u8),
    auth: &str,
) -> (Client, crate::client::payload::SocketPacket) {
    let mut client = Client::open_with(gateway, transport, eio, "&a=1").await;
    if eio == 4 {
        client.send(&format!("40{auth}")).await;
    }
    let packet = verdict(&mut client, "/").await;
    (client, packet)
}

fn hex_hmac(secret: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_application_says_who_enters_and_what_it_gets() {
    let (mut backend, gateway) = start(|_| {
        Reply::Json(json!({
            "user": "alice", "data": {"plan": 1}, "rooms": ["vip", "to-{user}"], "join": ["open-*"], "publish": ["open-*"],
        }))
    })
    .await;
    for kind in EVERY_CLIENT {
        let (mut client, packet) = enter(&gateway, kind, r#"{"token":"t"}"#).await;
        assert_eq!(packet.kind, '0', "{kind:?}");
        let call = backend.next_of("connect").await;
        assert_eq!(
            (call.target.as_str(), &*call.headers["roomcast-event"]),
            ("/hook", "connect")
        );
        assert_eq!(call.body["id"], call.headers["roomcast-id"]);
        let signature = &call.headers["roomcast-signature"];
        let (time, signature) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(time.parse().unwrap()) <= 60);
        let expected = hex_hmac("a-secret-of-these-tests-0123456789", &format!("{time}.{}", call.text));
        assert_eq!(signature, expected);
        let socket = &call.body["socket"];
        let transport = if kind.0 == Transport::Polling {
            "polling"
        } else {
            "websocket"
        };
        for (field, expected) in [
            ("user", Value::Null),
            ("rooms", json!([])),
            ("data", json!({})),
            ("address", json!("127.0.0.1")),
            ("transport", json!(transport)),
            ("protocol", json!(kind.1)),
            ("auth", if kind.1 == 4 { json!({"token": "t"}) } else { json!({}) }),
        ] {
            assert_eq!(socket[field], expected, "{kind:?} {field}");
        }
        assert_eq!(socket["query"]["a"], "1");
        assert!(call.body["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(call.body["namespace"], "/");
        let id = if kind.1 == 4 {
            packet.data["sid"].clone()
        } else {
            json!(client.sid)
        };
        assert_eq!(socket["id"], id, "{kind:?}");
        assert!(id.as_str().unwrap().starts_with(call.body["node"].as_str().unwrap()));
        let mut rooms = room_names(&mut client).await;
        rooms.sort();
        assert_eq!(rooms, ["of-alice", "to-alice", "vip"]);
        client.does(json!(["join", "open-1"])).await;
        client.is_refused(json!(["join", "vip-2"]), "forbidden", "vip-2").await;
        client.is_refused(json!(["refresh", "t"]), "no_rule", "tokens").await;
        let answer = client.does(json!(["members", "open-1"])).await;
        assert_eq!(answer["members"][0]["user"], "alice");
    }
}

#[tokio::test]
async fn the_application_says_who_stays_out() {
    let (_backend, gateway) = start(|call| match call.body["socket"]["auth"]["n"].as_u64() {
        Some(0) => Reply::Json(json!({"deny": {}})),
        Some(1) => Reply::Json(json!({"deny": {"message": "no \"way\""}})),
        Some(2) => {
            Reply::Json(json!({"deny": {"message": "pay", "data": {"url": "/pay"}}, "user": "x", "rooms": ["a"]}))
        }
        Some(3) => Reply::Say(401, "go away".into()),
        Some(4) => Reply::Say(403, String::new()),
        Some(_) => Reply::Json(json!({"user": "alice"})),
        None => Reply::Json(json!({"deny": {"message": "old", "data": [1]}})),
    })
    .await;
    for (number, expected) in [
        (0, json!({"message": "forbidden"})),
        (1, json!({"message": "no \"way\""})),
        (2, json!({"message": "pay", "data": {"url": "/pay"}})),
        (3, json!({"message": "unauthorized"})),
        (4, json!({"message": "forbidden"})),
    ] {
        let auth = json!({ "n": number }).to_string();
        let (mut client, packet) = enter(&gateway, EVERY_CLIENT[0], &auth).await;
        assert_eq!((packet.kind, packet.data), ('4', expected));
        // It may try again on the same session.
        client.send(r#"40{"n":9}"#).await;
        assert_eq!(verdict(&mut client, "/").await.kind, '0');
    }
    for kind in &EVERY_CLIENT[2..] {
        let (_client, packet) = enter(&gateway, *kind, "").await;
        assert_eq!(
            (packet.kind, packet.data),
            ('4', json!({"message": "old", "data": [1]}))
        );
    }
}

#[tokio::test]
async fn without_a_verdict_clients_come_back_by_themselves() {
    let replies: [fn() -> Reply; 9] = [
        || Reply::Say(500, "{}".into()),
        || Reply::Say(302, String::new()),
        || Reply::Say(204, String::new()),
        || Reply::Say(200, "[]".into()),
        || Reply::Say(200, r#"{"user":7}"#.into()),
        || Reply::Say(200, r#"{"usr":"alice"}"#.into()),
        || Reply::Say(200, format!("{{\"user\":\"{}\"}}", "x".repeat(10_000_000))),
        || Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"user\":\"al".into()),
        || Reply::Hang,
    ];
    let backend = Backend::start(move |call| match call.body["socket"]["auth"]["n"].as_u64() {
        Some(number) => replies[number as usize](),
        None => Reply::Json(json!({})),
    })
    .await;
    let open = "[[namespace]]\nname = \"/open\"\n";
    let text = settings(backend.address, "timeout = \"300ms\"") + NAMESPACE + open;
    let gateway = TestGateway::start(&text).await;
    // All at once, as each waits up to two seconds.
    let gateway_of_all = &gateway;
    let sent_away = (0..9).map(|number| async move {
        let gateway = gateway_of_all;
        let auth = json!({ "n": number }).to_string();
        let mut client = Client::open(gateway, Transport::WebSocket, 4).await;
        client.send(&format!("40{auth}")).await;
        let mut other = Client::open(gateway, Transport::WebSocket, 4).await;
        other.enter("/open").await;
        other.send(&format!("40{auth}")).await;
        let packet = verdict(&mut other, "/").await;
        assert_eq!(
            (packet.kind, packet.data),
            ('4', json!({"message": "unavailable"})),
            "{auth}"
        );
        client.is_closed().await;
    });
    futures_util::future::join_all(sent_away).await;
    gateway.has_ended("unavailable", 9.0).await;
    for reason in ["status", "redirect", "invalid", "too_large", "cut", "timeout"] {
        let series = format!("roomcast_webhook_failures_total{{type=\"connect\",reason=\"{reason}\"}}");
        assert!(gateway.metric(&series).await.unwrap() >= 2.0, "{reason}");
    }
}

#[tokio::test]
async fn with_both_the_token_comes_first_and_the_application_sees_its_user() {
    let backend = Backend::start(|call| match call.body["socket"]["user"].as_str() {
        Some("bob") => Reply::Json(json!({"deny": {"message": "not bob"}})),
        Some("alice") => Reply::Json(json!({
            "user": "alice@example", "data": {"from": "application"}, "rooms": ["b"], "join": ["b-*"], "publish": [],
        })),
        _ => Reply::Json(json!({})),
    })
    .await;
    let text = settings(backend.address, "events = [\"connect\", \"connected\"]")
        + &format!("[token]\nsecrets = [\"{}\"]\n", tokens::SECRET)
        + "[[namespace]]\nname = \"/\"\nauth = [\"token\", \"webhook\"]\n";
    let gateway = TestGateway::start(&text).await;
    let mut backend = backend;
    let grant = json!({"rooms": ["a"], "join": ["a-*"], "data": {"from": "token"}});
    let token = |user: &str| tokens::token(user, &grant);
    let auth = |token: String| json!({ "token": token }).to_string();
    let (_, packet) = enter(&gateway, EVERY_CLIENT[0], "").await;
    assert_eq!(packet.data, json!({"message": "unauthorized"}));
    let (_, packet) = enter(&gateway, EVERY_CLIENT[0], &auth(token("bob"))).await;
    assert_eq!(packet.data, json!({"message": "not bob"}));
    assert_eq!(backend.next().await.body["socket"]["user"], "bob");
    let (mut client, packet) = enter(&gateway, EVERY_CLIENT[0], &auth(token("alice"))).await;
    assert_eq!(packet.kind, '0');
    let call = backend.next().await;
    assert_eq!(call.body["socket"]["data"], json!({"from": "token"}));
    let socket = backend.next_of("connected").await.body["socket"].clone();
    assert_eq!(
        (&socket["user"], &socket["data"], &socket["rooms"]),
        (
            &json!("alice@example"),
            &json!({"from": "application"}),
            &json!(["a", "b"])
        )
    );
    client.does(json!(["join", ["a-1", "b-1"]])).await;
    // A new token is of the token's user, and changes what the old one gave.
    let other = signed(&json!({"sub": "alice@example", "exp": tokens::now() + 60}));
    client
        .is_refused(json!(["refresh", other]), "forbidden", "another user")
        .await;
    client
        .does(json!([
            "refresh",
            signed(&json!({"sub": "alice", "exp": tokens::now() + 60}))
        ]))
        .await;
    client.is_refused(json!(["join", "a-2"]), "forbidden", "a-2").await;
    client.does(json!(["join", "b-2"])).await;
}

#[tokio::test]
async fn the_time_of_a_socket_ends_when_the_application_says() {
    let backend = Backend::start(|call| match call.body["socket"]["user"].as_str() {
        None => Reply::Json(json!({"user": "alice", "expires": tokens::now() + 1, "join": ["*"]})),
        Some(_) => Reply::Json(json!({"expires": tokens::now() + 1})),
    })
    .await;
    let text = settings(backend.address, "")
        + &format!("[token]\nsecrets = [\"{}\"]\n", tokens::SECRET)
        + "[[namespace]]\nname = \"/\"\nauth = \"webhook\"\n"
        + "[[namespace]]\nname = \"/both\"\nauth = [\"token\", \"webhook\"]\n";
    let gateway = TestGateway::start(&text).await;
    let (mut client, packet) = enter(&gateway, EVERY_CLIENT[0], "").await;
    assert_eq!(packet.kind, '0');
    client
        .send(&format!("40/both,{}", json!({ "token": tokens::plain("alice") })))
        .await;
    assert_eq!(verdict(&mut client, "/both").await.kind, '0');
    for _ in 0..2 {
        let expired = client.find(|packet| packet.kind == '2').await;
        assert_eq!(expired.data, json!(["expired", {}]));
    }
    client.is_refused(json!(["join", "a"]), "expired", "").await;
    client.is_refused(json!(["refresh", "x"]), "no_rule", "tokens").await;
    // The application's end is the earlier one, and no token changes it.
    let answer = client.ask("/both", &json!(["refresh", tokens::plain("alice")])).await;
    assert_eq!(answer[0]["error"], "expired", "{answer}");
}

#[tokio::test]
async fn actions_of_a_verdict_are_done_behind_the_connect_and_not_for_the_refused() {
    let (_backend, gateway) = start(|call| match call.body["socket"]["auth"]["n"].as_u64() {
        Some(1) => Reply::Json(json!({
            "deny": {"message": "no"}, "actions": [{"emit": {"all": true, "event": "refused", "args": []}}],
        })),
        _ => Reply::Json(json!({"actions": [
            {"join": {"join": ["news"]}}, {"emit": {"event": "welcome", "args": [1]}},
            {"emit": {"rooms": ["news"], "event": "hello", "args": []}},
        ]})),
    })
    .await;
    let mut first = Client::open(&gateway, Transport::WebSocket, 4).await;
    first.send("40{}").await;
    assert_eq!(first.packet().await.kind, '0');
    first.hears(json!(["welcome", 1])).await;
    first.hears(json!(["hello"])).await;
    let (_, packet) = enter(&gateway, EVERY_CLIENT[0], r#"{"n":1}"#).await;
    assert_eq!(packet.kind, '4');
    let mut second = Client::new(&gateway).await;
    second.hears(json!(["welcome", 1])).await;
    first.hears(json!(["hello"])).await; // and nothing before it
}

#[tokio::test]
async fn who_comes_while_a_verdict_is_waited_for_is_held_up_alone() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut backend =
        Backend::start(move |_| Reply::Held(Arc::clone(&held), Box::new(Reply::Json(json!({"join": ["*"]}))))).await;
    let open = "[[namespace]]\nname = \"/open\"\n";
    let gateway = TestGateway::start(&(settings(backend.address, "") + NAMESPACE + open)).await;
    let mut client = Client::open(&gateway, Transport::WebSocket, 4).await;
    client.send("40").await;
    client.send("420[\"join\",\"a\"]").await;
    client.enter("/open").await;
    assert_eq!(client.ask("/open", &json!(["join", "x"])).await[0]["ok"], true);
    let mut goes = Client::open(&gateway, Transport::WebSocket, 4).await;
    goes.send("40").await;
    backend.next().await;
    backend.next().await;
    drop(goes);
    gateway.has_ended("transport_closed", 1.0).await;
    gate.add_permits(2);
    assert_eq!(verdict(&mut client, "/").await.kind, '0');
    let answer = client
        .find(|packet| packet.kind == '3' && packet.namespace == "/")
        .await;
    assert_eq!(answer.data[0]["rooms"], json!(["a"]));
    // Who never came in is not said to have gone.
    drop(client);
    let mut gone = [backend.next().await, backend.next().await]
        .map(|call| call.kind().to_owned() + &call.body["namespace"].to_string());
    gone.sort();
    assert_eq!(gone, ["disconnect\"/\"", "disconnect\"/open\""]);
    backend.is_left_alone();
}

#[tokio::test]
async fn headers_and_namespaces_queries_are_passed_on_as_the_settings_say() {
    let backend = Backend::start(|_| Reply::Json(json!({}))).await;
    let text = settings(backend.address, "headers = [\"Cookie\", \"x-own\"]")
        + "[[namespace]]\nname = \"/*\"\nauth = \"webhook\"\n";
    let gateway = TestGateway::start(&text).await;
    let mut backend = backend;
    let target = "/socket.io/?EIO=3&transport=websocket&a=1&b=2";
    let request = crate::client::http::Request::upgrade(target)
        .header("Cookie", "a=b")
        .header("X-Own", "mine")
        .header("User-Agent", "not this");
    let mut socket = WebSocket::try_open(gateway.address, &request).await.unwrap();
    assert!(socket.text().await.starts_with('0'));
    let headers = backend.next().await.body["socket"]["headers"].clone();
    assert_eq!(headers, json!({"cookie": "a=b", "x-own": "mine"}));
    socket.send_text("40/chat?b=3&c=x%20y").await;
    let call = backend.next().await;
    assert_eq!(call.body["namespace"], "/chat");
    let query = &call.body["socket"]["query"];
    assert_eq!(
        (&query["a"], &query["b"], &query["c"]),
        (&json!("1"), &json!("3"), &json!("x y"))
    );
}
