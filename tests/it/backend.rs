//! An application with a webhook: reads requests by hand, answers as a test wants, and keeps what it was sent.
//!
//! It never shares code with the gateway, so that a mistake there cannot hide behind the same mistake here.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::client::within;

/// What it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its number, from 0.
    pub number: usize,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

/// What it does with a call.
pub(crate) enum Reply {
    /// 200 and this.
    Json(Value),
    /// This status and body.
    Say(u16, String),
    /// These bytes, and the end of the connection.
    Raw(String),
    /// That, once it is let.
    Held(Arc<Semaphore>, Box<Reply>),
    /// Nothing, ever.
    Hang,
}

impl Call {
    /// Its `type`.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().expect("a type")
    }
}

/// An application that runs until it is dropped.
pub(crate) struct Backend {
    pub address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    put_aside: VecDeque<Call>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What `[webhook]` says of it, with further lines.
pub(crate) fn settings(address: SocketAddr, more: &str) -> String {
    format!("[webhook]\nurl = \"http://{address}/hook\"\nsecret = \"a-secret-of-these-tests-0123456789\"\n{more}\n")
}

impl Backend {
    pub(crate) async fn start(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), reply).await
    }

    /// The same at this address.
    pub(crate) async fn listen(address: SocketAddr, reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener: TcpListener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, reply, numbers) = (Arc::clone(&connections), Arc::new(reply), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new(); // ends with the task
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                served.spawn(serve(stream, sender.clone(), Arc::clone(&reply), Arc::clone(&numbers)));
            }
        });
        Self {
            address,
            calls,
            put_aside: VecDeque::new(),
            connections,
            task,
        }
    }

    /// The connections that it has seen.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next call.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Call> {
        let aside = self.put_aside.pop_front();
        let receive = within(self.calls.recv());
        async move {
            match aside {
                Some(call) => call,
                None => receive.await.expect("the backend runs"),
            }
        }
    }

    /// The next call of this type; others are put aside, in order.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Call {
        if let Some(at) = self.put_aside.iter().position(|call| call.kind() == kind) {
            return self.put_aside.remove(at).expect("it was found there");
        }
        loop {
            let call = within(self.calls.recv()).await.expect("the backend runs");
            if call.kind() == kind {
                return call;
            }
            self.put_aside.push_back(call);
        }
    }

    /// Asserts that it was sent nothing that was not looked at.
    pub(crate) fn is_left_alone(&mut self) {
        assert!(self.put_aside.is_empty(), "{:?}", self.put_aside);
        assert!(self.calls.try_recv().is_err());
    }
}

async fn serve(
    mut stream: TcpStream,
    calls: mpsc::UnboundedSender<Call>,
    reply: Arc<impl Fn(&Call) -> Reply>,
    numbers: Arc<AtomicUsize>,
) {
    let mut bytes = Vec::new();
    while let Some(call) = read(&mut stream, &mut bytes, &numbers).await {
        let mut replied = reply(&call);
        let _ = calls.send(call); // a test may have seen enough
        while let Reply::Held(gate, then) = replied {
            gate.acquire().await.expect("a gate is never closed").forget();
            replied = *then;
        }
        let (status, body) = match replied {
            Reply::Json(body) => (200, body.to_string()),
            Reply::Say(status, body) => (status, body),
            Reply::Raw(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Reply::Held(..) | Reply::Hang => return std::future::pending().await,
        };
        let length = if status == 204 {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let location = "Location: /elsewhere\r\n"; // which only means something to a redirect
        let answer = format!("HTTP/1.1 {status} Whatever\r\n{location}{length}\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>, numbers: &AtomicUsize) -> Option<Call> {
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("POST "), "{head}");
    let headers: HashMap<_, _> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while bytes.len() < end + length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    bytes.drain(..end + length);
    Some(Call {
        number: numbers.fetch_add(1, Ordering::SeqCst),
        target: head.split(' ').nth(1).unwrap().to_owned(),
        headers,
        body: serde_json::from_str(&text).unwrap(),
        text,
    })
}
