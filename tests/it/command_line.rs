//! The commands that speak to a running node: `emit`, `sockets`, `rooms`, `nodes`, `drain`.

use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::socket::Client;
use crate::client::within;
use crate::gateway::TestGateway;

const KEY: &str = "a-key-of-these-tests-0123456789-0123456789";

/// Runs the binary with these words and variables, and nothing else around it.
async fn roomcast(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let command = command.args(words).env_clear().envs(variables.iter().copied());
    within(command.output()).await.unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What a command printed, a value a line; it must have succeeded.
fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A gateway that wants a key, and the variables by which commands find it.
async fn gateway() -> (TestGateway, String) {
    let gateway = TestGateway::start(&format!(
        "drain.delay = \"60s\"\ndrain.timeout = \"100s\"\nadmin.keys = [\"{KEY}\"]\n"
    ))
    .await;
    let url = format!("http://{}", gateway.admin);
    (gateway, url)
}

#[tokio::test]
async fn an_event_is_sent_and_answered() {
    let (gateway, url) = gateway().await;
    let variables = [("ROOMCAST_ADMIN", &*url), ("ROOMCAST_API_KEY", KEY)];
    let mut client = Client::new(&gateway).await;
    client.does(json!(["join", "a b"])).await;
    let words = [
        "emit",
        "--room",
        "a b",
        "--room",
        "c",
        "news",
        "-7",
        r#""text""#,
        r#"{"a":[1.50]}"#,
    ];
    let sent = roomcast(&words, &variables).await;
    assert_eq!(lines(&sent), [json!({"ok": true})]);
    client.hears(json!(["news", -7, "text", {"a": [1.5]}])).await;
    let everybody = ["emit", "--admin", &url, "--key", KEY, "--id", "x", "hello"];
    assert_eq!(lines(&roomcast(&everybody, &[]).await), [json!({"ok": true})]);
    let again = roomcast(&everybody, &[]).await;
    assert_eq!(lines(&again), [json!({"ok": true, "duplicate": true})]);
    client.hears(json!(["hello"])).await;
    let words = [
        "emit",
        "--room",
        "nobody",
        "--except",
        "r",
        "--volatile",
        "--local",
        "--ack-timeout",
        "1s",
        "q",
    ];
    let answer = roomcast(&words, &variables).await;
    assert_eq!(
        lines(&answer),
        [json!({"ok": true, "expected": 0, "acks": [], "missing": 0})]
    );
}

#[tokio::test]
async fn what_there_is_is_listed_a_line_each() {
    let (gateway, url) = gateway().await;
    let variables = [("ROOMCAST_ADMIN", &*url), ("ROOMCAST_API_KEY", KEY)];
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = Client::new(&gateway).await;
        client.does(json!(["join", ["all", format!("r/{number}")]])).await;
        clients.push(client);
    }
    let sockets = roomcast(&["sockets"], &variables).await;
    let all = lines(&sockets);
    assert_eq!(all.len(), 3);
    assert_eq!(stderr(&sockets), "3 sockets\n");
    let id = all[1]["id"].as_str().unwrap();
    assert_eq!(lines(&roomcast(&["sockets", id], &variables).await), all[1..2]);
    assert_eq!(
        lines(&roomcast(&["sockets", "--limit", "2"], &variables).await),
        all[..2]
    );
    let by_room = roomcast(&["sockets", "--room", "r/1"], &variables).await;
    assert_eq!(lines(&by_room).len(), 1);
    assert_eq!(
        lines(&roomcast(&["sockets", "--user", "alice"], &variables).await),
        [Value::Null; 0]
    );
    let rooms = roomcast(&["rooms", "--prefix", "r/", "--limit", "2"], &variables).await;
    assert_eq!(
        lines(&rooms),
        [
            json!({"room": "r/0", "sockets": 1}),
            json!({"room": "r/1", "sockets": 1})
        ]
    );
    let room = roomcast(&["rooms", "r/2"], &variables).await;
    assert_eq!(lines(&room), [json!({"room": "r/2", "sockets": 1})]);
    let nodes = roomcast(&["nodes"], &variables).await;
    assert_eq!(lines(&nodes)[0]["id"], clients[0].sid[..4]);
    assert_eq!(stderr(&nodes), "1 gateway\n");
}

#[tokio::test]
async fn a_node_is_drained_and_put_back() {
    let (gateway, url) = gateway().await;
    let variables = [("ROOMCAST_ADMIN", &*url), ("ROOMCAST_API_KEY", KEY)];
    let drained = lines(&roomcast(&["drain"], &variables).await);
    assert_eq!(drained[0]["draining"], true);
    gateway.reaches("roomcast_draining", 1.0).await;
    let node = drained[0]["node"].as_str().unwrap();
    let resumed = lines(&roomcast(&["drain", "--node", node, "--cancel"], &variables).await);
    assert_eq!(resumed, [json!({"ok": true, "node": node, "draining": false})]);
    gateway.reaches("roomcast_draining", 0.0).await;
    let unknown = roomcast(&["drain", "--node", "none"], &variables).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("404"), "{}", stderr(&unknown));
}

#[tokio::test]
async fn what_does_not_work_is_said_with_a_code() {
    let (_gateway, url) = gateway().await;
    let variables = [("ROOMCAST_ADMIN", &*url), ("ROOMCAST_API_KEY", KEY)];
    for (words, variables, code, part) in [
        (&["nodes"][..], &variables[..1], 1, "401: a bearer key is needed"),
        (&["nodes", "--key", "wrong"], &variables, 1, "401"),
        (&["sockets", "nobody"], &variables, 1, "404"),
        (&["emit", "disconnect"], &variables, 1, "400: `event`"),
        (&["emit", "--namespace", "x", "a"], &variables, 1, "400: `namespace`"),
        (&["emit", "a", "text"], &variables, 64, "write a text as '\"text\"'"),
        (&["emit"], &variables, 64, "<EVENT>"),
        (&["emit", "--ack-timeout", "soon", "a"], &variables, 64, "--ack-timeout"),
        (&["sockets", "--admin", "https://a"], &variables, 64, "https://a"),
        (&["nodes", "--key", "a\nb"], &variables, 64, "key"),
        (&["sockets", "--limit", "many"], &variables, 64, "many"),
        (&["sockets", "abc", "--room", "r"], &variables, 64, "--room"),
        (
            &["rooms", "--admin", "http://127.0.0.1:1"],
            &variables,
            69,
            "nothing answers at 127.0.0.1:1",
        ),
        (
            &["rooms", "--admin", "unix:/nowhere.sock"],
            &variables,
            69,
            "nothing answers at /nowhere.sock",
        ),
        (
            &["--listen", "127.0.0.1:1", "nodes"],
            &variables,
            64,
            "settings belong to",
        ),
    ] {
        let output = roomcast(words, variables).await;
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{words:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{words:?}");
        assert!(!stderr(&output).contains(KEY), "{words:?}");
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_read_page_by_page() {
    let gateway = TestGateway::plain().await;
    let url = format!("http://{}", gateway.admin);
    let mut client = Client::new(&gateway).await;
    let rooms: Vec<_> = (0..1500).map(|number| format!("room {number:04}")).collect();
    crate::api::does(&gateway, "/v1/join", json!({"all": true, "join": rooms})).await;
    client.does(json!(["leave", "none"])).await;
    let listed = roomcast(&["rooms"], &[("ROOMCAST_ADMIN", &*url)]).await;
    let listed = lines(&listed);
    let names: Vec<_> = listed.iter().map(|room| room["room"].as_str().unwrap()).collect();
    assert_eq!(names, rooms);
}
