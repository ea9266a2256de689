//! Broadcasts: `[uid, packet, {rooms, except, flags}]` in MessagePack.

use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use rmp::encode::{write_array_len, write_bool, write_map_len, write_str};

use super::names::{self, Names};
use super::{LIMITS, WireError};
use crate::protocol::encoded::Encoded;
use crate::protocol::json;
use crate::protocol::msgpack::{self, Dialect, Token, Transcoder};
use crate::protocol::socket;

/// One event to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Who published it; `None` from adapters and emitters 0.1.
    pub uid: Option<CompactString>,
    /// The namespace it is for.
    pub namespace: CompactString,
    /// For sockets in one of these rooms; none = all.
    pub rooms: Names,
    /// But for none in one of these.
    pub except: Names,
    /// Whether it may be left out for those who are behind.
    pub volatile: bool,
    /// The event, `["name",…]`, with placeholders for attachments.
    pub json: String,
    /// What the placeholders stand for.
    pub attachments: Vec<Bytes>,
}

impl Broadcast {
    /// The packet that clients get.
    pub fn packet(&self) -> Arc<Encoded> {
        socket::event(&self.namespace, &[&self.json], self.attachments.clone().into())
    }
}

/// Who published a message. Cheap: reads nothing else. `None` where nobody is named.
pub fn peek_uid(payload: &[u8]) -> Option<&str> {
    let mut tokens = Transcoder::new(payload, msgpack::Dialect::Servers, LIMITS);
    match (tokens.next().ok()?, tokens.next().ok()?) {
        (Token::Array(3..), Token::Text(uid)) => Some(uid),
        _ => None,
    }
}

/// Reads a broadcast in any form there ever was.
///
/// # Errors
/// When it is none, or none that clients could be sent.
pub fn decode_broadcast(payload: &[u8]) -> Result<Broadcast, WireError> {
    // The forms differ in few bytes, and none of those is a whole message in the other.
    decode(payload, Dialect::Servers).or_else(|error| decode(payload, Dialect::MsgpackJs).map_err(|_| error))
}

fn decode(payload: &[u8], dialect: Dialect) -> Result<Broadcast, WireError> {
    let mut tokens = Transcoder::new(payload, dialect, LIMITS);
    let Token::Array(length @ 2..) = tokens.next()? else {
        return Err(WireError::Shape("no array of a uid, a packet and options"));
    };
    let mut broadcast = Broadcast {
        uid: None,
        namespace: CompactString::const_new("/"),
        rooms: Names::new(),
        except: Names::new(),
        volatile: false,
        json: String::new(),
        attachments: Vec::new(),
    };
    let mut items = length;
    if length > 2 {
        broadcast.uid = match tokens.next()? {
            Token::Text(uid) => Some(uid.into()),
            Token::Nil | Token::Undefined => None,
            _ => return Err(WireError::Shape("a uid that is no text")),
        };
        items -= 1;
    }
    packet(&mut tokens, &mut broadcast)?;
    options(&mut tokens, &mut broadcast)?;
    for _ in 2..items {
        let token = tokens.next()?;
        tokens.skip(token)?;
    }
    if !tokens.is_at_end() {
        return Err(WireError::MessagePack);
    }
    broadcast.json = tokens.json;
    broadcast.attachments = tokens.attachments;
    check_event(&broadcast.namespace, &broadcast.json, broadcast.attachments.len())?;
    Ok(broadcast)
}

/// Checks what clients must not be sent.
pub(super) fn check_event(namespace: &str, json: &str, attachments: usize) -> Result<(), WireError> {
    // Text cannot say other names.
    if !namespace.starts_with('/') || namespace.contains([',', '?']) {
        return Err(WireError::Shape("a namespace that no client can be in"));
    }
    socket::check_json(socket::Kind::Event, json).map_err(|_| {
        WireError::Shape("an event without a name of its own, or with more levels than clients may send")
    })?;
    if attachments > 0 {
        json::check_placeholders(json, attachments)
            .map_err(|_| WireError::Shape("an object that only looks like a placeholder"))?;
    }
    Ok(())
}

/// Reads a map; `field` is called for each key that is text, and takes its value.
fn map<'a>(
    tokens: &mut Transcoder<'a>,
    mut field: impl FnMut(&mut Transcoder<'a>, &'a str, Token<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let length = match tokens.next()? {
        Token::Map(length) => length,
        Token::Nil | Token::Undefined => 0,
        _ => return Err(WireError::Shape("no object where one must be")),
    };
    entries(tokens, length, &mut field)
}

fn entries<'a>(
    tokens: &mut Transcoder<'a>,
    length: u32,
    field: &mut impl FnMut(&mut Transcoder<'a>, &'a str, Token<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    for _ in 0..length {
        let key = tokens.next()?;
        let value = tokens.next()?;
        if let Token::Text(key) = key {
            field(tokens, key, value)?;
        } else {
            tokens.skip(key)?;
            tokens.skip(value)?;
        }
    }
    Ok(())
}

