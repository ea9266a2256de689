//! Whom a broadcast is for.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use smallvec::{SmallVec, smallvec};

use super::{Name, SocketKey};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;

/// Rooms, at least one: an empty list would mean everybody on the wires of others, and never does here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms(SmallVec<[CompactString; 1]>);

/// How the name of a user's room begins: no client, and no other server, can make one of this name.
const USER_ROOM: &str = "\0user:";

/// The room in which all sockets of a user are by themselves, on every gateway. Nobody can join or leave it, and it is no
/// room anywhere else.
pub fn user_room(user: &str) -> CompactString {
    format_compact!("{USER_ROOM}{user}")
}

/// Whose room this is, if it is a user's.
pub(super) fn user_of(room: &str) -> Option<&str> {
    room.strip_prefix(USER_ROOM)
}

/// Whether names of rooms like this one are not for others to use.
pub fn is_reserved(room: &str) -> bool {
    room.starts_with('\0')
}

/// The sockets of a namespace that a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of them.
    Namespace,
    /// Those in at least one of these rooms, once each.
    Rooms(Rooms),
}

/// A packet on its way to many.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The namespace.
    pub namespace: Name,
    /// Whom in it.
    pub target: Target,
    /// Who of them is left out.
    pub except: Except,
    /// What they get.
    pub packet: Arc<Encoded>,
    /// Whether clients that cannot take it at once do without it.
    pub is_volatile: bool,
}

/// Who is left out of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Except {
    /// The socket that sent it.
    pub sender: Option<Sender>,
    /// Everybody in one of these rooms.
    pub rooms: Vec<CompactString>,
}

impl Except {
    /// This socket alone.
    pub fn sender(key: SocketKey, id: &SocketId) -> Self {
        Self {
            sender: Some(Sender { key, id: id.clone() }),
            rooms: Vec::new(),
        }
    }
}

/// A socket of this node that sends something to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The socket, here.
    pub key: SocketKey,
    /// Its id, by which other nodes leave it out.
    pub id: SocketId,
}

/// Sockets of a namespace that something is done to, or asked about.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// Whom in it.
    pub target: &'a Target,
    /// Everybody in one of these rooms is left out.
    pub except: &'a [CompactString],
}

impl Broadcast {
    /// Bytes that it takes while it waits; a list of a thousand rooms makes many.
    pub fn bytes(&self) -> usize {
        let rooms = match &self.target {
            Target::Namespace => &[][..],
            Target::Rooms(rooms) => rooms.as_slice(),
        };
        let names = rooms.iter().chain(&self.except.rooms);
        let names = names.map(|room| size_of::<CompactString>() + room.len());
        self.packet.weight() + names.sum::<usize>()
    }
}

impl Rooms {
    /// One room.
    pub fn one(room: impl Into<CompactString>) -> Self {
        Self(smallvec![room.into()])
    }

    /// These rooms; `None` where there is none.
    pub fn from_list(rooms: impl IntoIterator<Item = CompactString>) -> Option<Self> {
        let rooms: SmallVec<_> = rooms.into_iter().collect();
        (!rooms.is_empty()).then_some(Self(rooms))
    }

    /// The names.
    pub fn as_slice(&self) -> &[CompactString] {
        &self.0
    }
}
