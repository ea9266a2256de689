//! Socket.IO packets in their text form: `<type>[<attachments>-][<namespace>,][<id>][<JSON>]`.
//!
//! One grammar serves protocol revision 4 (clients 1.0.3 to 2.x) and 5 (clients 3.x and 4.x); where they differ the
//! caller says so. The JSON is checked here and passed on as it is.

use std::sync::Arc;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};
use smallvec::SmallVec;

use super::Version;
use super::encoded::Encoded;
use super::json::{self, Array};

/// Names of events that a 4.x client takes for its own: receiving one of them ends its connection.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// The greatest ack id: the integers that JavaScript counts exactly.
pub(super) const ID_MAX: u64 = 1 << 53;

/// Binary attachments that JavaScript's clients take in one packet; with more they would end their session.
pub const ATTACHMENTS_MAX: usize = 10;

/// Bytes of a namespace's name.
pub const NAMESPACE_BYTES_MAX: usize = 128;

/// Bytes of what v1/v2 clients put behind that name.
const NAMESPACE_QUERY_BYTES_MAX: usize = 8 * 1024;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: enters a namespace.
    Connect,
    /// `1`: leaves it.
    Disconnect,
    /// `2`, or with attachments `5`.
    Event,
    /// `3`, or with attachments `6`.
    Ack,
}

/// One packet from a client, its attachments still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Binary messages that follow it.
    pub attachments: usize,
    /// Name of its namespace.
    pub namespace: &'a str,
    /// v1/v2: what stood behind a `?` in the namespace.
    pub query: &'a str,
    /// Number under which an answer is expected, or which it answers.
    pub id: Option<u64>,
    /// Checked JSON: an object or nothing for a connect, an array for events and acks.
    pub json: &'a str,
    /// The array of an event or ack.
    pub array: Option<Array<'a>>,
    /// The ack was written as clients 1.0.0 to 1.0.2 write it, with a `-`.
    pub old_ack: bool,
}

/// Text that is no packet: the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Socket.IO packet")]
pub struct PacketError;

/// Bytes of the shortest place for an attachment: `{"_placeholder":true,"num":0}`.
const PLACEHOLDER_BYTES_MIN: usize = 29;

impl<'a> Packet<'a> {
    /// Reads the text of a message.
    ///
    /// # Errors
    /// When a Node server would end the session over it: unknown type, bad JSON, more than `attachments_max`
    /// attachments (0 = no limit) or none where there must be some, a payload that does not fit the type.
    pub fn decode(text: &'a str, version: Version, attachments_max: usize) -> Result<Self, PacketError> {
        let mut rest = text.get(1..).ok_or(PacketError)?;
        let (kind, binary) = match text.as_bytes()[0] {
            b'0' => (Kind::Connect, false),
            b'1' => (Kind::Disconnect, false),
            b'2' => (Kind::Event, false),
            b'3' => (Kind::Ack, false),
            b'5' => (Kind::Event, true),
            b'6' => (Kind::Ack, true),
            _ => return Err(PacketError), // 4 is for servers alone
        };
        let mut attachments = 0;
        let mut old_ack = false;
        if binary {
            attachments = number(&mut rest).ok_or(PacketError)?;
            rest = rest.strip_prefix('-').ok_or(PacketError)?;
            let max = match attachments_max {
                0 => text.len() / PLACEHOLDER_BYTES_MIN, // more than are named is memory for nothing
                max => max,
            };
            if !(1..=max as u64).contains(&attachments) {
                return Err(PacketError);
            }
        } else if kind == Kind::Ack
            && let Some(tail) = old_ack_prefix(rest)
        {
            old_ack = true;
            rest = tail;
        }
        let (namespace, query) = namespace(&mut rest, version)?;
        let id = number(&mut rest);
        if id.is_some_and(|id| id > ID_MAX) || rest.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            return Err(PacketError);
        }
        Ok(Self {
            kind,
            attachments: attachments as usize,
            namespace,
            query,
            id,
            json: rest,
            array: check_json(kind, rest)?,
            old_ack,
        })
    }
}

