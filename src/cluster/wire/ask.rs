//! What nodes ask each other and order each other to do.

use compact_str::CompactString;

use super::Broadcast;
use super::names::Names;

/// How old the asking node is. The numbers of the kinds clash between these: they are told apart by the key of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// @socket.io/redis-adapter and socket.io-redis 6: `requestId`.
    Modern,
    /// socket.io-redis 2 to 5: `requestid`. Who asks waits for its own answer too.
    Legacy,
    /// socket.io-redis 1.1: `transaction`, on channels of its own.
    Sync,
}

/// A message on a request channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks; `None` from emitters and from old nodes.
    pub uid: Option<CompactString>,
    /// What an answer must name; `None` = no answer is expected.
    pub id: Option<CompactString>,
    /// In which form the answer is expected.
    pub dialect: Dialect,
    /// What is to be done or told.
    pub ask: Ask,
}

/// Sockets of a namespace: those in one of `rooms` (none = all) and in none of `except`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Rooms they are in.
    pub rooms: Names,
    /// Rooms they are not in.
    pub except: Names,
}

/// What is to be done or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The ids of all sockets in one of these rooms (none = all).
    Sockets {
        /// The rooms.
        rooms: Names,
    },
    /// The names of all rooms.
    AllRooms,
    /// Legacy: the rooms of one socket. Only its node answers.
    RoomsOf {
        /// The socket.
        socket: CompactString,
    },
    /// Lets sockets join rooms. With an id, which old nodes send, only the node of the one socket in `who.rooms` answers.
    Join {
        /// The sockets.
        who: Selection,
        /// The rooms.
        rooms: Names,
    },
    /// Lets sockets leave rooms; the id as for `Join`.
    Leave {
        /// The sockets.
        who: Selection,
        /// The rooms.
        rooms: Names,
    },
    /// Disconnects sockets; the id as for `Join`.
    Disconnect {
        /// The sockets.
        who: Selection,
        /// Whether the connection below ends too.
        close: bool,
    },
    /// Everything about sockets.
    Fetch {
        /// The sockets.
        who: Selection,
    },
    /// An event for the servers; with an id, each answers one value.
    ServerSideEmit {
        /// `["name",…]`.
        data: String,
    },
    /// Legacy: whatever an application asks its other nodes.
    Custom {
        /// Any JSON.
        data: String,
    },
    /// An event that clients answer: first how many sockets get it, then each answer. The broadcast's `uid` is the
    /// request's.
    Broadcast {
        /// The event and for whom.
        broadcast: Box<Broadcast>,
        /// How long the asking node waits.
        timeout_ms: Option<u64>,
    },
}
