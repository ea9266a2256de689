//! Sockets and rooms as the application is told of them: what is asked for, and what the hub or a Node server knows.

use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::pages::{Named, Page};
use super::wire::{self, RemoteSocket};
use super::{MEMBERS_MAX, NODE_SERVERS};
use crate::hub::{Hub, Listed, Wanted};
use crate::protocol::Version;
use crate::protocol::ids::looks_like_socket_id;

/// Bytes of one gateway's page, about. All gateways may answer at once, and Redis cuts a subscriber for which more than
/// 32 MB wait.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Which sockets of a namespace are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SocketQuery {
    /// The namespace.
    pub namespace: CompactString,
    /// The one of this id, or with this alias.
    pub id: Option<CompactString>,
    /// Those in this room, or whose private room this is.
    pub room: Option<CompactString>,
    /// Those of this user.
    pub user: Option<CompactString>,
    /// Those whose ids come behind this one.
    pub after: Option<CompactString>,
    /// The first so many.
    pub max: usize,
}

/// Which rooms of a namespace are wanted. Private ones never are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RoomQuery {
    /// The namespace.
    pub namespace: CompactString,
    /// This one alone.
    pub room: Option<CompactString>,
    /// Those whose names begin like this.
    pub prefix: CompactString,
    /// Those whose names come behind this one.
    pub after: Option<CompactString>,
    /// The first so many.
    pub max: usize,
}

/// A socket as the application is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FoundSocket {
    /// Its id.
    pub id: CompactString,
    /// Who the client is, where something says so.
    pub user: Option<CompactString>,
    /// Its rooms, without its private ones.
    pub rooms: Vec<CompactString>,
    /// What the application keeps with it, as JSON that nobody has checked; empty for nothing.
    pub data: String,
    /// The client's address, where it is known.
    pub address: Option<CompactString>,
    /// How its packets reach it now, where that is known.
    pub transport: Option<CompactString>,
    /// The number of its protocol, where that is known.
    pub protocol: Option<u8>,
    /// When it connected, in milliseconds from 1970, where that is known.
    pub connected: Option<u64>,
    /// The tag of its gateway, or [`NODE_SERVERS`].
    #[serde(skip)]
    pub node: CompactString,
}

/// A room as the application is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FoundRoom {
    /// Its name.
    pub room: CompactString,
    /// How many are in it; `None` where only Node servers know it, and they were not asked for their sockets.
    pub sockets: Option<u64>,
}

impl Named for FoundSocket {
    fn name(&self) -> &CompactString {
        &self.id
    }

    fn bytes(&self) -> usize {
        let rooms: usize = self.rooms.iter().map(|room| room.len() + 3).sum();
        let texts = self.id.len() + self.user.as_ref().map_or(0, |user| user.len()) + self.data.len();
        200 + rooms + texts
    }

    fn unite(&mut self, other: Self) {
        *self = other; // ids are nobody's but one's
    }
}

impl Named for FoundRoom {
    fn name(&self) -> &CompactString {
        &self.room
    }

    fn bytes(&self) -> usize {
        self.room.len() + 40
    }

    fn unite(&mut self, other: Self) {
        self.sockets = match (self.sockets, other.sockets) {
            (Some(own), Some(others)) => Some(own.saturating_add(others)),
            (own, others) => own.or(others),
        };
    }
}

pub(super) fn own_sockets(hub: &Hub, query: &SocketQuery) -> Page<FoundSocket> {
    let max = query.max.min(MEMBERS_MAX);
    let wanted = Wanted {
        id: query.id.as_deref(),
        room: query.room.as_deref(),
        user: query.user.as_deref(),
        after: query.after.as_deref(),
    };
    let found = hub.list_sockets(&query.namespace, &wanted, max + 1);
    Page::cut(found.into_iter().map(own_socket).collect(), max, PAGE_BYTES_MAX)
}

fn own_socket(socket: Listed) -> FoundSocket {
    let since = socket.source.since.duration_since(SystemTime::UNIX_EPOCH);
    FoundSocket {
        id: socket.id.as_str().into(),
        user: socket.user.as_deref().map(CompactString::from),
        rooms: socket.rooms.iter().map(|room| CompactString::from(&**room)).collect(),
        data: socket.data.into(),
        address: Some(compact_str::format_compact!("{}", socket.source.address)),
        transport: Some(socket.transport.as_str().into()),
        protocol: Some(match socket.source.version {
            Version::V3 => 3,
            Version::V4 => 4,
        }),
        connected: Some(milliseconds(since.unwrap_or_default())),
        node: CompactString::default(),
    }
}

