//! Commands as they are written: JSON objects, of which every field is known and of the right kind.

use std::fmt;
use std::time::Duration;

use compact_str::{CompactString, ToCompactString as _};
use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Command, Emit, Order, Whom};
use crate::backend;
use crate::cluster::Act;
use crate::hub::{Name, is_reserved, user_room};
use crate::protocol::json;
use crate::protocol::socket::{self, ATTACHMENTS_MAX, Kind, NAMESPACE_BYTES_MAX, RESERVED_EVENTS};
use crate::socketio::arguments::OWN_EVENTS;
use crate::socketio::config::EVENT_BYTES_MAX;
use crate::units::Span;

/// Rooms in one list.
const ROOMS_MAX: usize = 10_000;

/// Bytes of an idempotent command's id.
const ID_BYTES_MAX: usize = 128;

/// The longest that clients' answers are waited for.
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A command that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}", if field.is_empty() { "the command".to_owned() } else { format!("`{field}`") })]
pub struct Invalid {
    /// The field that is wrong, with a path where it is inside one; empty where the whole is.
    pub field: String,
    /// What is wrong with it, as the end of a sentence that begins with it.
    pub problem: String,
}

impl Invalid {
    pub(super) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            problem: problem.into(),
        }
    }
}

/// All fields of all commands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(default, deserialize_with = "present")]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "present")]
    rooms: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    user: Option<String>,
    #[serde(default, deserialize_with = "present")]
    all: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    except: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    event: Option<String>,
    #[serde(default, borrow, deserialize_with = "present")]
    args: Option<Vec<&'a RawValue>>,
    #[serde(default, deserialize_with = "present")]
    volatile: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    local: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    ack_timeout: Option<Patience>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    join: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    leave: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    close: Option<bool>,
}

/// A field that is there: `null` is not the same as nothing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Command {
    /// Reads a command: `name` is `emit`, `join`, `leave` or `disconnect`, `json` its fields.
    ///
    /// # Errors
    /// With the field that is wrong.
    pub fn parse(name: &str, json: &str) -> Result<Self, Invalid> {
        // A list would be taken for the fields in their order.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(Invalid::new("", "is no object"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let fields: Fields<'_> = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "" } else { &path };
            let problem = format!("is wrong: {}", without_place(&error.inner().to_string()));
            Invalid::new(field, problem)
        })?;
        deserializer
            .end()
            .map_err(|_| Invalid::new("", "has more behind its end"))?;
        match name {
            "emit" => fields.emit().map(Self::Emit),
            "join" => fields.change("join").map(Self::Order),
            "leave" => fields.change("leave").map(Self::Order),
            "disconnect" => fields.disconnect().map(Self::Order),
            other => Err(Invalid::new(
                other,
                "is no command: there are emit, join, leave and disconnect",
            )),
        }
    }
}

/// An error of serde's without the line and column, which mean nothing in one line.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

