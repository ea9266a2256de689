//! One packet on its way to clients: encoded once, shared by everybody who receives it.
//!
//! The usual form is the finished WebSocket frame of a text packet. The same buffer past the frame's header is the
//! packet for polling clients. What only some clients need (binary, base64, ASCII, MessagePack) is made when the first one asks.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{PacketType, Version, ascii, msgpack};

/// The longest header of a server's WebSocket frame.
const HEADER_MAX: usize = 10;

/// First byte of an unfragmented text frame (RFC 6455 §5.2).
const TEXT_FRAME: u8 = 0x81;

/// First byte of an unfragmented binary frame.
const BINARY_FRAME: u8 = 0x82;

/// An Engine.IO packet with its binary attachments, ready for every transport.
#[derive(Debug)]
pub struct Encoded {
    /// `[WebSocket header | type digit | data]`.
    frame: Box<[u8]>,
    /// Where the packet's text begins in `frame`.
    text_at: u8,
    kind: PacketType,
    attachments: Box<[Bytes]>,
    /// Asked for three times for each client that it goes to.
    weight: usize,
    rare: OnceLock<Box<Rare>>,
}

/// Forms that few clients need, each made when the first one asks.
#[derive(Debug, Default)]
struct Rare {
    /// Frames with attachments, in ASCII or in MessagePack, by `WebSocketForm::index`.
    frames: [OnceLock<Box<[u8]>>; 8],
    ascii: OnceLock<Box<str>>,
}

/// How a WebSocket session takes its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketForm {
    /// The session's protocol.
    pub version: Version,
    /// Whether binary comes as base64 in text frames (`b64` in the query).
    pub base64: bool,
    /// Whether the client encodes text twice as UTF-8 and expects the same: it gets pure ASCII.
    pub double_utf8: bool,
    /// Whether Socket.IO's packets are binary messages in MessagePack. Never on v3, as `double_utf8` is never on v4.
    pub msgpack: bool,
}

impl WebSocketForm {
    /// The usual form of clients that speak MessagePack.
    const MSGPACK: Self = Self {
        version: Version::V4,
        base64: false,
        double_utf8: false,
        msgpack: true,
    };

    fn index(self) -> usize {
        usize::from(self.version == Version::V4)
            + 2 * usize::from(self.base64)
            + 4 * usize::from(self.double_utf8 | self.msgpack)
    }

    /// Writes the frame for a binary message.
    fn push_attachment(self, out: &mut Vec<u8>, bytes: &[u8]) {
        let (first_byte, payload) = self.attachment(bytes);
        let (header, length) = frame_header(first_byte, payload.len());
        out.extend_from_slice(&header[..length]);
        out.extend_from_slice(&payload);
    }

    /// First byte and payload of the frame for a binary attachment.
    fn attachment<'a>(self, bytes: &'a [u8]) -> (u8, Cow<'a, [u8]>) {
        match (self.version, self.base64) {
            (Version::V3, false) => (BINARY_FRAME, [&[4], bytes].concat().into()), // 4: a message
            (Version::V4, false) => (BINARY_FRAME, bytes.into()),
            (version, true) => {
                let mut text = Vec::with_capacity(2 + bytes.len().div_ceil(3) * 4);
                text.extend_from_slice(if version == Version::V3 { b"b4" } else { b"b" });
                push_base64(&mut text, bytes);
                (TEXT_FRAME, text.into())
            }
        }
    }
}

impl Encoded {
    /// A packet without attachments: the pieces, joined, are its text with the type digit.
    pub fn text(pieces: &[&str]) -> Self {
        Self::with_attachments(pieces, Box::default())
    }

    /// A packet and the binary messages that follow it.
    pub fn with_attachments(pieces: &[&str], attachments: Box<[Bytes]>) -> Self {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let (header, text_at) = frame_header(TEXT_FRAME, length);
        let mut frame = Vec::with_capacity(text_at + length);
        frame.extend_from_slice(&header[..text_at]);
        for piece in pieces {
            frame.extend_from_slice(piece.as_bytes());
        }
        let attached = attachments.iter().map(|attachment| attachment.len() + HEADER_MAX);
        Self {
            kind: PacketType::of_text(&frame[text_at..]),
            weight: frame.len() + attached.sum::<usize>(),
            frame: frame.into(),
            text_at: text_at as u8,
            attachments,
            rare: OnceLock::new(),
        }
    }

