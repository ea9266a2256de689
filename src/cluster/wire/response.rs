//! Answers to requests.

use bytes::Bytes;
use compact_str::CompactString;
use rmp::encode::{write_map_len, write_str, write_uint};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ask::Dialect;
use super::names;
use super::{WireError, object};
use crate::protocol::json;
use crate::protocol::msgpack;

/// One node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's.
    pub id: CompactString,
    /// The request's.
    pub dialect: Dialect,
    /// What it says.
    pub answer: Answer,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Ids of sockets. An empty list of anything about sockets is read as this.
    Sockets(Vec<CompactString>),
    /// Names of rooms.
    Rooms(Vec<CompactString>),
    /// Everything about sockets.
    Fetched(Vec<RemoteSocket>),
    /// It is done. Also an answer without a value, which JavaScript leaves out.
    Done,
    /// The value that a server answers an event with, or an application's own answer: any JSON.
    Data(String),
    /// How many sockets get a broadcast that they shall answer.
    ClientCount(u64),
    /// One socket's answer to it.
    Ack {
        /// Its first argument: any JSON, with placeholders for attachments.
        json: String,
        /// What the placeholders stand for.
        attachments: Vec<Bytes>,
    },
}

/// A socket as other nodes are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSocket {
    /// Its id.
    pub id: CompactString,
    /// A JSON object; see [`Handshake`].
    pub handshake: String,
    /// All of its rooms, its id among them.
    pub rooms: Vec<CompactString>,
    /// What the application keeps with it: any JSON, mostly an object.
    pub data: String,
}

/// What Node calls the handshake of a socket, as it is written.
#[derive(Clone, Debug, Serialize)]
pub struct Handshake<'a> {
    /// Heads of the request, by their names in small letters.
    pub headers: &'a serde_json::Map<String, serde_json::Value>,
    /// When it connected, as people read it.
    pub time: &'a str,
    /// Its IP address.
    pub address: &'a str,
    /// Whether it named an origin.
    pub xdomain: bool,
    /// Whether it came by TLS.
    pub secure: bool,
    /// When it connected, in milliseconds from 1970.
    pub issued: u64,
    /// Path and query of the request.
    pub url: &'a str,
    /// The query.
    pub query: &'a serde_json::Map<String, serde_json::Value>,
    /// What it sent along to be let in: checked JSON, mostly an object.
    pub auth: &'a RawValue,
}

impl Handshake<'_> {
    /// As [`RemoteSocket::handshake`] wants it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into()) // texts and checked JSON always can be written
    }
}

/// The fields of all answers.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow, rename = "requestId")]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestid")]
    legacy_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "clients")]
    sockets: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    rooms: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "clientCount")]
    client_count: Option<u64>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
}

/// Everything about a socket.
#[derive(Deserialize, Serialize)]
struct Details<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    handshake: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Reads a message of a response channel.
///
/// # Errors
/// When it is no answer that we know.
pub fn decode_response(payload: &[u8]) -> Result<Response, WireError> {
    let object = object::read(payload)?;
    let fields: Fields<'_> = serde_json::from_str(&object.json)?;
    let (id, dialect) = match (fields.legacy_id, fields.id) {
        (Some(id), _) => (id, Dialect::Legacy),
        (None, Some(id)) => (id, Dialect::Modern),
        (None, None) => return Err(WireError::Shape("an answer that does not say to what")),
    };
    let answer = match (fields.kind, dialect) {
        (Some(6), Dialect::Modern) => Answer::Data(object::value(fields.data)?),
        (Some(8), Dialect::Modern) => {
            let count = fields.client_count;
            Answer::ClientCount(count.ok_or(WireError::Shape("a count of clients that is missing"))?)
        }
        (Some(9), Dialect::Modern) => {
            let json = object::value(fields.packet)?;
            let attachments = object.attachments;
            if !attachments.is_empty() {
                json::check_placeholders(&json, attachments.len())?;
            }
            Answer::Ack { json, attachments }
        }
        (Some(other), Dialect::Modern) => return Err(WireError::MessageType(other)),
        _ => untyped(&fields)?,
    };
    let id = names::name(id)?;
    Ok(Response { id, dialect, answer })
}