impl Fields<'_> {
    fn emit(mut self) -> Result<Emit, Invalid> {
        let whom = self.whom()?;
        let name = self.event.take().ok_or_else(|| Invalid::new("event", "is missing"))?;
        if name.is_empty() || name.len() > EVENT_BYTES_MAX {
            let problem = format!("must have 1 to {EVENT_BYTES_MAX} bytes");
            return Err(Invalid::new("event", problem));
        }
        // By those of their own gateways know who is where.
        if RESERVED_EVENTS.contains(&&*name) || OWN_EVENTS.contains(&&*name) {
            return Err(Invalid::new("event", format!("\"{name}\" is reserved")));
        }
        let mut text = String::from("[");
        json::write_string(&mut text, &name);
        for arg in self.args.take().unwrap_or_default() {
            text.push(',');
            text.push_str(arg.get());
        }
        text.push(']');
        let (text, attachments) = backend::extract(&text).map_err(|error| Invalid::new("args", error.to_string()))?;
        if attachments.len() > ATTACHMENTS_MAX {
            let problem = format!("have {} binaries, clients take {ATTACHMENTS_MAX}", attachments.len());
            return Err(Invalid::new("args", problem));
        }
        if socket::check_json(Kind::Event, &text).is_err() {
            let problem = format!("have more than {} levels", json::DEPTH_MAX);
            return Err(Invalid::new("args", problem));
        }
        let id = self.id.take();
        if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX) {
            return Err(Invalid::new("id", format!("must have 1 to {ID_BYTES_MAX} bytes")));
        }
        let patience = self.ack_timeout.take().map(|patience| patience.0);
        if patience.is_some_and(|patience| patience.is_zero() || patience > ACK_TIMEOUT_MAX) {
            let problem = format!("must be more than 0 and at most {}", Span(ACK_TIMEOUT_MAX));
            return Err(Invalid::new("ack_timeout", problem));
        }
        let emit = Emit {
            whom,
            json: text.into_owned(),
            attachments,
            is_volatile: self.volatile.take().unwrap_or_default(),
            is_local: self.local.take().unwrap_or_default(),
            ack_timeout: patience,
            id,
        };
        self.is_used("emit")?;
        Ok(emit)
    }

    fn change(mut self, name: &'static str) -> Result<Order, Invalid> {
        let whom = self.whom()?;
        let (rooms, act): (_, fn(Vec<CompactString>) -> Act) = match name {
            "join" => (self.join.take(), Act::Join),
            _ => (self.leave.take(), Act::Leave),
        };
        let rooms = rooms.ok_or_else(|| Invalid::new(name, "is missing: the rooms"))?;
        let act = act(rooms.checked(name)?);
        self.is_used(name)?;
        Ok(Order { whom, act })
    }

    fn disconnect(mut self) -> Result<Order, Invalid> {
        let whom = self.whom()?;
        let close = self.close.take().unwrap_or_default();
        self.is_used("disconnect")?;
        let act = Act::Disconnect { close };
        Ok(Order { whom, act })
    }

    /// Whom it is about, as all commands say it.
    fn whom(&mut self) -> Result<Whom, Invalid> {
        let namespace = self.namespace.take();
        if namespace.as_ref().is_some_and(|name| !is_namespace(name)) {
            let problem =
                format!("must begin with a slash and have at most {NAMESPACE_BYTES_MAX} bytes, without `,` and `?`");
            return Err(Invalid::new("namespace", problem));
        }
        let mut rooms = match self.rooms.take() {
            Some(rooms) => rooms.checked("rooms")?,
            None => Vec::new(),
        };
        match self.user.take() {
            Some(user) if user.is_empty() => return Err(Invalid::new("user", "is empty")),
            Some(user) => rooms.push(user_room(&user)),
            None => {}
        }
        let all = self.all.take().unwrap_or_default();
        if all && !rooms.is_empty() {
            return Err(Invalid::new("all", "goes with neither `rooms` nor `user`"));
        }
        let except = match self.except.take() {
            Some(Names(names)) if names.is_empty() => Vec::new(),
            Some(names) => names.checked("except")?,
            None => Vec::new(),
        };
        Ok(Whom {
            namespace: namespace.map(Name::from),
            rooms,
            all,
            except,
        })
    }

    /// Whether nothing is left that the command does not know.
    fn is_used(&self, name: &str) -> Result<(), Invalid> {
        let left = [
            ("event", self.event.is_some()),
            ("args", self.args.is_some()),
            ("volatile", self.volatile.is_some()),
            ("local", self.local.is_some()),
            ("ack_timeout", self.ack_timeout.is_some()),
            ("id", self.id.is_some()),
            ("join", self.join.is_some()),
            ("leave", self.leave.is_some()),
            ("close", self.close.is_some()),
        ];
        match left.iter().find(|(_, is_there)| *is_there) {
            Some((field, _)) => Err(Invalid::new(field, format!("is no field of `{name}`"))),
            None => Ok(()),
        }
    }
}

fn is_namespace(name: &str) -> bool {
    name.starts_with('/') && name.len() <= NAMESPACE_BYTES_MAX && !name.contains([',', '?'])
}

/// A name, or a list of names; numbers as their decimal text.
struct Names(Vec<CompactString>);

impl Names {
    /// The names, each once.
    fn checked(self, field: &str) -> Result<Vec<CompactString>, Invalid> {
        let Self(names) = self;
        if names.is_empty() {
            return Err(Invalid::new(field, "is empty: it must name at least one room"));
        }
        if names.len() > ROOMS_MAX {
            let problem = format!("names {} rooms, {ROOMS_MAX} are allowed", names.len());
            return Err(Invalid::new(field, problem));
        }
        if names.iter().any(|name| name.is_empty()) {
            return Err(Invalid::new(field, "has an empty name"));
        }
        if names.iter().any(|name| is_reserved(name)) {
            return Err(Invalid::new(field, "has a name that begins with a NUL"));
        }
        let mut seen = hashbrown::HashSet::<_, foldhash::fast::RandomState>::default();
        Ok(names.into_iter().filter(|name| seen.insert(name.clone())).collect())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Names;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Room(name)) = list.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// One name.
struct Room(CompactString);

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = Room;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Room, E> {
                Ok(Room(name.into()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Room, E> {
                Ok(Room(number.to_compact_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Room, E> {
                Ok(Room(number.to_compact_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Room, E> {
                let whole = whole(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))?;
                Ok(Room(whole.to_compact_string()))
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

/// A whole number that was written with a point or an exponent: some languages write all of theirs so. What is beyond
/// 64 bits has lost digits already.
fn whole(number: f64) -> Option<i128> {
    const LEAST: f64 = -9_223_372_036_854_775_808.0;
    const MOST: f64 = 18_446_744_073_709_551_616.0;
    (number.fract() == 0.0 && LEAST < number && number < MOST).then_some(number as i128)
}

/// A time, as in the configuration (`"5s"`), or a number of milliseconds, as clients' `timeout()` takes it.
struct Patience(Duration);

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = Patience;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time such as \"5s\", or a number of milliseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Patience, E> {
                text.parse::<Span>().map(|span| Patience(span.0)).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, milliseconds: u64) -> Result<Patience, E> {
                Ok(Patience(Duration::from_millis(milliseconds)))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Patience, E> {
                let milliseconds = whole(number).and_then(|number| u64::try_from(number).ok());
                let milliseconds = milliseconds.ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))?;
                self.visit_u64(milliseconds)
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}