    /// A frame for WebSockets alone, such as a pong.
    pub fn control_frame(opcode: u8, payload: &[u8]) -> Self {
        debug_assert!(payload.len() < 126, "control frames are short");
        let mut frame = Vec::with_capacity(2 + payload.len());
        frame.extend_from_slice(&[0x80 | opcode, payload.len() as u8]);
        frame.extend_from_slice(payload);
        let text_at = frame.len() as u8;
        Self {
            kind: PacketType::Pong,
            weight: frame.len(),
            frame: frame.into(),
            text_at,
            attachments: Box::default(),
            rare: OnceLock::new(),
        }
    }

    /// What it is, for the metrics.
    pub fn kind(&self) -> PacketType {
        self.kind
    }

    /// The packet's text with its type digit. Empty for a control frame.
    pub fn packet(&self) -> &str {
        simdutf8::basic::from_utf8(self.packet_bytes()).unwrap_or_default() // made from text
    }

    /// The same as bytes, at which nobody needs to look.
    pub(super) fn packet_bytes(&self) -> &[u8] {
        &self.frame[usize::from(self.text_at)..]
    }

    /// The packet's text with everything in its JSON escaped that is not ASCII.
    pub fn ascii_packet(&self) -> &str {
        match ascii::escape(self.packet()) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => self.rare().ascii.get_or_init(|| text.into()),
        }
    }

    /// The packet with its attachments as one binary message in MessagePack; `None` for packets of Engine.IO, which are
    /// text for everybody.
    pub fn msgpack(&self) -> Option<&[u8]> {
        self.kind
            .is_socket_io()
            .then(|| payload(self.frames(WebSocketForm::MSGPACK)))
    }

    /// The binary messages that follow the packet.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Bytes that this packet counts for while it waits in an outbox.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The packet and its attachments as finished WebSocket frames.
    #[inline]
    pub fn frames(&self, form: WebSocketForm) -> &[u8] {
        // One comparison for both: this is passed for every packet to every client.
        if self.attachments.is_empty() && !(form.double_utf8 | form.msgpack) {
            return &self.frame;
        }
        self.rare_frames(form)
    }

    fn rare_frames(&self, form: WebSocketForm) -> &[u8] {
        if form.msgpack && !self.kind.is_socket_io() {
            return &self.frame;
        }
        self.rare().frames[form.index()].get_or_init(|| self.join(form))
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// The text frame with a frame for each attachment behind it.
    fn join(&self, form: WebSocketForm) -> Box<[u8]> {
        if form.msgpack {
            return self.join_msgpack(form);
        }
        let mut out = Vec::with_capacity(self.weight());
        if form.double_utf8 && !self.packet().is_ascii() {
            let text = self.ascii_packet();
            let (header, length) = frame_header(TEXT_FRAME, text.len());
            out.extend_from_slice(&header[..length]);
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend_from_slice(&self.frame);
        }
        for attachment in &self.attachments {
            form.push_attachment(&mut out, attachment);
        }
        out.into()
    }

    /// The frame of the whole packet as one binary message.
    fn join_msgpack(&self, form: WebSocketForm) -> Box<[u8]> {
        let message: Cow<'_, [u8]> = if form.base64 {
            payload(self.frames(WebSocketForm::MSGPACK)).into()
        } else {
            let message = msgpack::encode(self.packet(), &self.attachments);
            debug_assert!(message.is_ok(), "a packet of ours: {}", self.packet());
            message.unwrap_or_default().into()
        };
        let mut out = Vec::with_capacity(message.len() + HEADER_MAX);
        form.push_attachment(&mut out, &message);
        out.into()
    }
}

/// Writes base64 behind what is in `out`.
pub(super) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start), "three bytes become four");
}

/// What is in a server's frame.
fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        127 => HEADER_MAX,
        126 => 4,
        _ => 2,
    };
    &frame[header..]
}

