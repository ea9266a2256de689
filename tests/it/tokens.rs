//! Tokens: where they may be, and what they give.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::client::http::Request;
use crate::client::payload::SocketPacket;
use crate::client::polling::Polling;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

pub(crate) const SECRET: &str = "a-secret-of-these-tests-0123456789-0123456789";

/// A namespace for everybody, two for those who show a token.
pub(crate) const SETTINGS: &str = r#"
[token]
secrets = ["a-secret-of-these-tests-0123456789-0123456789"]
leeway = "0s"
[[namespace]]
name = "/"
auth = "token"
rooms = ["user:{user}"]
join = ["open-*", "of-{user}-*"]
publish = ["open-*"]
stamp = true
presence = true
[[namespace]]
name = "/chat"
auth = ["token"]
[[namespace]]
name = "/open"
"#;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Signs by hand: the gateway's own way of signing may be as wrong as its way of reading.
pub(crate) fn signed(claims: &Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!(
        "{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(&claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// A token of a user that is good for a minute, with this claim `roomcast`.
pub(crate) fn token(user: &str, roomcast: &Value) -> String {
    signed(&json!({"sub": user, "exp": now() + 60, "roomcast": roomcast}))
}

pub(crate) fn plain(user: &str) -> String {
    token(user, &json!({}))
}

/// The packet that says whether the client may enter a namespace.
pub(crate) async fn verdict(client: &mut Client, namespace: &str) -> SocketPacket {
    client
        .find(|packet| packet.namespace == namespace && matches!(packet.kind, '0' | '4'))
        .await
}

/// Opens a session with this query and enters `/` by what it carries, or by `auth`.
async fn enter(
    gateway: &TestGateway,
    (transport, eio): (Transport, u8),
    query: &str,
    auth: &str,
) -> (Client, SocketPacket) {
    let mut client = Client::open_with(gateway, transport, eio, query).await;
    if eio == 4 {
        client.send(&format!("40{auth}")).await;
    }
    let packet = verdict(&mut client, "/").await;
    (client, packet)
}

/// A client in `/` with this token, and the id that others are shown.
pub(crate) async fn user(gateway: &TestGateway, kind: (Transport, u8), token: &str) -> Client {
    let (client, packet) = enter(gateway, kind, &format!("&token={token}"), "").await;
    assert_eq!(packet.kind, '0', "{packet:?}");
    client
}

pub(crate) async fn room_names(client: &mut Client) -> Vec<String> {
    let answer = client.does(json!(["leave", "none"])).await;
    let rooms = answer["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_shows_a_token_is_somebody_and_who_shows_none_stays_out() {
    let gateway = TestGateway::start(SETTINGS).await;
    for kind in EVERY_CLIENT {
        let mut client = user(&gateway, kind, &plain("alice")).await;
        assert_eq!(room_names(&mut client).await, ["user:alice"], "{kind:?}");
        for query in ["", "&token=", "&token=x", "&token=a.b.c"] {
            let (mut client, packet) = enter(&gateway, kind, query, "").await;
            let refused = if kind.1 == 4 {
                json!({"message": "unauthorized"})
            } else {
                json!("unauthorized")
            };
            assert_eq!((packet.kind, packet.data), ('4', refused), "{kind:?} {query}");
            // The other namespaces are open to it as before.
            client.send("40/open,").await;
            assert_eq!(verdict(&mut client, "/open").await.kind, '0', "{kind:?} {query}");
        }
    }
}

#[tokio::test]
async fn the_first_place_that_holds_a_token_decides() {
    let gateway = TestGateway::start(SETTINGS).await;
    let (alice, bob) = (plain("alice"), plain("bob"));
    let query = |token: &str| format!("&token={token}");
    let auth = |token: &str| json!({ "token": token }).to_string();
    for transport in [Transport::WebSocket, Transport::Polling] {
        for (query, auth, user) in [
            (query(&bob), auth(&alice), Some("alice")),
            (query(&bob), "{}".into(), Some("bob")),
            (query(&bob), r#"{"token":null}"#.into(), Some("bob")),
            (query(&bob), r#"{"token":""}"#.into(), Some("bob")),
            (query(&bob), auth("bad"), None),
            (query(&bob), r#"{"token":7}"#.into(), None),
            (query(&bob), r#"{"token":{"a":1}}"#.into(), None),
            (String::new(), auth(&alice), Some("alice")),
            (query("bad"), auth(&alice), Some("alice")),
            (String::new(), r#"{"Token":"x"}"#.into(), None),
        ] {
            let (mut client, packet) = enter(&gateway, (transport, 4), &query, &auth).await;
            match user {
                Some(user) => assert_eq!(
                    room_names(&mut client).await,
                    [format!("user:{user}")],
                    "{query} {auth}"
                ),
                None => assert_eq!(packet.data, json!({"message": "unauthorized"}), "{query} {auth}"),
            }
        }
    }
    // In the namespace's own query, as clients 1.x and 2.x do; before that of the handshake.
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut client = Client::open_with(&gateway, transport, 3, "&token=bad").await;
        assert_eq!(verdict(&mut client, "/").await.kind, '4');
        client.send(&format!("40/chat?token={alice}")).await;
        assert_eq!(verdict(&mut client, "/chat").await.kind, '0');
        let mut client = user(&gateway, (transport, 3), &alice).await;
        client.send("40/chat?token=bad").await;
        assert_eq!(verdict(&mut client, "/chat").await.data, json!("unauthorized"));
        client.send("40/chat?x=1").await;
        assert_eq!(verdict(&mut client, "/chat").await.kind, '0', "by the handshake's");
    }
}

#[tokio::test]
async fn a_token_may_come_in_the_handshakes_authorization() {
    let gateway = TestGateway::start(SETTINGS).await;
    for (query, header, is_in) in [
        (String::new(), format!("Bearer {}", plain("alice")), true),
        (String::new(), format!("bearer {}", plain("alice")), true),
        ("&token=".into(), format!("Bearer {}", plain("alice")), true),
        ("&token=bad".into(), format!("Bearer {}", plain("alice")), false),
        (String::new(), format!("Basic {}", plain("alice")), false),
        (String::new(), "Bearer bad".into(), false),
    ] {
        let target = format!("/socket.io/?EIO=4&transport=polling{query}");
        let mut client = Polling::open_by(
            gateway.address,
            4,
            &Request::get(&target).header("Authorization", &header),
        )
        .await;
        client.post(&["40"]).await;
        let answer = client.poll().await;
        let text = answer[0].as_text();
        assert_eq!(text.starts_with("40"), is_in, "{query} {header}: {text}");
    }
}

#[tokio::test]
async fn what_a_token_allows_is_added_to_what_its_namespace_does() {
    let gateway = TestGateway::start(SETTINGS).await;
    let grant =
        json!({"rooms": ["staff", "user:alice", "note-{user}"], "join": ["vip-*", "me-{user}"], "publish": ["vip-*"]});
    let mut vip = user(&gateway, EVERY_CLIENT[0], &token("alice", &grant)).await;
    let mut other = user(&gateway, EVERY_CLIENT[0], &plain("*")).await;
    assert_eq!(room_names(&mut vip).await, ["user:alice", "staff", "note-alice"]);
    for room in ["vip-1", "open-1", "of-alice-1", "me-alice"] {
        vip.does(json!(["join", room])).await;
    }
    vip.does(json!(["publish", "vip-1", "x"])).await;
    vip.is_refused(json!(["publish", "me-alice", "x"]), "forbidden", "me-alice")
        .await;
    for room in ["vip-1", "of-alice-1", "me-alice", "me-*"] {
        other.is_refused(json!(["join", room]), "forbidden", room).await;
    }
    other.does(json!(["join", "of-*-1"])).await; // a user called `*` is that user
    // The limit is on what it joins by itself.
    let few = SETTINGS.replace(
        "[[namespace]]\nname = \"/\"\n",
        "[limits]\nrooms_per_socket = 1\n[[namespace]]\nname = \"/\"\n",
    );
    let gateway = TestGateway::start(&few).await;
    let mut vip = user(&gateway, EVERY_CLIENT[0], &token("alice", &grant)).await;
    vip.does(json!(["join", "open-1"])).await;
    vip.is_refused(json!(["join", "open-2"]), "too_large", "1").await;
}

#[tokio::test]
async fn a_token_is_good_for_its_namespaces() {
    let gateway = TestGateway::start(SETTINGS).await;
    for (namespaces, root, chat) in [
        (json!({}), '0', '0'),
        (json!({"namespaces": ["/chat"]}), '4', '0'),
        (json!({"namespaces": ["/", "/x"]}), '0', '4'),
        (json!({"namespaces": ["/c*"]}), '4', '0'),
        (json!({"namespaces": []}), '4', '4'),
    ] {
        for kind in EVERY_CLIENT {
            let query = format!("&token={}", token("alice", &namespaces));
            let (mut client, packet) = enter(&gateway, kind, &query, "").await;
            assert_eq!(packet.kind, root, "{namespaces}");
            client.send("40/chat,").await;
            let other = verdict(&mut client, "/chat").await;
            assert_eq!(other.kind, chat, "{namespaces}");
            for refused in [packet, other].iter().filter(|packet| packet.kind == '4') {
                let message = if kind.1 == 4 {
                    &refused.data["message"]
                } else {
                    &refused.data
                };
                assert_eq!(message, "forbidden", "{namespaces}");
            }
        }
    }
}

#[tokio::test]
async fn users_are_shown_to_members_and_in_stamps() {
    let gateway = TestGateway::start(SETTINGS).await;
    let mut alice = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    let a = alice.does(json!(["join", "open-1"])).await["socket"].clone();
    let mut bob = user(&gateway, EVERY_CLIENT[3], &plain("bob \"b\"")).await;
    let b = bob.does(json!(["join", "open-1"])).await["socket"].clone();
    alice
        .hears(json!(["presence", {"room": "open-1", "action": "join", "socket": b, "user": "bob \"b\""}]))
        .await;
    let members = alice.does(json!(["members", "open-1"])).await["members"].clone();
    let mut members = members.as_array().unwrap().clone();
    members.sort_by_key(|member| member["user"].to_string());
    assert_eq!(
        members,
        [
            json!({"socket": a, "user": "alice"}),
            json!({"socket": b, "user": "bob \"b\""})
        ]
    );
    bob.does(json!(["publish", "open-1", "hi", 1])).await;
    let mut heard = alice.event().await;
    assert_eq!(heard[2]["user"].take(), "bob \"b\"");
    bob.does(json!(["leave", "open-1"])).await;
    alice
        .hears(json!(["presence", {"room": "open-1", "action": "leave", "socket": b, "user": "bob \"b\""}]))
        .await;
}

#[tokio::test]
async fn refusals_are_told_before_limits_are_looked_at() {
    let settings = format!("{SETTINGS}[[namespace]]\nname = \"/org-*\"\nauth = \"token\"\n");
    let gateway = TestGateway::start(&format!("limits.pattern_namespaces = 1\n{settings}")).await;
    let mut client = user(&gateway, EVERY_CLIENT[0], &plain("alice")).await;
    // Who is refused makes no namespace.
    for (name, auth, expected) in [
        ("/nowhere", "", "Invalid namespace"),
        ("/org-1", r#"{"token":"bad"}"#, "unauthorized"),
        ("/org-2", "", ""),
        ("/org-3", "", "too many namespaces"),
        ("/org-3", r#"{"token":"bad"}"#, "unauthorized"),
    ] {
        client.send(&format!("40{name},{auth}")).await;
        let packet = verdict(&mut client, name).await;
        assert_eq!(packet.data["message"].as_str().unwrap_or_default(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_is_refused_does_not_stay_for_ever() {
    let settings = format!("engine.connect_timeout = \"1s\"\n{SETTINGS}");
    let gateway = TestGateway::start(&settings).await;
    for kind in EVERY_CLIENT {
        let (mut client, packet) = enter(&gateway, kind, "", "").await;
        assert_eq!(packet.kind, '4');
        client.is_closed().await;
    }
    gateway.has_ended("connect_timeout", 4.0).await;
}
