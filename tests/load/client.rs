//! A client of a few hundred bytes, by hand: thousands of them must cost less than the gateway that they load.
//!
//! Never waits without a deadline, and never closes politely unless it is told to: a reset leaves no port behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

/// The longest that a client waits for any one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses that clients come from, so that none runs out of ports.
const SOURCES: u32 = 16;

/// First bytes of frames: FIN and the opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
/// Without FIN.
pub(crate) const TEXT_START: u8 = 0x01;
pub(crate) const BINARY_START: u8 = 0x02;
pub(crate) const CONTINUATION: u8 = 0x00;

/// The path of a WebSocket handshake.
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The path of a polling handshake.
pub(crate) const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// One connection and what was read from it and not used yet.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing within {PATIENCE:?}"),
        )),
    }
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_with(address, None).await
    }

    /// With a buffer of this size for what it does not read, where one is given.
    pub(crate) async fn open_with(address: SocketAddr, receive_bytes: Option<u32>) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % SOURCES;
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + number);
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        let stream = within(socket.connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Closes without a word.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.stream.write_all(bytes)).await
    }

    async fn fill(&mut self) -> io::Result<()> {
        within(self.stream.readable()).await?;
        let mut bytes = [0; 16 * 1024]; // a client that waits keeps nothing
        match self.stream.try_read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn consume(&mut self, count: usize) {
        self.buffer.drain(..count);
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Sends a GET and returns its status and body.
    pub(crate) async fn get(&mut self, target: &str) -> io::Result<(u16, String)> {
        self.write(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await?;
        self.response().await
    }

    /// Sends a POST and returns its status and body.
    pub(crate) async fn post(&mut self, target: &str, body: &[u8]) -> io::Result<(u16, String)> {
        self.write(&[post_head(target, body.len()).as_bytes(), body].concat())
            .await?;
        self.response().await
    }

    /// Reads an answer with a length.
    pub(crate) async fn response(&mut self) -> io::Result<(u16, String)> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| broken(format!("no status: {head}")))?;
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next()?.parse().ok());
        let length = length.unwrap_or(0);
        while self.buffer.len() < end + length {
            self.fill().await?;
        }
        let body = String::from_utf8_lossy(&self.buffer[end..end + length]).into_owned();
        self.consume(end + length);
        Ok((status, body))
    }

    /// Opens a polling session and returns its id.
    pub(crate) async fn open_polling(&mut self) -> io::Result<String> {
        let (status, body) = self.get(POLLING).await?;
        let sid = body.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
        sid.filter(|_| status == 200)
            .map(str::to_owned)
            .ok_or_else(|| broken(format!("no handshake: {status} {body}")))
    }

    /// Asks for a WebSocket.
    pub(crate) async fn upgrade(&mut self, target: &str) -> io::Result<()> {
        self.write(upgrade_head(target).as_bytes()).await?;
        let (status, body) = self.response().await?;
        if status == 101 {
            Ok(())
        } else {
            Err(broken(format!("{status} {body}")))
        }
    }

    /// The next frame: its first byte and what is in it.
    pub(crate) async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = frame_lengths(&self.buffer)
                && self.buffer.len() >= head + length
            {
                let frame = (self.buffer[0], self.buffer[head..head + length].to_vec());
                self.consume(head + length);
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// The next message, as text. Heartbeats are answered.
    pub(crate) async fn message(&mut self) -> io::Result<String> {
        loop {
            let (first, payload) = self.frame().await?;
            match (first, &*payload) {
                (TEXT, b"2") => self.send("3").await?,
                (TEXT, _) => return String::from_utf8(payload).map_err(|_| broken("no UTF-8")),
                _ => return Err(broken(format!("a frame {first:02x} of {} bytes", payload.len()))),
            }
        }
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.write(&frame(TEXT, text.as_bytes())).await
    }

    /// Opens a WebSocket and enters `/`.
    pub(crate) async fn enter(&mut self) -> io::Result<()> {
        self.upgrade(WEBSOCKET).await?;
        self.expect('0').await?;
        self.send("40").await?;
        self.expect('4').await
    }

    /// Emits something that must succeed.
    pub(crate) async fn does(&mut self, event: &str) -> io::Result<()> {
        self.send(&format!("421{event}")).await?;
        loop {
            let answer = self.message().await?;
            if let Some(answer) = answer.strip_prefix("431") {
                return if answer.contains("\"ok\":true") {
                    Ok(())
                } else {
                    Err(broken(answer))
                };
            }
        }
    }

    async fn expect(&mut self, first: char) -> io::Result<()> {
        let message = self.message().await?;
        if message.starts_with(first) {
            Ok(())
        } else {
            Err(broken(message))
        }
    }

    /// A client in `/` on a WebSocket.
    pub(crate) async fn client(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::open(address).await?;
        client.enter().await?;
        Ok(client)
    }

    /// Answers heartbeats until the connection ends; how it ended.
    pub(crate) async fn idle(&mut self) -> io::Error {
        loop {
            if self.buffer.is_empty()
                && let Err(error) = self.stream.readable().await
            {
                return error;
            }
            if let Err(error) = self.message().await {
                return error;
            }
        }
    }
}

/// The head of a POST that promises so many bytes.
pub(crate) fn post_head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")
}

/// The head of a WebSocket handshake, with the sample key of RFC 6455.
pub(crate) fn upgrade_head(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame; the mask is zero, so that the payload stays as it is.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = promise(first, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a frame that promises so many bytes.
pub(crate) fn promise(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Lengths of the head and of the payload of a server's frame, once the head is there.
fn frame_lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)))),
        127 => Some((10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize)),
        length => Some((2, usize::from(length))),
    }
}
