//! `stamp = true`: what clients publish says who and when, as its last argument.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::client::payload::Packet;
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::TestGateway;

/// A stamped namespace with a rule for every place that a broadcast can go to.
const STAMP: &str = r#"
[[namespace]]
name = "/"
stamp = true
[[namespace.event]]
name = "everybody"
action = "broadcast"
[[namespace.event]]
name = "desk"
action = "broadcast"
to = "room:staff"
[[namespace.event]]
name = "typing"
action = "broadcast"
to = "rooms"
[[namespace.event]]
name = "say"
action = "publish"
echo = true
[[namespace.event]]
name = "shout"
action = "broadcast"
echo = true
[[namespace.event]]
name = "echo"
action = "ack"
"#;

/// Takes the stamp off an event and checks everything about it but the room, which it returns.
fn unstamped(event: &mut Value, socket: &str) -> Value {
    let arguments = event.as_array_mut().unwrap();
    let stamp = arguments.pop().unwrap();
    let time = stamp["time"].as_str().unwrap_or_else(|| panic!("no time in {stamp}"));
    assert_eq!(
        stamp,
        json!({"user": null, "socket": socket, "room": stamp["room"], "time": time})
    );
    // 2026-01-01T00:00:00.000Z
    let form: String = time
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z", "{time}");
    let at = humantime::parse_rfc3339(time).expect("a time");
    let age = SystemTime::now().duration_since(at).expect("a time that is past");
    assert!(age < Duration::from_secs(60), "{time}");
    stamp["room"].clone()
}

/// Four clients of all kinds in the room `staff` and one of their own, and the ids that others are shown.
async fn clients(gateway: &TestGateway) -> Vec<(Client, String)> {
    let mut clients = Vec::new();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(gateway, transport, eio).await;
        let answer = client.does(json!(["join", ["staff", "all"]])).await;
        clients.push((client, answer["socket"].as_str().unwrap().to_owned()));
    }
    clients
}

/// Asserts that all clients but `from` hear its event, stamped with this room.
async fn hear(clients: &mut [(Client, String)], from: usize, with_echo: bool, event: &Value, room: &Value) {
    let socket = clients[from].1.clone();
    for (number, (client, _)) in clients.iter_mut().enumerate() {
        if number != from || with_echo {
            let mut heard = client.event().await;
            assert_eq!(unstamped(&mut heard, &socket), *room, "{event}");
            assert_eq!(heard, *event);
        }
    }
}

#[tokio::test]
async fn a_publication_says_who_when_and_to_which_room() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    for from in 0..clients.len() {
        for (rooms, room) in [
            (json!("staff"), json!("staff")),
            (json!(["staff"]), json!("staff")),
            (json!(["staff", "all"]), Value::Null),
        ] {
            for event in [json!(["bare"]), json!(["x", 1, {"a": [null]}])] {
                let mut call = vec![json!("publish"), rooms.clone()];
                call.extend(event.as_array().unwrap().iter().cloned());
                clients[from].0.does(Value::from(call)).await;
                hear(&mut clients, from, false, &event, &room).await;
            }
        }
    }
}

#[tokio::test]
async fn a_broadcast_names_a_room_where_its_rule_names_one() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    for from in 0..clients.len() {
        for (event, room, with_echo) in [
            (json!(["everybody", 1]), Value::Null, false),
            (json!(["desk", 2]), json!("staff"), false),
            (json!(["typing"]), Value::Null, false),
            (json!(["shout", {}]), Value::Null, true),
        ] {
            clients[from].0.does(event.clone()).await;
            hear(&mut clients, from, with_echo, &event, &room).await;
        }
    }
}

#[tokio::test]
async fn an_echo_is_stamped_as_well() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    for from in 0..clients.len() {
        clients[from].0.does(json!(["say", "all", "x", from])).await;
        hear(&mut clients, from, true, &json!(["x", from]), &json!("all")).await;
    }
}

#[tokio::test]
async fn an_answer_is_not_stamped() {
    let gateway = TestGateway::start(STAMP).await;
    let mut client = Client::new(&gateway).await;
    assert_eq!(client.ask("/", &json!(["echo", 1])).await, json!([1]));
}

#[tokio::test]
async fn attachments_stay_where_they_are() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    let header =
        r#"452-["publish","staff","draw",{"_placeholder":true,"num":1},"between",{"_placeholder":true,"num":0}]"#;
    for from in 0..clients.len() {
        let socket = clients[from].1.clone();
        let packets = [
            Packet::text(header),
            Packet::Binary(vec![0, from as u8]),
            Packet::Binary(b"one".to_vec()),
        ];
        clients[from].0.send_packets(&packets).await;
        for (number, (client, _)) in clients.iter_mut().enumerate() {
            if number == from {
                continue;
            }
            let mut heard = client.packet().await;
            assert_eq!((heard.kind, heard.attachments), ('5', 2));
            assert_eq!(unstamped(&mut heard.data, &socket), "staff");
            assert_eq!(
                heard.data,
                json!(["draw", {"_placeholder": true, "num": 1}, "between", {"_placeholder": true, "num": 0}])
            );
            assert_eq!(client.next().await, Packet::Binary(vec![0, from as u8]));
            assert_eq!(client.next().await, Packet::Binary(b"one".to_vec()));
        }
    }
}

#[tokio::test]
async fn a_stamp_of_ones_own_making_is_not_the_last_one() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    let forged = json!({"user": "admin", "socket": clients[1].1, "room": "staff", "time": "2026-01-01T00:00:00.000Z"});
    clients[0].0.does(json!(["publish", "staff", "x", forged])).await;
    hear(&mut clients, 0, false, &json!(["x", forged]), &json!("staff")).await;
}

#[tokio::test]
async fn arguments_pass_through_as_they_were_written() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    for (written, passed) in [
        (r#"42["publish","staff","x",1.10,-0]"#, r#"42["x",1.10,-0,{"#),
        ("42[\"publish\",\"staff\",\"x\",[ 1 ] ] \n", "42[\"x\",[ 1 ] ,{"),
        (r#"42["publish","staff","\u0078"]"#, r#"42["\u0078",{"#),
    ] {
        clients[0].0.send(written).await;
        let heard = clients[2].0.text().await;
        assert!(heard.starts_with(passed), "{heard:?}");
        assert!(heard.ends_with("Z\"}]"), "{heard:?}");
        serde_json::from_str::<Value>(&heard[2..]).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
    }
}

#[tokio::test]
async fn the_room_is_the_text_of_a_number_and_escaped_as_json_wants() {
    let gateway = TestGateway::start(STAMP).await;
    let mut clients = clients(&gateway).await;
    for (named, room) in [(json!(7), "7"), (json!("a \"b\"\n\\é😀"), "a \"b\"\n\\é😀")] {
        for (client, _) in &mut clients {
            client.does(json!(["join", named])).await;
        }
        clients[0].0.does(json!(["publish", named, "x"])).await;
        hear(&mut clients, 0, false, &json!(["x"]), &json!(room)).await;
    }
}

#[tokio::test]
async fn nothing_is_added_where_it_is_not_wanted() {
    let gateway = TestGateway::start(&STAMP.replace("stamp = true", "")).await;
    let mut clients = clients(&gateway).await;
    clients[0].0.does(json!(["publish", "staff", "x", 1])).await;
    clients[0].0.does(json!(["shout"])).await;
    for (client, _) in &mut clients[1..] {
        client.hears(json!(["x", 1])).await;
        client.hears(json!(["shout"])).await;
    }
}
