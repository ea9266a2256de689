//! CONNECT: who may enter which namespace, and under which id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use tracing::debug;

use super::SocketIo;
use super::client::{Client, ROOT, Socket, without_query};
use super::rules::{Found, Rules};
use super::waiting::Settled;
use crate::hub::{Facts, Name, NewSocket};
use crate::limits::Bucket;
use crate::metrics::Tally;
use crate::protocol::Version;
use crate::protocol::ids::SocketId;
use crate::protocol::socket::{self, Packet};
use crate::reason::Reason;

/// The texts of refusals, which apps branch on.
const INVALID_NAMESPACE: &str = "Invalid namespace";
const TOO_MANY_NAMESPACES: &str = "too many namespaces";
const UNAVAILABLE: &str = "unavailable";

/// Time over which clients are spread that are sent away without a verdict.
const UNAVAILABLE_JITTER: Duration = Duration::from_secs(2);

/// A client on its way into a namespace. What was taken for it is given back if it does not get there.
pub(super) struct Entrance {
    shared: Arc<SocketIo>,
    /// It became a socket, which gives everything back itself.
    is_used: bool,
    lists_private_rooms: bool,
    namespace: Name,
    rules: Arc<Rules>,
    id: SocketId,
    alias: Option<SocketId>,
    rooms: Vec<CompactString>,
    facts: Option<Box<Facts>>,
}

/// A socket's private rooms, where the cluster wants them listed.
pub(super) fn private_rooms<'a>(
    are_listed: bool,
    id: &'a SocketId,
    alias: Option<&'a SocketId>,
) -> impl Iterator<Item = &'a str> {
    let ids = std::iter::once(id).chain(alias).map(SocketId::as_str);
    ids.filter(move |_| are_listed)
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if !self.is_used {
            self.shared
                .cluster
                .exit(&self.namespace, self.rooms.iter().map(|room| &**room));
            self.shared.namespaces.release(&self.namespace, &self.rules);
        }
    }
}

impl Client {
    /// Clients 1.x and 2.x are in `/` without asking, even where nothing can be done there.
    pub(super) fn connect_implicitly(&mut self) -> Result<(), Reason> {
        let name: Name = ROOT.into();
        let rules = match self.shared.namespaces.enter(&name) {
            Found::Namespace(rules) => rules,
            Found::Invalid | Found::TooMany => self.shared.namespaces.nothing(),
        };
        self.approach(name, rules, "")
    }

    pub(super) fn on_connect(&mut self, packet: &Packet<'_>) -> Result<(), Reason> {
        if self.sockets.iter().any(|socket| *socket.namespace == *packet.namespace) {
            debug!(namespace = packet.namespace, "entered twice");
            return Err(Reason::Malformed);
        }
        let limit = self.shared.limits.namespaces_per_client;
        if limit > 0 && self.sockets.len() >= limit {
            self.refuse_connect(packet.namespace, TOO_MANY_NAMESPACES);
            return Ok(());
        }
        let name: Name = packet.namespace.into();
        match self.shared.namespaces.enter(&name) {
            Found::Namespace(rules) => return self.approach(name, rules, packet.json),
            Found::Invalid => self.refuse_connect(&name, INVALID_NAMESPACE),
            Found::TooMany => self.refuse_connect(&name, TOO_MANY_NAMESPACES),
        }
        Ok(())
    }

    /// Lets a client into a namespace as soon as everything for it can be heard.
    fn approach(&mut self, namespace: Name, rules: Arc<Rules>, auth: &str) -> Result<(), Reason> {
        let version = self.session.version();
        let new_id = self.shared.ids.next().map_err(|error| {
            tracing::error!("{error}");
            Reason::Bug
        })?;
        // Below v4 the client computes its id from the session's, so others are shown another one.
        let (id, alias) = match version {
            Version::V4 => (SocketId::from(new_id), None),
            Version::V3 => (
                SocketId::of_session(self.session.sid(), &namespace),
                Some(SocketId::from(new_id)),
            ),
        };
        let values = super::values::Values {
            user: None,
            socket: alias.as_ref().unwrap_or(&id).as_str(),
            namespace: &namespace,
        };
        let rooms: Vec<CompactString> = rules.rooms(&values).map(CompactString::from).collect();
        let entrance = Entrance {
            shared: Arc::clone(&self.shared),
            is_used: false,
            lists_private_rooms: self.shared.cluster.lists_private_rooms(),
            facts: self.session.record().map(|record| {
                Box::new(Facts {
                    record: Arc::clone(record),
                    auth: auth.into(),
                })
            }),
            namespace,
            rules,
            id,
            alias,
            rooms,
        };
        let private = private_rooms(entrance.lists_private_rooms, &entrance.id, entrance.alias.as_ref());
        let rooms = entrance.rooms.iter().map(|room| &**room).chain(private);
        let live = self.shared.cluster.enter(&entrance.namespace, rooms);
        if live.is_now() {
            return self.enter(entrance);
        }
        let namespace = Name::clone(&entrance.namespace);
        let settled = async move {
            let is_live = live.confirmed().await;
            if !is_live {
                tokio::time::sleep(UNAVAILABLE_JITTER.mul_f32(rand::random())).await;
            }
            Settled::Entrance(Box::new(entrance), is_live)
        };
        self.wait_for(&namespace, None, Box::pin(settled));
        Ok(())
    }

    pub(super) fn enter(&mut self, mut entrance: Entrance) -> Result<(), Reason> {
        entrance.is_used = true;
        let (namespace, id) = (Name::clone(&entrance.namespace), entrance.id.clone());
        let is_v4 = self.session.version() == Version::V4;
        let connect = socket::connect(&namespace, is_v4.then(|| id.as_str()));
        let new = NewSocket {
            outbox: self.session.outbox(),
            namespace: &namespace,
            id: &id,
            alias: entrance.alias.as_ref(),
            rooms: &entrance.rooms,
            facts: entrance.facts.take(),
        };
        let mut tally = Tally::default();
        let key = self.shared.hub.add(self.shard, new, connect, &mut tally);
        self.shared.metrics.sent(&tally);
        let shown_id = entrance.alias.as_ref().unwrap_or(&id).as_str();
        debug!(namespace = &*namespace, socket = shown_id, "entered");
        let rooms_max = match self.shared.limits.rooms_per_socket {
            0 => usize::MAX,
            limit => limit + entrance.rooms.len(),
        };
        self.entered(Socket {
            namespace,
            rules: Arc::clone(&entrance.rules),
            key,
            id,
            alias: entrance.alias.take(),
            lists_private_rooms: entrance.lists_private_rooms,
            bucket: Bucket::new(self.shared.events_limit().1, Instant::now()),
            rooms_max,
        });
        Ok(())
    }

    /// There is no verdict, as Redis does not let us hear the namespace. Clients come back by themselves only where their
    /// session ends.
    pub(super) fn turn_away(&mut self, entrance: &Entrance) -> Result<(), Reason> {
        if self.sockets.is_empty() {
            return Err(Reason::Unavailable);
        }
        self.refuse_connect(&entrance.namespace, UNAVAILABLE);
        Ok(())
    }

    fn refuse_connect(&mut self, namespace: &str, message: &str) {
        debug!(namespace = without_query(namespace), why = message, "refused");
        let is_object = self.session.version() == Version::V4;
        self.session.send(socket::connect_error(namespace, message, is_object));
    }
}
