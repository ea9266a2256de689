//! Compression of polling answers, where it is configured.

use std::io::Read;

use crate::client::http::{Request, Response};
use crate::client::polling::Polling;
use crate::gateway::{ECHO, TestGateway};

/// Lets the server answer with about this many bytes, to a client that accepts these encodings.
async fn answer(gateway: &TestGateway, eio: u8, accepted: &str, length: usize) -> Response {
    let mut polling = Polling::open(gateway.address, eio).await;
    polling.join_root().await;
    let words = "word ".repeat(length / 5);
    polling.post(&[&format!(r#"420["echo","{words}"]"#)]).await;
    let request = Request::get(&polling.target()).header("Accept-Encoding", accepted);
    polling.request(&request).await
}

fn gunzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn long_answers_are_compressed_as_the_client_can_read_them() {
    let gateway = TestGateway::start(&format!("engine.http_compression = true\n{ECHO}")).await;
    for eio in [4, 3] {
        for accepted in ["gzip", "gzip, deflate, br", "deflate, gzip;q=0.5"] {
            let response = answer(&gateway, eio, accepted, 5_000).await;
            let text = match response.header("content-encoding") {
                Some("gzip") => gunzipped(&response.body),
                Some("deflate") => inflated(&response.body),
                other => panic!("{accepted}: {other:?}"),
            };
            assert!(text.contains(r#"430["word word"#), "{accepted}: {text}");
            assert!(response.body.len() < 1_000);
        }
        let deflated = answer(&gateway, eio, "deflate", 5_000).await;
        assert_eq!(deflated.header("content-encoding"), Some("deflate"));
        assert!(inflated(&deflated.body).contains(r#"430["word word"#));
    }
}

#[tokio::test]
async fn short_answers_and_those_to_clients_that_cannot_read_them_are_not_compressed() {
    let gateway = TestGateway::start(&format!("engine.http_compression = true\n{ECHO}")).await;
    for (accepted, length) in [
        ("gzip", 500),
        ("br", 5_000),
        ("identity", 5_000),
        ("gzip;q=0", 5_000),
        ("", 5_000),
    ] {
        let response = answer(&gateway, 4, accepted, length).await;
        assert_eq!(response.header("content-encoding"), None, "{accepted:?}");
        assert!(response.text().contains(r#"430["word word"#));
    }
}

#[tokio::test]
async fn nothing_is_compressed_unless_it_is_configured() {
    let gateway = TestGateway::start(ECHO).await;
    let response = answer(&gateway, 4, "gzip, deflate", 5_000).await;
    assert_eq!(response.header("content-encoding"), None);
}
