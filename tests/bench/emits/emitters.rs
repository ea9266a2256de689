//! Those who emit: by the gateway's API, or as @socket.io/redis-emitter does, without the gateway.
//!
//! Requests are made once and sent again and again, so that this costs as little as it can.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::comparison::client::{Connection, within};
use crate::comparison::microseconds;

/// Bytes of the text that is emitted.
const TEXT_BYTES: usize = 100;

/// Where events go.
#[derive(Clone, Copy)]
pub(crate) enum EmitterKind {
    /// To the API of this admin port.
    Api(SocketAddr),
    /// To the Redis at this port.
    Redis(u16),
}

/// Somebody who emits the same events again and again.
pub(crate) struct Emitter {
    way: Way,
    request: Vec<u8>,
    warm: Vec<u8>,
    events: usize,
}

enum Way {
    Api(Connection),
    Redis(BufReader<TcpStream>),
}

impl Emitter {
    /// One with a connection, that emits so many events into a room with each request.
    pub(crate) async fn open(kind: EmitterKind, room: &str, events: usize) -> Self {
        match kind {
            EmitterKind::Api(admin) => Self {
                way: Way::Api(Connection::open(admin).await.unwrap()),
                request: api_request(room, &event(), events),
                warm: api_request(room, r#"["warm"]"#, events),
                events,
            },
            EmitterKind::Redis(port) => {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                Self {
                    way: Way::Redis(BufReader::new(stream)),
                    request: publish(room, &["news", &text()]).repeat(events),
                    warm: publish(room, &["warm"]).repeat(events),
                    events,
                }
            }
        }
    }

    /// Emits something that does not count.
    pub(crate) async fn warm_up(&mut self) {
        let request = std::mem::take(&mut self.warm);
        self.way.send(&request, self.events).await;
    }

    /// Emits, one request after the other; the times of them, in microseconds.
    pub(crate) async fn emit(&mut self, requests: usize) -> Vec<f64> {
        let mut times = Vec::with_capacity(requests);
        for _ in 0..requests {
            let started = Instant::now();
            self.way.send(&self.request, self.events).await;
            times.push(microseconds(started));
        }
        times
    }
}

impl Way {
    async fn send(&mut self, request: &[u8], events: usize) {
        match self {
            Self::Api(connection) => {
                connection.write(request).await.unwrap();
                let (status, body) = connection.response().await.unwrap();
                let done = body.matches("\"ok\":true").count();
                assert!(status == 200 && done == events, "{status} {body}");
            }
            Self::Redis(stream) => {
                within(tokio::io::AsyncWriteExt::write_all(stream, request))
                    .await
                    .unwrap();
                let mut line = String::new();
                for _ in 0..events {
                    line.clear();
                    within(stream.read_line(&mut line)).await.unwrap();
                    assert!(line.starts_with(':'), "{line}");
                }
            }
        }
    }
}

/// What is emitted, as JSON.
pub(crate) fn event() -> String {
    format!(r#"["news","{}"]"#, text())
}

fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

/// A request of the API with one event, or a batch of them.
fn api_request(room: &str, event: &str, events: usize) -> Vec<u8> {
    let (name, args) = event
        .trim_matches(['[', ']'])
        .split_once(',')
        .unwrap_or((event.trim_matches(['[', ']']), ""));
    let command = format!(r#"{{"rooms":["{room}"],"event":{name},"args":[{args}]}}"#);
    let (path, body) = if events == 1 {
        ("/v1/emit", command)
    } else {
        let commands = vec![format!(r#"{{"emit":{command}}}"#); events];
        ("/v1/batch", format!(r#"{{"commands":[{}]}}"#, commands.join(",")))
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// PUBLISH of an event in the encoding of @socket.io/redis-emitter.
fn publish(room: &str, event: &[&str]) -> Vec<u8> {
    let mut message = vec![0x93]; // [uid, packet, options]
    text_of(&mut message, "emitter");
    message.push(0x83);
    text_of(&mut message, "type");
    message.push(2);
    text_of(&mut message, "data");
    message.push(0x90 | event.len() as u8);
    for part in event {
        text_of(&mut message, part);
    }
    text_of(&mut message, "nsp");
    text_of(&mut message, "/");
    message.push(0x83);
    text_of(&mut message, "rooms");
    message.push(0x91);
    text_of(&mut message, room);
    text_of(&mut message, "flags");
    message.push(0x80);
    text_of(&mut message, "except");
    message.push(0x90);
    let channel = format!("socket.io#/#{room}#");
    let mut command = b"*3\r\n".to_vec();
    for word in [b"PUBLISH".as_slice(), channel.as_bytes(), &message] {
        command.extend(format!("${}\r\n", word.len()).into_bytes());
        command.extend(word);
        command.extend(b"\r\n");
    }
    command
}

/// A text of at most 255 bytes as MessagePack.
fn text_of(message: &mut Vec<u8>, text: &str) {
    match text.len() {
        0..32 => message.push(0xa0 | text.len() as u8),
        length => message.extend([0xd9, length as u8]),
    }
    message.extend(text.as_bytes());
}
