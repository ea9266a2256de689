//! Several packets in one body of HTTP, as a client reads and writes them.
//!
//! Gives out packets where they lie, one after the other, without a copy: `protocol::payload` makes a packet of its own of
//! each, which is right for a gateway and too much for whoever counts a million of them a second.

use memchr::memchr;

use super::failure::Failure;
use crate::protocol::Version;

/// Between the packets of a v4 payload.
const SEPARATOR: u8 = 0x1e;

/// Ends the length of a packet in a v3 payload in binary.
const LENGTH_END: u8 = 0xff;

/// Marks a binary packet there.
const BINARY: u8 = 1;

const BROKEN: Failure = Failure::Protocol("the body of an answer is no payload");

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// As text, with its type.
    Text(&'a [u8]),
    /// A message's bytes, from a v3 payload in binary.
    Binary(&'a [u8]),
}

/// Gives out the packets of a body.
pub(super) fn read(
    body: &[u8],
    is_binary: bool,
    version: Version,
    mut give: impl FnMut(Packet<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rest = body;
    while !rest.is_empty() {
        match version {
            Version::V4 => {
                let end = memchr(SEPARATOR, rest).unwrap_or(rest.len());
                give(Packet::Text(&rest[..end]))?;
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            Version::V3 if is_binary => rest = read_binary(rest, &mut give)?,
            Version::V3 => rest = read_text(rest, &mut give)?,
        }
    }
    Ok(())
}

/// One packet of `6:4hello2:4€`, whose lengths count UTF-16 units; returns what is behind it.
fn read_text<'a>(
    rest: &'a [u8],
    give: &mut impl FnMut(Packet<'_>) -> Result<(), Failure>,
) -> Result<&'a [u8], Failure> {
    let digits = memchr(b':', rest).ok_or(BROKEN)?;
    let units = number(rest[..digits].iter().map(|digit| digit.wrapping_sub(b'0')))?;
    let rest = &rest[digits + 1..];
    let end = match rest.get(..units) {
        Some(text) if text.is_ascii() => units,
        _ => end_of_units(rest, units)?,
    };
    if end > 0 {
        give(Packet::Text(&rest[..end]))?;
    }
    Ok(&rest[end..])
}

/// Bytes of the first `units` UTF-16 units.
fn end_of_units(bytes: &[u8], units: usize) -> Result<usize, Failure> {
    let (mut at, mut left) = (0, units);
    while left > 0 {
        let (length, units) = match bytes.get(at).ok_or(BROKEN)? {
            0..0x80 => (1, 1),
            0x80..0xe0 => (2, 1),
            0xe0..0xf0 => (3, 1),
            0xf0.. => (4, 2),
        };
        left = left.checked_sub(units).ok_or(BROKEN)?;
        at += length;
    }
    if at > bytes.len() { Err(BROKEN) } else { Ok(at) }
}

/// One packet of a payload in binary; returns what is behind it.
fn read_binary<'a>(
    rest: &'a [u8],
    give: &mut impl FnMut(Packet<'_>) -> Result<(), Failure>,
) -> Result<&'a [u8], Failure> {
    let (kind, rest) = rest.split_first().ok_or(BROKEN)?;
    let digits = memchr(LENGTH_END, rest).ok_or(BROKEN)?;
    let length = number(rest[..digits].iter().copied())?;
    let rest = &rest[digits + 1..];
    let (data, rest) = rest.split_at_checked(length).ok_or(BROKEN)?;
    if *kind == BINARY {
        give(Packet::Binary(data.strip_prefix(&[4]).ok_or(BROKEN)?))?;
    } else {
        give(Packet::Text(data))?;
    }
    Ok(rest)
}

/// The number that these digits stand for.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, Failure> {
    if digits.len() == 0 || digits.len() > 10 {
        return Err(BROKEN);
    }
    let mut number = 0;
    for digit in digits {
        if digit > 9 {
            return Err(BROKEN);
        }
        number = number * 10 + usize::from(digit);
    }
    Ok(number)
}

