//! `presence = true`: a room's members are told who comes and goes, and nobody else is.

use serde_json::{Value, json};

use crate::client::payload::texts;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::gateway::TestGateway;

const PRESENCE: &str = "[[namespace]]\nname = \"/\"\npresence = true\n";

fn presence(room: &str, action: &str, socket: &str) -> Value {
    json!(["presence", {"room": room, "action": action, "socket": socket, "user": null}])
}

/// A client that joined a room, and the id that others are shown.
async fn member(gateway: &TestGateway, (transport, eio): (Transport, u8), room: &str) -> (Client, String) {
    let mut client = Client::join(gateway, transport, eio).await;
    let answer = client.does(json!(["join", room])).await;
    (client, answer["socket"].as_str().unwrap().to_owned())
}

/// A watching client in `r`.
async fn watcher(gateway: &TestGateway) -> Client {
    member(gateway, (Transport::WebSocket, 4), "r").await.0
}

#[tokio::test]
async fn the_other_members_hear_who_comes_and_goes_in_order() {
    let gateway = TestGateway::start(PRESENCE).await;
    let mut clients: Vec<(Client, String)> = Vec::new();
    for kind in EVERY_CLIENT {
        let (mut client, id) = member(&gateway, kind, "r").await;
        assert_ne!(id, client.sid);
        for (other, _) in &mut clients {
            other.hears(presence("r", "join", &id)).await;
        }
        client.does(json!(["publish", "r", "here"])).await;
        for (other, _) in &mut clients {
            other.hears(json!(["here"])).await;
        }
        clients.push((client, id));
    }
    while let Some((mut leaving, id)) = clients.pop() {
        leaving.does(json!(["publish", "r", "bye"])).await;
        leaving.does(json!(["leave", "r"])).await;
        for (other, _) in &mut clients {
            other.hears(json!(["bye"])).await;
            other.hears(presence("r", "leave", &id)).await;
        }
        // Whoever left hears neither of itself nor of others; `all` is where that shows.
        leaving.does(json!(["join", "all"])).await;
        if let Some((other, _)) = clients.first_mut() {
            let (mut marker, _) = member(&gateway, (Transport::WebSocket, 4), "all").await;
            other.does(json!(["publish", "r", "of others"])).await;
            marker.does(json!(["publish", "all", "marker"])).await;
            assert_eq!(leaving.event().await[1]["room"], "all");
            leaving.hears(json!(["marker"])).await;
        }
        for (other, _) in clients.iter_mut().skip(1) {
            other.hears(json!(["of others"])).await;
        }
    }
}

#[tokio::test]
async fn the_event_is_written_as_the_contract_says() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/chat\"\npresence = true\n").await;
    let mut watcher = Client::open(&gateway, Transport::WebSocket, 4).await;
    watcher.enter("/chat").await;
    watcher.ask("/chat", &json!(["join", "a \"b\"\n"])).await;
    let mut client = Client::open(&gateway, Transport::WebSocket, 4).await;
    let id = client.enter("/chat").await.data["sid"].as_str().unwrap().to_owned();
    client.ask("/chat", &json!(["join", "a \"b\"\n"])).await;
    assert_eq!(
        watcher.text().await,
        format!(r#"42/chat,["presence",{{"room":"a \"b\"\n","action":"join","socket":"{id}","user":null}}]"#)
    );
}

#[tokio::test]
async fn nobody_hears_of_its_own_coming() {
    let gateway = TestGateway::start(PRESENCE).await;
    for kind in EVERY_CLIENT {
        let mut first = watcher(&gateway).await;
        let (mut client, id) = member(&gateway, kind, "r").await;
        first.does(json!(["publish", "r", "marker"])).await;
        client.hears(json!(["marker"])).await;
        client.does(json!(["leave", "r"])).await;
        for action in ["join", "leave"] {
            first.hears(presence("r", action, &id)).await;
        }
        first.does(json!(["leave", "r"])).await;
    }
}

#[tokio::test]
async fn a_room_that_one_is_in_is_not_joined_again() {
    let gateway = TestGateway::start(PRESENCE).await;
    let mut watcher = watcher(&gateway).await;
    let (mut client, id) = member(&gateway, (Transport::WebSocket, 4), "r").await;
    for rooms in [json!("r"), json!(["r", "s", "r"]), json!(["s", "r"])] {
        client.does(json!(["join", rooms])).await;
    }
    client.does(json!(["leave", ["never", "r", "r"]])).await;
    client.does(json!(["leave", "r"])).await;
    client.does(json!(["join", "r"])).await;
    for action in ["join", "leave", "join"] {
        watcher.hears(presence("r", action, &id)).await;
    }
    client.does(json!(["publish", "r", "marker"])).await;
    watcher.hears(json!(["marker"])).await;
}

#[tokio::test]
async fn several_rooms_are_announced_one_by_one_to_their_own_members() {
    let gateway = TestGateway::start(PRESENCE).await;
    let (mut a, _) = member(&gateway, (Transport::WebSocket, 4), "a").await;
    let (mut b, _) = member(&gateway, (Transport::Polling, 3), "b").await;
    let (mut client, id) = member(&gateway, (Transport::WebSocket, 3), "none").await;
    client.does(json!(["join", ["a", "b"]])).await;
    client.does(json!(["leave", ["b", "a"]])).await;
    for (watcher, room) in [(&mut a, "a"), (&mut b, "b")] {
        watcher.hears(presence(room, "join", &id)).await;
        watcher.hears(presence(room, "leave", &id)).await;
    }
}

