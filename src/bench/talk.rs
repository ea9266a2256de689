//! Socket.IO as a client speaks it in one namespace: what it says, and what it makes of what it hears.
//!
//! Writes and reads with the gateway's own codecs where these serve a client. Looks at no more of a message than it must:
//! deliveries are known by their stamps before they come here.

use std::borrow::Cow;
use std::fmt;

use compact_str::ToCompactString as _;
use memchr::memmem;
use serde::Deserialize;

use super::message::Message;
use super::outgoing::Outgoing;
use crate::protocol::encoded::Encoded;
use crate::protocol::msgpack::{Dialect, Limits, Token, Transcoder};
use crate::protocol::{Version, json};

/// How a refusal begins, whoever writes it: `{ok: false, …}` is the first argument.
const REFUSAL: &[u8] = b"[{\"ok\":false";

/// The same in MessagePack: the key and the value.
const REFUSAL_MSGPACK: &[u8] = b"\xa2ok\xc2";

/// Bytes of an answer in which that must stand.
const REFUSAL_BYTES: usize = 64;

/// Levels of what is read in MessagePack.
const LEVELS_MAX: u32 = 32;

/// How Socket.IO's packets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// The default of all clients.
    Json,
    /// socket.io-msgpack-parser.
    Msgpack,
}

/// The conversation of every client of a run.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) version: Version,
    parser: Parser,
    namespace: String,
    /// Nothing for `/`, else the namespace and a comma.
    address: String,
    /// An event up to its number: `42/name,`.
    event: String,
    token: Option<String>,
}

/// What a message means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The namespace is entered.
    Connected,
    /// The namespace refuses, with this message.
    Refused(String),
    /// An event of ours was answered.
    Ack { id: u64, refusal: Option<Refusal> },
    /// The server put the client out of the namespace.
    Disconnected,
    /// Everything else: events, other namespaces.
    Other,
}

/// An answer that says no.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A code such as `forbidden`.
    #[serde(default)]
    pub(super) error: String,
    /// A sentence.
    #[serde(default)]
    pub(super) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.error.as_str(), self.message.as_str()) {
            ("", "") => f.write_str("no reason is given"),
            ("", text) | (text, "") => f.write_str(text),
            (error, message) => write!(f, "{error}: {message}"),
        }
    }
}

