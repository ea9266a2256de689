//! Payloads of Engine.IO v3: each packet behind its length.
//!
//! As text the length is decimal and counts UTF-16 units; in binary payloads it is one byte a digit, ended by 0xff, and
//! counts bytes. Socket.IO clients 1.x encode their text packets as UTF-8 twice, and count the bytes of the first time.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Version;
use super::encoded::Encoded;
use super::engine::{self, Packet, PacketError};

/// Digits of a length: more than any body that is let in can need.
const LENGTH_DIGITS_MAX: usize = 10;

/// Marks a text packet in a binary payload.
const TEXT: u8 = 0;

/// Marks a binary packet in a binary payload.
const BINARY: u8 = 1;

/// Ends the length of a packet in a binary payload.
const LENGTH_END: u8 = 0xff;

/// Reads `6:4hello2:4€`. `double_utf8` is set once a packet shows that the client is a 1.x.
pub(super) fn decode_text(body: &[u8], double_utf8: &mut bool, packets: &mut Vec<Packet>) -> Result<(), PacketError> {
    let mut rest = simdutf8::basic::from_utf8(body).map_err(|_| PacketError)?;
    if rest.is_empty() {
        return Err(PacketError);
    }
    while !rest.is_empty() {
        let (digits, tail) = rest.split_once(':').ok_or(PacketError)?;
        if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PacketError);
        }
        let units: usize = digits.parse().map_err(|_| PacketError)?;
        let end = byte_offset(tail, units).ok_or(PacketError)?;
        let (text, tail) = tail.split_at(end);
        rest = tail;
        if !text.is_empty() {
            let undoubled = undouble(text);
            *double_utf8 |= matches!(undoubled, Cow::Owned(_));
            packets.push(engine::decode_text(&undoubled, Version::V3)?);
        }
    }
    Ok(())
}

/// Bytes of the first `units` UTF-16 units of `text`; `None` where it is shorter or the end would split a character.
fn byte_offset(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// Undoes a 1.x client's first UTF-8 encoding: all characters are bytes, and those bytes are UTF-8. Else nothing.
pub fn undouble(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(decoded)) => Cow::Owned(decoded),
        _ => Cow::Borrowed(text),
    }
}

/// Reads a payload of type `application/octet-stream`.
pub(super) fn decode_binary(body: &[u8], packets: &mut Vec<Packet>) -> Result<(), PacketError> {
    if body.is_empty() {
        return Err(PacketError);
    }
    let mut rest = body;
    while let [kind, tail @ ..] = rest {
        let end = tail
            .iter()
            .position(|byte| *byte == LENGTH_END)
            .filter(|end| (1..=LENGTH_DIGITS_MAX).contains(end));
        let (digits, tail) = tail.split_at(end.ok_or(PacketError)?);
        let length = digits.iter().try_fold(0usize, |sum, digit| match digit {
            0..=9 => Ok(sum * 10 + usize::from(*digit)),
            _ => Err(PacketError),
        })?;
        let (data, tail) = tail[1..].split_at_checked(length).ok_or(PacketError)?;
        rest = tail;
        packets.push(match *kind {
            TEXT => {
                let text = simdutf8::basic::from_utf8(data).map_err(|_| PacketError)?;
                engine::decode_text(text, Version::V3)?
            }
            BINARY => engine::decode_binary(data, Version::V3)?,
            _ => return Err(PacketError),
        });
    }
    Ok(())
}

/// Writes packets as ASCII text, which clients 1.x and 2.x read alike.
pub(super) fn encode_text(packets: &[Arc<Encoded>]) -> Vec<u8> {
    let mut body = String::new();
    let mut push = |text: &str| {
        let units: usize = if text.is_ascii() {
            text.len()
        } else {
            text.encode_utf16().count()
        };
        let _ = write!(body, "{units}:{text}"); // a String takes everything
    };
    for packet in packets {
        push(packet.ascii_packet());
        for attachment in packet.attachments() {
            push(&format!("b4{}", STANDARD.encode(attachment)));
        }
    }
    if body.is_empty() {
        body.push_str("0:");
    }
    body.into_bytes()
}