/// Answers that are told apart by what they hold.
fn untyped(fields: &Fields<'_>) -> Result<Answer, WireError> {
    Ok(if let Some(sockets) = &fields.sockets {
        if sockets.first().is_some_and(|socket| socket.get().starts_with('{')) {
            Answer::Fetched(sockets.iter().map(|socket| details(socket)).collect::<Result<_, _>>()?)
        } else {
            Answer::Sockets(all_names(sockets)?)
        }
    } else if let Some(rooms) = &fields.rooms {
        Answer::Rooms(all_names(rooms)?)
    } else if fields.data.is_some() {
        Answer::Data(object::value(fields.data)?)
    } else {
        Answer::Done
    })
}

fn all_names(list: &[&RawValue]) -> Result<Vec<CompactString>, WireError> {
    list.iter().map(|raw| names::name(raw)).collect()
}

fn details(socket: &RawValue) -> Result<RemoteSocket, WireError> {
    let details: Details<'_> = serde_json::from_str(socket.get())?;
    Ok(RemoteSocket {
        id: names::name(details.id)?,
        handshake: object::value(details.handshake)?,
        rooms: all_names(&details.rooms.unwrap_or_default())?,
        data: object::value(details.data)?,
    })
}

/// What is written of an answer in JSON, in this order.
#[derive(Default, Serialize)]
struct Written<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u64>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "requestid", skip_serializing_if = "Option::is_none")]
    legacy_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<&'a [CompactString]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<Vec<WrittenSocket<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [CompactString]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(rename = "clientCount", skip_serializing_if = "Option::is_none")]
    client_count: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenSocket<'a> {
    Id(&'a str),
    Details {
        id: &'a str,
        handshake: &'a RawValue,
        rooms: &'a [CompactString],
        data: &'a RawValue,
    },
}

/// Writes an answer in the form of its dialect.
///
/// # Errors
/// When the dialect knows no such answer, or it carries what is no JSON.
pub fn encode_response(response: &Response) -> Result<Bytes, WireError> {
    let Response { id, dialect, answer } = response;
    if let (Answer::Ack { json, attachments }, Dialect::Modern) = (answer, dialect) {
        return encode_ack(id, json, attachments);
    }
    let head = Written {
        id: (*dialect == Dialect::Modern).then_some(&**id),
        legacy_id: (*dialect == Dialect::Legacy).then_some(&**id),
        ..Written::default()
    };
    object::write(&match (answer, dialect) {
        (Answer::Sockets(ids), Dialect::Modern) => Written {
            sockets: Some(ids.iter().map(|id| WrittenSocket::Id(id)).collect()),
            ..head
        },
        (Answer::Sockets(ids), Dialect::Legacy | Dialect::Sync) => Written {
            clients: Some(ids),
            ..head
        },
        (Answer::Rooms(rooms), Dialect::Modern | Dialect::Legacy) => Written {
            rooms: Some(rooms),
            ..head
        },
        (Answer::Fetched(sockets), Dialect::Modern) => Written {
            sockets: Some(sockets.iter().map(written_socket).collect::<Result<_, _>>()?),
            ..head
        },
        (Answer::Done, Dialect::Modern | Dialect::Legacy) => head,
        (Answer::Data(data), Dialect::Modern | Dialect::Legacy) => Written {
            kind: (*dialect == Dialect::Modern).then_some(6),
            data: Some(object::raw(data)?),
            ..head
        },
        (Answer::ClientCount(count), Dialect::Modern) => Written {
            kind: Some(8),
            client_count: Some(*count),
            ..head
        },
        _ => return Err(WireError::Shape("an answer that nodes of this age do not know")),
    })
}

fn written_socket(socket: &RemoteSocket) -> Result<WrittenSocket<'_>, WireError> {
    Ok(WrittenSocket::Details {
        id: &socket.id,
        handshake: object::raw(&socket.handshake)?,
        rooms: &socket.rooms,
        data: object::raw(&socket.data)?,
    })
}

/// `{type: 9, requestId, packet}` in MessagePack.
fn encode_ack(id: &str, json: &str, attachments: &[Bytes]) -> Result<Bytes, WireError> {
    json::check_value(json)?;
    let mut out = Vec::with_capacity(json.len() + 64);
    let mut write_head = || {
        write_map_len(&mut out, 3)?;
        write_str(&mut out, "type")?;
        write_uint(&mut out, 9)?;
        write_str(&mut out, "requestId")?;
        write_str(&mut out, id)?;
        write_str(&mut out, "packet")
    };
    let is_written = write_head().is_ok();
    debug_assert!(is_written, "memory takes what is written into it");
    Ok(msgpack::encode_value(out, json, attachments)?.into())
}