impl Talk {
    pub(super) fn new(version: Version, parser: Parser, namespace: &str, token: Option<String>) -> Self {
        let address = match namespace {
            "/" => String::new(),
            name => format!("{name},"),
        };
        Self {
            version,
            parser,
            namespace: namespace.to_owned(),
            event: format!("42{address}"),
            address,
            token,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the server lets clients in without being asked.
    pub(super) fn is_implicit(&self) -> bool {
        self.version == Version::V3 && self.address.is_empty()
    }

    /// The query of a handshake.
    pub(super) fn query(&self, transport: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("EIO", self.version.as_str());
        query.append_pair("transport", transport);
        if let (Version::V3, Some(token)) = (self.version, &self.token) {
            query.append_pair("token", token);
        }
        query.finish()
    }

    /// Asks to be let into the namespace.
    pub(super) fn connect(&self, out: &mut Outgoing) {
        let mut auth = String::new();
        if let (Version::V4, Some(token)) = (self.version, &self.token) {
            auth.push_str("{\"token\":");
            json::write_string(&mut auth, token);
            auth.push('}');
        }
        self.packet(out, &["40", &self.address, &auth]);
    }

    /// Says an event: `["name",…]`, to be answered under this number.
    #[inline]
    pub(super) fn event(&self, out: &mut Outgoing, id: u64, json: &str) {
        self.packet(out, &[&self.event, &id.to_compact_string(), json]);
    }

    fn packet(&self, out: &mut Outgoing, pieces: &[&str; 3]) {
        match self.parser {
            Parser::Json => out.text(pieces),
            Parser::Msgpack => {
                let packet = Encoded::text(pieces);
                out.binary(packet.msgpack().unwrap_or_default());
            }
        }
    }

    /// What a message means.
    pub(super) fn hear(&self, message: Message<'_>) -> Heard {
        match message {
            Message::Text(text) => self.hear_text(text).unwrap_or(Heard::Other),
            Message::Binary(bytes) => self.hear_msgpack(bytes).unwrap_or(Heard::Other),
            Message::Open(_) | Message::Pong(_) => Heard::Other,
        }
    }

    fn hear_text(&self, text: &[u8]) -> Option<Heard> {
        let (kind, rest) = text.split_first()?;
        // A packet without data ends behind the namespace, with or without a comma.
        let rest = match rest.strip_prefix(self.address.as_bytes()) {
            Some(rest) => rest,
            None if rest == self.namespace.as_bytes() => b"",
            None => return None,
        };
        if rest.starts_with(b"/") {
            return None; // another namespace
        }
        Some(match kind {
            b'0' => Heard::Connected,
            b'1' => Heard::Disconnected,
            b'3' => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (id, array) = rest.split_at(digits);
                let id = id
                    .iter()
                    .fold(0u64, |id, digit| id.wrapping_mul(10) + u64::from(digit - b'0'));
                let is_refusal = array.starts_with(REFUSAL);
                Heard::Ack {
                    id: (digits > 0).then_some(id)?,
                    refusal: is_refusal.then(|| refusal(array)),
                }
            }
            b'4' => Heard::Refused(reason(rest)),
            _ => Heard::Other,
        })
    }

    fn hear_msgpack(&self, message: &[u8]) -> Option<Heard> {
        let packet = Msgpack::read(message, false)?;
        if packet.namespace != self.namespace {
            return None;
        }
        let data = || {
            Msgpack::read(message, true)
                .map(|packet| packet.json)
                .unwrap_or_default()
        };
        Some(match packet.kind {
            0 => Heard::Connected,
            1 => Heard::Disconnected,
            3 => {
                let beginning = &message[..message.len().min(REFUSAL_BYTES)];
                let is_refusal = memmem::find(beginning, REFUSAL_MSGPACK).is_some();
                Heard::Ack {
                    id: packet.id?,
                    refusal: is_refusal.then(|| refusal(data().as_bytes())),
                }
            }
            4 => Heard::Refused(reason(data().as_bytes())),
            _ => Heard::Other,
        })
    }
}

/// A packet in MessagePack.
struct Msgpack<'a> {
    kind: u64,
    namespace: &'a str,
    id: Option<u64>,
    /// Its data, where that was wanted.
    json: String,
}

impl<'a> Msgpack<'a> {
    fn read(message: &'a [u8], wants_data: bool) -> Option<Self> {
        let limits = Limits {
            levels_max: LEVELS_MAX,
            attachments_max: 0,
        };
        let mut tokens = Transcoder::new(message, Dialect::Notepack, limits);
        let (mut kind, mut namespace, mut id) = (None, None, None);
        let Token::Map(length) = tokens.next().ok()? else {
            return None;
        };
        for _ in 0..length {
            let key = tokens.next().ok()?;
            let value = tokens.next().ok()?;
            match (key, value) {
                (Token::Text("type"), Token::Unsigned(number)) => kind = Some(number),
                (Token::Text("nsp"), Token::Text(name)) => namespace = Some(name),
                (Token::Text("id"), Token::Unsigned(number)) => id = Some(number),
                (Token::Text("data"), value) if wants_data => tokens.write(value).ok()?,
                (_, value) => tokens.skip(value).ok()?,
            }
        }
        Some(Self {
            kind: kind?,
            namespace: namespace?,
            id,
            json: tokens.json,
        })
    }
}

/// What an answer says that begins as a refusal.
fn refusal(array: &[u8]) -> Refusal {
    serde_json::from_slice(array).map_or_else(|_| Refusal::default(), |(refusal,)| refusal)
}

