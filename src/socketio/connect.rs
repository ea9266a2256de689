//! CONNECT: who may enter which namespace, and under which id.

use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use tracing::debug;

use super::client::{Client, ROOT, Socket, without_query};
use super::rules::{Found, Rules};
use crate::hub::{Name, NewSocket};
use crate::limits::Bucket;
use crate::metrics::Tally;
use crate::protocol::Version;
use crate::protocol::ids::SocketId;
use crate::protocol::socket::{self, Packet};
use crate::reason::Reason;

/// The texts of refusals, which apps branch on.
const INVALID_NAMESPACE: &str = "Invalid namespace";
const TOO_MANY_NAMESPACES: &str = "too many namespaces";

impl Client {
    /// Clients 1.x and 2.x are in `/` without asking, even where nothing can be done there.
    pub(super) fn connect_implicitly(&mut self) -> Result<(), Reason> {
        let name: Name = ROOT.into();
        let rules = match self.shared.namespaces.enter(&name) {
            Found::Namespace(rules) => rules,
            Found::Invalid | Found::TooMany => self.shared.namespaces.nothing(),
        };
        self.enter(name, rules)
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
            Found::Namespace(rules) => return self.enter(name, rules),
            Found::Invalid => self.refuse_connect(&name, INVALID_NAMESPACE),
            Found::TooMany => self.refuse_connect(&name, TOO_MANY_NAMESPACES),
        }
        Ok(())
    }

    fn enter(&mut self, namespace: Name, rules: Arc<Rules>) -> Result<(), Reason> {
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
        let connect = socket::connect(&namespace, (version == Version::V4).then(|| id.as_str()));
        let new = NewSocket {
            outbox: self.session.outbox(),
            namespace: &namespace,
            id: &id,
            alias: alias.as_ref(),
            rooms: &rooms,
        };
        let mut tally = Tally::default();
        let key = self.shared.hub.add(self.shard, new, connect, &mut tally);
        self.shared.metrics.sent(&tally);
        debug!(namespace = &*namespace, socket = values.socket, "entered");
        let rooms_max = match self.shared.limits.rooms_per_socket {
            0 => usize::MAX,
            limit => limit + rooms.len(),
        };
        self.entered(Socket {
            namespace,
            rules,
            key,
            id,
            alias,
            bucket: Bucket::new(self.shared.events_limit().1, Instant::now()),
            rooms_max,
        });
        Ok(())
    }

    fn refuse_connect(&mut self, namespace: &str, message: &str) {
        debug!(namespace = without_query(namespace), why = message, "refused");
        let is_object = self.session.version() == Version::V4;
        self.session.send(socket::connect_error(namespace, message, is_object));
    }
}
