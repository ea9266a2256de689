//! HTTP/1.1 by hand: one connection, one request and one answer at a time.
//!
//! Never corrects what a test asks it to send: a request may be as wrong as the test wants it.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A request as it is written to the connection.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST as browsers send text: UTF-8, with its length.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self::new("POST", target).header("Content-Type", "text/plain;charset=UTF-8");
        Self {
            body: Some(body.into()),
            ..request
        }
    }

    /// Adds a header, or replaces it where it is there already.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(there, _)| !there.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with another method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// The WebSocket upgrade of RFC 6455 with its sample key.
    pub fn upgrade(target: &str) -> Self {
        Self::get(target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// The request on the wire; `address` is its Host where the test names none.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        if let Some(body) = self
            .body
            .as_ref()
            .filter(|_| !has("content-length") && !has("transfer-encoding"))
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that occurs once, `None` where it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(there, _)| there.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} occurs twice in {:?}", self.headers);
        value
    }

    /// All values of a header that may be a list, in small letters.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self
            .headers
            .iter()
            .filter(|(there, _)| there.eq_ignore_ascii_case(name));
        values
            .flat_map(|(_, value)| value.split(','))
            .map(|entry| entry.trim().to_ascii_lowercase())
            .collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// Asserts that this is one of the protocol's errors.
    #[track_caller]
    pub fn is_error(&self, status: u16, code: u64, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.text(), format!(r#"{{"code":{code},"message":"{message}"}}"#));
    }

    /// Asserts that the session that was asked for does not exist.
    #[track_caller]
    pub fn is_unknown_session(&self) {
        self.is_error(400, 1, "Session ID unknown");
    }

    /// Asserts that this is the answer to a POST that was taken.
    #[track_caller]
    pub fn is_ok(&self) {
        assert_eq!((self.status, self.text()), (200, "ok"));
    }
}

/// One TCP connection and what was read from it and not yet used.
#[derive(Debug)]
pub struct Connection {
    pub address: SocketAddr,
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
    /// The last answer said that no other follows.
    is_over: bool,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            address,
            stream,
            buffer: Vec::new(),
            is_over: false,
        }
    }

    /// Writes bytes; that the other side has already gone is not an error here, what it said before going is read later.
    pub async fn write(&mut self, bytes: &[u8]) {
        match within(self.stream.write_all(bytes)).await {
            Err(error) if !is_gone(&error) => panic!("failed to write: {error}"),
            _ => {}
        }
    }

    /// Reads more; false when the other side has ended the connection.
    pub async fn fill(&mut self) -> bool {
        match within(self.stream.read_buf(&mut self.buffer)).await {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) if is_gone(&error) => false,
            Err(error) => panic!("failed to read: {error}"),
        }
    }

    /// Waits until the other side ends the connection, and returns what it still sent.
    pub async fn end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    pub async fn send(&mut self, request: &Request) {
        self.write(&request.bytes(self.address)).await;
    }

    /// Asks, by a new connection where the other side said that it ends this one.
    pub async fn request(&mut self, request: &Request) -> Response {
        if self.is_over {
            *self = Self::open(self.address).await;
        }
        self.send(request).await;
        let response = self.response().await;
        self.is_over = response.header("connection") == Some("close");
        response
    }

    pub async fn response(&mut self) -> Response {
        self.try_response()
            .await
            .expect("an answer before the end of the connection")
    }

    /// Reads an answer, `None` when the connection ends before one.
    pub async fn try_response(&mut self) -> Option<Response> {
        let head = self.take_until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let headers = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        response.body = self.body(&response).await;
        Some(response)
    }

    async fn body(&mut self, response: &Response) -> Vec<u8> {
        if matches!(response.status, 101 | 204 | 304) {
            return Vec::new();
        }
        if response.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        match response.header("content-length") {
            Some(length) => self
                .take(length.parse().unwrap())
                .await
                .expect("a body as long as it says"),
            None => self.end().await,
        }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.take_until(b"\r\n").await.expect("a chunk");
            let length = String::from_utf8_lossy(&line);
            let length = usize::from_str_radix(length.trim(), 16).unwrap();
            let chunk = self.take(length + 2).await.expect("a whole chunk");
            if length == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// Takes the next `count` bytes.
    pub async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn take_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    )
}

/// One request on a connection of its own.
pub async fn request(address: SocketAddr, request: &Request) -> Response {
    Connection::open(address).await.request(request).await
}
