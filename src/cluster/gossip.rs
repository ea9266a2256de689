//! What gateways tell each other on channels of their own: one object of JSON a message.
//!
//! Nothing there is authenticated: a message is read as if it came from anybody. Fields and kinds that are unknown are
//! passed over, so that gateways of different versions get along.

use std::collections::BTreeMap;

use bytes::Bytes;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::found::{FoundRoom, FoundSocket, RoomQuery, SocketQuery};
use super::hearing::Act;
use super::pages::Page;
use crate::hub::Member;
use crate::protocol::ids::looks_like_socket_id;

/// The version of these messages.
pub(super) const VERSION: u32 = 1;

/// Rooms in one `look`.
pub(super) const ROOMS_MAX: usize = 500;

/// Users by the shown ids of their sockets.
pub type Users = BTreeMap<CompactString, CompactString>;

/// What a gateway says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Node {
    /// One run of it.
    pub run: CompactString,
    /// What the ids of its sockets begin with.
    pub tag: CompactString,
    /// The version of the program.
    pub version: CompactString,
    /// Where other gateways reach it; empty where they do not.
    pub address: CompactString,
    /// Open sessions.
    pub connections: u64,
    /// Sockets.
    pub sockets: u64,
    /// Rooms with members, as they were a few heartbeats ago.
    pub rooms: u64,
    /// Seconds since it started.
    pub uptime: u64,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// It is about to leave.
    pub draining: bool,
    /// Milliseconds between its heartbeats.
    pub heartbeat: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Message {
    /// A gateway is there, anew or again: all others answer with a `beat` on its own channel.
    Hello { v: u32, node: Node },
    /// A gateway is there.
    Beat { v: u32, node: Node },
    /// A gateway is gone.
    Bye { v: u32, node: Node },
    /// A question, to be answered on the channel of `run`.
    Ask {
        v: u32,
        run: CompactString,
        id: u64,
        question: Question,
    },
    /// The answer of `run` to one question.
    Answer {
        v: u32,
        run: CompactString,
        id: u64,
        answer: Answer,
    },
    /// Tell me on the channel of `run` who is in these rooms.
    Look { v: u32, run: CompactString, look: Look },
    /// Who of the sockets whose ids begin with `tag` is in rooms.
    Roster { v: u32, roster: Roster },
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

/// What is asked of all gateways.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "of", rename_all = "lowercase")]
pub(super) enum Question {
    /// Who is in a room.
    Members {
        namespace: CompactString,
        room: CompactString,
        /// How many are to be named.
        max: usize,
    },
    /// Which sockets there are.
    Sockets(SocketQuery),
    /// Which rooms there are.
    Rooms(RoomQuery),
    /// What it says of itself, now.
    Node,
    /// Not a question but a wish: to drain, or to serve again.
    Drain { wanted: bool },
    /// No question but an order: do this to sockets of yours, and say when it is done.
    Do(Order),
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

/// What is to be done to which sockets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Order {
    pub(super) namespace: CompactString,
    /// Those in one of these rooms; `None` = all of the namespace.
    pub(super) rooms: Option<Vec<CompactString>>,
    /// But none in one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) except: Vec<CompactString>,
    pub(super) act: Act,
}

/// What a gateway answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "of", rename_all = "lowercase")]
pub(super) enum Answer {
    /// Who is in a room.
    Members {
        /// Shown ids.
        ids: Vec<CompactString>,
        /// Who those of them are that are somebody.
        #[serde(default, skip_serializing_if = "Users::is_empty")]
        users: Users,
        /// How many there are.
        total: u64,
        /// Whether the gateway hears the adapters' request channel of the namespace, as Node servers in it do.
        in_namespace: bool,
    },
    /// The first of the sockets.
    Sockets {
        page: Page<FoundSocket>,
        in_namespace: bool,
    },
    /// The first of the rooms.
    Rooms { page: Page<FoundRoom>, in_namespace: bool },
    /// What it says of itself; `in_namespace` is about `/`.
    Node { node: Node, in_namespace: bool },
    /// Whether it drains.
    Drain { draining: bool },
    /// The order is carried out.
    Done,
    /// The question was not understood.
    #[serde(other)]
    Unknown,
}

/// Rooms of a namespace whose members somebody wants to know of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Look {
    pub(super) namespace: CompactString,
    pub(super) rooms: Vec<CompactString>,
    /// Whether who asks may have missed something: then also empty rooms are answered.
    pub(super) is_again: bool,
}

