//! Engine.IO packets: one digit for the type, then data.
//!
//! Sources: the Engine.IO protocol, revisions 3 and 4, and what Node's servers and clients do with them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::Version;

/// Base64 as clients write it: padding or not, and below also the URL-safe alphabet, as Node's decoder takes all that.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What an application sends through Engine.IO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// Bytes of the message itself.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0`: only servers open sessions.
    Open,
    /// `1`: the client leaves.
    Close,
    /// `2`: a v3 heartbeat, or with `probe` the test of a new transport.
    Ping(String),
    /// `3`: the answer to a v4 heartbeat.
    Pong,
    /// `4`, `b` or a binary frame: a message.
    Message(Message),
    /// `5`: the new transport takes over.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// Bytes that are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Engine.IO packet")]
pub struct PacketError;

/// Reads a packet in its text form: `4hello`, and for binary `bAQID` (v4) or `b4AQID` (v3).
///
/// # Errors
/// When it is empty, of unknown type, or binary that is not base64.
pub fn decode_text(text: &str, version: Version) -> Result<Packet, PacketError> {
    let kind = *text.as_bytes().first().ok_or(PacketError)?;
    if !kind.is_ascii() {
        return Err(PacketError);
    }
    let data = &text[1..];
    Ok(match kind {
        b'0' => Packet::Open,
        b'1' => Packet::Close,
        b'2' => Packet::Ping(data.to_owned()),
        b'3' => Packet::Pong,
        b'4' => Packet::Message(Message::Text(data.to_owned())),
        b'5' => Packet::Upgrade,
        b'6' => Packet::Noop,
        b'b' => {
            let data = match version {
                Version::V3 => data.strip_prefix('4').ok_or(PacketError)?,
                Version::V4 => data,
            };
            Packet::Message(Message::Binary(decode_base64(data)?))
        }
        _ => return Err(PacketError),
    })
}

/// Reads a binary frame or payload item: in v4 the message itself, in v3 behind a type byte.
///
/// # Errors
/// When a v3 client's type byte is missing or not that of a message.
pub fn decode_binary(bytes: &[u8], version: Version) -> Result<Packet, PacketError> {
    let data = match version {
        Version::V3 => bytes.strip_prefix(&[4]).ok_or(PacketError)?,
        Version::V4 => bytes,
    };
    Ok(Packet::Message(Message::Binary(Bytes::copy_from_slice(data))))
}

fn decode_base64(data: &str) -> Result<Bytes, PacketError> {
    if data.contains(['-', '_']) {
        return decode_base64(&data.replace('-', "+").replace('_', "/"));
    }
    LENIENT.decode(data).map(Bytes::from).map_err(|_| PacketError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_by_their_first_character() {
        let text = |text: &str| Packet::Message(Message::Text(text.into()));
        let binary = |bytes: &[u8]| Packet::Message(Message::Binary(Bytes::copy_from_slice(bytes)));
        for (input, version, expected) in [
            ("4hello", Version::V4, Ok(text("hello"))),
            ("4", Version::V3, Ok(text(""))),
            ("2probe", Version::V4, Ok(Packet::Ping("probe".into()))),
            ("3", Version::V4, Ok(Packet::Pong)),
            ("1", Version::V3, Ok(Packet::Close)),
            ("5", Version::V3, Ok(Packet::Upgrade)),
            ("bAQIDBA==", Version::V4, Ok(binary(&[1, 2, 3, 4]))),
            ("bAQIDBA", Version::V4, Ok(binary(&[1, 2, 3, 4]))),
            ("b4AQIDBA==", Version::V3, Ok(binary(&[1, 2, 3, 4]))),
            // In v4 a leading 4 belongs to the data.
            ("b4AQI", Version::V4, Ok(binary(&[0xe0, 0x04, 0x08]))),
            ("bAQIDBA==", Version::V3, Err(PacketError)),
            ("b!", Version::V4, Err(PacketError)),
            ("", Version::V4, Err(PacketError)),
            ("7", Version::V4, Err(PacketError)),
            ("é", Version::V4, Err(PacketError)),
            ("a", Version::V4, Err(PacketError)),
        ] {
            assert_eq!(decode_text(input, version), expected, "{input} {version:?}");
        }
    }

    #[test]
    fn binary_frames_have_a_type_byte_in_v3_only() {
        let binary = |bytes: &[u8]| Ok(Packet::Message(Message::Binary(Bytes::copy_from_slice(bytes))));
        assert_eq!(decode_binary(&[4, 1, 2], Version::V3), binary(&[1, 2]));
        assert_eq!(decode_binary(&[4, 1, 2], Version::V4), binary(&[4, 1, 2]));
        assert_eq!(decode_binary(&[], Version::V4), binary(&[]));
        assert_eq!(decode_binary(&[], Version::V3), Err(PacketError));
        assert_eq!(decode_binary(&[1, 2], Version::V3), Err(PacketError));
    }
}
