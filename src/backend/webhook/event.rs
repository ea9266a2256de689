//! What the application is asked or told, as JSON.
//!
//! All of it is as it was when it happened but a socket's `data`, which is the newest: the body is written when its turn
//! comes.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Kind;
use crate::backend::inline;
use crate::metrics::Transport;
use crate::protocol::ids::SocketId;
use crate::protocol::{Version, json};

/// A socket, as far as it stays what it is.
pub struct Subject {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its id, as the API knows it.
    pub id: SocketId,
    /// Who the client is, where something says so.
    pub user: Option<Arc<str>>,
    /// Its protocol.
    pub version: Version,
    /// What is kept of the request by which its session began, as JSON.
    pub record: Arc<str>,
    /// What its namespace was entered with: JSON, and a query of clients 1.x and 2.x; both may be empty.
    pub auth: Box<str>,
    /// The query behind the namespace's name.
    pub query: Box<str>,
}

/// Something that the application is asked or told.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// Its name, by which repeats are known; empty = one is made.
    pub id: CompactString,
    time: SystemTime,
    /// Where it is no socket's: its namespace, if it has one.
    pub(super) namespace: Option<Arc<str>>,
    moment: Option<Moment>,
    /// Further fields as JSON, each with a comma before it.
    more: String,
}

/// What of a socket changes, as it was.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The rooms that it is in, without its private ones.
    pub rooms: Vec<Arc<str>>,
    /// How its packets reach it.
    pub transport: Transport,
}

/// The part of a record that the application is told.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    address: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    headers: &'a RawValue,
    #[serde(borrow)]
    query: &'a RawValue,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive() // most of it may be secret
    }
}

impl Subject {
    /// How many bytes it holds, about.
    fn bytes(&self) -> usize {
        self.record.len() + self.auth.len() + self.query.len()
    }

