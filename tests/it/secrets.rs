//! Secrets come in by many ways and out by none: canaries in all of them, and a look at everything that is written.

use std::process::Command;

use serde_json::json;

use crate::client::http::{Connection, Request, request};
use crate::client::payload::{Packet, texts};
use crate::client::polling::Polling;
use crate::client::socket::{Client, Transport};
use crate::gateway::TestGateway;
use crate::observed::Observed;

/// What every secret begins with.
const CANARY: &str = "canary";

/// What is no secret, and must be found, or the test looks in the wrong place.
const WITNESS: &str = "an-event-that-was-sent";

/// A token whose signature is the canary in base64.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5";

/// The canary in base64.
const ENCODED: &str = "Y2FuYXJ5";

const SETTINGS: &str = r#"
[admin]
keys = ["canary-admin-key-0123456789-0123456789", "canary-short"]
[engine]
max_payload = "10kB"
[limits]
outbox = "20kB"
events_per_second = 50
[[namespace]]
name = "/"
presence = true
stamp = true
join = ["a-*"]
[[namespace]]
name = "/chat"
[token]
secrets = ["canary-token-secret-0123456789-0123456789", "canary-token-short"]
[webhook]
url = "http://user:canary-password@127.0.0.1:9/hook?key=canary-query"
secret = ["canary-webhook-secret-0123456789-0123456789", "canary-webhook-short"]
timeout = "500ms"
retries = 0
[[namespace]]
name = "/vip"
auth = "token"
[[namespace]]
name = "/asks"
auth = "webhook"
[[namespace]]
name = "/hands-over"
otherwise = "webhook"
"#;

/// A request with a secret wherever one can stand.
fn with_canaries(request: Request) -> Request {
    request
        .header("Cookie", "session=canary-cookie; io=canary-io")
        .header("Authorization", "Bearer canary-bearer")
        .header("X-Api-Key", "canary-header")
        .header("Referer", "http://127.0.0.1/?token=canary-referer")
        .header("User-Agent", "canary-agent")
}

/// What clients are answered is collected here, to be looked through.
#[derive(Default)]
struct Answers(Vec<String>);

impl Answers {
    fn take(&mut self, answer: &crate::client::http::Response) {
        self.0.push(format!(
            "{:?} {}",
            answer.headers,
            String::from_utf8_lossy(&answer.body)
        ));
    }
}

/// Handshakes, good and bad, over both transports.
async fn connect(gateway: &TestGateway, answers: &mut Answers) {
    for eio in [4, 3] {
        let query = format!("EIO={eio}&token=canary-query&access_token=canary-access");
        let polling = format!("/socket.io/?{query}&transport=polling");
        let websocket = format!("/socket.io/?{query}&transport=websocket");
        let mut session = Polling::open_by(gateway.address, eio, &with_canaries(Request::get(&polling))).await;
        session.join_root().await;
        answers.take(
            &session
                .request(&with_canaries(Request::get("/canary-path?canary")))
                .await,
        );
        for wrong in [
            Request::get(&format!("{polling}&sid=canary-sid")),
            Request::get(&polling.replace("polling", "canary-transport")),
            Request::get(&websocket),
            Request::post(&polling, "canary-body"),
            Request::get(&polling).header("Origin", "http://elsewhere.example"),
            Request::get(&polling).header("Sec-Fetch-Site", "cross-site"),
            Request::get(&polling.replace(&format!("EIO={eio}"), "EIO=canary-9")),
            Request::new("CANARY", &polling),
        ] {
            let answer = request(gateway.address, &with_canaries(wrong)).await;
            answers.take(&answer);
        }
        for wrong in [
            with_canaries(Request::upgrade(&format!("{websocket}&sid=canary-sid"))),
            with_canaries(Request::upgrade(&websocket)).header("Sec-WebSocket-Key", "canary-key"),
            with_canaries(Request::upgrade(&websocket)).header("Sec-WebSocket-Version", "12"),
        ] {
            answers.take(&request(gateway.address, &wrong).await);
        }
    }
    let mut garbage = Connection::open(gateway.address).await;
    garbage
        .write(b"GET /socket.io/?token=canary-garbage HTTP/1.1\r\nBad Header: canary-garbage\r\n\r\n")
        .await;
    answers
        .0
        .push(String::from_utf8_lossy(&garbage.end().await).into_owned());
}

