//! Sets of token keys at a URL or in a file: rotated while clients come, away, and not there yet.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::frames::Frame;
use crate::client::socket::{Client, EVERY_CLIENT, Transport};
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;
use crate::tokens::now;

/// Keys that this provider has, in the order in which it uses them.
const KEYS: [(&str, Algorithm); 3] = [
    ("ed25519", Algorithm::EdDSA),
    ("p256", Algorithm::ES256),
    ("p384", Algorithm::ES384),
];

fn pem(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(file)).unwrap()
}

/// A token that is good for five minutes, by a key of the provider.
fn token(number: usize) -> String {
    let (name, algorithm) = KEYS[number];
    let key = pem(&format!("{name}.key.pem"));
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(key.as_bytes()),
        _ => EncodingKey::from_ec_pem(key.as_bytes()),
    };
    let mut header = Header::new(algorithm);
    header.kid = Some(name.into());
    let claims = json!({"sub": "alice", "exp": now() + 300});
    jsonwebtoken::encode(&header, &claims, &key.unwrap()).unwrap()
}

/// The set with these of the provider's keys.
fn set(numbers: &[usize]) -> String {
    let keys = numbers.iter().map(|number| {
        let (name, _) = KEYS[*number];
        let pem = pem(&format!("{name}.pub.pem"));
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        let coordinates = |bytes: usize| {
            let point = &der[der.len() - 2 * bytes..];
            (URL_SAFE_NO_PAD.encode(&point[..bytes]), URL_SAFE_NO_PAD.encode(&point[bytes..]))
        };
        match name {
            "ed25519" => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])})
            }
            "p256" => {
                let (x, y) = coordinates(32);
                json!({"kty": "EC", "crv": "P-256", "kid": name, "use": "sig", "alg": "ES256", "x": x, "y": y})
            }
            _ => {
                let (x, y) = coordinates(48);
                json!({"kty": "EC", "crv": "P-384", "kid": name, "x": x, "y": y})
            }
        }
    });
    json!({ "keys": keys.collect::<Vec<Value>>() }).to_string()
}

/// An identity provider: answers every request with the same document.
struct Provider {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Provider {
    async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(String::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (said, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                count.fetch_add(1, Ordering::Relaxed);
                let answer = said.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let provider = Self {
            url,
            answer,
            asked,
            task,
        };
        provider.says("200 OK", body);
        provider
    }

    fn says(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n{body}"
        );
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn gateway(place: &str) -> TestGateway {
    let settings = format!(
        "engine.ping_interval = \"1h\"\n[token]\njwks = \"{place}\"\n[[namespace]]\nname = \"/\"\nauth = \"token\"\n[[namespace]]\nname = \"/open\"\n"
    );
    TestGateway::start(&settings).await
}

/// What becomes of a client with this token.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    In,
    Refused,
    /// Without a verdict: it comes back by itself.
    Closed,
}

async fn fate(gateway: &TestGateway, token: &str) -> Fate {
    let mut client = Client::open_with(gateway, Transport::WebSocket, 4, &format!("&token={token}")).await;
    client.send("40").await;
    match client.socket().next().await {
        Frame::Text(text) if text.starts_with("40{\"sid\"") => Fate::In,
        Frame::Text(text) if text == r#"44{"message":"unauthorized"}"# => Fate::Refused,
        Frame::Close(_) => Fate::Closed,
        other => panic!("{other:?}"),
    }
}

/// Waits until a client with this token is in.
async fn is_let_in(gateway: &TestGateway, token: &str) {
    let started = Instant::now();
    loop {
        match fate(gateway, token).await {
            Fate::In => return,
            Fate::Closed | Fate::Refused => tokio::time::sleep(LOOK_AGAIN).await,
        }
        assert!(started.elapsed() < DEADLINE, "it is not let in");
    }
}

#[tokio::test]
async fn keys_are_rotated_while_clients_come() {
    let provider = Provider::start(&set(&[0])).await;
    let gateway = Arc::new(gateway(&provider.url).await);
    is_let_in(&gateway, &token(0)).await;
    // Ten at a time, all of them while the key is replaced and by the new one at once.
    provider.says("200 OK", &set(&[0, 1]));
    let crowd = (0..50).map(|number| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { fate(&gateway, &token(number % 2)).await })
    });
    for fate in crowd.collect::<Vec<_>>() {
        assert_eq!(fate.await.unwrap(), Fate::In);
    }
    let asked = provider.asked();
    assert!(asked <= 3, "{asked} readings");
    // The next one comes before the set may be asked for again: no verdict, and never a refusal.
    provider.says("200 OK", &set(&[1, 2]));
    assert_eq!(fate(&gateway, &token(2)).await, Fate::Closed);
    assert_eq!(fate(&gateway, &token(0)).await, Fate::In, "as it was read");
    assert_eq!(provider.asked(), asked);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(fate(&gateway, &token(2)).await, Fate::In);
    assert_eq!(fate(&gateway, &token(1)).await, Fate::In);
    // The old one is gone, and that is a verdict as long as nobody looks again.
    assert_eq!(fate(&gateway, &token(0)).await, Fate::Closed);
    // The provider is away, or lies: the set stays.
    for (status, body) in [
        ("500 Oops", ""),
        ("302 Found", ""),
        ("200 OK", "<html>"),
        ("200 OK", "{\"keys\":[]}"),
    ] {
        provider.says(status, body);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        assert_eq!(fate(&gateway, &token(0)).await, Fate::Closed, "{status} {body}");
        assert_eq!(fate(&gateway, &token(2)).await, Fate::In, "{status} {body}");
    }
}

