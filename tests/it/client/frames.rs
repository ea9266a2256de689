//! WebSocket frames by hand, the wrong ones too.
//!
//! Never answers anything by itself: pings, close frames and Engine.IO's heartbeat are the test's to handle.

use std::net::SocketAddr;

use super::http::{Connection, Request, Response};
use super::payload::Packet;

/// First bytes of frames: FIN and the opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
/// The same without FIN.
pub(crate) const TEXT_START: u8 = 0x01;
pub(crate) const BINARY_START: u8 = 0x02;
pub(crate) const CONTINUATION: u8 = 0x00;
pub(crate) const CONTINUATION_END: u8 = 0x80;

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame and its code, where it has one.
    Close(Option<u16>),
    /// The end of the TCP connection.
    End,
}

/// The client's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub connection: Connection,
    /// The answer that opened it.
    pub response: Response,
}

impl WebSocket {
    /// Opens a WebSocket; the answer is the error where it is refused.
    pub(crate) async fn try_open(address: SocketAddr, upgrade: &Request) -> Result<Self, Response> {
        let mut connection = Connection::open(address).await;
        let response = connection.request(upgrade).await;
        if response.status == 101 {
            Ok(Self { connection, response })
        } else {
            Err(response)
        }
    }

    pub(crate) async fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, &Request::upgrade(target))
            .await
            .expect("an upgrade")
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(TEXT, text.as_bytes()).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(BINARY, bytes).await;
    }

    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.connection.write(&frame(first, payload)).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.connection.write(bytes).await;
    }

    /// The next frame, whatever it is.
    pub(crate) async fn next(&mut self) -> Frame {
        let Some(head) = self.connection.take(2).await else {
            return Frame::End;
        };
        assert_eq!(head[0] & 0x70, 0, "a server's frame with a reserved bit: {head:02x?}");
        assert_eq!(head[0] & 0x80, 0x80, "a server's message in fragments: {head:02x?}");
        assert_eq!(head[1] & 0x80, 0, "a server's frame with a mask: {head:02x?}");
        let length = match head[1] {
            126 => big_endian(&self.connection.take(2).await.unwrap()),
            127 => big_endian(&self.connection.take(8).await.unwrap()),
            short => usize::from(short),
        };
        let Some(payload) = self.connection.take(length).await else {
            return Frame::End;
        };
        match head[0] & 0x0f {
            1 => Frame::Text(String::from_utf8(payload).expect("text in UTF-8")),
            2 => Frame::Binary(payload),
            8 if payload.is_empty() => Frame::Close(None),
            8 => Frame::Close(Some(u16::from_be_bytes([payload[0], payload[1]]))),
            9 => Frame::Ping(payload),
            10 => Frame::Pong(payload),
            opcode => panic!("a server's frame with opcode {opcode}"),
        }
    }

    /// The next frame, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Asserts that the server closes next, with this code or without one, and then ends the connection.
    pub(crate) async fn is_closed(&mut self, code: Option<u16>) {
        assert_eq!(self.next().await, Frame::Close(code));
        self.ends().await;
    }

    /// Reads on until the server closes and ends the connection, and returns the code of its close frame.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Frame::Close(code) => {
                    self.ends().await;
                    return code;
                }
                Frame::End => panic!("the connection ended without a close frame"),
                _ => {}
            }
        }
    }

    /// Answers a close frame and asserts that the server then ends the connection.
    pub(crate) async fn ends(&mut self) {
        self.send_frame(CLOSE, &[]).await;
        assert_eq!(self.next().await, Frame::End);
    }

    /// Sends one Engine.IO packet in the form that WebSockets of this version carry.
    pub(crate) async fn send_packet(&mut self, eio: u8, packet: &Packet) {
        match packet {
            Packet::Text(text) => self.send_text(text).await,
            Packet::Binary(bytes) if eio == 4 => self.send_binary(bytes).await,
            Packet::Binary(bytes) => self.send_binary(&[&[4], bytes.as_slice()].concat()).await,
        }
    }

    /// Receives one Engine.IO packet; panics at the end.
    pub(crate) async fn packet(&mut self, eio: u8) -> Packet {
        match self.next().await {
            Frame::Text(text) => Packet::Text(text),
            Frame::Binary(bytes) if eio == 4 => Packet::Binary(bytes),
            Frame::Binary(bytes) => {
                assert_eq!(bytes.first(), Some(&4), "the type byte of a binary message");
                Packet::Binary(bytes[1..].to_vec())
            }
            other => panic!("expected a packet, got {other:?}"),
        }
    }
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// A masked frame, as clients must send it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = head(first, 0x80, payload.len() as u64);
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame without a mask, which clients must not send.
pub(crate) fn unmasked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, 0, payload.len() as u64), payload.to_vec()].concat()
}

/// The head of a masked frame that promises `length` bytes, and its mask; what follows is up to the test.
pub(crate) fn promise(first: u8, length: u64) -> Vec<u8> {
    [head(first, 0x80, length), vec![0; 4]].concat()
}

fn head(first: u8, mask: u8, length: u64) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => vec![first, mask | short],
        (_, Ok(medium)) => [&[first, mask | 126], medium.to_be_bytes().as_slice()].concat(),
        _ => [&[first, mask | 127], length.to_be_bytes().as_slice()].concat(),
    }
}