    fn write(&self, out: &mut String, moment: &Moment, data: &str) {
        out.push_str(r#""socket":{"id":"#);
        json::write_string(out, self.id.as_str());
        out.push_str(r#","user":"#);
        match &self.user {
            Some(user) => json::write_string(out, user),
            None => out.push_str("null"),
        }
        out.push_str(r#","rooms":"#);
        write_names(out, &moment.rooms);
        out.push_str(r#","data":"#);
        out.push_str(or_empty(data));
        let record = serde_json::from_str::<Record<'_>>(&self.record).ok();
        let record = record.as_ref();
        out.push_str(r#","address":"#);
        json::write_string(out, record.map_or("", |record| &*record.address));
        out.push_str(r#","transport":""#);
        out.push_str(moment.transport.as_str());
        out.push_str(r#"","protocol":"#);
        out.push_str(self.version.as_str());
        out.push_str(r#","headers":"#);
        out.push_str(record.map_or("{}", |record| record.headers.get()));
        out.push_str(r#","query":"#);
        self.write_query(out, record.map_or("{}", |record| record.query.get()));
        out.push_str(r#","auth":"#);
        out.push_str(or_empty(&self.auth));
        out.push('}');
    }

    /// The handshake's query, and over it the namespace's.
    fn write_query(&self, out: &mut String, handshake: &str) {
        if self.query.is_empty() {
            return out.push_str(handshake);
        }
        let mut query: serde_json::Map<String, serde_json::Value> = serde_json::from_str(handshake).unwrap_or_default();
        let own = form_urlencoded::parse(self.query.as_bytes());
        query.extend(own.map(|(key, value)| (key.into_owned(), value.into_owned().into())));
        out.push_str(&serde_json::Value::from(query).to_string());
    }
}

impl Event {
    /// Something of a socket that is now so.
    pub fn of(kind: Kind, moment: Moment) -> Self {
        Self {
            moment: Some(moment),
            ..Self::new(kind)
        }
    }

    /// Something that is no socket's, in a namespace or in none. With an id, repeats can be told.
    pub fn elsewhere(kind: Kind, id: CompactString, namespace: Option<Arc<str>>) -> Self {
        Self {
            id,
            namespace,
            ..Self::new(kind)
        }
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            id: CompactString::default(),
            time: SystemTime::now(),
            namespace: None,
            moment: None,
            more: String::new(),
        }
    }

    /// With a further field, a text.
    #[must_use]
    pub fn with(mut self, field: &str, text: &str) -> Self {
        self.name(field);
        json::write_string(&mut self.more, text);
        self
    }

    /// With a further field, JSON.
    #[must_use]
    pub fn with_json(mut self, field: &str, json: &str) -> Self {
        self.name(field);
        self.more.push_str(json);
        self
    }

    /// With a further field, names.
    #[must_use]
    pub fn with_names(mut self, field: &str, names: &[Arc<str>]) -> Self {
        self.name(field);
        write_names(&mut self.more, names);
        self
    }

    /// With a client's event: its name as written, and its arguments as they stand in its packet, `1,2]`.
    #[must_use]
    pub fn with_call(mut self, name: &str, arguments: &str, attachments: &[Bytes]) -> Self {
        self.name("event");
        self.more.push_str(name);
        self.name("args");
        let array = format!("[{arguments}");
        let inlined = inline(&array, attachments);
        // Placeholders were checked when the packet was read.
        self.more.push_str(inlined.as_deref().unwrap_or(&array));
        self
    }

    fn name(&mut self, field: &str) {
        self.more.push(',');
        json::write_string(&mut self.more, field);
        self.more.push(':');
    }

    /// How many bytes it takes to keep it, about.
    pub(super) fn bytes(&self, subject: Option<&Subject>) -> usize {
        const OVERHEAD: usize = 256;
        let rooms = self.moment.as_ref().map_or(0, |moment| moment.rooms.len());
        OVERHEAD + self.more.len() + rooms * size_of::<Arc<str>>() + subject.map_or(0, Subject::bytes)
    }

    /// What a client put into it, in bytes.
    pub(super) fn own_bytes(&self) -> usize {
        self.more.len()
    }

    /// All of it as JSON.
    pub fn body(&self, node: &str, subject: Option<&Subject>, data: &str) -> Bytes {
        let mut out = String::with_capacity(256 + self.bytes(subject) + data.len());
        out.push_str(r#"{"id":"#);
        json::write_string(&mut out, &self.id);
        out.push_str(r#","type":""#);
        out.push_str(self.kind.as_str());
        out.push_str(r#"","time":""#);
        out.push_str(&humantime::format_rfc3339_millis(self.time).to_string());
        out.push_str(r#"","node":"#);
        json::write_string(&mut out, node);
        let namespace = subject.map(|subject| &subject.namespace).or(self.namespace.as_ref());
        if let Some(namespace) = namespace {
            out.push_str(r#","namespace":"#);
            json::write_string(&mut out, namespace);
        }
        if let (Some(subject), Some(moment)) = (subject, &self.moment) {
            out.push(',');
            subject.write(&mut out, moment, data);
        }
        out.push_str(&self.more);
        out.push('}');
        out.into()
    }
}

fn or_empty(json: &str) -> &str {
    if json.is_empty() { "{}" } else { json }
}

fn write_names(out: &mut String, names: &[Arc<str>]) {
    out.push('[');
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::write_string(out, name);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::ids::Sid;

    fn subject() -> Subject {
        Subject {
            namespace: "/chat".into(),
            id: SocketId::from(Sid::parse("AAAAAAAAAAAAAAAAAAAA").unwrap()),
            user: Some("alice".into()),
            version: Version::V3,
            record: r#"{"headers":{"cookie":"a=b"},"address":"203.0.113.9","query":{"EIO":"3","a":"1"},"url":"/"}"#
                .into(),
            auth: r#"{"n":1.10}"#.into(),
            query: "a=2&b=%20".into(),
        }
    }

    #[test]
    fn a_body_is_what_the_contract_shows() {
        let moment = Moment {
            rooms: vec!["r\"".into(), "s".into()],
            transport: Transport::WebSocket,
        };
        let mut event = Event::of(Kind::Event, moment).with_call("\"order\"", r#"{"n":1.10}]"#, &[]);
        event.id = "id".into();
        let body = event.body("AbCd", Some(&subject()), r#"{"k":1.10}"#);
        let text = str::from_utf8(&body).unwrap();
        for part in [r#""data":{"k":1.10}"#, r#""args":[{"n":1.10}]"#, r#""auth":{"n":1.10}"#] {
            assert!(text.contains(part), "{text}");
        }
        let mut value: Value = serde_json::from_str(text).unwrap();
        let time = value["time"].take();
        assert!(
            time.as_str().unwrap().ends_with('Z') && time.as_str().unwrap().len() == 24,
            "{time}"
        );
        assert_eq!(
            value,
            json!({
                "id": "id", "type": "event", "time": null, "node": "AbCd", "namespace": "/chat",
                "socket": {
                    "id": "AAAAAAAAAAAAAAAAAAAA", "user": "alice", "rooms": ["r\"", "s"], "data": {"k": 1.10},
                    "address": "203.0.113.9", "transport": "websocket", "protocol": 3, "headers": {"cookie": "a=b"},
                    "query": {"EIO": "3", "a": "2", "b": " "}, "auth": {"n": 1.10},
                },
                "event": "order", "args": [{"n": 1.10}],
            })
        );
    }

    #[test]
    fn what_is_no_sockets_has_a_namespace_or_none() {
        for (namespace, expected) in [(Some("/".into()), json!("/")), (None, Value::Null)] {
            let event = Event::elsewhere(Kind::RoomVacated, "x-1".into(), namespace).with("room", "a");
            let value: Value = serde_json::from_slice(&event.body("AbCd", None, "")).unwrap();
            assert_eq!((&value["namespace"], &value["id"]), (&expected, &json!("x-1")));
            assert_eq!((&value["room"], &value["socket"]), (&json!("a"), &Value::Null));
        }
    }
}
