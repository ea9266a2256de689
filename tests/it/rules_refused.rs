//! What the rules refuse, with which code, and that a refusal changes nothing.

use serde_json::{Value, json};

use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::TestGateway;

const ID: &str = "AAAAAAAAAAAAAAAAAAAA";

/// Asserts that all of these are refused to a client that is in room `mine`, and that it is in no other after it.
async fn refuses(gateway: &TestGateway, rows: &[(Value, &str, &str)]) {
    let mut client = Client::new(gateway).await;
    client.does(json!(["join", "mine"])).await;
    for (event, code, part) in rows {
        client.is_refused(event.clone(), code, part).await;
        let rooms = &client.does(json!(["join", "mine"])).await["rooms"];
        assert_eq!(*rooms, json!(["mine"]), "after {event}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_rooms_are_bad_requests() {
    let gateway = TestGateway::plain().await;
    for event in ["join", "leave"] {
        let arguments = [
            json!([]),
            json!(null),
            json!(true),
            json!({}),
            json!([null]),
            json!([["a"]]),
            json!(["a", {}]),
            json!(""),
        ];
        let mut rows = vec![(json!([event]), "bad_request", "")];
        rows.extend(arguments.map(|argument| (json!([event, argument]), "bad_request", "")));
        rows.push((json!([event, ["a", ""]]), "bad_request", ""));
        refuses(&gateway, &rows).await;
    }
}

#[tokio::test]
async fn a_publication_without_rooms_or_a_name_is_a_bad_request() {
    let gateway = TestGateway::plain().await;
    let rows = [
        json!(["publish"]),
        json!(["publish", "mine"]),
        json!(["publish", [], "x"]),
        json!(["publish", null, "x"]),
        json!(["publish", {}, "x"]),
        json!(["publish", "", "x"]),
        json!(["publish", ["mine", ""], "x"]),
        json!(["publish", "mine", null]),
        json!(["publish", "mine", {}]),
        json!(["publish", "mine", ["x"]]),
        json!(["publish", "mine", ""]),
        json!(["publish", "mine", "x".repeat(257)]),
        json!(["publish", "mine", "é".repeat(129)]),
    ];
    refuses(&gateway, &rows.map(|event| (event, "bad_request", ""))).await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "mine"])).await;
    client.does(json!(["publish", "mine", "x".repeat(256)])).await;
}

#[tokio::test]
async fn reserved_names_cannot_be_published() {
    let gateway = TestGateway::plain().await;
    let names = [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "presence",
        "expired",
    ];
    for name in names {
        let mut client = Client::new(&gateway).await;
        client.does(json!(["join", "mine"])).await;
        let answer = client.call(json!(["publish", "mine", name, 1])).await;
        assert_eq!(answer["ok"], false, "{name}: {answer}");
        let code = answer["error"].as_str().unwrap();
        assert!(matches!(code, "bad_request" | "forbidden"), "{name}: {code}");
        assert!(answer["message"].as_str().unwrap().contains(name), "{answer}");
    }
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "mine"])).await;
    for name in [
        "error",
        "message",
        "connection",
        "toString",
        "Connect",
        "disconnect ",
        "join",
        "publish",
    ] {
        client.does(json!(["publish", "mine", name])).await;
    }
}

#[tokio::test]
async fn events_that_no_rule_names_have_no_rule() {
    let gateway = TestGateway::plain().await;
    let rows = [
        (json!(["chat message", "hi"]), "no_rule", ""),
        (json!(["Join", "a"]), "no_rule", ""),
        (json!(["refresh", "token"]), "no_rule", ""),
        (json!(["error"]), "no_rule", ""),
        (json!([7]), "no_rule", ""),
        (json!([""]), "no_rule", ""),
    ];
    refuses(&gateway, &rows).await;
}

#[tokio::test]
async fn rooms_that_look_like_ids_cannot_be_joined() {
    let gateway = TestGateway::plain().await;
    for room in [
        ID.to_owned(),
        "abc-_0123456789ABCDE".into(),
        format!("/#{ID}"),
        format!("/chat#{ID}"),
        format!("/a/b#{ID}"),
    ] {
        refuses(
            &gateway,
            &[
                (json!(["join", room]), "forbidden", "looks like"),
                (json!(["join", ["a", room]]), "forbidden", &room),
            ],
        )
        .await;
    }
    let mut client = Client::new(&gateway).await;
    for room in [
        &ID[1..],
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAA.",
        "AAAAAAAAAAAAAAAAAAA é",
        &format!("#{ID}x"),
    ] {
        client.does(json!(["join", room])).await;
    }
}

