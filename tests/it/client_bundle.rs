//! The client's script for pages that look for it where a Node server has it.

use std::path::Path;

use crate::client::http::{Connection, Request};
use crate::gateway::TestGateway;

const SCRIPT: &str = "var io = 1;\n";

#[tokio::test]
async fn the_script_is_served_and_not_twice() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("socket.io.min.js");
    std::fs::write(&path, SCRIPT).unwrap();
    let gateway = TestGateway::start(&format!("server.client_bundle = {path:?}\n")).await;
    let mut connection = Connection::open(gateway.address).await;
    for name in ["socket.io.js", "socket.io.min.js"] {
        let target = format!("/socket.io/{name}");
        let script = connection.request(&Request::get(&target)).await;
        assert_eq!((script.status, script.text()), (200, SCRIPT), "{name}");
        assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(
            script.header("cache-control"),
            Some("public, max-age=0, must-revalidate")
        );
        let etag = script.header("etag").expect("an etag");
        let again = Request::get(&target).header("If-None-Match", etag);
        let again = connection.request(&again).await;
        assert_eq!((again.status, again.text()), (304, ""));
        assert_eq!(again.header("etag"), Some(etag));
        let other = Request::get(&target).header("If-None-Match", "\"other\"");
        assert_eq!(connection.request(&other).await.status, 200);
        assert_eq!(connection.request(&Request::post(&target, "")).await.status, 405);
    }
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
    assert_eq!(connection.request(&handshake).await.status, 200);
}

#[tokio::test]
async fn without_a_script_the_answer_says_what_to_do() {
    let gateway = TestGateway::plain().await;
    let mut connection = Connection::open(gateway.address).await;
    for name in ["socket.io.js", "socket.io.min.js"] {
        let answer = connection.request(&Request::get(&format!("/socket.io/{name}"))).await;
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains("server.client_bundle"), "{}", answer.text());
    }
}
