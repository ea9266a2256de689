//! Webhooks against a server on loopback that reads and answers by hand.

mod bounds;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::metrics::Transport;
use crate::protocol::Version;
use crate::protocol::ids::{Sid, SocketId};

const DEADLINE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug)]
struct Request {
    headers: HashMap<String, String>,
    body: Value,
    text: String,
}

/// What the server does with a request.
enum Reply {
    /// This status and body.
    Say(u16, String),
    /// These bytes, and the end of the connection.
    Raw(String),
    /// Nothing, ever.
    Hang,
}

/// A server, what it was sent, and how many connections it has seen.
struct Server {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, reply, number) = (Arc::clone(&connections), Arc::new(reply), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, sender.clone(), Arc::clone(&reply), Arc::clone(&number)));
            }
        });
        Self {
            address,
            requests,
            connections,
        }
    }

    async fn next(&mut self) -> Request {
        tokio::time::timeout(DEADLINE, self.requests.recv())
            .await
            .expect("a request")
            .unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: mpsc::UnboundedSender<Request>,
    reply: Arc<impl Fn(usize, &Request) -> Reply>,
    number: Arc<AtomicUsize>,
) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let headers: HashMap<_, _> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().unwrap();
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let text = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
        bytes.drain(..end + length);
        let request = Request {
            headers,
            body: serde_json::from_str(&text).unwrap(),
            text,
        };
        let replied = reply(number.fetch_add(1, Ordering::SeqCst), &request);
        let _ = requests.send(request);
        match replied {
            Reply::Say(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                if stream.write_all((head + &body).as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Raw(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

fn say(status: u16, body: &str) -> Reply {
    Reply::Say(status, body.to_owned())
}

fn config(address: SocketAddr, more: &Value) -> Config {
    let mut config = json!({
        "url": format!("http://user:p%20w@{address}/hook?a=b"), "secret": "a-secret", "events": ["connect", "event", "disconnect"],
        "headers": [], "timeout": "5s", "concurrency": 4, "retries": 3,
    });
    let fields = config.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn webhooks(address: SocketAddr, more: &Value) -> (Arc<Webhooks>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(&[]).unwrap());
    let ids = Arc::new(IdGenerator::new().unwrap());
    let webhooks = Webhooks::new(&config(address, more), 1000, ids, Arc::clone(&metrics));
    (webhooks.unwrap().unwrap(), metrics)
}

fn subject(id: &str) -> Arc<Subject> {
    Arc::new(Subject {
        namespace: "/".into(),
        id: SocketId::from(Sid::parse(&format!("{id:A>20}")).unwrap()),
        user: None,
        version: Version::V4,
        record: r#"{"headers":{},"address":"127.0.0.1","query":{}}"#.into(),
        auth: Box::default(),
        query: Box::default(),
    })
}

fn event(kind: Kind) -> Event {
    Event::of(
        kind,
        Moment {
            rooms: Vec::new(),
            transport: Transport::WebSocket,
        },
    )
}

fn numbered(number: usize) -> Event {
    event(Kind::Event).with_call("\"n\"", &format!("{number}]"), &[])
}

/// A handler that keeps what it is to do.
#[derive(Debug)]
struct Kept(mpsc::UnboundedSender<(Kind, Whose, Orders)>);

impl Handler for Kept {
    fn obey(self: Arc<Self>, kind: Kind, whose: Whose, orders: Orders) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let _ = self.0.send((kind, whose, orders));
        Box::pin(std::future::ready(()))
    }
}

async fn ask(webhooks: &Arc<Webhooks>, socket: &str) -> Result<Answer, Failure> {
    let line = webhooks.open(subject(socket), "", false);
    line.ask(event(Kind::Connect)).unwrap().await
}

#[tokio::test]
async fn requests_are_signed_and_share_a_connection() {
    let mut server = Server::start(|_, _| say(200, r#"{"user":"alice"}"#)).await;
    let (webhooks, _) = webhooks(server.address, &json!({"secret": ["one", "two"]}));
    let mut ids = Vec::new();
    for _ in 0..3 {
        assert_eq!(ask(&webhooks, "a").await.unwrap().user.as_deref(), Some("alice"));
        let request = server.next().await;
        let header = |name: &str| request.headers[name].clone();
        assert_eq!(header("roomcast-event"), "connect");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("host"), server.address.to_string());
        assert_eq!(header("authorization"), "Basic dXNlcjpwIHc=");
        assert_eq!(request.body["id"], header("roomcast-id"));
        ids.push(header("roomcast-id"));
        let signature = header("roomcast-signature");
        let time = signature.strip_prefix("t=").unwrap().split(',').next().unwrap();
        let secrets = ["one", "two"].map(|secret| Secret::from(secret.to_owned()));
        let expected = signature::sign(&secrets, time.parse().unwrap(), request.text.as_bytes());
        assert_eq!(Some(signature), expected);
    }
    ids.dedup();
    assert_eq!((ids.len(), server.connections.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test]
async fn what_is_no_answer_fails_that_call_alone() {
    let big = format!("{{\"user\":\"{}\"}}", "x".repeat(1 << 20));
    let replies = [
        (say(302, ""), Failure::Redirect),
        (say(500, "{}"), Failure::Status),
        (say(200, "ok"), Failure::Invalid),
        (say(200, &big), Failure::TooLarge),
        (
            Reply::Raw("HTTP/1.1 200 X\r\nContent-Length: 20\r\n\r\n{\"us".into()),
            Failure::Cut,
        ),
        (
            Reply::Raw(format!(
                "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n{}",
                "x".repeat(0x20_0000)
            )),
            Failure::TooLarge,
        ),
        (Reply::Raw("SSH-2.0-OpenSSH\r\n\r\n".into()), Failure::Invalid),
        (Reply::Raw(String::new()), Failure::Connection),
        (say(502, "{}"), Failure::Gateway),
        (Reply::Hang, Failure::Timeout),
    ];
    let (replies, expected): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
    let replies = Mutex::new(replies.into_iter().collect::<std::collections::VecDeque<_>>());
    let server = Server::start(move |_, _| replies.lock().pop_front().unwrap()).await;
    let (webhooks, metrics) = webhooks(server.address, &json!({"timeout": "400ms"}));
    for expected in expected {
        assert_eq!(ask(&webhooks, "a").await, Err(expected));
    }
    let text = metrics.render(&crate::metrics::Snapshot::default()).unwrap();
    let text = String::from_utf8(text).unwrap();
    for line in [
        "roomcast_webhook_failures_total{reason=\"redirect\",type=\"connect\"} 1",
        "roomcast_webhook_failures_total{reason=\"cut\",type=\"connect\"} 1",
        "roomcast_webhook_failures_total{reason=\"timeout\",type=\"connect\"} 1",
        "roomcast_webhook_duration_seconds_count{type=\"connect\"} 10",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test]
async fn while_nobody_is_there_nobody_waits_and_one_call_a_second_looks() {
    let is_back = Arc::new(AtomicUsize::new(0));
    let back = Arc::clone(&is_back);
    let mut server = Server::start(move |_, _| match back.load(Ordering::SeqCst) {
        0 => say(503, ""),
        _ => say(200, "{}"),
    })
    .await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    for number in 0..10 {
        assert_eq!(ask(&webhooks, ["a", "b", "c"][number % 3]).await, Err(Failure::Gateway));
        server.next().await;
    }
    assert_eq!(ask(&webhooks, "d").await, Err(Failure::CircuitOpen));
    assert!(server.requests.is_empty());
    is_back.store(1, Ordering::SeqCst);
    let started = Instant::now();
    while ask(&webhooks, "d").await.is_err() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.next().await;
    assert!(server.requests.is_empty());
    assert!(ask(&webhooks, "d").await.is_ok());
}

#[tokio::test]
async fn a_line_is_told_in_order_and_repeats_what_was_not_taken() {
    let mut server = Server::start(|number, _| match number {
        0 => say(500, ""),
        1 => Reply::Raw(String::new()),
        2 => say(200, r#"{"data":{"n":1.10},"actions":[{"emit":{"event":"x"}}]}"#),
        _ => say(204, ""),
    })
    .await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    let (sender, mut kept) = mpsc::unbounded_channel();
    let handler: Arc<dyn Handler> = Arc::new(Kept(sender));
    webhooks.obeyed_by(&handler);
    let line = webhooks.open(subject("a"), "", false);
    let id = line.subject().unwrap().id.as_str().to_owned();
    assert!(webhooks.line(&id).is_some() && webhooks.line("b").is_none());
    line.tell(numbered(0)).unwrap();
    line.tell(numbered(1)).unwrap();
    line.tell(event(Kind::Disconnect).with("reason", "client_left"))
        .unwrap();
    drop(line); // the socket is gone, what it said is not
    let first = server.next().await;
    for _ in 0..2 {
        let again = server.next().await;
        assert_eq!(
            (&again.text, &again.headers["roomcast-id"]),
            (&first.text, &first.headers["roomcast-id"])
        );
    }
    assert_eq!(
        (&first.body["args"], &first.body["socket"]["data"]),
        (&json!([0]), &json!({}))
    );
    let second = server.next().await;
    assert_eq!(second.body["args"], json!([1]));
    assert!(second.text.contains(r#""data":{"n":1.10}"#), "{}", second.text);
    assert_eq!(server.next().await.body["reason"], "client_left");
    tokio::time::timeout(DEADLINE, webhooks.emptied()).await.unwrap();
    let (kind, whose, orders) = kept.recv().await.unwrap();
    assert_eq!((kind, orders.actions.len()), (Kind::Event, 1));
    assert!(matches!(whose, Whose::Socket(subject) if subject.id.as_str() == id));
    assert!(webhooks.line(&id).is_none() && kept.try_recv().is_err());
}

#[tokio::test]
async fn who_waits_is_answered_once_and_only_after_what_was_to_be_done() {
    let mut server = Server::start(|number, _| match number {
        0 => say(500, ""),
        _ => say(200, r#"{"ack":[1.10],"data":{}}"#),
    })
    .await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    let (sender, mut kept) = mpsc::unbounded_channel();
    let handler: Arc<dyn Handler> = Arc::new(Kept(sender));
    webhooks.obeyed_by(&handler);
    let line = webhooks.open(subject("a"), "", false);
    assert_eq!(line.ask(numbered(0)).unwrap().await, Err(Failure::Status));
    let ack = line.ask(numbered(1)).unwrap().await.unwrap().ack.unwrap();
    assert_eq!(ack.json, "[1.10]");
    assert!(kept.try_recv().is_ok());
    assert_eq!(
        (
            server.next().await.body["args"][0].clone(),
            server.next().await.body["args"][0].clone()
        ),
        (json!(0), json!(1))
    );
}

#[tokio::test]
async fn what_has_one_key_is_told_in_order() {
    let mut server = Server::start(|number, _| say(if number == 0 { 500 } else { 204 }, "")).await;
    let (webhooks, _) = webhooks(server.address, &json!({}));
    for (kind, id) in [(Kind::RoomOccupied, "o-1"), (Kind::RoomVacated, "v-1")] {
        webhooks.notify(
            "room /a",
            Event::elsewhere(kind, id.into(), Some("/".into())).with("room", "a"),
        );
    }
    let ids = [server.next().await, server.next().await, server.next().await].map(|request| request.body["id"].clone());
    assert_eq!(ids, ["o-1", "o-1", "v-1"]);
}
