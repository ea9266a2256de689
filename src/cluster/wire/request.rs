//! Questions from one node to all others, and orders.

use bytes::Bytes;
use compact_str::CompactString;
use rmp::encode::{write_map_len, write_str, write_uint};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ask::{Ask, Dialect, Request, Selection};
use super::broadcast::{check_event, event_type, write_options};
use super::names::{self, Names};
use super::{Broadcast, WireError, object};
use crate::protocol::msgpack;

/// The fields of all requests.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestId")]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestid")]
    legacy_id: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow)]
    opts: Option<Options<'a>>,
    #[serde(borrow)]
    rooms: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    sid: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    close: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<Packet<'a>>,
}

#[derive(Default, Deserialize)]
struct Options<'a> {
    #[serde(borrow)]
    rooms: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    except: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    flags: Option<Flags<'a>>,
}

#[derive(Default, Deserialize)]
struct Flags<'a> {
    #[serde(borrow)]
    volatile: Option<&'a RawValue>,
    #[serde(borrow)]
    timeout: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Packet<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow)]
    nsp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Reads a message of a request channel.
///
/// # Errors
/// When it is no request that we know.
pub fn decode_request(payload: &[u8]) -> Result<Request, WireError> {
    let object = object::read(payload)?;
    let fields: Fields<'_> = serde_json::from_str(&object.json)?;
    let uid = fields.uid.map(names::name).transpose()?;
    let (id, dialect) = match fields {
        Fields {
            legacy_id: Some(id), ..
        } => (Some(id), Dialect::Legacy),
        Fields {
            transaction: Some(id), ..
        } => (Some(id), Dialect::Sync),
        Fields { id, .. } => (id, Dialect::Modern),
    };
    let id = id.map(names::name).transpose()?;
    let ask = match dialect {
        Dialect::Modern => modern(fields, object.attachments)?,
        Dialect::Legacy => legacy(fields)?,
        Dialect::Sync => Ask::Sockets {
            rooms: names::from_json(fields.rooms)?,
        },
    };
    let mut request = Request { uid, id, dialect, ask };
    if let Ask::Broadcast { broadcast, .. } = &mut request.ask {
        broadcast.uid.clone_from(&request.uid);
    }
    Ok(request)
}

fn modern(fields: Fields<'_>, attachments: Vec<Bytes>) -> Result<Ask, WireError> {
    let kind = fields.kind.ok_or(WireError::Shape("a request without a type"))?;
    Ok(match kind {
        0 => Ask::Sockets {
            rooms: names::from_json(fields.rooms)?,
        },
        1 => Ask::AllRooms,
        2 => join(fields)?,
        3 => leave(fields)?,
        4 => disconnect(fields)?,
        5 => Ask::Fetch {
            who: selection(fields)?,
        },
        6 => {
            let data = object::value(fields.data)?;
            if !data.starts_with('[') {
                return Err(WireError::Shape("an event for servers that is no list"));
            }
            Ask::ServerSideEmit { data }
        }
        7 => acknowledged_broadcast(fields, attachments)?,
        other => return Err(WireError::MessageType(other)),
    })
}

fn legacy(fields: Fields<'_>) -> Result<Ask, WireError> {
    let kind = fields.kind.ok_or(WireError::Shape("a request without a type"))?;
    Ok(match kind {
        0 => Ask::Sockets {
            rooms: names::from_json(fields.rooms)?,
        },
        1 => Ask::RoomsOf {
            socket: names::name(fields.sid.ok_or(WireError::Shape("a request that names no socket"))?)?,
        },
        2 => Ask::AllRooms,
        3 => join(fields)?,
        4 => leave(fields)?,
        5 => Ask::Custom {
            data: object::value(fields.data)?,
        },
        6 => disconnect(fields)?,
        other => return Err(WireError::MessageType(other)),
    })
}

fn join(fields: Fields<'_>) -> Result<Ask, WireError> {
    let rooms = rooms(&fields)?;
    let who = selection(fields)?;
    Ok(Ask::Join { who, rooms })
}

fn leave(fields: Fields<'_>) -> Result<Ask, WireError> {
    let rooms = rooms(&fields)?;
    let who = selection(fields)?;
    Ok(Ask::Leave { who, rooms })
}

fn disconnect(fields: Fields<'_>) -> Result<Ask, WireError> {
    let close = fields.close.unwrap_or(false);
    let who = selection(fields)?;
    Ok(Ask::Disconnect { who, close })
}

/// The rooms that are joined or left: `rooms`, of old nodes `room`.
fn rooms(fields: &Fields<'_>) -> Result<Names, WireError> {
    match fields.room {
        Some(room) if fields.opts.is_none() => Ok(Names::from_iter([names::name(room)?])),
        _ => names::from_json(fields.rooms.clone()),
    }
}

