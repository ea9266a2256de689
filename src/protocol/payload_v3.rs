//! Payloads of Engine.IO v3: each packet behind its length.
//!
//! As text the length is decimal and counts UTF-16 units; in binary payloads it is one byte a digit, ended by 0xff, and
//! counts bytes. Socket.IO clients 1.x encode their text packets as UTF-8 twice, and count the bytes of the first time.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compact_str::ToCompactString as _;

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

/// Reads the packet of `6:4hello2:4€` that begins at `at`, which moves on; `None` behind the last one. `double_utf8` is set
/// once a packet shows that the client is a 1.x.
pub(super) fn read_text(body: &str, at: &mut usize, double_utf8: &mut bool) -> Result<Option<Packet>, PacketError> {
    if body.is_empty() {
        return Err(PacketError);
    }
    while *at < body.len() {
        let (digits, tail) = body[*at..].split_once(':').ok_or(PacketError)?;
        if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PacketError);
        }
        let units: usize = digits.parse().map_err(|_| PacketError)?;
        let end = byte_offset(tail, units).ok_or(PacketError)?;
        *at += digits.len() + 1 + end;
        if end > 0 {
            return engine::decode_text(&undouble(&tail[..end], double_utf8), Version::V3).map(Some);
        }
    }
    Ok(None)
}

/// Bytes of the first `units` UTF-16 units of `text`; `None` where it is shorter or the end would split a character.
fn byte_offset(text: &str, units: usize) -> Option<usize> {
    if text.as_bytes().get(..units).is_some_and(<[u8]>::is_ascii) {
        return Some(units); // nearly always, and then nothing is to be counted
    }
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// Undoes a 1.x client's first UTF-8 encoding: all characters are bytes, and those bytes are UTF-8.
pub(crate) fn undouble<'a>(text: &'a str, double_utf8: &mut bool) -> Cow<'a, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(decoded)) => {
            *double_utf8 = true;
            Cow::Owned(decoded)
        }
        _ => Cow::Borrowed(text),
    }
}

/// Reads the packet of a payload of type `application/octet-stream` that begins at `at`, which moves on; `None` behind the
/// last one.
pub(super) fn read_binary(body: &[u8], at: &mut usize) -> Result<Option<Packet>, PacketError> {
    let [kind, tail @ ..] = &body[*at..] else {
        return if body.is_empty() { Err(PacketError) } else { Ok(None) };
    };
    let end = tail
        .iter()
        .take(LENGTH_DIGITS_MAX + 1)
        .position(|byte| *byte == LENGTH_END)
        .filter(|end| *end > 0);
    let (digits, tail) = tail.split_at(end.ok_or(PacketError)?);
    let length = digits.iter().try_fold(0usize, |sum, digit| match digit {
        0..=9 => Ok(sum * 10 + usize::from(*digit)),
        _ => Err(PacketError),
    })?;
    let data = tail[1..].get(..length).ok_or(PacketError)?;
    *at += 1 + digits.len() + 1 + length;
    let packet = match *kind {
        TEXT => {
            let text = simdutf8::basic::from_utf8(data).map_err(|_| PacketError)?;
            engine::decode_text(text, Version::V3)?
        }
        BINARY => engine::decode_binary(data, Version::V3)?,
        _ => return Err(PacketError),
    };
    Ok(Some(packet))
}

/// Writes packets as ASCII text, which clients 1.x and 2.x read alike.
pub(super) fn encode_text(packets: &[Arc<Encoded>]) -> Vec<u8> {
    let mut body = String::with_capacity(packets.iter().map(|packet| packet.weight() + LENGTH_DIGITS_MAX).sum());
    let mut push = |text: &str| {
        let units: usize = if text.is_ascii() {
            text.len()
        } else {
            text.encode_utf16().count()
        };
        body.push_str(&units.to_compact_string());
        body.push(':');
        body.push_str(text);
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
    let mut body = Vec::with_capacity(packets.iter().map(|packet| packet.weight() + LENGTH_DIGITS_MAX).sum());
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
    body.extend(length.to_compact_string().bytes().map(|digit| digit - b'0'));
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

    /// All packets up to an error, or to the end.
    fn all(mut read: impl FnMut() -> Result<Option<Packet>, PacketError>) -> (Vec<Packet>, Result<(), PacketError>) {
        let mut packets = Vec::new();
        loop {
            match read() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, Ok(())),
                Err(error) => return (packets, Err(error)),
            }
        }
    }

    fn all_text(body: &str) -> (Vec<Packet>, bool, Result<(), PacketError>) {
        let (mut at, mut double) = (0, false);
        let (packets, result) = all(|| read_text(body, &mut at, &mut double));
        (packets, double, result)
    }

    fn all_binary(body: &[u8]) -> (Vec<Packet>, Result<(), PacketError>) {
        let mut at = 0;
        all(|| read_binary(body, &mut at))
    }

    #[test]
    fn lengths_of_text_count_utf16_units() {
        let (packets, double, result) = all_text("6:4hello2:4€3:4😀10:b4AQIDBA==");
        assert_eq!((result, double), (Ok(()), false));
        assert_eq!(packets, [text("hello"), text("€"), text("😀"), binary(&[1, 2, 3, 4])]);
    }

    #[test]
    fn a_client_1x_is_known_by_its_double_encoding() {
        let twice: String = "42[\"hi\",\"é€😀\"]".bytes().map(char::from).collect();
        let body = format!("{}:{twice}", twice.chars().count());
        let (packets, double, result) = all_text(&body);
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
            assert!(all_text(body).2.is_err(), "{body}");
        }
        assert_eq!(all_text("0:2:4a").0, [text("a")]);
    }

    #[test]
    fn binary_payloads_have_a_digit_a_byte() {
        let body = [0, 4, 0xff, 0x34, 0xe2, 0x82, 0xac, 1, 5, 0xff, 4, 1, 2, 3, 4];
        assert_eq!(all_binary(&body), (vec![text("€"), binary(&[1, 2, 3, 4])], Ok(())));
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
            assert!(all_binary(body).1.is_err(), "{body:?}");
        }
    }
}
