//! Configured rules: events of one's own, built-in ones renamed or replaced, and where they reach.

use serde_json::json;

use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

/// A namespace `/` with these keys and rules, and a rule `marker` that reaches everybody.
async fn gateway(keys: &str, rules: &[&str]) -> TestGateway {
    let marker = "name = \"marker\"\naction = \"broadcast\"\necho = true";
    let rules: Vec<_> = rules
        .iter()
        .chain(&[marker])
        .map(|rule| format!("[[namespace.event]]\n{rule}\n"))
        .collect();
    TestGateway::start(&format!("[[namespace]]\nname = \"/\"\n{keys}\n{}", rules.concat())).await
}

async fn clients(gateway: &TestGateway, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..count {
        let (transport, eio) = EVERY_CLIENT[number % EVERY_CLIENT.len()];
        clients.push(Client::join(gateway, transport, eio).await);
    }
    clients
}

/// Asserts that after the client's event these hear it, and the others nothing but the marker.
async fn reaches(clients: &mut [Client], from: usize, event: serde_json::Value, hearers: &[usize]) {
    clients[from].does(event.clone()).await;
    clients[from].does(json!(["marker"])).await;
    for (number, client) in clients.iter_mut().enumerate() {
        if hearers.contains(&number) {
            client.hears(event.clone()).await;
        }
        client.hears(json!(["marker"])).await;
    }
}

#[tokio::test]
async fn a_broadcast_reaches_the_namespace_but_its_sender() {
    let gateway = gateway("", &["name = \"chat message\"\naction = \"broadcast\""]).await;
    let mut clients = clients(&gateway, 4).await;
    for from in 0..4 {
        let others: Vec<_> = (0..4).filter(|number| *number != from).collect();
        reaches(&mut clients, from, json!(["chat message", "hi", {"n": from}]), &others).await;
    }
}

#[tokio::test]
async fn an_echoed_broadcast_reaches_its_sender_too() {
    let gateway = gateway(
        "",
        &["name = \"chat\"\naction = \"broadcast\"\nto = \"namespace\"\necho = true"],
    )
    .await;
    let mut clients = clients(&gateway, 4).await;
    reaches(&mut clients, 1, json!(["chat", 1]), &[0, 1, 2, 3]).await;
}

#[tokio::test]
async fn a_broadcast_to_rooms_reaches_those_that_the_sender_is_in() {
    let gateway = gateway("", &["name = \"typing\"\naction = \"broadcast\"\nto = \"rooms\""]).await;
    let mut clients = clients(&gateway, 4).await;
    clients[0].is_refused(json!(["typing"]), "forbidden", "").await;
    clients[0].does(json!(["join", ["a", "b"]])).await;
    clients[1].does(json!(["join", ["a", "b"]])).await;
    clients[2].does(json!(["join", "b"])).await;
    clients[3].does(json!(["join", "c"])).await;
    reaches(&mut clients, 0, json!(["typing", true]), &[1, 2]).await;
    reaches(&mut clients, 2, json!(["typing", false]), &[0, 1]).await;
    reaches(&mut clients, 3, json!(["typing"]), &[]).await;
}

#[tokio::test]
async fn a_broadcast_to_one_room_needs_no_membership() {
    let gateway = gateway("", &["name = \"help\"\naction = \"broadcast\"\nto = \"room:staff\""]).await;
    let mut clients = clients(&gateway, 4).await;
    clients[2].does(json!(["join", "staff"])).await;
    reaches(&mut clients, 0, json!(["help", "me"]), &[2]).await;
    reaches(&mut clients, 2, json!(["help"]), &[]).await;
}

#[tokio::test]
async fn a_publication_may_be_echoed() {
    let rule = "name = \"publish\"\naction = \"publish\"\necho = true";
    let gateway = gateway("", &[rule]).await;
    let mut members = clients(&gateway, 2).await;
    for member in &mut members {
        member.does(json!(["join", "r"])).await;
    }
    members[0].send(r#"42["publish","r","x"]"#).await;
    for member in &mut members {
        member.hears(json!(["x"])).await;
    }
}

#[tokio::test]
async fn an_ack_rule_answers_with_the_events_own_arguments() {
    let gateway = gateway("", &["name = \"time-*\"\naction = \"ack\""]).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        assert_eq!(
            client.ask("/", &json!(["time-sync", 1, "a", null])).await,
            json!([1, "a", null])
        );
        assert_eq!(client.ask("/", &json!(["time-"])).await, json!([]));
    }
}

#[tokio::test]
async fn another_name_adds_a_rule() {
    let rules = [
        "name = \"subscribe\"\naction = \"join\"",
        "name = \"send\"\naction = \"publish\"",
        "name = \"quit\"\naction = \"leave\"",
    ];
    let gateway = gateway("", &rules).await;
    let mut clients = clients(&gateway, 2).await;
    clients[0].does(json!(["subscribe", "r"])).await;
    clients[1].does(json!(["join", "r"])).await;
    clients[0].does(json!(["send", "r", "x"])).await;
    clients[1].hears(json!(["x"])).await;
    clients[1].does(json!(["publish", "r", "y"])).await;
    clients[0].hears(json!(["y"])).await;
    clients[0].does(json!(["quit", "r"])).await;
    clients[0]
        .is_refused(json!(["publish", "r", "z"]), "forbidden", "r")
        .await;
}