/// Checks that the JSON is what a packet of this kind carries, and returns the array of an event or ack.
pub(crate) fn check_json(kind: Kind, json: &str) -> Result<Option<Array<'_>>, PacketError> {
    if json.starts_with([' ', '\t', '\n', '\r']) {
        return Err(PacketError); // Node takes it for the id 0
    }
    let array = match kind {
        Kind::Connect if json.is_empty() || json::check_object(json).is_ok() => return Ok(None),
        Kind::Disconnect if json.is_empty() => return Ok(None),
        Kind::Connect | Kind::Disconnect => return Err(PacketError),
        Kind::Event | Kind::Ack => Array::parse(json).map_err(|_| PacketError)?,
    };
    if kind == Kind::Event && !is_event(&array) {
        return Err(PacketError);
    }
    Ok(Some(array))
}

/// An event's array begins with its name: a string that is not reserved, or a number.
fn is_event(array: &Array<'_>) -> bool {
    match array.element(0) {
        Some(name) if name.starts_with('"') => {
            json::string(name).is_some_and(|name| !RESERVED_EVENTS.contains(&&*name))
        }
        Some(name) => name.starts_with(|first: char| first == '-' || first.is_ascii_digit()),
        None => false,
    }
}

/// Takes up to 16 digits off `rest`.
fn number(rest: &mut &str) -> Option<u64> {
    let digits = rest.bytes().take(16).take_while(u8::is_ascii_digit).count();
    let (number, tail) = rest.split_at(digits);
    let number = number.parse().ok()?;
    *rest = tail;
    Some(number)
}

/// The `0-` of an ack from clients 1.0.0 to 1.0.2, which write `30-7["answer"]`.
fn old_ack_prefix(rest: &str) -> Option<&str> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[digits..].strip_prefix('-').filter(|_| digits > 0)
}

/// Takes the namespace off `rest`, from a slash to the first comma or the end: its name, and what v1/v2 clients put
/// behind it. Later clients ask for what they have a name for, and wait for an answer in that name.
fn namespace<'a>(rest: &mut &'a str, version: Version) -> Result<(&'a str, &'a str), PacketError> {
    if !rest.starts_with('/') {
        return Ok(("/", ""));
    }
    let (whole, tail) = rest.split_once(',').unwrap_or((*rest, ""));
    *rest = tail;
    let (name, query) = match version {
        Version::V3 => whole.split_once('?').unwrap_or((whole, "")),
        Version::V4 => (whole, ""),
    };
    if query.len() > NAMESPACE_QUERY_BYTES_MAX {
        return Err(PacketError);
    }
    Ok((check_namespace(name)?, query))
}

/// The name of a namespace, unless it is too long.
pub(super) fn check_namespace(name: &str) -> Result<&str, PacketError> {
    if name.len() > NAMESPACE_BYTES_MAX {
        return Err(PacketError);
    }
    Ok(name)
}

/// How packets are addressed: `nothing` for the root, `/name,` elsewhere.
fn address(namespace: &str) -> [&str; 2] {
    if namespace == "/" { ["", ""] } else { [namespace, ","] }
}

/// An event for clients: `["name",…]` as written, its attachments behind it.
pub fn event(namespace: &str, json: &[&str], attachments: Box<[Bytes]>) -> Arc<Encoded> {
    packet(["42", "45"], namespace, "", json, attachments)
}

/// An event that the client is to answer under this number.
pub fn question(namespace: &str, id: u64, json: &[&str], attachments: Box<[Bytes]>) -> Arc<Encoded> {
    packet(["42", "45"], namespace, &id.to_compact_string(), json, attachments)
}

/// The answer to a client's event. `json` is an array as written.
pub fn ack(namespace: &str, id: u64, json: &[&str], attachments: Box<[Bytes]>) -> Arc<Encoded> {
    packet(["43", "46"], namespace, &id.to_compact_string(), json, attachments)
}

/// The answer to a client's event for clients 1.0.0 to 1.0.2, whose parser looks for a `-` in every ack.
pub fn old_ack(namespace: &str, id: u64, json: &[&str], attachments: Box<[Bytes]>) -> Arc<Encoded> {
    let kind = if attachments.is_empty() { "430-" } else { "46" };
    packet([kind, kind], namespace, &id.to_compact_string(), json, attachments)
}

