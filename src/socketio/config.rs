//! `[[namespace]]` as written; `rules.rs` compiles it.

use serde::{Deserialize, Serialize};

/// Bytes of an event's name: of one that clients relay, or that a rule is about.
pub const EVENT_BYTES_MAX: usize = 256;

/// One `[[namespace]]`: who may enter it and what the events of its clients do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Exact name (`/chat`) or pattern (`/org-*`).
    pub name: String,
    /// What a client must show to enter.
    #[serde(default)]
    pub auth: Auth,
    /// Rooms joined on connect; `{user}`, `{socket}` and `{namespace}` are replaced.
    #[serde(default)]
    pub rooms: Vec<String>,
    /// Patterns of the rooms that a client may join by itself.
    #[serde(default = "everything")]
    pub join: Vec<String>,
    /// Patterns of the rooms that a client may publish to.
    #[serde(default = "everything")]
    pub publish: Vec<String>,
    /// Whether a client must be in a room to publish to it.
    #[serde(default = "yes")]
    pub members_only: bool,
    /// Whether `{user, socket, room, time}` is added to what clients publish.
    #[serde(default)]
    pub stamp: bool,
    /// Whether a room's members are told who comes and goes.
    #[serde(default)]
    pub presence: bool,
    /// What becomes of events that no rule names.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// Rules for events, first match wins, before the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<EventRule>,
}

/// What a client must show to enter a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Ways", into = "Ways")]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A token.
    Token,
    /// Whatever the application wants.
    Webhook,
    /// A token, and then what the application wants.
    Both,
}

/// `auth` as it is written.
#[derive(Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "must be \"none\", \"token\", \"webhook\" or [\"token\", \"webhook\"]"
)]
enum Ways {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<Ways> for Auth {
    type Error = &'static str;

    fn try_from(ways: Ways) -> Result<Self, Self::Error> {
        let ways = match ways {
            Ways::One(way) if way == "none" => return Ok(Self::None),
            Ways::One(way) => vec![way],
            Ways::Many(ways) => ways,
        };
        let ways: Vec<_> = ways.iter().map(String::as_str).collect();
        match ways[..] {
            ["token"] => Ok(Self::Token),
            ["webhook"] => Ok(Self::Webhook),
            ["token", "webhook"] | ["webhook", "token"] => Ok(Self::Both),
            _ => Err("must be \"none\", \"token\", \"webhook\" or [\"token\", \"webhook\"]"),
        }
    }
}

impl From<Auth> for Ways {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::One("none".into()),
            Auth::Token => Self::One("token".into()),
            Auth::Webhook => Self::One("webhook".into()),
            Auth::Both => Self::Many(vec!["token".into(), "webhook".into()]),
        }
    }
}

impl Auth {
    /// Whether a token is read.
    pub fn reads_tokens(self) -> bool {
        matches!(self, Self::Token | Self::Both)
    }

    /// Whether the application is asked.
    pub fn asks(self) -> bool {
        matches!(self, Self::Webhook | Self::Both)
    }
}

/// One `[[namespace.event]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// Exact name or pattern of the events it is for.
    pub name: String,
    /// What the event does.
    pub action: ActionName,
    /// For `broadcast`: `namespace`, `rooms` or `room:NAME`.
    #[serde(default = "namespace")]
    pub to: String,
    /// For `broadcast` and `publish`: whether the sender receives it too.
    #[serde(default)]
    pub echo: bool,
    /// For `stream`: the stream in Redis.
    #[serde(default)]
    pub stream: String,
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionName {
    /// Joins the rooms in its first argument.
    Join,
    /// Leaves the rooms in its first argument.
    Leave,
    /// Relays the event in its second argument to the rooms in its first.
    Publish,
    /// Relays the event itself.
    Broadcast,
    /// Says who is in the room in its first argument.
    Members,
    /// Takes the token in its first argument.
    Refresh,
    /// Answers with the event's own arguments.
    Ack,
    /// Hands the event to the application.
    Webhook,
    /// Appends the event to a stream in Redis.
    Stream,
    /// Nothing.
    Drop,
}

/// What becomes of events that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// They are refused.
    #[default]
    Drop,
    /// They are relayed to the whole namespace.
    Broadcast,
    /// They are handed to the application.
    Webhook,
}

impl Namespace {
    /// The one namespace of a gateway that has none configured: `/`, open to everybody.
    pub fn open() -> Self {
        Self {
            name: "/".into(),
            auth: Auth::None,
            rooms: Vec::new(),
            join: everything(),
            publish: everything(),
            members_only: true,
            stamp: false,
            presence: false,
            otherwise: Otherwise::Drop,
            event: Vec::new(),
        }
    }
}

fn everything() -> Vec<String> {
    vec!["*".into()]
}

fn yes() -> bool {
    true
}

fn namespace() -> String {
    "namespace".into()
}

/// The settings that a client's life depends on.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The namespaces and their rules.
    pub namespaces: &'a [Namespace],
    /// What a client may make us hold.
    pub limits: &'a crate::limits::Config,
    /// Sizes and times of the transport below.
    pub engine: &'a crate::engine::Config,
}
