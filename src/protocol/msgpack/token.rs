//! MessagePack, value by value.
//!
//! Every step takes bytes off the input or fails, and a length counts only as far as its bytes are there.

use rmp::Marker;

use super::super::socket::PacketError;

/// The extension type of timestamps, from the MessagePack specification.
const TIMESTAMP: i8 = -1;

/// msgpack-lite's extension type of dates, of typed arrays and `ArrayBuffer`, and of `DataView`.
const LITE_DATE: i8 = 0x0d;
const LITE_ARRAY_FIRST: i8 = 0x11;
const LITE_ARRAY_LAST: i8 = 0x1a;
const LITE_VIEW: i8 = 0x1d;

/// One value, or the beginning of one that holds others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Milliseconds from 1970.
    Date(i64),
    Array(u32),
    Map(u32),
}

/// Whose MessagePack it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// notepack.io's: extensions of type 0 for `undefined`, dates and bytes.
    Notepack,
    /// Between servers: notepack.io's, and the extensions of msgpack-lite for dates and typed arrays.
    Servers,
    /// msgpack-js', which is older than binary values and short strings in MessagePack and uses their numbers otherwise.
    MsgpackJs,
}

/// What was not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
    dialect: Dialect,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(message: &'a [u8], dialect: Dialect) -> Self {
        Self { rest: message, dialect }
    }

    /// Bytes that were not read yet.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, or the beginning of one that holds others.
    pub(super) fn next(&mut self) -> Result<Token<'a>, PacketError> {
        let first = u8::from_be_bytes(self.number()?);
        if self.dialect == Dialect::MsgpackJs {
            match first {
                0xc4 => return Ok(Token::Undefined),
                0xd8 => return Ok(Token::Binary(self.length16().and_then(|length| self.bytes(length))?)),
                0xd9 => return Ok(Token::Binary(self.length32().and_then(|length| self.bytes(length))?)),
                _ => {}
            }
        }
        Ok(match Marker::from_u8(first) {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::FixNeg(number) => Token::Signed(number.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.number()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.number()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.number()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.number()?)),
            Marker::I8 => Token::Signed(i8::from_be_bytes(self.number()?).into()),
            Marker::I16 => Token::Signed(i16::from_be_bytes(self.number()?).into()),
            Marker::I32 => Token::Signed(i32::from_be_bytes(self.number()?).into()),
            Marker::I64 => Token::Signed(i64::from_be_bytes(self.number()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.number()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.number()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 => self.length8().and_then(|length| self.text(length))?,
            Marker::Str16 => self.length16().and_then(|length| self.text(length))?,
            Marker::Str32 => self.length32().and_then(|length| self.text(length))?,
            Marker::Bin8 => Token::Binary(self.length8().and_then(|length| self.bytes(length))?),
            Marker::Bin16 => Token::Binary(self.length16().and_then(|length| self.bytes(length))?),
            Marker::Bin32 => Token::Binary(self.length32().and_then(|length| self.bytes(length))?),
            Marker::FixArray(length) => Token::Array(length.into()),
            Marker::Array16 => Token::Array(self.length16()?),
            Marker::Array32 => Token::Array(self.length32()?),
            Marker::FixMap(length) => Token::Map(length.into()),
            Marker::Map16 => Token::Map(self.length16()?),
            Marker::Map32 => Token::Map(self.length32()?),
            Marker::FixExt1 => self.fixed_extension(1)?,
            Marker::FixExt2 => self.fixed_extension(2)?,
            Marker::FixExt4 => self.fixed_extension(4)?,
            Marker::FixExt8 => self.fixed_extension(8)?,
            Marker::FixExt16 => self.fixed_extension(16)?,
            Marker::Ext8 => self.length8().and_then(|length| self.extension(length))?,
            Marker::Ext16 => self.length16().and_then(|length| self.extension(length))?,
            Marker::Ext32 => self.length32().and_then(|length| self.extension(length))?,
            Marker::Reserved => return Err(PacketError),
        })
    }

    /// An extension of a fixed length: where it is of type 0, the length tells what notepack.io means by it.
    fn fixed_extension(&mut self, length: u32) -> Result<Token<'a>, PacketError> {
        let (kind, bytes) = self.typed(length)?;
        match (kind, bytes) {
            // Nobody writes these. They are msgpack-js' bytes, of which 15 look like an extension of 16.
            (0, _) if length == 16 && self.dialect == Dialect::Servers => Err(PacketError),
            (0, [_]) => Ok(Token::Undefined),
            (0, bytes) => Ok(match <[u8; 8]>::try_from(bytes) {
                Ok(milliseconds) => Token::Date(i64::from_be_bytes(milliseconds)),
                Err(_) => Token::Binary(bytes),
            }),
            (kind, bytes) => self.other_extension(kind, bytes),
        }
    }

    /// An extension that says its length.
    fn extension(&mut self, length: u32) -> Result<Token<'a>, PacketError> {
        match self.typed(length)? {
            (0, bytes) => Ok(Token::Binary(bytes)),
            (kind, bytes) => self.other_extension(kind, bytes),
        }
    }

    fn other_extension(&self, kind: i8, bytes: &'a [u8]) -> Result<Token<'a>, PacketError> {
        match kind {
            TIMESTAMP => timestamp(bytes),
            LITE_DATE if self.dialect == Dialect::Servers => lite_date(bytes),
            LITE_ARRAY_FIRST..=LITE_ARRAY_LAST | LITE_VIEW if self.dialect == Dialect::Servers => {
                Ok(Token::Binary(bytes))
            }
            _ => Err(PacketError),
        }
    }

    fn typed(&mut self, length: u32) -> Result<(i8, &'a [u8]), PacketError> {
        Ok((i8::from_be_bytes(self.number()?), self.bytes(length)?))
    }

    fn text(&mut self, length: u32) -> Result<Token<'a>, PacketError> {
        let text = simdutf8::basic::from_utf8(self.bytes(length)?).map_err(|_| PacketError)?;
        Ok(Token::Text(text))
    }

    fn length8(&mut self) -> Result<u32, PacketError> {
        Ok(u8::from_be_bytes(self.number()?).into())
    }

    fn length16(&mut self) -> Result<u32, PacketError> {
        Ok(u16::from_be_bytes(self.number()?).into())
    }

    fn length32(&mut self) -> Result<u32, PacketError> {
        Ok(u32::from_be_bytes(self.number()?))
    }

    fn number<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], PacketError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(PacketError)?;
        self.rest = rest;
        Ok(*number)
    }

    fn bytes(&mut self, length: u32) -> Result<&'a [u8], PacketError> {
        let (bytes, rest) = self.rest.split_at_checked(length as usize).ok_or(PacketError)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Milliseconds as one number in MessagePack, as msgpack-lite writes a date.