/// The answer to a client's event in the form that the client reads.
pub fn answer(
    namespace: &str,
    id: u64,
    reads_old_acks: bool,
    json: &[&str],
    attachments: Box<[Bytes]>,
) -> Arc<Encoded> {
    let encode = if reads_old_acks { old_ack } else { ack };
    encode(namespace, id, json, attachments)
}

/// Takes a client out of a namespace; it does not come back by itself.
pub fn disconnect(namespace: &str) -> Arc<Encoded> {
    packet(["41", ""], namespace, "", &[], Box::default())
}

/// Lets a client into a namespace: with its id (v5), or bare (v4).
pub fn connect(namespace: &str, sid: Option<&str>) -> Arc<Encoded> {
    match sid {
        Some(sid) => packet(["40", ""], namespace, "", &["{\"sid\":\"", sid, "\"}"], Box::default()),
        None => packet(["40", ""], namespace, "", &[], Box::default()),
    }
}

/// Refuses a client: an object with the message for v5, the message alone for v4, which gets an object too where there
/// is data, as JSON, to go with the message.
pub fn connect_error(namespace: &str, message: &str, data: Option<&str>, object: bool) -> Arc<Encoded> {
    let mut text = String::new();
    json::write_string(&mut text, message);
    let json: &[&str] = match data {
        Some(data) => &["{\"message\":", &text, ",\"data\":", data, "}"],
        None if object => &["{\"message\":", &text, "}"],
        None => &[&text],
    };
    packet(["44", ""], namespace, "", json, Box::default())
}