/// Writes packets as a binary payload, their text in ASCII as well: clients 1.x would decode it twice here, too.
pub(super) fn encode_binary(packets: &[Arc<Encoded>]) -> Vec<u8> {
    let mut body = Vec::new();
    for packet in packets {
        let text = packet.ascii_packet().as_bytes();
        push_length(&mut body, TEXT, text.len());
        body.extend_from_slice(text);
        for attachment in packet.attachments() {
            push_length(&mut body, BINARY, attachment.len() + 1);
            body.push(4); // the type of a message
            body.extend_from_slice(attachment);
        }
    }
    body
}

fn push_length(body: &mut Vec<u8>, kind: u8, length: usize) {
    body.push(kind);
    body.extend(length.to_string().bytes().map(|digit| digit - b'0'));
    body.push(LENGTH_END);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::engine::Message;
    use super::*;

    fn text(text: &str) -> Packet {
        Packet::Message(Message::Text(text.into()))
    }

    fn binary(bytes: &[u8]) -> Packet {
        Packet::Message(Message::Binary(Bytes::copy_from_slice(bytes)))
    }

    fn read_text(body: &[u8]) -> (Vec<Packet>, bool, Result<(), PacketError>) {
        let (mut packets, mut double) = (Vec::new(), false);
        let result = decode_text(body, &mut double, &mut packets);
        (packets, double, result)
    }

    #[test]
    fn lengths_of_text_count_utf16_units() {
        let (packets, double, result) = read_text("6:4hello2:4€3:4😀10:b4AQIDBA==".as_bytes());
        assert_eq!((result, double), (Ok(()), false));
        assert_eq!(packets, [text("hello"), text("€"), text("😀"), binary(&[1, 2, 3, 4])]);
    }

    #[test]
    fn a_client_1x_is_known_by_its_double_encoding() {
        let twice: String = "42[\"hi\",\"é€😀\"]".bytes().map(char::from).collect();
        let body = format!("{}:{twice}", twice.chars().count());
        let (packets, double, result) = read_text(body.as_bytes());
        assert_eq!((result, double), (Ok(()), true));
        assert_eq!(packets, [text("2[\"hi\",\"é€😀\"]")]);
    }

    #[test]
    fn bad_text_payloads_are_refused() {
        for body in [
            "",
            "x",
            "4hello",
            "6:4hell",
            "2:4😀",
            "-1:4",
            "1e1:4",
            ":4",
            "99999999999:4",
            "6:4hellox",
            "2:x1",
        ] {
            assert!(read_text(body.as_bytes()).2.is_err(), "{body}");
        }
        assert_eq!(read_text(b"0:2:4a").0, [text("a")]);
    }

    #[test]
    fn binary_payloads_have_a_digit_a_byte() {
        let body = [0, 4, 0xff, 0x34, 0xe2, 0x82, 0xac, 1, 5, 0xff, 4, 1, 2, 3, 4];
        let mut packets = Vec::new();
        assert_eq!(decode_binary(&body, &mut packets), Ok(()));
        assert_eq!(packets, [text("€"), binary(&[1, 2, 3, 4])]);
        let body = [
            0, 7, 0xff, b'4', b'\\', b'u', b'2', b'0', b'a', b'c', 1, 5, 0xff, 4, 1, 2, 3, 4,
        ];
        let packet = Encoded::with_attachments(&["4€"], Box::new([Bytes::from_static(&[1, 2, 3, 4])]));
        assert_eq!(encode_binary(&[Arc::new(packet)]), body);
    }

    #[test]
    fn bad_binary_payloads_are_refused() {
        for body in [
            [].as_slice(),
            &[0],
            &[0, 0xff],
            &[0, 1, 0xff],
            &[0, 10, 0xff, 0x34],
            &[2, 1, 0xff, 0x34],
            &[0, 1, 0x34],
            &[0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xff],
            &[1, 1, 0xff, 3],
        ] {
            assert!(decode_binary(body, &mut Vec::new()).is_err(), "{body:?}");
        }
    }
}