#[tokio::test]
async fn rooms_given_on_connect_are_announced_once_and_private_ones_never() {
    let gateway = TestGateway::start(&format!("{PRESENCE}rooms = [\"lobby\", \"hall\"]\n")).await;
    let mut watcher = Client::new(&gateway).await;
    watcher.does(json!(["leave", "hall"])).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        client.does(json!(["publish", "lobby", "marker"])).await;
        let joined = watcher.event().await;
        let id = joined[1]["socket"].as_str().unwrap().to_owned();
        assert_eq!(joined, presence("lobby", "join", &id));
        assert_ne!(id, client.sid);
        watcher.hears(json!(["marker"])).await;
        client.send("41").await;
        watcher.hears(presence("lobby", "leave", &id)).await;
    }
}

#[tokio::test]
async fn however_a_client_goes_its_rooms_hear_of_it() {
    let gateway = TestGateway::start(&format!("engine.max_payload = \"10kB\"\n{PRESENCE}")).await;
    let mut watcher = watcher(&gateway).await;
    // A namespace left, a session ended, packets that end one, too much for a WebSocket (too long a POST ends none).
    let large = format!("42[\"{}\"]", "x".repeat(10_001));
    for goodbye in ["41", "1", "4nonsense", "42[]", "42/never,[\"x\"]", &large] {
        for kind in EVERY_CLIENT {
            if goodbye == large && kind.0 == Transport::Polling {
                continue;
            }
            let (mut client, id) = member(&gateway, kind, "r").await;
            client.send_fatal(&texts(&[goodbye])).await;
            for action in ["join", "leave"] {
                watcher.hears(presence("r", action, &id)).await;
            }
        }
    }
    for eio in [4, 3] {
        let (client, id) = member(&gateway, (Transport::WebSocket, eio), "r").await;
        drop(client);
        for action in ["join", "leave"] {
            watcher.hears(presence("r", action, &id)).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_announced() {
    let gateway = TestGateway::start(&format!(
        "engine.ping_interval = \"500ms\"\nengine.ping_timeout = \"500ms\"\n{PRESENCE}"
    ))
    .await;
    for kind in EVERY_CLIENT {
        let mut watcher = watcher(&gateway).await;
        // The watcher must answer heartbeats all the time.
        let ((_silent, id), joined) = tokio::join!(member(&gateway, kind, "r"), watcher.event());
        assert_eq!(joined, presence("r", "join", &id));
        watcher.hears(presence("r", "leave", &id)).await;
        watcher.does(json!(["leave", "r"])).await;
    }
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_announced() {
    let limits = "engine.max_payload = \"10kB\"\nlimits.outbox = \"20kB\"\n";
    let gateway = TestGateway::start(&format!("{limits}{PRESENCE}")).await;
    for eio in [4, 3] {
        let mut watcher = watcher(&gateway).await;
        let (_slow, id) = member(&gateway, (Transport::Polling, eio), "r").await;
        watcher.hears(presence("r", "join", &id)).await;
        let words = "x".repeat(9_000);
        for _publication in 0..3 {
            watcher.does(json!(["publish", "r", "x", words])).await;
        }
        watcher.hears(presence("r", "leave", &id)).await;
        watcher.does(json!(["leave", "r"])).await;
    }
    gateway.has_ended("too_slow", 2.0).await;
}

#[tokio::test]
async fn nothing_is_announced_where_it_is_not_wanted() {
    let gateway = TestGateway::start(&format!("{PRESENCE}[[namespace]]\nname = \"/quiet\"\n")).await;
    let mut watcher = Client::new(&gateway).await;
    watcher.enter("/quiet").await;
    for room in ["r", "s"] {
        watcher.ask("/quiet", &json!(["join", room])).await;
    }
    let (mut client, _) = member(&gateway, (Transport::Polling, 3), "r").await;
    client.enter("/quiet").await;
    for event in [json!(["join", "r"]), json!(["leave", "r"]), json!(["join", "s"])] {
        client.ask("/quiet", &event).await;
    }
    client.ask("/quiet", &json!(["publish", "s", "marker"])).await;
    assert_eq!(watcher.text().await, r#"42/quiet,["marker"]"#);
}

#[tokio::test]
async fn all_members_agree_on_the_order() {
    let gateway = TestGateway::start(PRESENCE).await;
    let mut watchers = Vec::new();
    for kind in EVERY_CLIENT {
        let (client, _) = member(&gateway, kind, "r").await;
        watchers.push(client);
    }
    let busy = async |number: usize| {
        let kind = EVERY_CLIENT[number % EVERY_CLIENT.len()];
        let mut client = Client::join(&gateway, kind.0, kind.1).await;
        for round in 0..5 {
            client.does(json!(["join", "r"])).await;
            client.does(json!(["publish", "r", "n", number, round])).await;
            client.does(json!(["leave", "r"])).await;
        }
    };
    tokio::join!(busy(0), busy(1), busy(2), busy(3), busy(4));
    watchers[0].does(json!(["publish", "r", "end"])).await;
    let mut orders = Vec::new();
    for (number, watcher) in watchers.iter_mut().enumerate().skip(1) {
        let mut heard = Vec::new();
        loop {
            let event = watcher.event().await;
            if event == json!(["end"]) {
                break;
            }
            heard.push(event);
        }
        // The first ones heard the later watchers come.
        orders.push(heard.split_off(EVERY_CLIENT.len() - 1 - number));
    }
    assert_eq!(orders[0].len(), 5 * 5 * 3);
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    for start in orders[0].iter().filter(|event| event[1]["action"] == "join") {
        let id = start[1]["socket"].as_str().unwrap();
        let own = |event: &&Value| event[0] == "presence" && event[1]["socket"] == id;
        let actions: Vec<_> = orders[0].iter().filter(own).map(|event| &event[1]["action"]).collect();
        assert_eq!(actions, ["join", "leave"].repeat(5));
    }
}
