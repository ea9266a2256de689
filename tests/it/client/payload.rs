//! Engine.IO payloads and Socket.IO packets by hand, apart from the library's own codec.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// An Engine.IO packet: text begins with its type, binary is a message's bytes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

impl Packet {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The packet's text; panics where it is binary.
    #[track_caller]
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Binary(bytes) => panic!("expected text, got bytes {bytes:02x?}"),
        }
    }

    /// The form that text payloads carry.
    pub(crate) fn printed(&self, eio: u8) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Binary(bytes) if eio == 4 => format!("b{}", STANDARD.encode(bytes)),
            Self::Binary(bytes) => format!("b4{}", STANDARD.encode(bytes)),
        }
    }

    /// Reads the form that text payloads carry.
    #[track_caller]
    pub(crate) fn parsed(eio: u8, text: &str) -> Self {
        let Some(base64) = text.strip_prefix('b') else {
            return Self::text(text);
        };
        let base64 = if eio == 4 {
            base64
        } else {
            base64.strip_prefix('4').expect("the type of a binary message")
        };
        Self::Binary(STANDARD.decode(base64).expect("padded base64"))
    }
}

/// Text packets in one list.
pub(crate) fn texts(packets: &[&str]) -> Vec<Packet> {
    packets.iter().map(|text| Packet::text(text)).collect()
}

/// Packets as a text payload of this version.
pub(crate) fn encode(eio: u8, packets: &[Packet]) -> String {
    let printed: Vec<_> = packets.iter().map(|packet| packet.printed(eio)).collect();
    if eio == 4 {
        return printed.join("\x1e");
    }
    printed
        .iter()
        .map(|text| format!("{}:{text}", text.encode_utf16().count()))
        .collect()
}

/// Packets as a v3 binary payload.
pub(crate) fn encode_v3_binary(packets: &[Packet]) -> Vec<u8> {
    let mut payload = Vec::new();
    for packet in packets {
        let (kind, body) = match packet {
            Packet::Text(text) => (0, text.as_bytes().to_vec()),
            Packet::Binary(bytes) => (1, [&[4], bytes.as_slice()].concat()),
        };
        payload.push(kind);
        payload.extend(body.len().to_string().bytes().map(|digit| digit - b'0'));
        payload.push(0xff);
        payload.extend_from_slice(&body);
    }
    payload
}

/// A payload from the server: v4, v3 text or v3 binary.
#[track_caller]
pub(crate) fn decode(eio: u8, content_type: &str, body: &[u8]) -> Vec<Packet> {
    if content_type == "application/octet-stream" {
        assert_eq!(eio, 3, "v4 has no binary payload");
        return decode_v3_binary(body);
    }
    let text = std::str::from_utf8(body).expect("a text payload in UTF-8");
    if eio == 4 {
        return text.split('\x1e').map(|packet| Packet::parsed(4, packet)).collect();
    }
    decode_v3_text(text)
}

#[track_caller]
fn decode_v3_text(text: &str) -> Vec<Packet> {
    let mut units: Vec<u16> = text.encode_utf16().collect();
    let mut packets = Vec::new();
    while !units.is_empty() {
        let colon = units
            .iter()
            .position(|unit| *unit == u16::from(b':'))
            .expect("a length and a colon");
        let length: usize = String::from_utf16(&units[..colon])
            .unwrap()
            .parse()
            .expect("a decimal length");
        let packet: Vec<u16> = units.drain(..colon + 1 + length).skip(colon + 1).collect();
        packets.push(Packet::parsed(
            3,
            &String::from_utf16(&packet).expect("whole characters"),
        ));
    }
    packets
}

#[track_caller]
fn decode_v3_binary(mut body: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Some((kind, rest)) = body.split_first() {
        let end = rest.iter().position(|byte| *byte == 0xff).expect("the end of a length");
        let length = rest[..end]
            .iter()
            .fold(0, |length, digit| length * 10 + usize::from(*digit));
        let (packet, rest) = rest[end + 1..].split_at(length);
        packets.push(match (kind, packet) {
            (0, text) => Packet::text(std::str::from_utf8(text).expect("text in UTF-8")),
            (1, [4, bytes @ ..]) => Packet::Binary(bytes.to_vec()),
            other => panic!("not a record of a binary payload: {other:02x?}"),
        });
        body = rest;
    }
    packets
}

/// A Socket.IO packet from the server, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SocketPacket {
    pub kind: char,
    pub attachments: usize,
    pub namespace: String,
    pub id: Option<u64>,
    /// `Null` where there is none.
    pub data: Value,
    /// The JSON as it came.
    pub json: String,
}

impl SocketPacket {
    /// Reads an Engine.IO text packet that carries one.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let rest = text
            .strip_prefix('4')
            .unwrap_or_else(|| panic!("not a message: {text:?}"));
        let kind = rest
            .chars()
            .next()
            .unwrap_or_else(|| panic!("an empty message: {text:?}"));
        let mut rest = &rest[1..];
        let mut attachments = 0;
        if matches!(kind, '5' | '6') {
            let (count, after) = rest.split_once('-').expect("a number of attachments");
            attachments = count.parse().expect("a number of attachments");
            rest = after;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest
                .split_once(',')
                .unwrap_or_else(|| panic!("a namespace without a comma: {text:?}"));
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        let data = if json.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(json).expect("JSON")
        };
        Self {
            kind,
            attachments,
            namespace: namespace.into(),
            id: id.parse().ok(),
            data,
            json: json.into(),
        }
    }
}