/// Namespaces entered with secrets, and refused ones.
async fn enter(gateway: &TestGateway, answers: &mut Answers) {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut client = Client::open_with(gateway, transport, 4, "&token=canary-query").await;
        client
            .send(r#"40{"token":"canary-auth","password":"canary-password"}"#)
            .await;
        answers.0.push(client.text().await);
        // Names to a v4 client, which is told its own words and nobody else.
        for name in ["/chat?token=canary-namespace", "/nowhere?token=canary-nowhere"] {
            client.send(&format!(r#"40{name},{{"token":"canary-auth"}}"#)).await;
            let refused = format!(r#"44{name},{{"message":"Invalid namespace"}}"#);
            assert_eq!(client.text().await, refused);
        }
        for auth in [TOKEN, "canary-token", "a.canary.b"] {
            client.send(&format!(r#"40/vip,{{"token":"{auth}"}}"#)).await;
            answers.0.push(client.text().await);
        }
        client.send("40/vip,").await; // by the query
        answers.0.push(client.text().await);
        answers.0.push(client.call(json!(["refresh", TOKEN])).await.to_string());
        answers.0.push(client.call(json!(["join", "a-room"])).await.to_string());
        client.enter("/hands-over").await;
        let refused = client.ask("/hands-over", &json!(["an-event", "canary-argument"])).await;
        assert_eq!(refused[0]["error"], "unavailable");
        answers.0.push(refused.to_string());
        client.send(r#"40/asks,{"token":"canary-auth"}"#).await;
        answers.0.push(client.text().await);
        let mut old = Client::join(gateway, transport, 3).await;
        old.send("40/chat?token=canary-namespace").await;
        answers.0.push(old.text().await);
        old.send("40/nowhere?token=canary-nowhere").await;
        answers.0.push(old.text().await);
    }
    // Whoever says it wrongly is cut, and what it said is not written down either.
    for wrong in [
        r#"40{"token":"canary-auth""#,
        r#"40["canary-auth"]"#,
        r#"40"canary-auth""#,
        r#"40/chat,{"token":"canary-auth"} canary"#,
        r#"40{"token":"canary-auth","deep":[[[[}"#,
    ] {
        let mut client = Client::open_with(gateway, Transport::WebSocket, 4, "&token=canary-query").await;
        client.send_fatal(&texts(&[wrong])).await;
        client.is_closed().await;
        let mut client = Client::new(gateway).await;
        client.enter("/chat").await;
        client.send_fatal(&texts(&[wrong])).await;
    }
    // Attachments are passed on, never looked at.
    let mut client = Client::new(gateway).await;
    client
        .send_packets(&[
            Packet::text(r#"451-["x",{"_placeholder":true,"num":0}]"#),
            Packet::Binary(b"canary-attachment".to_vec()),
        ])
        .await;
    client.does(json!(["join", "a-room"])).await;
    client.is_refused(json!([WITNESS]), "no_rule", WITNESS).await;
}

#[tokio::test]
async fn no_secret_is_ever_written_down() {
    for format in ["text", "json"] {
        let (process, gateway) = Observed::start(&format!("secrets-{format}"), SETTINGS, format).await;
        let mut answers = Answers::default();
        connect(&gateway, &mut answers).await;
        enter(&gateway, &mut answers).await;
        for target in ["/metrics", "/livez", "/readyz", "/canary?token=canary-admin-query"] {
            let asked = with_canaries(Request::get(target));
            answers.take(&request(gateway.admin, &asked).await);
        }
        process.line_with(WITNESS).await;
        gateway.has_ended("connect_timeout", 0.0).await;
        let log = process.end();
        for level in ["TRACE", "DEBUG", "INFO"] {
            assert!(log.contains(level), "{format}: no {level} in\n{log}");
        }
        for line in log.lines().chain(answers.0.iter().map(String::as_str)) {
            assert!(!line.to_lowercase().contains(CANARY), "{format}: {line}");
            assert!(!line.contains(ENCODED), "{format}: {line}");
        }
    }
}

#[test]
fn check_prints_no_secret() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("secrets-check.toml");
    for (settings, succeeds) in [
        (SETTINGS.to_owned(), true),
        (SETTINGS.replace("[engine]", "[engine"), false),
        (SETTINGS.replace("keys = [", "keys = [1, "), false),
        (SETTINGS.replace("\"canary-short\"", "\"\""), false),
        (SETTINGS.replace("keys =", "kyes ="), false),
        (SETTINGS.replace("secrets = [", "secrets = [1, "), false),
        (SETTINGS.replace("\"canary-token-short\"", "\"\""), false),
        (SETTINGS.replace("\"canary-webhook-short\"", "\"\""), false),
        (SETTINGS.replace("secret = [", "secret = [1, "), false),
        (SETTINGS.replace("http://user", "ftp://user"), false),
        (SETTINGS.replace("http://user", "user"), false),
        (SETTINGS.replace("127.0.0.1:9", "127.0.0.1:x"), false),
        (
            SETTINGS.replace("secret = [\"canary-webhook", "secrte = [\"canary-webhook"),
            false,
        ),
    ] {
        std::fs::write(&path, &settings).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_roomcast"))
            .args(["check", "-c", path.to_str().unwrap()])
            .env_clear()
            .env("ROOMCAST_SECRETS", "canary-ignored")
            .output()
            .expect("the binary runs");
        assert_eq!(output.status.success(), succeeds, "{settings}");
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            assert!(!said.to_lowercase().contains(CANARY), "{said}");
        }
    }
}
