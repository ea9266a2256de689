//! The built-in rules: `join`, `leave` and `publish`, and who hears what.

use serde_json::{Value, json};

use crate::client::payload::SocketPacket;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

/// Clients in one room.
async fn room(gateway: &TestGateway, room: &str, members: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _member in 0..members {
        let mut client = Client::new(gateway).await;
        client.does(json!(["join", room])).await;
        clients.push(client);
    }
    clients
}

/// The rooms of an ack, sorted.
fn rooms(answer: &Value) -> Vec<String> {
    let rooms = answer["rooms"]
        .as_array()
        .unwrap_or_else(|| panic!("no rooms in {answer}"));
    let mut rooms: Vec<_> = rooms.iter().map(|room| room.as_str().unwrap().to_owned()).collect();
    rooms.sort();
    rooms
}

#[tokio::test]
async fn join_answers_with_all_rooms_and_the_shown_id() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        let first = client.does(json!(["join", "b"])).await;
        assert_eq!(rooms(&first), ["b"]);
        let second = client.does(json!(["join", ["a", "c"]])).await;
        assert_eq!(rooms(&second), ["a", "b", "c"]);
        let again = client.does(json!(["join", "b"])).await;
        assert_eq!(rooms(&again), ["a", "b", "c"]);
        assert_eq!(first["socket"], again["socket"]);
        assert_eq!(first["socket"].as_str().map(str::len), Some(20));
        let mut keys: Vec<_> = first.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["ok", "rooms", "socket"]);
    }
}

#[tokio::test]
async fn leave_answers_with_the_rooms_that_are_left() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", ["a", "b", "c"]])).await;
        let answer = client.does(json!(["leave", "a"])).await;
        assert_eq!(rooms(&answer), ["b", "c"]);
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(2), "{answer}");
        assert_eq!(
            rooms(&client.does(json!(["leave", ["b", "never joined"]])).await),
            ["c"]
        );
        assert_eq!(rooms(&client.does(json!(["leave", "c"])).await), [""; 0]);
    }
}

#[tokio::test]
async fn publish_reaches_the_other_members_of_the_room_and_nobody_else() {
    let gateway = TestGateway::plain().await;
    let mut members = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", ["r", "all"]])).await;
        members.push(client);
    }
    let mut stranger = Client::new(&gateway).await;
    stranger.does(json!(["join", ["other", "all"]])).await;
    for publisher in 0..members.len() {
        let answer = members[publisher]
            .does(json!(["publish", "r", "news", publisher, {"a": [1.5, null]}]))
            .await;
        assert_eq!(answer, json!({"ok": true}));
        stranger.does(json!(["publish", "all", "marker"])).await;
        for (number, member) in members.iter_mut().enumerate() {
            if number != publisher {
                member.hears(json!(["news", publisher, {"a": [1.5, null]}])).await;
            }
            member.hears(json!(["marker"])).await;
        }
    }
    members[0].does(json!(["publish", "all", "last"])).await;
    stranger.hears(json!(["last"])).await;
}

#[tokio::test]
async fn publish_to_several_rooms_reaches_each_member_once() {
    let gateway = TestGateway::plain().await;
    let mut a = room(&gateway, "a", 1).await.remove(0);
    let mut b = room(&gateway, "b", 1).await.remove(0);
    let mut both = room(&gateway, "a", 1).await.remove(0);
    both.does(json!(["join", "b"])).await;
    let mut publisher = room(&gateway, "a", 1).await.remove(0);
    publisher.does(json!(["join", "b"])).await;
    publisher.does(json!(["publish", ["a", "b", "a"], "x"])).await;
    publisher.does(json!(["publish", ["a", "b"], "y"])).await;
    for client in [&mut a, &mut b, &mut both] {
        client.hears(json!(["x"])).await;
        client.hears(json!(["y"])).await;
    }
}

#[tokio::test]
async fn publish_without_arguments_sends_the_bare_event() {
    let gateway = TestGateway::plain().await;
    let mut members = room(&gateway, "r", 2).await;
    members[0].does(json!(["publish", "r", "bare"])).await;
    members[1].hears(json!(["bare"])).await;
}