fn lite_date(bytes: &[u8]) -> Result<Token<'static>, PacketError> {
    let mut number = Tokens::new(bytes, Dialect::Notepack);
    let milliseconds = match number.next()? {
        Token::Unsigned(number) => i64::try_from(number).unwrap_or(i64::MAX),
        Token::Signed(number) => number,
        Token::Float(number) if number.is_nan() => i64::MAX, // no date, which is null
        Token::Float(number) => number as i64,
        _ => return Err(PacketError),
    };
    if number.is_empty() {
        Ok(Token::Date(milliseconds))
    } else {
        Err(PacketError)
    }
}

/// A timestamp of the MessagePack specification, in one of its three lengths.
fn timestamp(bytes: &[u8]) -> Result<Token<'static>, PacketError> {
    let (seconds, nanoseconds) = if let Ok(seconds) = <[u8; 4]>::try_from(bytes) {
        (u32::from_be_bytes(seconds).into(), 0)
    } else if let Ok(both) = <[u8; 8]>::try_from(bytes) {
        let both = u64::from_be_bytes(both);
        ((both & 0x3_ffff_ffff) as i64, both >> 34)
    } else if let Some((nanoseconds, seconds)) = bytes.split_first_chunk() {
        let seconds = seconds.try_into().map_err(|_| PacketError)?;
        (i64::from_be_bytes(seconds), u32::from_be_bytes(*nanoseconds).into())
    } else {
        return Err(PacketError);
    };
    let milliseconds = seconds.saturating_mul(1000);
    Ok(Token::Date(
        milliseconds.saturating_add((nanoseconds / 1_000_000) as i64),
    ))
}
