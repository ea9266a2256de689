//! MessagePack, value by value.
//!
//! Every step takes bytes off the input or fails, and a length counts only as far as its bytes are there.

use rmp::Marker;

use super::super::socket::PacketError;

/// The extension type of timestamps, from the MessagePack specification.
const TIMESTAMP: i8 = -1;

/// One value, or the beginning of one that holds others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
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

/// What was not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, or the beginning of one that holds others.
    pub(super) fn next(&mut self) -> Result<Token<'a>, PacketError> {
        Ok(match Marker::from_u8(u8::from_be_bytes(self.number()?)) {
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
            (0, [_]) => Ok(Token::Undefined),
            (0, bytes) => Ok(match <[u8; 8]>::try_from(bytes) {
                Ok(milliseconds) => Token::Date(i64::from_be_bytes(milliseconds)),
                Err(_) => Token::Binary(bytes),
            }),
            (TIMESTAMP, bytes) => timestamp(bytes),
            _ => Err(PacketError),
        }
    }

    /// An extension that says its length.
    fn extension(&mut self, length: u32) -> Result<Token<'a>, PacketError> {
        match self.typed(length)? {
            (0, bytes) => Ok(Token::Binary(bytes)),
            (TIMESTAMP, bytes) => timestamp(bytes),
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