#[tokio::test]
async fn only_members_may_publish() {
    let gateway = TestGateway::plain().await;
    let rows = [
        (json!(["publish", "yours", "x"]), "forbidden", "yours"),
        (json!(["publish", ["mine", "yours"], "x"]), "forbidden", "yours"),
        (json!(["publish", ID, "x"]), "forbidden", ID),
    ];
    refuses(&gateway, &rows).await;
}

#[tokio::test]
async fn a_refused_publication_reaches_nobody() {
    let gateway = TestGateway::plain().await;
    let mut listener = Client::new(&gateway).await;
    listener.does(json!(["join", ["mine", "yours"]])).await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "mine"])).await;
    client
        .is_refused(json!(["publish", ["mine", "yours"], "x"]), "forbidden", "yours")
        .await;
    client
        .is_refused(json!(["publish", ["mine", ""], "x"]), "bad_request", "")
        .await;
    client
        .is_refused(json!(["publish", "mine", "disconnect"]), "bad_request", "disconnect")
        .await;
    client.does(json!(["publish", "mine", "marker"])).await;
    listener.hears(json!(["marker"])).await;
}

#[tokio::test]
async fn rooms_outside_the_patterns_are_forbidden() {
    let gateway = TestGateway::start(
        r#"
        [[namespace]]
        name = "/"
        join = ["public-*", "room-?", "exact"]
        publish = ["public-*"]
        "#,
    )
    .await;
    let mut client = Client::new(&gateway).await;
    for room in ["public-", "public-a", "public-a*b", "room-1", "room-é", "exact"] {
        client.does(json!(["join", room])).await;
    }
    for room in ["private", "Public-a", "apublic-", "room-", "room-12", "exactly", "*"] {
        client.is_refused(json!(["join", room]), "forbidden", room).await;
        client
            .is_refused(json!(["join", ["public-b", room]]), "forbidden", room)
            .await;
    }
    client.does(json!(["publish", "public-a", "x"])).await;
    for room in ["room-1", "exact"] {
        client
            .is_refused(json!(["publish", room, "x"]), "forbidden", room)
            .await;
        client
            .is_refused(json!(["publish", ["public-a", room], "x"]), "forbidden", room)
            .await;
    }
    client
        .is_refused(json!(["publish", "public-b", "x"]), "forbidden", "public-b")
        .await;
    client.does(json!(["leave", ["room-1", "exact"]])).await;
}

#[tokio::test]
async fn without_patterns_nothing_can_be_joined_or_published() {
    let gateway =
        TestGateway::start("[[namespace]]\nname = \"/\"\njoin = []\npublish = []\nrooms = [\"given\"]\n").await;
    let mut client = Client::new(&gateway).await;
    client.is_refused(json!(["join", "a"]), "forbidden", "a").await;
    client
        .is_refused(json!(["publish", "given", "x"]), "forbidden", "given")
        .await;
    assert_eq!(client.does(json!(["leave", "given"])).await["rooms"], json!([]));
}

#[tokio::test]
async fn too_many_rooms_are_too_large_and_none_of_them_is_joined() {
    let gateway = TestGateway::start("limits.rooms_per_socket = 3\n").await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", ["a", "b"]])).await;
    client.is_refused(json!(["join", ["c", "d"]]), "too_large", "").await;
    let answer = client.does(json!(["join", ["a", "b", "c", "c"]])).await;
    assert_eq!(answer["rooms"].as_array().map(Vec::len), Some(3));
    client.is_refused(json!(["join", "d"]), "too_large", "d").await;
    client.does(json!(["leave", "a"])).await;
    client.does(json!(["join", "d"])).await;
}

#[tokio::test]
async fn a_name_that_is_too_long_is_too_large() {
    let gateway = TestGateway::start("limits.room_name_bytes = 8\n").await;
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", ["12345678", "éééé"]])).await;
    for room in ["123456789", "ééééé"] {
        client.is_refused(json!(["join", room]), "too_large", "").await;
        client.is_refused(json!(["join", ["a", room]]), "too_large", "").await;
    }
}

#[tokio::test]
async fn refusals_are_counted_and_without_an_ack_not_answered() {
    let gateway = TestGateway::plain().await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(&gateway, transport, eio).await;
        for event in [
            json!(["nothing"]),
            json!(["join"]),
            json!(["join", ID]),
            json!(["join", "x".repeat(257)]),
        ] {
            client.send(&format!("42{event}")).await;
        }
        client.does(json!(["join", "r"])).await;
    }
    for reason in ["no_rule", "bad_request", "forbidden", "too_large"] {
        gateway
            .reaches(&format!("roomcast_dropped_total{{reason=\"{reason}\"}}"), 4.0)
            .await;
    }
}
