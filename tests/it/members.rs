//! `members`: who is in a room, who may know that, and how often it is counted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::http::{Connection, Request};
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;

const OPEN: &str = r#"
[[namespace]]
name = "/"
join = ["open-*", "{socket}*"]
members_only = false
"#;

/// The shown ids in an answer, sorted.
fn ids(answer: &Value) -> Vec<String> {
    let members = answer["members"]
        .as_array()
        .unwrap_or_else(|| panic!("no members in {answer}"));
    let mut ids: Vec<_> = members
        .iter()
        .map(|member| member["socket"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Joins a room in a namespace and returns the id that others are shown.
async fn join(client: &mut Client, namespace: &str, room: &str) -> String {
    let answer = client.ask(namespace, &json!(["join", room])).await;
    let id = answer[0]["socket"].as_str();
    id.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Asks again until the answer names that many: an earlier one may be given for a second.
async fn reaches(client: &mut Client, room: &str, total: u64) -> Value {
    let started = Instant::now();
    loop {
        let answer = client.does(json!(["members", room])).await;
        if answer["total"] == total {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "{total} members expected: {answer}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn everybody_in_a_room_may_know_who_is_there() {
    let gateway = TestGateway::plain().await;
    let (mut clients, mut shown) = (Vec::new(), Vec::new());
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        shown.push(join(&mut client, "/", "r").await);
        clients.push(client);
    }
    let mut stranger = Client::new(&gateway).await;
    stranger.does(json!(["join", "other"])).await;
    shown.sort();
    for client in &mut clients {
        for room in [json!("r"), json!(["r"])] {
            let mut answer = client.does(json!(["members", room])).await;
            assert_eq!(ids(&answer), shown);
            for member in answer["members"].as_array().unwrap() {
                assert_eq!(*member, json!({"socket": member["socket"], "user": null}));
            }
            answer["members"].take();
            assert_eq!(answer, json!({"ok": true, "members": null, "total": 4}));
        }
    }
}

#[tokio::test]
async fn the_answer_is_written_as_the_contract_says() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    let id = join(&mut client, "/", "r").await;
    client.send(r#"427["members","r"]"#).await;
    assert_eq!(
        client.text().await,
        format!(r#"437[{{"ok":true,"members":[{{"socket":"{id}","user":null}}],"total":1}}]"#)
    );
    gateway
        .reaches("roomcast_event_duration_seconds_count{action=\"members\"}", 1.0)
        .await;
}

#[tokio::test]
async fn a_room_that_is_named_by_a_number_is_found() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    let id = join(&mut client, "/", "7").await;
    assert_eq!(ids(&client.does(json!(["members", 7])).await), [id]);
}

#[tokio::test]
async fn old_clients_are_named_by_an_alias_in_every_namespace() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/chat\"\n").await;
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut old = Client::join(&gateway, transport, 3).await;
        old.enter("/chat").await;
        let mut asking = Client::new(&gateway).await;
        asking.enter("/chat").await;
        for namespace in ["/", "/chat"] {
            let room = format!("{transport:?}");
            let mut shown = vec![
                join(&mut old, namespace, &room).await,
                join(&mut asking, namespace, &room).await,
            ];
            shown.sort();
            let answer = asking.ask(namespace, &json!(["members", room])).await;
            assert_eq!(ids(&answer[0]), shown, "{namespace}");
            assert!(!answer.to_string().contains(&old.sid), "{namespace}: {answer}");
            assert!(!answer.to_string().contains(&asking.sid), "{namespace}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_thousand_members_are_named_and_all_are_counted() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\nrooms = [\"r\"]\n").await;
    // Clients of v3 that poll are in `/` and its rooms by one request, and need no connection until they poll.
    let mut connection = Connection::open(gateway.address).await;
    let handshake = Request::get("/socket.io/?EIO=3&transport=polling");
    for _session in 0..1_001 {
        assert_eq!(connection.request(&handshake).await.status, 200);
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 1_001.0).await;
    let mut asking = Client::new(&gateway).await;
    let answer = asking.does(json!(["members", "r"])).await;
    assert_eq!(answer["total"], 1_002);
    let ids = ids(&answer);
    assert_eq!(ids.len(), 1_000);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1_000);
}

#[tokio::test]
async fn only_members_may_ask() {
    let gateway = TestGateway::plain().await;
    let mut member = Client::new(&gateway).await;
    member.does(json!(["join", "r"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.is_refused(json!(["members", "r"]), "forbidden", "r").await;
        client
            .is_refused(json!(["members", "empty"]), "forbidden", "empty")
            .await;
        client.does(json!(["join", "r"])).await;
        client.does(json!(["members", "r"])).await;
        client.does(json!(["leave", "r"])).await;
        // The answer of a moment ago is for members alone, too.
        client.is_refused(json!(["members", "r"]), "forbidden", "r").await;
    }
}

#[tokio::test]
async fn where_membership_is_not_asked_for_the_join_patterns_decide() {
    let gateway = TestGateway::start(OPEN).await;
    let mut member = Client::new(&gateway).await;
    let id = join(&mut member, "/", "open-a").await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        assert_eq!(
            ids(&client.does(json!(["members", "open-a"])).await),
            std::slice::from_ref(&id)
        );
        let nobody = client.does(json!(["members", "open-nobody"])).await;
        assert_eq!(nobody, json!({"ok": true, "members": [], "total": 0}));
        client
            .is_refused(json!(["members", "closed"]), "forbidden", "closed")
            .await;
    }
}

#[tokio::test]
async fn a_private_room_is_nobody_elses_business() {
    for settings in ["", "[[namespace]]\nname = \"/\"\nmembers_only = false\n"] {
        let gateway = TestGateway::start(settings).await;
        for (transport, eio) in EVERY_CLIENT {
            let mut client = Client::join(&gateway, transport, eio).await;
            let id = join(&mut client, "/", "r").await;
            let mut other = Client::new(&gateway).await;
            for room in [id.clone(), format!("/chat#{id}"), client.sid.clone()] {
                other.is_refused(json!(["members", room]), "forbidden", "").await;
            }
            let alone = client.does(json!(["members", id])).await;
            assert_eq!(ids(&alone), [id]);
            if eio == 3 {
                let alone = client.does(json!(["members", client.sid])).await;
                assert!(!alone.to_string().contains(&client.sid), "{alone}");
            }
        }
    }
}

#[tokio::test]
async fn equal_questions_share_an_answer_for_a_second() {
    let gateway = TestGateway::plain().await;
    let mut first = Client::new(&gateway).await;
    for attempt in 0..20 {
        let room = format!("r{attempt}");
        first.does(json!(["join", room])).await;
        let started = Instant::now();
        assert_eq!(first.does(json!(["members", room])).await["total"], 1);
        let mut second = Client::new(&gateway).await;
        second.does(json!(["join", room])).await;
        let shared = second.does(json!(["members", room])).await;
        if started.elapsed() < Duration::from_secs(1) {
            assert_eq!(shared["total"], 1, "the answer of a moment ago");
            assert_eq!(ids(&reaches(&mut first, &room, 2).await).len(), 2);
            drop(second);
            reaches(&mut first, &room, 1).await;
            return;
        }
    }
    panic!("this machine never asks twice within a second");
}

#[tokio::test]
async fn an_answer_is_for_one_room_of_one_namespace() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/chat\"\n").await;
    let (mut one, mut two) = (Client::new(&gateway).await, Client::new(&gateway).await);
    one.enter("/chat").await;
    one.does(json!(["join", ["r", "s"]])).await;
    two.does(json!(["join", "s"])).await;
    join(&mut one, "/chat", "r").await;
    assert_eq!(one.does(json!(["members", "r"])).await["total"], 1);
    assert_eq!(one.does(json!(["members", "s"])).await["total"], 2);
    let root = ids(&one.does(json!(["members", "r"])).await);
    let chat = ids(&one.ask("/chat", &json!(["members", "r"])).await[0]);
    assert_ne!(root, chat, "a socket has an id of its own in each namespace");
}

#[tokio::test]
async fn whoever_leaves_is_a_member_no_longer() {
    let gateway = TestGateway::plain().await;
    let mut asking = Client::new(&gateway).await;
    let own = join(&mut asking, "/", "r").await;
    let mut clients = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", "r"])).await;
        clients.push(client);
    }
    assert_eq!(asking.does(json!(["members", "r"])).await["total"], 5);
    clients[0].does(json!(["leave", "r"])).await;
    clients[1].send("41").await;
    clients[3].send_fatal(&crate::client::payload::texts(&["1"])).await;
    clients.remove(2);
    assert_eq!(ids(&reaches(&mut asking, "r", 1).await), [own]);
}

#[tokio::test]
async fn questions_that_are_none_are_bad_requests() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", ["a", "b"]])).await;
    for (event, code) in [
        (json!(["members"]), "bad_request"),
        (json!(["members", null]), "bad_request"),
        (json!(["members", {}]), "bad_request"),
        (json!(["members", ""]), "bad_request"),
        (json!(["members", []]), "bad_request"),
        (json!(["members", ["a", "b"]]), "bad_request"),
        (json!(["members", "x".repeat(257)]), "too_large"),
    ] {
        client.is_refused(event, code, "").await;
    }
}

#[tokio::test]
async fn the_rule_may_have_another_name_or_be_gone() {
    let rules = r#"
        [[namespace]]
        name = "/"
        [[namespace.event]]
        name = "who"
        action = "members"
        [[namespace.event]]
        name = "members"
        action = "drop"
    "#;
    let gateway = TestGateway::start(rules).await;
    let mut client = Client::new(&gateway).await;
    let id = join(&mut client, "/", "r").await;
    assert_eq!(ids(&client.does(json!(["who", "r"])).await), [id]);
    client.is_refused(json!(["members", "r"]), "no_rule", "members").await;
    client.is_refused(json!(["who", "other"]), "forbidden", "other").await;
}
