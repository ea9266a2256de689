//! Values in MessagePack, rewritten as JSON with attachments.
//!
//! Takes what the msgpack libraries of JavaScript write. What JSON cannot say becomes what `JSON.stringify` would make of
//! it, bytes become placeholders. No tree is built, and no length is believed before its bytes are there.

use std::fmt::Write as _;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};

use super::super::json;
use super::super::socket::PacketError;
use super::date;
use super::token::{Dialect, Token, Tokens};

/// What was read so far, and what is left.
pub(crate) struct Transcoder<'a> {
    tokens: Tokens<'a>,
    /// The JSON so far.
    pub(crate) json: String,
    /// What its placeholders stand for.
    pub(crate) attachments: Vec<Bytes>,
    limits: Limits,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Levels of arrays and maps.
    pub(crate) levels_max: u32,
    /// Binary values; 0 = no limit.
    pub(crate) attachments_max: usize,
}

impl<'a> Transcoder<'a> {
    pub(crate) fn new(message: &'a [u8], dialect: Dialect, limits: Limits) -> Self {
        Self {
            tokens: Tokens::new(message, dialect),
            json: String::new(),
            attachments: Vec::new(),
            limits,
        }
    }

    /// The next value, or the beginning of one that holds others.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, PacketError> {
        self.tokens.next()
    }

    /// Whether everything was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Forgets what was written.
    pub(crate) fn clear(&mut self) {
        self.json.clear();
        self.attachments.clear();
    }

    /// Moves over what is in a value.
    pub(crate) fn skip(&mut self, token: Token<'a>) -> Result<(), PacketError> {
        self.skip_within(token, 0)
    }

    /// Writes a value, and takes what is in it.
    pub(crate) fn write(&mut self, token: Token<'a>) -> Result<(), PacketError> {
        self.json.reserve(self.tokens.len()); // mostly it becomes a little more than it was, and much is not JSON
        self.write_within(token, 0)
    }

    /// Moves over what is in a value. Recursion is bounded by `levels_max`.
    fn skip_within(&mut self, token: Token<'a>, depth: u32) -> Result<(), PacketError> {
        let items = match token {
            Token::Array(length) => u64::from(length),
            Token::Map(length) => 2 * u64::from(length),
            _ => return Ok(()),
        };
        if depth == self.limits.levels_max {
            return Err(PacketError);
        }
        for _ in 0..items {
            let item = self.tokens.next()?;
            self.skip_within(item, depth + 1)?;
        }
        Ok(())
    }

    /// Writes a value, and takes what is in it. Recursion is bounded by `levels_max`.
    fn write_within(&mut self, token: Token<'a>, depth: u32) -> Result<(), PacketError> {
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
            Token::Array(_) | Token::Map(_) if depth == self.limits.levels_max => return Err(PacketError),
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
            self.write_within(item, depth)?;
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
            match key {
                Token::Text(text) => json::write_string(&mut self.json, text),
                other => json::write_string(&mut self.json, &key_text(other)?),
            }
            self.json.push(':');
            self.write_within(value, depth)?;
        }
        self.json.push('}');
        Ok(())
    }

    /// Puts bytes aside, and a placeholder in their place.
    fn attach(&mut self, bytes: &[u8]) -> Result<(), PacketError> {
        let number = self.attachments.len();
        if self.limits.attachments_max > 0 && number == self.limits.attachments_max {
            return Err(PacketError);
        }
        // Copied: a part of the message would keep all of it in memory, and count for nothing there.
        self.attachments.push(Bytes::copy_from_slice(bytes));
        let _ = write!(self.json, r#"{{"_placeholder":true,"num":{number}}}"#); // a String takes everything
        Ok(())
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