/// Members of rooms on one gateway, by the ids that others are shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Roster {
    /// What the ids of that gateway begin with.
    pub tag: CompactString,
    /// The namespace.
    pub namespace: CompactString,
    /// The rooms, with their members.
    pub rooms: Vec<(CompactString, Vec<CompactString>)>,
    /// Who those members are that are somebody.
    #[serde(default, skip_serializing_if = "Users::is_empty")]
    pub users: Users,
    /// Whether this node may have missed something before it asked.
    pub is_again: bool,
    /// Whether all members are named.
    pub is_complete: bool,
}

impl Message {
    /// Reads a message; the error says what is wrong with it.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, String> {
        let message: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        match &message {
            Self::Hello { node, .. } | Self::Beat { node, .. } | Self::Bye { node, .. } if !node.is_plausible() => {
                Err(format!("a gateway {:?} with the tag {:?}", node.run, node.tag))
            }
            Self::Look { look, .. } if look.rooms.len() > ROOMS_MAX => Err(format!("{} rooms", look.rooms.len())),
            _ => Ok(message),
        }
    }

    /// The message as it is published.
    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into() // texts and numbers can always be written
    }
}

impl Node {
    fn is_plausible(&self) -> bool {
        (1..=64).contains(&self.run.len()) && (1..=16).contains(&self.tag.len())
    }
}

/// The shown ids of members; who they are comes into `users`.
pub(super) fn split(members: Vec<Member>, users: &mut Users) -> Vec<CompactString> {
    let split = members.into_iter().map(|Member { id, user }| {
        let id = CompactString::from(id.as_str());
        users.extend(user.map(|user| (id.clone(), CompactString::from(&*user))));
        id
    });
    split.collect()
}

impl Answer {
    /// Whether the gateway hears the adapters' request channel of the namespace that it was asked about.
    pub(super) fn is_in_namespace(&self) -> bool {
        match self {
            Self::Members { in_namespace, .. }
            | Self::Sockets { in_namespace, .. }
            | Self::Rooms { in_namespace, .. }
            | Self::Node { in_namespace, .. } => *in_namespace,
            _ => false,
        }
    }
}

/// Keeps what can be the id of a socket.
pub(super) fn plausible_ids(ids: &mut Vec<CompactString>) {
    ids.retain(|id| looks_like_socket_id(id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_passed_over() {
        let beat = r#"{"type":"beat","v":9,"node":{"run":"abcdefgh","tag":"AAAA","more":[1]},"x":null}"#;
        let node = Node {
            run: "abcdefgh".into(),
            tag: "AAAA".into(),
            ..Node::default()
        };
        assert_eq!(Message::decode(beat.as_bytes()), Ok(Message::Beat { v: 9, node }));
        let new = r#"{"type":"song","v":2,"verse":1}"#;
        assert_eq!(Message::decode(new.as_bytes()), Ok(Message::Unknown));
        let ask = r#"{"type":"ask","v":2,"run":"r","id":3,"question":{"of":"weather","where":"here"}}"#;
        let Ok(Message::Ask { question, .. }) = Message::decode(ask.as_bytes()) else {
            panic!("no question");
        };
        assert_eq!(question, Question::Unknown);
    }

    #[test]
    fn messages_are_one_line_and_read_as_they_were_written() {
        let question = Question::Members {
            namespace: "/".into(),
            room: "a\n\"b\"".into(),
            max: 1000,
        };
        let message = Message::Ask {
            v: VERSION,
            run: "abcdefgh".into(),
            id: 7,
            question,
        };
        let bytes = message.encode();
        assert!(!bytes.contains(&b'\n'));
        assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn what_no_gateway_says_is_refused() {
        let rooms = vec![CompactString::from("r"); ROOMS_MAX + 1];
        let look = Look {
            namespace: "/".into(),
            rooms,
            is_again: false,
        };
        let message = Message::Look {
            v: VERSION,
            run: "r".into(),
            look,
        };
        for payload in [
            &b""[..],
            b"[]",
            b"{}",
            br#"{"type":"beat","v":1,"node":{}}"#,
            br#"{"type":"beat","v":1}"#,
            b"\xff",
            &message.encode(),
        ] {
            assert!(Message::decode(payload).is_err(), "{payload:?}");
        }
    }
}
