//! What `roomcast bench` cannot measure, it says in words: which rule is missing, what is not there, what makes no sense.

use tokio::net::TcpListener;

use crate::backend;
use crate::bench::{SHORT, check_books, complaint, measured};
use crate::gateway::{ECHO, TestGateway};

#[tokio::test]
async fn what_a_server_does_not_do_is_said_with_the_rule_that_brings_it() {
    for (settings, words, expected) in [
        ("", "echo", "no_rule"),
        (
            "[[namespace]]\nname = \"/\"\njoin = []",
            "fanout --clients 2",
            "refuses \"join\" for the room \"bench-",
        ),
        (
            "[[namespace]]\nname = \"/\"\npublish = []",
            "fanout --clients 2",
            "refuses \"publish\" to the room \"bench-0\": forbidden",
        ),
    ] {
        let gateway = TestGateway::start(settings).await;
        let text = complaint(&format!("{words} --url http://{} {SHORT}", gateway.address), 1).await;
        assert!(text.contains(expected), "{text}");
        let rule: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("    ") && !line.contains("socket.on"))
            .collect();
        let gateway = TestGateway::start(&rule.join("\n")).await;
        check_books(&measured(&gateway, words).await, words);
    }
    let gateway = TestGateway::start(&format!("limits.events_per_second = 1\n{ECHO}")).await;
    let text = complaint(&format!("echo --url http://{} {SHORT}", gateway.address), 1).await;
    assert!(text.contains("limits.events_per_second must be 0"), "{text}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_found_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = backend::settings(silent.local_addr().unwrap(), "timeout = \"60s\"");
    let rule = "[[namespace]]\nname = \"/\"\n[[namespace.event]]\nname = \"echo\"\naction = \"webhook\"\n";
    let gateway = TestGateway::start(&format!("{settings}{rule}")).await;
    let text = complaint(&format!("echo --url http://{} {SHORT}", gateway.address), 1).await;
    assert!(
        text.contains("does not acknowledge the event \"echo\" within 5 s"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_reached_and_what_makes_no_sense_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = listener.local_addr().unwrap();
    drop(listener);
    let text = complaint(&format!("fanout --url http://{nowhere} --clients 5"), 69).await;
    let expected = format!("nothing connected to http://{nowhere}: connection refused (5)");
    assert!(text.contains(&expected), "{text}");
    let gateway = TestGateway::plain().await;
    let text = complaint(&format!("connect --clients 1 --url http://{}", gateway.admin), 69).await;
    assert!(text.contains("HTTP 404"), "{text}");
    let text = complaint("echo --url http://name.invalid:3000", 69).await;
    assert!(text.contains("http://name.invalid:3000 cannot be found"), "{text}");
    for (words, expected) in [
        ("fanout --url 127.0.0.1:3000", "\"127.0.0.1:3000\" is no URL"),
        ("fanout --eio 3 --parser msgpack", "--eio 4"),
        ("fanout --payload 7", "7 bytes are too few"),
        ("fanout --rate 5 --window 3", "--window"),
        ("fanout --transport pigeon", "websocket, polling or upgrade"),
        ("echo --eio 5", "it is 3 or 4"),
        ("echo --pid 4194999", "4194999 is no process"),
        ("connect --rate 5", "--churn"),
        ("connect --churn --clients 5", "--clients"),
        ("fly", "fly"),
    ] {
        let text = complaint(words, 64).await;
        assert!(text.contains(expected), "{words}: {text}");
    }
}
