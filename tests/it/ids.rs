//! Ids: what they look like, what they give away, and what they never do.

use std::collections::HashSet;

use serde_json::json;

use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

const OPEN: &str = r#"
[[namespace]]
name = "/"
members_only = false
[[namespace]]
name = "/chat"
members_only = false
"#;

fn is_id(id: &str) -> bool {
    id.len() == 20
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The id that others are shown.
async fn shown_id(client: &mut Client, namespace: &str) -> String {
    let answer = client.ask(namespace, &json!(["join", "any"])).await;
    let id = answer[0]["socket"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned();
    assert!(is_id(&id), "{id}");
    id
}

#[tokio::test]
async fn all_ids_of_a_node_begin_with_its_tag_and_no_two_are_equal() {
    let gateway = TestGateway::plain().await;
    let mut ids = HashSet::new();
    for _round in 0..5 {
        for (transport, eio) in EVERY_CLIENT {
            let mut client = Client::open(&gateway, transport, eio).await;
            ids.insert(client.sid.clone());
            let connect = client.enter("/").await;
            if eio == 4 {
                ids.insert(connect.data["sid"].as_str().unwrap().to_owned());
            } else {
                ids.insert(shown_id(&mut client, "/").await);
            }
        }
    }
    assert_eq!(ids.len(), 40);
    assert!(ids.iter().all(|id| is_id(id)), "{ids:?}");
    let tags: HashSet<_> = ids.iter().map(|id| &id[..4]).collect();
    assert_eq!(tags.len(), 1, "{tags:?}");
}

#[tokio::test]
async fn two_nodes_have_two_tags() {
    let (one, two) = (TestGateway::plain().await, TestGateway::plain().await);
    let (one, two) = (Client::new(&one).await, Client::new(&two).await);
    assert_ne!(one.sid[..4], two.sid[..4]);
}

#[tokio::test]
async fn a_v5_client_is_shown_by_the_id_that_it_knows() {
    let gateway = TestGateway::start(OPEN).await;
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut client = Client::open(&gateway, transport, 4).await;
        for namespace in ["/", "/chat"] {
            let connect = client.enter(namespace).await;
            let shown = shown_id(&mut client, namespace).await;
            assert_eq!(connect.data["sid"], shown.as_str());
            assert_ne!(shown, client.sid);
        }
    }
}

#[tokio::test]
async fn a_v3_client_is_shown_by_an_alias_that_does_not_betray_its_session() {
    let gateway = TestGateway::start(OPEN).await;
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut client = Client::join(&gateway, transport, 3).await;
        client.enter("/chat").await;
        let root = shown_id(&mut client, "/").await;
        let chat = shown_id(&mut client, "/chat").await;
        assert_ne!(root, client.sid);
        assert_ne!(chat, client.sid);
        assert_ne!(root, chat, "one alias a socket");
        assert_eq!(
            shown_id(&mut client, "/").await,
            root,
            "for as long as the socket lives"
        );
    }
}

#[tokio::test]
async fn the_shown_id_is_a_private_room_that_reaches_its_socket_alone() {
    let gateway = TestGateway::start(OPEN).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let id = shown_id(&mut client, "/").await;
        let mut other = Client::new(&gateway).await;
        let mut sender = Client::new(&gateway).await;
        other.does(json!(["join", "any"])).await;
        sender.does(json!(["publish", id, "secret", 1])).await;
        sender.does(json!(["publish", "any", "marker"])).await;
        client.hears(json!(["secret", 1])).await;
        client.hears(json!(["marker"])).await;
        other.hears(json!(["marker"])).await;
    }
}

#[tokio::test]
async fn a_private_room_is_not_left_not_shown_and_not_among_ones_rooms() {
    let rule = "[[namespace.event]]\nname = \"mine\"\naction = \"broadcast\"\nto = \"rooms\"\n";
    let gateway = TestGateway::start(&OPEN.replacen(
        "[[namespace]]\nname = \"/chat\"",
        &format!("{rule}[[namespace]]\nname = \"/chat\""),
        1,
    ))
    .await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let id = shown_id(&mut client, "/").await;
        let answer = client.call(json!(["leave", id])).await;
        if answer["ok"] == true {
            assert_eq!(answer["rooms"], json!(["any"]));
        }
        assert_eq!(client.does(json!(["leave", "any"])).await["rooms"], json!([]));
        client.is_refused(json!(["mine"]), "forbidden", "").await;
        let mut sender = Client::new(&gateway).await;
        sender.does(json!(["publish", id, "still here"])).await;
        client.hears(json!(["still here"])).await;
    }
}

#[tokio::test]
async fn the_private_room_ends_with_its_socket() {
    let gateway = TestGateway::start(OPEN).await;
    let mut client = Client::new(&gateway).await;
    let first = shown_id(&mut client, "/").await;
    client.send("41").await;
    client.enter("/").await;
    let second = shown_id(&mut client, "/").await;
    assert_ne!(first, second);
    let mut sender = Client::new(&gateway).await;
    sender.does(json!(["publish", first, "to the old one"])).await;
    sender.does(json!(["publish", second, "to the new one"])).await;
    client.hears(json!(["to the new one"])).await;
}

#[tokio::test]
async fn the_shown_id_of_a_v3_client_opens_no_session() {
    let gateway = TestGateway::plain().await;
    let mut client = Client::join(&gateway, Transport::Polling, 3).await;
    let alias = shown_id(&mut client, "/").await;
    let sid = std::mem::replace(&mut client.polling().sid, alias);
    client.polling().get().await.is_unknown_session();
    client.polling().sid = sid;
    client.does(json!(["join", "r"])).await;
}
