//! A packet in MessagePack from a client, its data rewritten as JSON with attachments.

use bytes::Bytes;

use super::super::json::{self, DEPTH_MAX};
use super::super::socket::{self, Kind, Packet, PacketError};
use super::token::{Dialect, Token};
use super::transcode::{Limits, Transcoder};

/// One packet from a client, its data as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    kind: Kind,
    namespace: &'a str,
    id: Option<u64>,
    json: String,
    attachments: usize,
}

impl<'a> Decoded<'a> {
    /// Reads a binary message: the packet, and the bytes that its placeholders stand for.
    ///
    /// # Errors
    /// When a Node server would end the session over it: not MessagePack, not a packet. Also over more than `attachments_max` binary values (0 = no limit), which
    /// others could not be sent as text.
    pub fn decode(message: &'a [u8], attachments_max: usize) -> Result<(Self, Vec<Bytes>), PacketError> {
        let limits = Limits {
            levels_max: DEPTH_MAX,
            attachments_max,
        };
        let mut data = Transcoder::new(message, Dialect::Notepack, limits);
        let mut fields = Fields::default();
        let Token::Map(length) = data.next()? else {
            return Err(PacketError);
        };
        for _ in 0..length {
            field(&mut data, &mut fields)?;
        }
        if !data.is_at_end() {
            return Err(PacketError);
        }
        let kind = match fields.kind {
            Some(0) => Kind::Connect,
            Some(1) => Kind::Disconnect,
            Some(2) => Kind::Event,
            Some(3) => Kind::Ack,
            _ => return Err(PacketError), // 4 is for servers alone
        };
        let address = fields.namespace.ok_or(PacketError)?;
        // Text cannot say these, and all namespaces are named in text here.
        if !address.starts_with('/') || address.contains(',') {
            return Err(PacketError);
        }
        let namespace = socket::check_namespace(address)?;
        let Transcoder { json, attachments, .. } = data;
        if !attachments.is_empty() {
            // An object that only looks like a placeholder would break those who are sent it as text.
            json::check_placeholders(&json, attachments.len()).map_err(|_| PacketError)?;
        }
        let decoded = Self {
            kind,
            namespace,
            id: fields.id,
            json,
            attachments: attachments.len(),
        };
        Ok((decoded, attachments))
    }

    /// The packet as its text would be read.
    ///
    /// # Errors
    /// When its payload does not fit its type.
    pub fn packet(&self) -> Result<Packet<'_>, PacketError> {
        Ok(Packet {
            kind: self.kind,
            attachments: self.attachments,
            namespace: self.namespace,
            query: "",
            id: self.id,
            json: &self.json,
            array: socket::check_json(self.kind, &self.json)?,
            old_ack: false,
        })
    }

    /// Bytes of the packet's data as JSON.
    pub fn json_bytes(&self) -> usize {
        self.json.len()
    }
}

/// The keys of a packet.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: Option<u64>,
    namespace: Option<&'a str>,
    id: Option<u64>,
}

/// One key of the packet and its value. Unknown keys mean nothing: JavaScript's clients send their options along.
fn field<'a>(data: &mut Transcoder<'a>, fields: &mut Fields<'a>) -> Result<(), PacketError> {
    let key = data.next()?;
    let value = data.next()?;
    match key {
        Token::Text("type") => fields.kind = Some(integer(value).ok_or(PacketError)?),
        Token::Text("nsp") => match value {
            Token::Text(name) => fields.namespace = Some(name),
            _ => return Err(PacketError),
        },
        // Python's clients write nil for what is absent.
        Token::Text("id") if is_absent(value) => fields.id = None,
        Token::Text("id") => {
            let id = integer(value).filter(|id| *id <= socket::ID_MAX);
            fields.id = Some(id.ok_or(PacketError)?);
        }
        Token::Text("data") => {
            data.clear(); // of a key that comes twice, the last counts
            if !is_absent(value) {
                data.write(value)?;
            }
        }
        _ => {
            data.skip(key)?;
            data.skip(value)?;
        }
    }
    Ok(())
}

fn is_absent(value: Token<'_>) -> bool {
    matches!(value, Token::Nil | Token::Undefined)
}

/// A whole number that is not negative, however it is written: JavaScript has one type for all.
fn integer(value: Token<'_>) -> Option<u64> {
    match value {
        Token::Unsigned(number) => Some(number),
        Token::Signed(number) => number.try_into().ok(),
        Token::Float(number) if number.fract() == 0.0 && (0.0..=socket::ID_MAX as f64).contains(&number) => {
            Some(number as u64)
        }
        _ => None,
    }
}