#[tokio::test]
async fn an_ack_id_of_a_publisher_is_not_passed_on() {
    let gateway = TestGateway::plain().await;
    let mut members = room(&gateway, "r", 2).await;
    members[0].does(json!(["publish", "r", "x", 1])).await;
    assert_eq!(members[1].text().await, r#"42["x",1]"#);
}

#[tokio::test]
async fn arguments_pass_through_byte_by_byte() {
    let gateway = TestGateway::plain().await;
    let arguments = r#"1.10,-0,1E400,12345678901234567890123,{"b":1,"a":2,"b":3},"\u0041\/\ud83d\ude00",[ 1 , 2 ]"#;
    let mut publisher = Client::new(&gateway).await;
    publisher.does(json!(["join", "r"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut listener = Client::join(&gateway, transport, eio).await;
        listener.does(json!(["join", "r"])).await;
        publisher.send(&format!(r#"42["publish","r","x",{arguments}]"#)).await;
        let heard = listener.text().await;
        let (_, after) = heard.split_once(r#""x","#).unwrap();
        assert_eq!(after, format!("{arguments}]"), "{transport:?} {eio}");
    }
}

#[tokio::test]
async fn nothing_of_a_room_is_heard_after_it_was_left() {
    let gateway = TestGateway::plain().await;
    let mut publisher = room(&gateway, "r", 1).await.remove(0);
    publisher.does(json!(["join", "all"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["join", ["r", "all"]])).await;
        client.does(json!(["leave", "r"])).await;
        publisher.does(json!(["publish", "r", "gone"])).await;
        publisher.does(json!(["publish", "all", "marker"])).await;
        client.hears(json!(["marker"])).await;
    }
}

#[tokio::test]
async fn what_is_published_after_a_join_is_answered_is_heard() {
    let gateway = TestGateway::plain().await;
    let mut publisher = room(&gateway, "r", 1).await.remove(0);
    for n in 0..50 {
        let mut client = Client::new(&gateway).await;
        client.does(json!(["join", "r"])).await;
        publisher.does(json!(["publish", "r", n.to_string()])).await;
        client.hears(json!([n.to_string()])).await;
    }
}

#[tokio::test]
async fn numbers_are_rooms_by_their_decimal_text() {
    let gateway = TestGateway::plain().await;
    let mut number = Client::new(&gateway).await;
    assert_eq!(
        rooms(&number.does(json!(["join", [7, -1, 1.5]])).await),
        ["-1", "1.5", "7"]
    );
    let mut text = room(&gateway, "7", 1).await.remove(0);
    number.does(json!(["publish", 7, "x"])).await;
    text.hears(json!(["x"])).await;
    text.does(json!(["publish", ["7"], "y"])).await;
    number.hears(json!(["y"])).await;
    assert_eq!(rooms(&number.does(json!(["leave", [7, 1.5, "-1"]])).await), [""; 0]);
}

#[tokio::test]
async fn rooms_may_have_any_name() {
    let gateway = TestGateway::plain().await;
    let names = [
        "é€😀",
        " ",
        "a,b",
        "*",
        "?",
        "a\"b\\",
        "\n",
        "{socket}",
        "/",
        "#",
        "__proto__",
        &"x".repeat(256),
    ];
    for name in names {
        let mut members = room(&gateway, name, 2).await;
        members[0].does(json!(["publish", name, "x"])).await;
        members[1].hears(json!(["x"])).await;
    }
}

#[tokio::test]
async fn rooms_of_two_namespaces_have_nothing_in_common() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/\"\n[[namespace]]\nname = \"/b\"\n").await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", "r"])).await;
    listener.enter("/b").await;
    let mut publisher = Client::new(&gateway).await;
    publisher.enter("/b").await;
    assert_eq!(publisher.ask("/b", &json!(["join", "r"])).await[0]["ok"], true);
    assert_eq!(
        publisher.ask("/b", &json!(["publish", "r", "in b"])).await[0]["ok"],
        true
    );
    publisher.does(json!(["join", "r"])).await;
    publisher.does(json!(["publish", "r", "in root"])).await;
    listener.hears(json!(["in root"])).await;
    assert_eq!(listener.ask("/b", &json!(["join", "r"])).await[0]["ok"], true);
    assert_eq!(
        publisher.ask("/b", &json!(["publish", "r", "marker"])).await[0]["ok"],
        true
    );
    assert_eq!(listener.text().await, r#"42/b,["marker"]"#);
}

#[tokio::test]
async fn events_of_one_client_are_done_in_order_with_or_without_acks() {
    let gateway = TestGateway::plain().await;
    let mut listener = room(&gateway, "r", 1).await.remove(0);
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.send(r#"42["join","r"]"#).await;
        for n in 0..20 {
            client.send(&format!(r#"42["publish","r","n",{n}]"#)).await;
        }
        client.send(r#"42["leave","r"]"#).await;
        client.send(r#"42["publish","r","too late"]"#).await;
        client.send(r#"42["join","r"]"#).await;
        client.send(r#"42["publish","r","marker"]"#).await;
        for n in 0..20 {
            listener.hears(json!(["n", n])).await;
        }
        listener.hears(json!(["marker"])).await;
    }
}

#[tokio::test]
async fn a_client_may_be_in_a_room_of_two_transports_at_once() {
    let gateway = TestGateway::plain().await;
    let mut websocket = Client::join(&gateway, Transport::WebSocket, 4).await;
    let mut polling = Client::join(&gateway, Transport::Polling, 3).await;
    websocket.does(json!(["join", "r"])).await;
    polling.does(json!(["join", "r"])).await;
    websocket.does(json!(["publish", "r", "é€😀"])).await;
    let text = polling.text().await;
    assert!(text.is_ascii(), "{text}");
    assert_eq!(SocketPacket::parse(&text).data, json!(["é€😀"]));
    polling.does(json!(["publish", "r", "é€😀"])).await;
    assert_eq!(websocket.text().await, r#"42["é€😀"]"#);
}
