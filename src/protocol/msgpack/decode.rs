//! MessagePack from a client, rewritten as JSON with attachments.
//!
//! Takes what notepack.io 2.x writes, the msgpack library of the JavaScript clients: its own extensions of type 0 for
//! `undefined`, dates and bytes. What JSON cannot say becomes what `JSON.stringify` would make of it.

use std::fmt::Write as _;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};

use super::super::json::{self, DEPTH_MAX};
use super::super::socket::{self, Kind, Packet, PacketError};
use super::date;
use super::token::{Token, Tokens};

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
        let mut reader = Reader {
            tokens: Tokens::new(message),
            json: String::new(),
            attachments: Vec::new(),
            attachments_max,
        };
        let mut fields = Fields::default();
        let Token::Map(length) = reader.tokens.next()? else {
            return Err(PacketError);
        };
        for _ in 0..length {
            reader.field(&mut fields)?;
        }
        if !reader.tokens.is_empty() {
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
        let Reader { json, attachments, .. } = reader;
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

struct Reader<'a> {
    tokens: Tokens<'a>,
    /// The packet's data so far.
    json: String,
    attachments: Vec<Bytes>,
    attachments_max: usize,
}

impl<'a> Reader<'a> {
    /// One key of the packet and its value. Unknown keys mean nothing: JavaScript's clients send their options along.
    fn field(&mut self, fields: &mut Fields<'a>) -> Result<(), PacketError> {
        let key = self.tokens.next()?;
        let value = self.tokens.next()?;
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
                self.json.clear(); // of a key that comes twice, the last counts
                self.attachments.clear();
                if !is_absent(value) {
                    self.write(value, 0)?;
                }
            }
            _ => {
                self.skip(key, 0)?;
                self.skip(value, 0)?;
            }
        }
        Ok(())
    }

    /// Moves over what is in a value. Recursion is bounded by `DEPTH_MAX`.
    fn skip(&mut self, token: Token<'a>, depth: u32) -> Result<(), PacketError> {
        let items = match token {
            Token::Array(length) => u64::from(length),
            Token::Map(length) => 2 * u64::from(length),
            _ => return Ok(()),
        };
        if depth == DEPTH_MAX {
            return Err(PacketError);
        }
        for _ in 0..items {
            let item = self.tokens.next()?;
            self.skip(item, depth + 1)?;
        }
        Ok(())
    }

    /// Writes a value, and takes what is in it. Recursion is bounded by `DEPTH_MAX`.
    fn write(&mut self, token: Token<'a>, depth: u32) -> Result<(), PacketError> {
        match token {
            Token::Nil | Token::Undefined => self.json.push_str("null"),
            Token::Bool(value) => self.json.push_str(if value { "true" } else { "false" }),
            Token::Unsigned(number) => self.json.push_str(&number.to_compact_string()),
            Token::Signed(number) => self.json.push_str(&number.to_compact_string()),
            Token::Float(number) => self.json.push_str(&float(number)),
            Token::Text(text) => json::write_string(&mut self.json, text),
            Token::Date(milliseconds) => match date::iso(milliseconds) {
                Some(date) => json::write_string(&mut self.json, &date),
                None => self.json.push_str("null"),
            },
            Token::Binary(bytes) => self.attach(bytes)?,
            Token::Array(_) | Token::Map(_) if depth == DEPTH_MAX => return Err(PacketError),
            Token::Array(length) => self.write_array(length, depth + 1)?,
            Token::Map(length) => self.write_map(length, depth + 1)?,
        }
        Ok(())
    }

    fn write_array(&mut self, length: u32, depth: u32) -> Result<(), PacketError> {
        self.json.push('[');
        for index in 0..length {
            if index > 0 {
                self.json.push(',');
            }
            let item = self.tokens.next()?;
            self.write(item, depth)?;
        }
        self.json.push(']');
        Ok(())
    }

    fn write_map(&mut self, length: u32, depth: u32) -> Result<(), PacketError> {
        self.json.push('{');
        let mut is_first = true;
        for _ in 0..length {
            let key = self.tokens.next()?;
            let value = self.tokens.next()?;
            if value == Token::Undefined {
                key_text(key)?;
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.json.push(',');
            }
            json::write_string(&mut self.json, &key_text(key)?);
            self.json.push(':');
            self.write(value, depth)?;
        }
        self.json.push('}');
        Ok(())
    }

    /// Puts bytes aside, and a placeholder in their place.
    fn attach(&mut self, bytes: &[u8]) -> Result<(), PacketError> {
        let number = self.attachments.len();
        if self.attachments_max > 0 && number == self.attachments_max {
            return Err(PacketError);
        }
        // Copied: a part of the message would keep all of it in memory, and count for nothing there.
        self.attachments.push(Bytes::copy_from_slice(bytes));
        let _ = write!(self.json, r#"{{"_placeholder":true,"num":{number}}}"#); // a String takes everything
        Ok(())
    }
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

/// The shortest digits that are this number; JSON has neither NaN nor infinity.
fn float(number: f64) -> CompactString {
    let Some(number) = serde_json::Number::from_f64(number) else {
        return CompactString::const_new("null");
    };
    let mut text = number.to_compact_string();
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

/// A map's key as JavaScript would make it a property's name.
fn key_text(key: Token<'_>) -> Result<CompactString, PacketError> {
    Ok(match key {
        Token::Text(text) => text.into(),
        Token::Unsigned(number) => number.to_compact_string(),
        Token::Signed(number) => number.to_compact_string(),
        Token::Float(number) if number.is_finite() => float(number),
        Token::Float(number) if number.is_nan() => "NaN".into(),
        Token::Float(number) => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Token::Bool(value) => value.to_compact_string(),
        Token::Nil => "null".into(),
        Token::Undefined => "undefined".into(),
        Token::Date(_) | Token::Binary(_) | Token::Array(_) | Token::Map(_) => return Err(PacketError),
    })
}