#[tokio::test]
async fn the_built_in_name_replaces_the_built_in_rule() {
    let rules = [
        "name = \"join\"\naction = \"drop\"",
        "name = \"publish\"\naction = \"broadcast\"",
    ];
    let gateway = gateway("", &rules).await;
    let mut clients = clients(&gateway, 2).await;
    clients[0].is_refused(json!(["join", "r"]), "no_rule", "").await;
    reaches(&mut clients, 0, json!(["publish", "r", "x"]), &[1]).await;
}

#[tokio::test]
async fn the_first_rule_that_matches_wins() {
    let rules = [
        "name = \"a*\"\naction = \"ack\"",
        "name = \"ab\"\naction = \"drop\"",
        "name = \"?c\"\naction = \"drop\"",
    ];
    let gateway = gateway("", &rules).await;
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.ask("/", &json!(["ab", 1])).await, json!([1]));
    assert_eq!(client.ask("/", &json!(["ac", 2])).await, json!([2]));
    client.is_refused(json!(["bc"]), "no_rule", "").await;
}

#[tokio::test]
async fn otherwise_may_relay_everything_else() {
    let gateway = gateway("otherwise = \"broadcast\"", &["name = \"secret\"\naction = \"drop\""]).await;
    let mut clients = clients(&gateway, 4).await;
    reaches(&mut clients, 3, json!(["anything", 1]), &[0, 1, 2]).await;
    clients[0].is_refused(json!(["secret"]), "no_rule", "").await;
    clients[0].does(json!(["join", "r"])).await;
    reaches(&mut clients, 1, json!(["error", "x"]), &[0, 2, 3]).await;
}

#[tokio::test]
async fn the_gateways_own_events_cannot_be_relayed_by_any_rule() {
    let gateway = gateway("otherwise = \"broadcast\"", &[]).await;
    let mut clients = clients(&gateway, 2).await;
    for name in ["presence", "expired"] {
        let answer = clients[0].call(json!([name, {"room": "r"}])).await;
        assert_eq!(answer["ok"], false, "{name}: {answer}");
    }
    reaches(&mut clients, 0, json!(["x"]), &[1]).await;
}

#[tokio::test]
async fn a_broadcast_carries_bytes() {
    let gateway = gateway("", &["name = \"draw\"\naction = \"broadcast\""]).await;
    let mut clients = clients(&gateway, 4).await;
    let header = Packet::text(r#"451-["draw",{"_placeholder":true,"num":0}]"#);
    clients[0].send_packets(&[header, Packet::Binary(vec![1, 2])]).await;
    for client in &mut clients[1..] {
        assert_eq!(
            client.packet().await.data,
            json!(["draw", {"_placeholder": true, "num": 0}])
        );
        assert_eq!(client.next().await, Packet::Binary(vec![1, 2]));
    }
}

#[tokio::test]
async fn everybody_may_publish_where_membership_is_not_asked_for() {
    let gateway = gateway("members_only = false\npublish = [\"open-*\"]", &[]).await;
    let mut clients = clients(&gateway, 2).await;
    clients[1].does(json!(["join", ["open-a", "closed"]])).await;
    clients[0].does(json!(["publish", "open-a", "x"])).await;
    clients[1].hears(json!(["x"])).await;
    clients[0]
        .is_refused(json!(["publish", "closed", "x"]), "forbidden", "closed")
        .await;
}

#[tokio::test]
async fn rooms_are_given_on_connect() {
    let gateway = gateway("rooms = [\"lobby\", \"ns {namespace}\"]\njoin = []", &[]).await;
    let mut clients = clients(&gateway, 4).await;
    clients[0].does(json!(["publish", "lobby", "x"])).await;
    clients[1].does(json!(["publish", "ns /", "y"])).await;
    for (number, client) in clients.iter_mut().enumerate() {
        if number != 0 {
            client.hears(json!(["x"])).await;
        }
        if number != 1 {
            client.hears(json!(["y"])).await;
        }
    }
    let mut rooms: Vec<_> = clients[0].does(json!(["leave", "never"])).await["rooms"]
        .as_array()
        .unwrap()
        .clone();
    rooms.sort_by_key(ToString::to_string);
    assert_eq!(rooms, [json!("lobby"), json!("ns /")]);
}

#[tokio::test]
async fn the_socket_and_the_namespace_are_put_into_patterns_literally() {
    let settings = r#"
        [[namespace]]
        name = "/org-*"
        rooms = ["inbox {socket}"]
        join = ["{namespace}/*"]
        publish = ["{namespace}/*", "inbox *"]
        members_only = false
    "#;
    let gateway = TestGateway::start(settings).await;
    for namespace in ["/org-1", "/org-*"] {
        let mut one = Client::open(&gateway, Transport::WebSocket, 4).await;
        let mut two = Client::open(&gateway, Transport::WebSocket, 4).await;
        one.enter(namespace).await;
        two.enter(namespace).await;
        let own = format!("{namespace}/a");
        let joined = two.ask(namespace, &json!(["join", own])).await;
        let shown = joined[0]["socket"]
            .as_str()
            .unwrap_or_else(|| panic!("{joined}"))
            .to_owned();
        let refused = two.ask(namespace, &json!(["join", "/org-2/a"])).await;
        assert_eq!(refused[0]["error"], "forbidden", "{namespace}");
        for room in [own, format!("inbox {shown}")] {
            assert_eq!(
                one.ask(namespace, &json!(["publish", room, room])).await,
                json!([{"ok": true}])
            );
            assert_eq!(two.packet().await.data, json!([room]));
        }
    }
}