/// The header of a server's frame and its length (RFC 6455 §5.2; servers do not mask).
fn frame_header(first_byte: u8, payload: usize) -> ([u8; HEADER_MAX], usize) {
    let mut header = [first_byte, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let length = match payload {
        0..126 => {
            header[1] = payload as u8;
            2
        }
        126..0x1_0000 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            HEADER_MAX
        }
    };
    (header, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: WebSocketForm = WebSocketForm {
        version: Version::V3,
        base64: false,
        double_utf8: false,
        msgpack: false,
    };
    const V4: WebSocketForm = WebSocketForm {
        version: Version::V4,
        base64: false,
        double_utf8: false,
        msgpack: false,
    };

    #[test]
    fn text_is_one_buffer_for_all() {
        let packet = Encoded::text(&["42", r#"["é"]"#]);
        assert_eq!(packet.packet(), r#"42["é"]"#);
        assert_eq!(packet.frames(V4), b"\x81\x0842[\"\xc3\xa9\"]");
        assert_eq!(packet.frames(V3), packet.frames(V4));
        assert_eq!(packet.ascii_packet(), r#"42["\u00e9"]"#);
    }

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let packet = Encoded::text(&[&"x".repeat(length)]);
            assert_eq!(packet.frames(V4).len(), header + length);
            assert_eq!(packet.packet().len(), length);
        }
    }

    #[test]
    fn clients_that_decode_twice_get_ascii() {
        let form = WebSocketForm {
            double_utf8: true,
            msgpack: false,
            ..V3
        };
        let packet = Encoded::text(&["42", r#"["é"]"#]);
        assert_eq!(packet.frames(form), b"\x81\x0c42[\"\\u00e9\"]");
        assert_eq!(Encoded::text(&["42[]"]).frames(form), b"\x81\x0442[]");
    }

    #[test]
    fn attachments_follow_in_the_form_of_each_client() {
        let packet = Encoded::with_attachments(&["451-[\"e\"]"], Box::new([Bytes::from_static(&[1, 2])]));
        let text = b"\x81\x09451-[\"e\"]".as_slice();
        let with = |tail: &[u8]| [text, tail].concat();
        assert_eq!(packet.frames(V4), with(&[0x82, 2, 1, 2]));
        assert_eq!(packet.frames(V3), with(&[0x82, 3, 4, 1, 2]));
        assert_eq!(
            packet.frames(WebSocketForm { base64: true, ..V4 }),
            with(b"\x81\x05bAQI=")
        );
        assert_eq!(
            packet.frames(WebSocketForm { base64: true, ..V3 }),
            with(b"\x81\x06b4AQI=")
        );
    }

    #[test]
    fn clients_that_speak_msgpack_get_one_binary_message() {
        let form = WebSocketForm { msgpack: true, ..V4 };
        let message = b"\x83\xa4type\x02\xa4data\x91\xc4\x01\x07\xa3nsp\xa1/";
        let attachments = Box::new([Bytes::from_static(&[7])]);
        let packet = Encoded::with_attachments(&[r#"451-[{"_placeholder":true,"num":0}]"#], attachments);
        let frame = [&[0x82, message.len() as u8], &message[..]].concat();
        assert_eq!(packet.frames(form), frame);
        assert_eq!(packet.msgpack(), Some(&message[..]));
        let text = format!("b{}", STANDARD.encode(message));
        let frame = [&[0x81, text.len() as u8], text.as_bytes()].concat();
        assert_eq!(packet.frames(WebSocketForm { base64: true, ..form }), frame);
        assert_eq!(packet.frames(V4)[0], 0x81);
        for length in [1, 100, 200, 65_000, 70_000] {
            let packet = Encoded::text(&["42[\"", &"x".repeat(length), "\"]"]);
            assert_eq!(packet.msgpack().map(|message| message[0]), Some(0x83), "{length}");
        }
    }

    #[test]
    fn packets_of_engine_io_are_text_for_everybody() {
        let form = WebSocketForm { msgpack: true, ..V4 };
        for text in ["0{}", "1", "2", "3probe", "6"] {
            let packet = Encoded::text(&[text]);
            assert_eq!(packet.frames(form), packet.frames(V4), "{text}");
            assert_eq!(packet.msgpack(), None, "{text}");
        }
        let pong = Encoded::control_frame(10, b"x");
        assert_eq!(pong.frames(form), pong.frames(V4));
    }
}