/// Why a namespace refuses: v5 says an object with a message, v4 a string.
fn reason(json: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Reason<'a> {
        Text(#[serde(borrow)] Cow<'a, str>),
        Object { message: String },
    }
    match serde_json::from_slice(json) {
        Ok(Reason::Text(message)) => message.into_owned(),
        Ok(Reason::Object { message }) => message,
        Err(_) => "without a message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(namespace: &str, parser: Parser) -> Talk {
        Talk::new(Version::V4, parser, namespace, Some("a\"b".into()))
    }

    fn ack(id: u64, refusal: Option<(&str, &str)>) -> Heard {
        let refusal = refusal.map(|(error, message)| Refusal {
            error: error.into(),
            message: message.into(),
        });
        Heard::Ack { id, refusal }
    }

    #[test]
    fn what_is_heard_depends_on_the_namespace() {
        for (namespace, text, expected) in [
            ("/", "0{\"sid\":\"x\"}", Heard::Connected),
            ("/", "0", Heard::Connected),
            ("/", "0/a,{\"sid\":\"x\"}", Heard::Other),
            ("/a", "0/a,{\"sid\":\"x\"}", Heard::Connected),
            ("/a", "0/a", Heard::Connected),
            ("/a", "0/ab,", Heard::Other),
            ("/a", "0", Heard::Other),
            ("/", "1", Heard::Disconnected),
            ("/", "4\"no\"", Heard::Refused("no".into())),
            ("/", "4{\"message\":\"no\",\"data\":1}", Heard::Refused("no".into())),
            ("/", "4", Heard::Refused("without a message".into())),
            ("/", "317[]", ack(17, None)),
            ("/a", "3/a,17[1]", ack(17, None)),
            ("/a", "317[1]", Heard::Other),
            ("/", "3[]", Heard::Other),
            (
                "/",
                r#"30[{"ok":false,"error":"forbidden","message":"not you"}]"#,
                ack(0, Some(("forbidden", "not you"))),
            ),
            ("/", r#"30[{"ok":false}]"#, ack(0, Some(("", "")))),
            ("/", r#"2["message","x"]"#, Heard::Other),
            ("/", "", Heard::Other),
        ] {
            let talk = talk(namespace, Parser::Json);
            assert_eq!(
                talk.hear(Message::Text(text.as_bytes())),
                expected,
                "{namespace} {text}"
            );
        }
    }

    #[test]
    fn the_same_is_heard_in_messagepack() {
        for (namespace, text, expected) in [
            ("/", r#"40{"sid":"x"}"#, Heard::Connected),
            ("/a", r#"40/a,{"sid":"x"}"#, Heard::Connected),
            ("/", r#"40/a,{"sid":"x"}"#, Heard::Other),
            ("/", "41", Heard::Disconnected),
            ("/", r#"44{"message":"no"}"#, Heard::Refused("no".into())),
            ("/", r#"4317[{"ok":true}]"#, ack(17, None)),
            (
                "/",
                r#"4317[{"ok":false,"error":"forbidden","message":"not you"}]"#,
                ack(17, Some(("forbidden", "not you"))),
            ),
            ("/", r#"42["message","x"]"#, Heard::Other),
        ] {
            let packet = Encoded::text(&[text]);
            let talk = talk(namespace, Parser::Msgpack);
            let message = packet.msgpack().unwrap();
            assert_eq!(talk.hear(Message::Binary(message)), expected, "{namespace} {text}");
            for cut in 0..message.len() {
                assert_eq!(talk.hear(Message::Binary(&message[..cut])), Heard::Other);
            }
        }
    }

    #[test]
    fn what_is_said_is_what_the_gateway_reads() {
        let text = |namespace: &str, say: &dyn Fn(&Talk, &mut Outgoing)| {
            let mut out = Outgoing::Bodies(Version::V4, Default::default());
            say(&talk(namespace, Parser::Json), &mut out);
            let Outgoing::Bodies(_, bodies) = out else {
                unreachable!()
            };
            String::from_utf8(bodies[0].clone()).unwrap()
        };
        assert_eq!(text("/", &|talk, out| talk.connect(out)), r#"40{"token":"a\"b"}"#);
        assert_eq!(text("/a", &|talk, out| talk.connect(out)), r#"40/a,{"token":"a\"b"}"#);
        assert_eq!(text("/a", &|talk, out| talk.event(out, 7, "[\"x\"]")), r#"42/a,7["x"]"#);
        assert_eq!(talk("/", Parser::Json).query("polling"), "EIO=4&transport=polling");
        let old = Talk::new(Version::V3, Parser::Json, "/", Some("a b".into()));
        assert_eq!(old.query("websocket"), "EIO=3&transport=websocket&token=a+b");
        assert!(old.is_implicit());
    }
}
