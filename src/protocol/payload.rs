//! Several packets in the body of one polling request or answer.
//!
//! v4 separates them by the record separator; v3 writes a length before each (`payload_v3`). JSONP wraps either.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;

use super::Version;
use super::encoded::{self, Encoded};
use super::engine::{Packet, PacketError, decode_text};
use super::payload_v3;
pub(crate) use super::payload_v3::undouble;

/// Between the packets of a v4 payload.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Bytes of text from which a v3 payload is binary where the client can take that: browsers with clients 1.4 to 1.7 read
/// text through one function call with an argument a byte, and run out of stack somewhere above 100 kB.
const TEXT_BYTES_MAX_V3: usize = 8 * 1024;

/// Content type of a v3 payload that holds raw binary.
pub const BINARY_TYPE: &str = "application/octet-stream";

/// How one session's polling transport is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadForm {
    /// The session's protocol.
    pub version: Version,
    /// v3: the client cannot take binary (`b64` in the query of its handshake, or JSONP).
    pub text_only: bool,
    /// v3: the client takes nothing but binary payloads (Socket.IO clients up to 1.3 in browsers).
    pub binary_only: bool,
    /// v3: the client was seen to encode text twice, as clients 1.x do.
    pub double_utf8: bool,
    /// v4: Socket.IO's packets are binary messages in MessagePack.
    pub msgpack: bool,
}

#[cfg(any(test, fuzzing))]
impl PayloadForm {
    /// That of a client that asks for nothing.
    pub(crate) fn plain(version: Version) -> Self {
        Self {
            version,
            text_only: false,
            binary_only: false,
            double_utf8: false,
            msgpack: false,
        }
    }
}

/// The body of an answer and whether it is binary.
#[derive(Debug, PartialEq, Eq)]
pub struct Payload {
    /// The bytes.
    pub body: Vec<u8>,
    /// Whether they are a v3 binary payload.
    pub binary: bool,
}

/// Reads the body of a POST packet by packet, as the next one is wanted: a packet of three bytes takes thirty times as
/// many once it is read, so that all of a body's must never be there together.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    /// Where the next packet begins.
    at: usize,
    is_over: bool,
}

#[derive(Debug)]
enum Body {
    V4(String),
    V3Text(String),
    V3Binary(Bytes),
    NoUtf8,
}

impl Reader {
    /// A reader of this body. `binary` says that its content type is `application/octet-stream`, which only v3 knows.
    pub fn new(body: Bytes, binary: bool, version: Version) -> Self {
        let text = |body: Bytes| String::from_utf8(body.into()).ok();
        let body = match version {
            Version::V3 if binary => Body::V3Binary(body),
            Version::V3 => text(body).map_or(Body::NoUtf8, Body::V3Text),
            Version::V4 => text(body).map_or(Body::NoUtf8, Body::V4),
        };
        Self {
            body,
            at: 0,
            is_over: false,
        }
    }

    /// The next packet, an error where there is none that can be read, and `None` behind the last or the error.
    pub fn next(&mut self, form: &mut PayloadForm) -> Option<Result<Packet, PacketError>> {
        if self.is_over {
            return None;
        }
        let result = self.read(form);
        self.is_over |= result.is_err();
        result.transpose()
    }

    fn read(&mut self, form: &mut PayloadForm) -> Result<Option<Packet>, PacketError> {
        match &self.body {
            Body::V4(text) => {
                let rest = &text[self.at..];
                let end = memchr(RECORD_SEPARATOR, rest.as_bytes());
                self.at += end.map_or(rest.len(), |end| end + 1);
                self.is_over = end.is_none();
                decode_text(&rest[..end.unwrap_or(rest.len())], Version::V4).map(Some)
            }
            Body::V3Text(text) => payload_v3::read_text(text, &mut self.at, &mut form.double_utf8),
            Body::V3Binary(bytes) => payload_v3::read_binary(bytes, &mut self.at),
            Body::NoUtf8 => Err(PacketError),
        }
    }
}