fn packet(kinds: [&str; 2], namespace: &str, id: &str, json: &[&str], attachments: Box<[Bytes]>) -> Arc<Encoded> {
    let [name, comma] = address(namespace);
    let count: CompactString;
    let mut pieces: SmallVec<[&str; 12]> = SmallVec::new();
    if attachments.is_empty() {
        pieces.push(kinds[0]);
    } else {
        count = attachments.len().to_compact_string();
        pieces.extend_from_slice(&[kinds[1], &count, "-"]);
    }
    pieces.extend_from_slice(&[name, comma, id]);
    pieces.extend_from_slice(json);
    Arc::new(Encoded::with_attachments(&pieces, attachments))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Result<Packet<'_>, PacketError> {
        Packet::decode(text, Version::V3, 10)
    }

    /// An event without anything in it.
    fn bare() -> Packet<'static> {
        Packet {
            array: None,
            kind: Kind::Event,
            attachments: 0,
            namespace: "/",
            query: "",
            id: None,
            json: "",
            old_ack: false,
        }
    }

    fn check(table: impl IntoIterator<Item = (&'static str, Packet<'static>)>) {
        for (text, expected) in table {
            let array = Array::parse(expected.json).ok();
            assert_eq!(decode(text), Ok(Packet { array, ..expected }), "{text}");
        }
    }

    #[test]
    fn events_and_acks_are_read_field_by_field() {
        check([
            (
                r#"2["hello",1]"#,
                Packet {
                    json: r#"["hello",1]"#,
                    ..bare()
                },
            ),
            (
                r#"2/admin,13["x"]"#,
                Packet {
                    namespace: "/admin",
                    id: Some(13),
                    json: r#"["x"]"#,
                    ..bare()
                },
            ),
            (
                "3/admin,13[]",
                Packet {
                    kind: Kind::Ack,
                    namespace: "/admin",
                    id: Some(13),
                    json: "[]",
                    ..bare()
                },
            ),
            (
                "30-7[1]",
                Packet {
                    kind: Kind::Ack,
                    id: Some(7),
                    json: "[1]",
                    old_ack: true,
                    ..bare()
                },
            ),
            (
                "2[1,2]",
                Packet {
                    json: "[1,2]",
                    ..bare()
                },
            ),
            (
                r#"2["error"]"#,
                Packet {
                    json: r#"["error"]"#,
                    ..bare()
                },
            ),
        ]);
    }

    #[test]
    fn announced_attachments_are_read() {
        check([
            (
                r#"51-/a,["e",{}]"#,
                Packet {
                    attachments: 1,
                    namespace: "/a",
                    json: r#"["e",{}]"#,
                    ..bare()
                },
            ),
            (
                "62-7[1,2]",
                Packet {
                    kind: Kind::Ack,
                    attachments: 2,
                    id: Some(7),
                    json: "[1,2]",
                    ..bare()
                },
            ),
        ]);
    }

    #[test]
    fn connects_and_disconnects_are_read_field_by_field() {
        check([
            (
                "0",
                Packet {
                    kind: Kind::Connect,
                    ..bare()
                },
            ),
            (
                "0/nsp",
                Packet {
                    kind: Kind::Connect,
                    namespace: "/nsp",
                    ..bare()
                },
            ),
            (
                "0/nsp,",
                Packet {
                    kind: Kind::Connect,
                    namespace: "/nsp",
                    ..bare()
                },
            ),
            (
                "0/,{}",
                Packet {
                    kind: Kind::Connect,
                    json: "{}",
                    ..bare()
                },
            ),
            (
                "0/nsp?tok=1&x=%20y,",
                Packet {
                    kind: Kind::Connect,
                    namespace: "/nsp",
                    query: "tok=1&x=%20y",
                    ..bare()
                },
            ),
            (
                "1/nsp,",
                Packet {
                    kind: Kind::Disconnect,
                    namespace: "/nsp",
                    ..bare()
                },
            ),
        ]);
    }

    #[test]
    fn what_node_ends_a_session_over_is_refused() {
        let long_id = format!("2{}[\"x\"]", "9".repeat(400));
        let long_name = format!("0/{}", "n".repeat(200));
        for text in [
            "",
            "abc",
            "7",
            "2",
            "2{}",
            "2[]",
            "2[\"x\"",
            "2abc[\"x\"]",
            "2[\"connect\"]",
            "2[\"disconnecting\"]",
            "2[{}]",
            "2[null]",
            "2[\"conn\\u0065ct\"]",
            "50-[\"x\"]",
            "51[\"x\"]",
            "5-1-",
            "51.5-[\"x\"]",
            "511-[\"x\"]",
            "5999999999999999999-[\"x\"]",
            "4{\"message\":\"x\"}",
            "1{}",
            "0[]",
            "0null",
            "0\"x\"",
            "3{}",
            "3",
            "2 [\"x\"]",
            &long_id,
            &long_name,
            "29007199254740993[\"x\"]",
        ] {
            assert_eq!(decode(text), Err(PacketError), "{text}");
        }
    }

    #[test]
    fn packets_are_written_in_nodes_order() {
        let binary = || Box::from([Bytes::from_static(&[1])]);
        for (packet, expected) in [
            (event("/", &["[\"a\"", ",1]"], Box::default()), "42[\"a\",1]"),
            (event("/chat", &["[\"a\"]"], binary()), "451-/chat,[\"a\"]"),
            (ack("/", 0, &["[]"], Box::default()), "430[]"),
            (ack("/chat", 13, &["[1]"], binary()), "461-/chat,13[1]"),
            (old_ack("/", 7, &["[1]"], Box::default()), "430-7[1]"),
            (connect("/", Some("abc")), "40{\"sid\":\"abc\"}"),
            (connect("/chat", None), "40/chat,"),
            (
                connect_error("/chat", "no \"way\"", None, true),
                "44/chat,{\"message\":\"no \\\"way\\\"\"}",
            ),
            (connect_error("/", "no", None, false), "44\"no\""),
            (
                connect_error("/", "no", Some("[1.10]"), false),
                "44{\"message\":\"no\",\"data\":[1.10]}",
            ),
        ] {
            assert_eq!(packet.packet(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_decoder_fail_badly(text in "[0-7]{0,2}-?(/[a-z?,]{0,6})?[0-9]{0,18}.{0,20}") {
            let _ = decode(&text);
        }

        #[test]
        fn events_are_written_and_read_back(namespace in "/[a-zé]{0,8}", name: String, id in prop::option::of(0..ID_MAX)) {
            prop_assume!(!RESERVED_EVENTS.contains(&&*name));
            let json = serde_json::to_string(&[&name]).unwrap();
            let written = match id {
                Some(id) => ack(&namespace, id, &[&json], Box::default()),
                None => event(&namespace, &[&json], Box::default()),
            };
            let read = decode(&written.packet()[1..]).unwrap();
            prop_assert_eq!((read.namespace, read.id, read.json), (namespace.as_str(), id, json.as_str()));
        }
    }
}