fn packet<'a>(tokens: &mut Transcoder<'a>, broadcast: &mut Broadcast) -> Result<(), WireError> {
    let mut kind = None;
    map(tokens, |tokens, key, value| {
        match (key, value) {
            ("type", Token::Unsigned(number)) => kind = Some(number),
            ("nsp", Token::Text(name)) => broadcast.namespace = name.into(),
            ("nsp", Token::Nil | Token::Undefined) => {}
            ("type" | "nsp", _) => return Err(WireError::Shape("a packet whose type or namespace is something else")),
            ("data", Token::Array(_)) => {
                tokens.clear();
                tokens.write(value)?;
            }
            _ => tokens.skip(value)?,
        }
        Ok(())
    })?;
    event_type(kind)
}

/// 5 was an event with attachments.
pub(super) fn event_type(kind: Option<u64>) -> Result<(), WireError> {
    match kind {
        Some(2 | 5) => Ok(()),
        Some(other) => Err(WireError::PacketType(other)),
        None => Err(WireError::Shape("a packet without a type")),
    }
}

fn options<'a>(tokens: &mut Transcoder<'a>, broadcast: &mut Broadcast) -> Result<(), WireError> {
    map(tokens, |tokens, key, value| {
        match (key, value) {
            ("rooms", list) => broadcast.rooms = names::read(tokens, list)?,
            ("except", list) => broadcast.except = names::read(tokens, list)?,
            ("flags", Token::Map(length)) => entries(tokens, length, &mut |tokens, key, value| {
                if key == "volatile" {
                    broadcast.volatile = value == Token::Bool(true);
                }
                Ok(tokens.skip(value)?)
            })?,
            _ => tokens.skip(value)?,
        }
        Ok(())
    })
}

/// Bytes in front of a tail that are left for who publishes it: an array of three, and a text of so many bytes but two.
const HEAD_BYTES_MAX: usize = 64;

/// Bytes of MessagePack that a packet and the options take beside what is in them, and a name.
const PACKET_BYTES: usize = 64;
const NAME_BYTES: usize = 5;

/// A broadcast without who published it, and room for that.
#[derive(Debug)]
pub struct Tail(Vec<u8>);

/// All of a broadcast but its beginning, which [`message`] puts in front: `packet` (an event), for whom, and how.
///
/// # Errors
/// When `packet` is no event of ours.
pub fn encode_tail(
    packet: &Encoded,
    rooms: &[impl AsRef<str>],
    except: &[impl AsRef<str>],
    volatile: bool,
) -> Result<Tail, WireError> {
    let names = rooms.iter().map(AsRef::as_ref).chain(except.iter().map(AsRef::as_ref));
    let options: usize = names.map(|name| name.len() + NAME_BYTES).sum();
    let mut out = Vec::with_capacity(HEAD_BYTES_MAX + packet.weight() + PACKET_BYTES + options);
    out.resize(HEAD_BYTES_MAX, 0);
    let mut out = msgpack::encode_behind(out, packet.packet(), packet.attachments())?;
    write_options(&mut out, rooms, except, volatile, None);
    Ok(Tail(out))
}

/// `{rooms, except, flags}`.
pub(super) fn write_options(
    out: &mut Vec<u8>,
    rooms: &[impl AsRef<str>],
    except: &[impl AsRef<str>],
    volatile: bool,
    timeout: Option<u64>,
) {
    let mut write = || {
        write_map_len(out, 3)?;
        write_str(out, "rooms")?;
        write_names(out, rooms)?;
        write_str(out, "except")?;
        write_names(out, except)?;
        write_str(out, "flags")?;
        write_map_len(out, u32::from(volatile) + u32::from(timeout.is_some()))?;
        if volatile {
            write_str(out, "volatile")?;
            write_bool(out, true).map_err(rmp::encode::ValueWriteError::InvalidDataWrite)?;
        }
        if let Some(timeout) = timeout {
            write_str(out, "timeout")?;
            rmp::encode::write_uint(out, timeout)?;
        }
        Ok::<_, rmp::encode::ValueWriteError>(())
    };
    let is_written = write().is_ok();
    debug_assert!(is_written, "memory takes what is written into it");
}

fn write_names(out: &mut Vec<u8>, names: &[impl AsRef<str>]) -> Result<(), rmp::encode::ValueWriteError> {
    write_array_len(out, names.len() as u32)?;
    for name in names {
        write_str(out, name.as_ref())?;
    }
    Ok(())
}

/// The message of a tail, published by `uid`.
pub fn message(uid: &str, tail: Tail) -> Bytes {
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    let is_written = write_array_len(&mut head, 3).is_ok() && write_str(&mut head, uid).is_ok();
    debug_assert!(is_written, "memory takes what is written into it");
    let Tail(mut message) = tail;
    match HEAD_BYTES_MAX.checked_sub(head.len()) {
        Some(start) => {
            message[start..HEAD_BYTES_MAX].copy_from_slice(&head);
            Bytes::from(message).slice(start..)
        }
        None => [&*head, &message[HEAD_BYTES_MAX..]].concat().into(), // a name that is none of ours
    }
}