/// Writes the answer to a poll.
pub fn encode(packets: &[Arc<Encoded>], form: PayloadForm) -> Payload {
    match form.version {
        Version::V3 => {
            let holds_binary = packets.iter().any(|packet| !packet.attachments().is_empty());
            let is_long = packets.iter().map(|packet| packet.weight()).sum::<usize>() > TEXT_BYTES_MAX_V3;
            let binary = !form.text_only && (form.binary_only || holds_binary || is_long);
            let body = if binary {
                payload_v3::encode_binary(packets)
            } else {
                payload_v3::encode_text(packets)
            };
            Payload { body, binary }
        }
        Version::V4 => Payload {
            body: encode_v4(packets, form.msgpack),
            binary: false,
        },
    }
}

fn encode_v4(packets: &[Arc<Encoded>], msgpack: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(packets.iter().map(|packet| packet.weight()).sum());
    for packet in packets {
        if msgpack && let Some(message) = packet.msgpack() {
            push_binary(&mut body, message);
            continue;
        }
        push_record(&mut body, packet.packet_bytes());
        for attachment in packet.attachments() {
            push_binary(&mut body, attachment);
        }
    }
    body
}

fn push_binary(body: &mut Vec<u8>, bytes: &[u8]) {
    push_record(body, b"b");
    encoded::push_base64(body, bytes);
}

fn push_record(body: &mut Vec<u8>, record: &[u8]) {
    if !body.is_empty() {
        body.push(RECORD_SEPARATOR);
    }
    body.extend_from_slice(record);
}

/// Wraps a text payload as the script that a JSONP client waits for. `index` is the digits of its `j` parameter.
pub fn wrap_jsonp(index: &str, payload: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(payload);
    let mut script = format!("___eio[{index}](");
    super::json::write_string(&mut script, &text);
    // Both are line ends in scripts older than 2019 and must not stand in a string.
    script = script.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    script.push_str(");");
    script.into_bytes()
}

