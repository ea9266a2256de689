//! Which sockets, rooms and nodes there are, on all servers.

use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Api;
use super::answer::{Answer, Failure, json_of};
use super::parameters::{Parameters, segment};
use crate::cluster::{Busy, FoundRoom, FoundSocket, Node, Page, RoomQuery, SocketQuery};

/// The first second of the year 10000, which no text of a time can say.
const TIME_MAX: u64 = 253_402_300_800_000;

#[derive(Serialize)]
struct Sockets {
    sockets: Vec<Socket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<CompactString>,
    partial: Vec<CompactString>,
}

#[derive(Serialize)]
struct Socket {
    id: CompactString,
    user: Option<CompactString>,
    rooms: Vec<CompactString>,
    data: Box<RawValue>,
    address: Option<CompactString>,
    transport: Option<CompactString>,
    protocol: Option<u8>,
    node: CompactString,
    connected: Option<String>,
}

#[derive(Serialize)]
struct Rooms {
    rooms: Vec<FoundRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<CompactString>,
    partial: Vec<CompactString>,
}

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<OneNode>,
    node_servers: Option<usize>,
    partial: Vec<CompactString>,
}

#[derive(Serialize)]
struct OneNode {
    id: CompactString,
    address: Option<CompactString>,
    version: CompactString,
    sockets: u64,
    rooms: u64,
    uptime: u64,
    draining: bool,
}

impl Api {
    /// `GET /v1/sockets`
    pub(super) async fn sockets(&self, parameters: &Parameters) -> Answer {
        let query = SocketQuery {
            namespace: parameters.namespace()?.into(),
            id: None,
            room: parameters.filled("room")?.map(CompactString::from),
            user: parameters.filled("user")?.map(CompactString::from),
            after: cursor(parameters),
            max: parameters.limit()?,
        };
        let (page, partial) = self.cluster.find_sockets(query).await?;
        let cursor = page
            .more
            .then(|| page.found.last().map(|last| last.id.clone()))
            .flatten();
        json_of(&Sockets {
            sockets: page.found.into_iter().map(Socket::from).collect(),
            cursor,
            partial,
        })
    }

    /// `GET /v1/sockets/{id}`
    pub(super) async fn socket(&self, id: &str, parameters: &Parameters) -> Answer {
        let id = segment("id", id)?;
        let query = SocketQuery {
            namespace: parameters.namespace()?.into(),
            id: Some(id.as_str().into()),
            max: 1,
            ..SocketQuery::default()
        };
        let (Page { found, .. }, partial) = self.cluster.find_sockets(query).await?;
        if found.is_empty() && partial.is_empty() {
            return Err(Failure::not_found("no socket of this id is in the namespace"));
        }
        let sockets = found.into_iter().map(Socket::from).collect();
        json_of(&Sockets {
            sockets,
            cursor: None,
            partial,
        })
    }

    /// `GET /v1/rooms`
    pub(super) async fn rooms(&self, parameters: &Parameters) -> Answer {
        let query = RoomQuery {
            namespace: parameters.namespace()?.into(),
            room: None,
            prefix: parameters.get("prefix").unwrap_or("").into(),
            after: cursor(parameters),
            max: parameters.limit()?,
        };
        let (page, partial) = self.cluster.find_rooms(query).await?;
        let cursor = page
            .more
            .then(|| page.found.last().map(|last| last.room.clone()))
            .flatten();
        json_of(&Rooms {
            rooms: page.found,
            cursor,
            partial,
        })
    }

    /// `GET /v1/rooms/{room}`
    pub(super) async fn room(&self, room: &str, parameters: &Parameters) -> Answer {
        let room = segment("room", room)?;
        let query = RoomQuery {
            namespace: parameters.namespace()?.into(),
            room: Some(room.into()),
            max: 1,
            ..RoomQuery::default()
        };
        let (Page { found, .. }, partial) = self.cluster.find_rooms(query).await?;
        json_of(&Rooms {
            rooms: found,
            cursor: None,
            partial,
        })
    }

    /// `GET /v1/nodes`
    pub(super) async fn nodes(&self) -> Answer {
        let nodes = self.cluster.find_nodes().await?;
        json_of(&Nodes {
            nodes: nodes.nodes.into_iter().map(OneNode::from).collect(),
            node_servers: nodes.servers,
            partial: nodes.partial,
        })
    }
}

/// Behind which name the page begins.
fn cursor(parameters: &Parameters) -> Option<CompactString> {
    let cursor = parameters.get("cursor").filter(|cursor| !cursor.is_empty());
    cursor.map(CompactString::from)
}

impl From<Busy> for Failure {
    fn from(busy: Busy) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", busy.to_string())
    }
}

impl From<FoundSocket> for Socket {
    fn from(found: FoundSocket) -> Self {
        Self {
            id: found.id,
            user: found.user,
            rooms: found.rooms,
            data: data(found.data),
            address: found.address,
            transport: found.transport,
            protocol: found.protocol,
            node: found.node,
            connected: found.connected.and_then(time),
        }
    }
}

impl From<Node> for OneNode {
    fn from(node: Node) -> Self {
        Self {
            id: node.tag,
            address: Some(node.address).filter(|address| !address.is_empty()),
            version: node.version,
            sockets: node.sockets,
            rooms: node.rooms,
            uptime: node.uptime,
            draining: node.draining,
        }
    }
}

/// What the application keeps with a socket: nobody has checked what other servers say of theirs.
fn data(json: String) -> Box<RawValue> {
    let json = if json.is_empty() { "{}".to_owned() } else { json };
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A time as ISO 8601.
fn time(milliseconds: u64) -> Option<String> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
    (milliseconds < TIME_MAX).then(|| humantime::format_rfc3339_millis(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_their_sockets_cannot_break_the_answer() {
        for (told, expected) in [
            ("", "{}"),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#""},{""#, r#""},{""#),
            (r#"{"a":1"#, "null"),
            (r#"1,"id":2"#, "null"),
        ] {
            assert_eq!(data(told.into()).get(), expected, "{told}");
        }
        assert_eq!(time(1_700_000_000_123).as_deref(), Some("2023-11-14T22:13:20.123Z"));
        assert_eq!(time(TIME_MAX - 1).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(time(TIME_MAX), None);
        assert_eq!(time(u64::MAX), None);
    }
}