/// Whom a request is about: `opts`, of old nodes the one socket `sid`. Without either nobody is meant: no list means all.
fn selection(fields: Fields<'_>) -> Result<Selection, WireError> {
    match fields {
        Fields { opts: Some(opts), .. } => Ok(Selection {
            rooms: names::from_json(opts.rooms)?,
            except: names::from_json(opts.except)?,
        }),
        Fields { sid: Some(sid), .. } => Ok(Selection {
            rooms: Names::from_iter([names::name(sid)?]),
            except: Names::new(),
        }),
        _ => Err(WireError::Shape("a request that does not say for whom it is")),
    }
}

fn acknowledged_broadcast(fields: Fields<'_>, attachments: Vec<Bytes>) -> Result<Ask, WireError> {
    let packet = fields.packet.ok_or(WireError::Shape("a broadcast without a packet"))?;
    event_type(packet.kind)?;
    let namespace = packet.nsp.map_or(Ok(CompactString::const_new("/")), names::name)?;
    let json = object::value(packet.data)?;
    check_event(&namespace, &json, attachments.len())?;
    let opts = fields.opts.unwrap_or_default();
    let flags = opts.flags.unwrap_or_default();
    let broadcast = Box::new(Broadcast {
        uid: None,
        namespace,
        rooms: names::from_json(opts.rooms)?,
        except: names::from_json(opts.except)?,
        volatile: flags.volatile.is_some_and(|raw| raw.get() == "true"),
        json,
        attachments,
    });
    Ok(Ask::Broadcast {
        broadcast,
        timeout_ms: flags
            .timeout
            .and_then(|raw| raw.get().parse::<f64>().ok())
            .map(|timeout| timeout as u64),
    })
}

/// What is written of a request in JSON, in this order.
#[derive(Default, Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<WrittenOptions<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [CompactString]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct WrittenOptions<'a> {
    rooms: &'a [CompactString],
    except: &'a [CompactString],
}

impl<'a> From<&'a Selection> for WrittenOptions<'a> {
    fn from(who: &'a Selection) -> Self {
        Self {
            rooms: &who.rooms,
            except: &who.except,
        }
    }
}

/// Writes a request for nodes of today, published by `uid`, to be answered by its id.
///
/// # Errors
/// When nodes of today know no such request, or it carries what is no JSON.
pub fn encode_request(uid: Option<&str>, id: Option<&str>, ask: &Ask) -> Result<Bytes, WireError> {
    let head = Written {
        uid,
        id,
        ..Written::default()
    };
    object::write(&match ask {
        Ask::Sockets { rooms } => Written {
            rooms: Some(rooms),
            ..head
        },
        Ask::AllRooms => Written { kind: 1, ..head },
        Ask::Join { who, rooms } => Written {
            kind: 2,
            opts: Some(who.into()),
            rooms: Some(rooms),
            ..head
        },
        Ask::Leave { who, rooms } => Written {
            kind: 3,
            opts: Some(who.into()),
            rooms: Some(rooms),
            ..head
        },
        Ask::Disconnect { who, close } => Written {
            kind: 4,
            opts: Some(who.into()),
            close: Some(*close),
            ..head
        },
        Ask::Fetch { who } => Written {
            kind: 5,
            opts: Some(who.into()),
            ..head
        },
        Ask::ServerSideEmit { data } => Written {
            kind: 6,
            data: Some(object::raw(data)?),
            ..head
        },
        Ask::Broadcast { broadcast, timeout_ms } => return encode_broadcast(uid, id, broadcast, *timeout_ms),
        Ask::RoomsOf { .. } | Ask::Custom { .. } => {
            return Err(WireError::Shape(
                "a request that only nodes with socket.io-redis 2 to 5 know",
            ));
        }
    })
}

/// `{uid, requestId, type: 7, packet, opts}` in MessagePack.
fn encode_broadcast(
    uid: Option<&str>,
    id: Option<&str>,
    broadcast: &Broadcast,
    timeout: Option<u64>,
) -> Result<Bytes, WireError> {
    let packet = broadcast.packet();
    let packet = msgpack::encode(packet.packet(), packet.attachments())?;
    let mut out = Vec::with_capacity(packet.len() + 128);
    let mut write_head = || {
        write_map_len(&mut out, 3 + u32::from(uid.is_some()) + u32::from(id.is_some()))?;
        for (key, value) in [("uid", uid), ("requestId", id)] {
            if let Some(value) = value {
                write_str(&mut out, key)?;
                write_str(&mut out, value)?;
            }
        }
        write_str(&mut out, "type")?;
        write_uint(&mut out, 7)?;
        write_str(&mut out, "packet")?;
        out.extend_from_slice(&packet);
        write_str(&mut out, "opts")
    };
    let is_written = write_head().is_ok();
    debug_assert!(is_written, "memory takes what is written into it");
    write_options(
        &mut out,
        &broadcast.rooms,
        &broadcast.except,
        broadcast.volatile,
        timeout,
    );
    Ok(out.into())
}