#[tokio::test]
async fn names_of_keys_that_nobody_has_cost_one_reading_in_half_a_minute() {
    let provider = Provider::start(&set(&[0])).await;
    let gateway = gateway(&provider.url).await;
    is_let_in(&gateway, &token(0)).await;
    // A name that is in no set is looked for once, and is known to be none from then on.
    for _ in 0..3 {
        assert_eq!(fate(&gateway, &token(1)).await, Fate::Refused);
    }
    assert_eq!(provider.asked(), 2);
    // What no set could make good is not looked for at all.
    for bad in ["x", "a.b.c", &crate::tokens::token("alice", &json!({}))] {
        assert_eq!(fate(&gateway, bad).await, Fate::Refused, "{bad}");
    }
    let broken = format!("{}AA", token(0));
    assert_eq!(fate(&gateway, &broken).await, Fate::Refused);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn without_any_keys_there_is_no_verdict() {
    let provider = Provider::start("").await;
    let gateway = gateway(&provider.url).await;
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::open_with(&gateway, transport, eio, &format!("&token={}", token(0))).await;
        if eio == 4 {
            client.send("40").await;
        }
        client.is_closed().await;
    }
    gateway.has_ended("unavailable", 4.0).await;
    // Who is in another namespace stays, and is told.
    let mut client = Client::open_with(&gateway, Transport::WebSocket, 4, &format!("&token={}", token(0))).await;
    client.enter("/open").await;
    client.send("40").await;
    assert_eq!(client.text().await, r#"44{"message":"unavailable"}"#);
    // A token that no key can make good gets its verdict all the same.
    assert_eq!(fate(&gateway, "x").await, Fate::Refused);
    provider.says("200 OK", &set(&[0]));
    is_let_in(&gateway, &token(0)).await;
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("token-keys.json");
    std::fs::write(&path, set(&[0])).unwrap();
    let gateway = gateway(path.to_str().unwrap()).await;
    is_let_in(&gateway, &token(0)).await;
    std::fs::write(&path, set(&[0, 1])).unwrap();
    is_let_in(&gateway, &token(1)).await;
    std::fs::write(&path, "half of it").unwrap();
    assert_eq!(fate(&gateway, &token(1)).await, Fate::In);
}