/// The payload in field `d` of a JSONP form, with its line ends put right: browsers change them in forms, so clients
/// write a line feed as `\n` and what was `\n` before as `\\n`.
pub fn unwrap_jsonp(form: &[u8]) -> Option<String> {
    let (_, data) = form_urlencoded::parse(form).find(|(key, _)| key == "d")?;
    let mut out = String::with_capacity(data.len());
    let mut rest = &*data;
    while let Some(at) = rest.find("\\n") {
        let before = &rest[..at];
        rest = &rest[at + 2..];
        match before.strip_suffix('\\') {
            Some(before) => {
                out.push_str(before);
                out.push_str("\\n");
            }
            None => {
                out.push_str(before);
                out.push('\n');
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::engine::Message;
    use super::super::fuzzing::decode;
    use super::*;

    #[test]
    fn v4_packets_are_separated_by_one_byte() {
        let packets = [
            Arc::new(Encoded::text(&["4hello"])),
            Arc::new(Encoded::text(&["2"])),
            Arc::new(Encoded::with_attachments(
                &["451-[]"],
                Box::new([Bytes::from_static(&[1, 2, 3, 4])]),
            )),
        ];
        let payload = encode(&packets, PayloadForm::plain(Version::V4));
        assert_eq!(payload.body, b"4hello\x1e2\x1e451-[]\x1ebAQIDBA==");
        let (packets, result) = decode(&payload.body, false, &mut PayloadForm::plain(Version::V4));
        assert_eq!(result, Ok(()));
        assert_eq!(packets.len(), 4);
    }

    #[test]
    fn v4_clients_that_speak_msgpack_get_it_in_base64() {
        let packets = [Arc::new(Encoded::text(&["2"])), Arc::new(Encoded::text(&["41"]))];
        let form = PayloadForm {
            msgpack: true,
            ..PayloadForm::plain(Version::V4)
        };
        let message = STANDARD.encode(b"\x82\xa4type\x01\xa3nsp\xa1/");
        assert_eq!(encode(&packets, form).body, format!("2\x1eb{message}").into_bytes());
    }

    #[test]
    fn v3_text_is_binary_where_it_is_long_or_the_client_reads_nothing_else() {
        let short = [Arc::new(Encoded::text(&["4hello"]))];
        let long = [Arc::new(Encoded::text(&["4", &"x".repeat(10_000)]))];
        let bytes = [Arc::new(Encoded::with_attachments(
            &["451-[]"],
            Box::new([Bytes::new()]),
        ))];
        for (packets, text_only, binary_only, expected) in [
            (&short, false, false, false),
            (&short, false, true, true),
            (&long, false, false, true),
            (&long, true, false, false),
            (&bytes, false, false, true),
            (&bytes, true, false, false),
        ] {
            let form = PayloadForm {
                text_only,
                binary_only,
                ..PayloadForm::plain(Version::V3)
            };
            assert_eq!(encode(packets, form).binary, expected);
        }
    }

    #[test]
    fn packets_before_a_bad_one_are_delivered() {
        let (packets, result) = decode(b"4a\x1e4b\x1ex\x1e4c", false, &mut PayloadForm::plain(Version::V4));
        assert_eq!(packets.len(), 2);
        assert_eq!(result, Err(PacketError));
        for body in [b"".as_slice(), b"\x1e", b"4a\x1e", b"4\xff"] {
            assert!(
                decode(body, false, &mut PayloadForm::plain(Version::V4)).1.is_err(),
                "{body:?}"
            );
        }
    }

    #[test]
    fn jsonp_answers_are_scripts() {
        assert_eq!(wrap_jsonp("7", b"6:4\"a\\b\n"), br#"___eio[7]("6:4\"a\\b\n");"#);
        assert_eq!(wrap_jsonp("0", "\u{2028}".as_bytes()), br#"___eio[0]("\u2028");"#);
    }

    #[test]
    fn jsonp_forms_get_their_line_ends_back() {
        for (form, expected) in [
            (
                "d=19%3A42%5B%22hi%22%2C%22a%5C%5Cnb%5C%5C%5Cnc%22%5D",
                Some("19:42[\"hi\",\"a\\nb\\\\nc\"]"),
            ),
            ("d=a%5Cnb", Some("a\nb")),
            ("x=1&d=plain", Some("plain")),
            ("x=1", None),
        ] {
            assert_eq!(unwrap_jsonp(form.as_bytes()).as_deref(), expected, "{form}");
        }
    }

    /// A packet's text as the gateway makes them: Socket.IO events with any string inside.
    fn any_packet() -> impl Strategy<Value = Arc<Encoded>> {
        (
            any::<String>(),
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
        )
            .prop_map(|(text, attachments)| {
                let attachments = attachments.into_iter().map(Bytes::from).collect();
                Arc::new(Encoded::with_attachments(
                    &["42[", &serde_json::to_string(&text).unwrap(), "]"],
                    attachments,
                ))
            })
    }

    fn expected(packets: &[Arc<Encoded>]) -> Vec<Packet> {
        let mut expected = Vec::new();
        for packet in packets {
            let value: serde_json::Value = serde_json::from_str(&packet.packet()[2..]).unwrap();
            expected.push(Packet::Message(Message::Text(value.to_string())));
            expected.extend(
                packet
                    .attachments()
                    .iter()
                    .map(|bytes| Packet::Message(Message::Binary(bytes.clone()))),
            );
        }
        expected
    }

    /// JSON with or without escapes is the same value.
    fn normal(packets: Vec<Packet>) -> Vec<Packet> {
        let normal = |packet| match packet {
            Packet::Message(Message::Text(text)) => {
                let value: serde_json::Value = serde_json::from_str(text.trim_start_matches('2')).unwrap();
                Packet::Message(Message::Text(value.to_string()))
            }
            other => other,
        };
        packets.into_iter().map(normal).collect()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            packets in prop::collection::vec(any_packet(), 1..5),
            version in prop_oneof![Just(Version::V3), Just(Version::V4)],
            text_only: bool,
            binary_only: bool,
        ) {
            let mut form = PayloadForm { version, text_only, binary_only, double_utf8: false, msgpack: false };
            let payload = encode(&packets, form);
            let (decoded, result) = decode(&payload.body, payload.binary, &mut form);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(normal(decoded), expected(&packets));
        }

        #[test]
        fn no_input_makes_a_decoder_fail_badly(body in prop::collection::vec(any::<u8>(), 0..200), binary: bool) {
            for version in [Version::V3, Version::V4] {
                let (packets, _) = decode(&body, binary, &mut PayloadForm::plain(version));
                prop_assert!(packets.len() <= body.len() + 1);
            }
            let _ = unwrap_jsonp(&body);
        }
    }
}