pub(super) fn own_rooms(hub: &Hub, query: &RoomQuery) -> Page<FoundRoom> {
    let namespace = &query.namespace;
    let found = |(room, sockets): (&str, usize)| FoundRoom {
        room: room.into(),
        sockets: Some(sockets as u64),
    };
    if let Some(room) = &query.room {
        return Page {
            found: vec![found((room, hub.room_size(namespace, room)))],
            more: false,
        };
    }
    let max = query.max.min(MEMBERS_MAX);
    let rooms = hub.list_rooms(namespace, &query.prefix, query.after.as_deref(), max + 1);
    let rooms = rooms.iter().map(|(room, sockets)| found((room, *sockets)));
    Page::cut(rooms.collect(), max, PAGE_BYTES_MAX)
}

/// The rooms that a Node server tells of: names alone, or the sockets of one room.
pub(super) fn rooms_of_server(answer: wire::Answer, query: &RoomQuery) -> Vec<FoundRoom> {
    match (answer, &query.room) {
        (wire::Answer::Fetched(sockets), Some(room)) => {
            let members = sockets.iter().filter(|socket| socket.id != *room); // not whose private room it is
            vec![FoundRoom {
                room: room.clone(),
                sockets: Some(members.count() as u64),
            }]
        }
        (wire::Answer::Rooms(names), None) => {
            let is_wanted = |name: &CompactString| {
                name.starts_with(&*query.prefix)
                    && query.after.as_ref().is_none_or(|after| name > after)
                    && !looks_like_socket_id(name)
            };
            let names = names.into_iter().filter(is_wanted);
            names.map(|room| FoundRoom { room, sockets: None }).collect()
        }
        _ => Vec::new(),
    }
}

/// What a Node server tells of a socket: not its user, which only the application knows, nor what carries it now.
pub(super) fn remote_socket(socket: RemoteSocket) -> FoundSocket {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Handshake {
        address: Option<CompactString>,
        issued: Option<u64>,
        query: Query,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Query {
        #[serde(rename = "EIO")]
        eio: Option<CompactString>,
    }
    let handshake: Handshake = serde_json::from_str(&socket.handshake).unwrap_or_default();
    let RemoteSocket { id, rooms, data, .. } = socket;
    FoundSocket {
        rooms: rooms.into_iter().filter(|room| *room != id).collect(),
        id,
        user: None,
        data,
        address: handshake.address,
        transport: None,
        protocol: match handshake.query.eio.as_deref() {
            Some("3") => Some(3),
            Some("4") => Some(4),
            _ => None,
        },
        connected: handshake.issued,
        node: NODE_SERVERS.into(),
    }
}

fn milliseconds(since: Duration) -> u64 {
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_socket_on_a_node_server_is_told_what_is_known() {
        let socket = RemoteSocket {
            id: "AAAAAAAAAAAAAAAAAAAA".into(),
            handshake: r#"{"address":"::1","issued":1700000000000,"query":{"EIO":"4","x":["y"]},"auth":{}}"#.into(),
            rooms: vec!["AAAAAAAAAAAAAAAAAAAA".into(), "news".into()],
            data: r#"{"a":1}"#.into(),
        };
        let odd = RemoteSocket {
            handshake: r#"{"address":7}"#.into(),
            ..socket.clone()
        };
        let found = remote_socket(socket);
        assert_eq!((found.rooms.len(), &*found.node), (1, NODE_SERVERS));
        assert_eq!((found.protocol, found.connected), (Some(4), Some(1_700_000_000_000)));
        assert_eq!(found.address.as_deref(), Some("::1"));
        let found = remote_socket(odd);
        assert_eq!(
            (found.address, found.protocol, &*found.data),
            (None, None, r#"{"a":1}"#)
        );
    }

    #[test]
    fn rooms_of_node_servers_are_names_or_counts_and_never_private() {
        let id = "AAAAAAAAAAAAAAAAAAAA";
        let names = ["b", "news-2", id, "news-1"].map(CompactString::from).to_vec();
        let query = RoomQuery {
            prefix: "news".into(),
            after: Some("news-1".into()),
            ..RoomQuery::default()
        };
        let rooms = rooms_of_server(wire::Answer::Rooms(names.clone()), &query);
        let expected = FoundRoom {
            room: "news-2".into(),
            sockets: None,
        };
        assert_eq!(rooms, [expected]);
        assert_eq!(
            rooms_of_server(wire::Answer::Rooms(names), &RoomQuery::default()).len(),
            3
        );
        let socket = |id: &str| RemoteSocket {
            id: id.into(),
            handshake: "{}".into(),
            rooms: Vec::new(),
            data: String::new(),
        };
        let sockets = wire::Answer::Fetched(vec![socket(id), socket("BBBBBBBBBBBBBBBBBBBB")]);
        let query = RoomQuery {
            room: Some(id.into()),
            ..RoomQuery::default()
        };
        assert_eq!(rooms_of_server(sockets, &query)[0].sockets, Some(1));
    }
}