/// Appends a packet to a body.
pub(super) fn push(body: &mut Vec<u8>, version: Version, pieces: &[&str]) {
    match version {
        Version::V4 if !body.is_empty() => body.push(SEPARATOR),
        Version::V4 => {}
        Version::V3 => {
            let units: usize = pieces.iter().map(|piece| piece.encode_utf16().count()).sum();
            body.extend_from_slice(format!("{units}:").as_bytes());
        }
    }
    for piece in pieces {
        body.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::encoded::Encoded;
    use crate::protocol::payload::{PayloadForm, Reader, encode};

    fn texts(body: &[u8], is_binary: bool, version: Version) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        read(body, is_binary, version, |packet| {
            found.push(match packet {
                Packet::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                Packet::Binary(bytes) => format!("{bytes:?}"),
            });
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn bodies_of_node_servers_are_read() {
        for (body, is_binary, version, expected) in [
            ("4hello\u{1e}2".as_bytes(), false, Version::V4, &["4hello", "2"][..]),
            (
                "6:4hello2:4€3:4😀".as_bytes(),
                false,
                Version::V3,
                &["4hello", "4€", "4😀"],
            ),
            (b"0:1:6", false, Version::V3, &["6"]),
            (
                b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04",
                true,
                Version::V3,
                &["4€", "[1, 2, 3, 4]"],
            ),
        ] {
            assert_eq!(texts(body, is_binary, version).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_payload_is_a_failure() {
        for (body, is_binary) in [
            (&b"x"[..], false),
            (b"x:4", false),
            (b"9:4", false),
            (b"2:4\xf0", false),
            (b"2:\xf0\x9f", false),
            (b"99999999999:4", false),
            (b"\x00", true),
            (b"\x00\x0a\xff4", true),
            (b"\x00\x09\xff4", true),
            (b"\x01\x01\xff\x05", true),
        ] {
            assert!(texts(body, is_binary, Version::V3).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_gateway_writes_is_read(
            packets in prop::collection::vec("[a-zé€😀]{0,20}", 1..4), times in prop_oneof![Just(1), Just(900)],
            bytes in prop::collection::vec(any::<u8>(), 0..9), v3: bool,
        ) {
            let packets: Vec<_> = packets.iter().map(|text| format!("4{}", text.repeat(times))).collect();
            let version = if v3 { Version::V3 } else { Version::V4 };
            let text = packets.iter().map(|packet| Arc::new(Encoded::text(&[packet])));
            let with_bytes = Encoded::with_attachments(&["451-[]"], Box::new([Bytes::from(bytes.clone())]));
            for list in [text.clone().collect::<Vec<_>>(), text.chain([Arc::new(with_bytes)]).collect()] {
                let payload = encode(&list, PayloadForm::plain(version));
                let found = texts(&payload.body, payload.binary, version).unwrap();
                let expected: Vec<_> = list.iter().map(|packet| match version {
                    Version::V3 => packet.ascii_packet().to_owned(),
                    Version::V4 => packet.packet().to_owned(),
                }).collect();
                prop_assert_eq!(&found[..list.len()], &expected[..]);
            }
        }

        #[test]
        fn what_is_written_the_gateway_reads(packets in prop::collection::vec("4[ -~é€😀]{0,50}", 1..5), v3: bool) {
            let version = if v3 { Version::V3 } else { Version::V4 };
            let mut body = Vec::new();
            for packet in &packets {
                let (first, second) = packet.split_at(1);
                push(&mut body, version, &[first, second]);
            }
            let mut reader = Reader::new(body.into(), false, version);
            for packet in &packets {
                let found = reader.next(&mut PayloadForm::plain(version));
                let expected = crate::protocol::engine::decode_text(packet, version);
                prop_assert_eq!(found, Some(expected));
            }
            prop_assert_eq!(reader.next(&mut PayloadForm::plain(version)), None);
        }
    }
}
