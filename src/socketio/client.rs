//! One client: owns its session's namespaces, and the attachments that are still to come.
//!
//! Packets are taken in the order in which they arrive, one at a time. What Node's server ends a session over ends it
//! here as well.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error, info, trace};

use super::SocketIo;
use super::announce::{self, Broadcasts, Movement};
use super::arguments::{loggable, without_query};
use super::connect::private_rooms;
use super::parser::Parser;
use super::partial::{self, Partial};
use super::pass::Pass;
use super::quota::Seat;
use super::relay::{self, Held};
use super::rules::Rules;
use super::values::Values;
use super::waiting::{Step, Waits};
use crate::backend::webhook::{Line, Subject};
use crate::engine::{Event, Session};
use crate::hub::{Except, Kick, Name, Reply, ShardId, SocketKey};
use crate::limits::Bucket;
use crate::metrics::Origin;
use crate::protocol::engine::Message;
use crate::protocol::ids::SocketId;
use crate::protocol::socket::{self, Kind, Packet};
use crate::protocol::{PacketType, Version};
use crate::reason::Reason;

/// The node's root namespace.
pub(super) const ROOT: &str = "/";

/// A client and its sockets.
pub(super) struct Client {
    pub(super) shared: Arc<SocketIo>,
    pub(super) session: Box<Session>,
    pub(super) shard: ShardId,
    pub(super) sockets: Vec<Socket>,
    /// A packet whose attachments are still to come.
    partial: Option<Box<Partial>>,
    /// A broadcast for which the hub had no room: nothing more is read before it is on its way.
    pub(super) held: Option<Box<Held>>,
    /// What its sockets wait for.
    pub(super) waits: Option<Box<Waits>>,
    /// When a namespace must have been entered.
    pub(super) connect_by: Option<Instant>,
    /// The client is a 1.0.0 to 1.0.2, which reads acks in an older form.
    pub(super) reads_old_acks: bool,
    /// How its packets are written.
    pub(super) parser: Parser,
    /// The client left its last namespace by itself.
    pub(super) has_left: bool,
    since: Instant,
}

/// A client in one namespace.
pub(super) struct Socket {
    pub(super) namespace: Name,
    pub(super) rules: Arc<Rules>,
    pub(super) key: SocketKey,
    pub(super) id: SocketId,
    /// The id that others are shown, where knowing the real one means being able to take the session over.
    pub(super) alias: Option<SocketId>,
    /// Who the client is, where something says so.
    pub(super) user: Option<Name>,
    /// What a token or the application gave it, where its namespace asks for either.
    pub(super) pass: Option<Box<Pass>>,
    /// Its way to the application, where there is one.
    pub(super) line: Option<Line>,
    /// What the application is told of it, where it is told anything.
    pub(super) subject: Option<Arc<Subject>>,
    /// By which it is counted among its user's, where they are.
    pub(super) _seat: Option<Box<Seat>>,
    /// Whether its private rooms were listed when it entered.
    pub(super) lists_private_rooms: bool,
    /// What it may still send.
    pub(super) bucket: Bucket,
    /// Rooms that it may be in: the limit, and those that it was put into.
    pub(super) rooms_max: usize,
}

/// Serves one session until it is over.
pub async fn serve(session: Box<Session>, shared: Arc<SocketIo>) {
    let mut client = Client::new(session, shared);
    let reason = client.run().await;
    client.end(reason).await;
}

impl Socket {
    /// The id that others are shown.
    pub(super) fn shown_id(&self) -> &SocketId {
        self.alias.as_ref().unwrap_or(&self.id)
    }

    /// Leaves this socket out of what it sends.
    pub(super) fn excepted(&self) -> Except {
        Except::sender(self.key, &self.id)
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values {
            user: self.user.as_deref(),
            socket: self.shown_id().as_str(),
            namespace: &self.namespace,
        }
    }
}

/// A broken invariant ends this client and nobody else.
impl Drop for Client {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() {
            Reason::Bug
        } else {
            Reason::Shutdown // nobody serves it any more
        };
        for farewell in self.forget_all(reason) {
            let _ = self.shared.cluster.try_broadcast(farewell, Origin::Client, None); // nobody can wait here
        }
        if std::thread::panicking() {
            self.shared.metrics.disconnected(Reason::Bug);
            error!(reason = Reason::Bug.as_str(), "disconnected");
        }
    }
}

impl Client {
    fn new(session: Box<Session>, shared: Arc<SocketIo>) -> Self {
        info!(
            protocol = session.version().as_str(),
            transport = session.transport().as_str(),
            "connected"
        );
        let connect_by = (session.version() == Version::V4).then(|| Instant::now() + shared.connect_timeout);
        let parser = Parser::of(session.version());
        Self {
            shard: shared.hub.assign(),
            shared,
            session,
            sockets: Vec::with_capacity(1), // what most clients need; growing by itself it would be four
            partial: None,
            held: None,
            waits: None,
            connect_by,
            reads_old_acks: false,
            parser,
            has_left: false,
            since: Instant::now(),
        }
    }

    async fn run(&mut self) -> Reason {
        let mut result = if self.session.version() == Version::V3 {
            self.connect_implicitly()
        } else {
            Ok(())
        };
        loop {
            if let Err(reason) = result {
                return reason;
            }
            self.relay_held().await;
            if let Some(done) = self.next_deferred() {
                result = done;
                continue;
            }
            self.session.set_alarm(self.alarm());
            result = match poll_fn(|cx| self.poll_step(cx)).await {
                Step::Session(Ok(Event::Message(message))) => self.on_message(message),
                Step::Session(Ok(Event::Alarm)) => self.on_alarm(),
                Step::Session(Ok(Event::Called)) => self.on_call(),
                Step::Session(Err(reason)) => Err(reason),
                Step::Settled(namespace, id, settled) => self.on_settled(&namespace, id, settled),
            };
        }
    }

    /// Takes the client out of everything, then tells it.
    async fn end(&mut self, reason: Reason) {
        let reason = match reason {
            // Clients close their transport right behind their goodbye.
            Reason::TransportClosed if self.has_left => Reason::ClientLeft,
            reason => reason,
        };
        let farewells = self.forget_all(reason);
        self.send_out(farewells, relay::Reply::None);
        self.relay_held().await;
        info!(
            reason = reason.as_str(),
            transport = self.session.transport().as_str(),
            seconds = self.since.elapsed().as_secs(),
            "disconnected"
        );
        self.session.close(reason).await;
    }

    fn alarm(&self) -> Option<Instant> {
        let attachments_by = self.partial.as_ref().map(|partial| partial.by());
        let passes_by = self.sockets.iter().filter_map(|socket| socket.pass.as_ref());
        let passes_by = passes_by.filter_map(|pass| pass.due()).min();
        [self.connect_by, attachments_by, passes_by].into_iter().flatten().min()
    }

    fn on_alarm(&mut self) -> Result<(), Reason> {
        let now = Instant::now();
        if self.connect_by.is_some_and(|by| by <= now) {
            return Err(Reason::ConnectTimeout);
        }
        match &self.partial {
            Some(partial) if partial.by() <= now => Err(Reason::Malformed),
            _ => self.expire(now),
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), Reason> {
        match (self.parser, message) {
            (Parser::Text, Message::Text(text)) => self.on_text(text),
            (Parser::Text, Message::Binary(bytes)) => self.on_binary(bytes),
            (_, message) => self.on_other_message(message),
        }
    }

    pub(super) fn on_text(&mut self, text: String) -> Result<(), Reason> {
        trace!(
            packet = loggable(&text, self.shared.tokens.is_some() || self.shared.webhooks.is_some()),
            "received"
        );
        if self.partial.is_some() {
            debug!("text instead of an attachment");
            return Err(Reason::Malformed);
        }
        let packet = self.decode(&text)?;
        if packet.attachments == 0 {
            return self.on_packet(packet, Vec::new());
        }
        self.socket(packet.namespace)?;
        let missing = packet.attachments;
        self.partial = Some(Box::new(Partial::new(text, missing)));
        Ok(())
    }

    fn on_binary(&mut self, attachment: Bytes) -> Result<(), Reason> {
        let Some(partial) = &mut self.partial else {
            debug!("an attachment without a packet");
            return Err(Reason::Malformed);
        };
        if !partial.push(attachment, self.shared.payload_bytes_max)? {
            return Ok(());
        }
        let Some(mut partial) = self.partial.take() else {
            return Err(Reason::Bug);
        };
        let attachments = partial.take_attachments();
        let packet = partial.packet(self.session.version(), self.shared.limits.attachments)?;
        self.on_packet(packet, attachments)
    }

    fn decode<'a>(&self, text: &'a str) -> Result<Packet<'a>, Reason> {
        partial::decode(text, self.session.version(), self.shared.limits.attachments)
    }

    pub(super) fn on_packet(&mut self, packet: Packet<'_>, attachments: Vec<Bytes>) -> Result<(), Reason> {
        self.shared.metrics.received(match packet.kind {
            Kind::Connect => PacketType::Connect,
            Kind::Disconnect => PacketType::Disconnect,
            Kind::Event => PacketType::Event,
            Kind::Ack => PacketType::Ack,
        });
        let Some((packet, attachments)) = self.defer(packet, attachments)? else {
            return Ok(());
        };
        match packet.kind {
            Kind::Connect => self.on_connect(&packet),
            Kind::Disconnect => self.on_disconnect(packet.namespace),
            Kind::Event => self.on_event(&packet, attachments),
            Kind::Ack if packet.old_ack && self.session.version() == Version::V4 => Err(Reason::Malformed),
            Kind::Ack => {
                self.reads_old_acks |= packet.old_ack;
                self.on_ack(&packet, attachments)
            }
        }
    }

    /// An answer to something that the client was sent. A late one is no fault.
    fn on_ack(&mut self, packet: &Packet<'_>, attachments: Vec<Bytes>) -> Result<(), Reason> {
        let index = self.socket(packet.namespace)?;
        if let Some(id) = packet.id {
            let reply = || Reply {
                json: packet.json.to_owned(),
                attachments,
            };
            self.shared.hub.acks().answer(id, &self.sockets[index].id, reply);
        }
        Ok(())
    }

    fn on_disconnect(&mut self, namespace: &str) -> Result<(), Reason> {
        let index = self.socket(namespace)?;
        let socket = self.sockets.remove(index);
        let farewell = self.forget(&socket, Reason::ClientLeft);
        self.has_left = self.sockets.is_empty();
        debug!(namespace, "left");
        self.send_out(farewell, relay::Reply::None);
        Ok(())
    }

    /// Others want sockets of this client to go.
    fn on_call(&mut self) -> Result<(), Reason> {
        let mut index = 0;
        while let Some(socket) = self.sockets.get(index) {
            match self.shared.hub.take_kick(socket.key) {
                None => index += 1,
                Some(Kick::Socket) => {
                    debug!(namespace = &*self.sockets[index].namespace, "kicked");
                    self.throw_out(index, Reason::Kicked);
                }
                Some(Kick::Session) => {
                    for socket in &self.sockets {
                        self.session.send(socket::disconnect(&socket.namespace));
                    }
                    return Err(Reason::Kicked);
                }
            }
        }
        Ok(())
    }

    /// Ends the socket at `index`; its client does not come back by itself.
    pub(super) fn throw_out(&mut self, index: usize, reason: Reason) {
        let socket = self.sockets.remove(index);
        self.forget_waits(&socket.namespace);
        let farewell = self.forget(&socket, reason);
        self.session.send(socket::disconnect(&socket.namespace));
        self.send_out(farewell, relay::Reply::None);
    }

    /// Takes all sockets out of the hub; what is to be told of that.
    fn forget_all(&mut self, reason: Reason) -> Broadcasts {
        let sockets = std::mem::take(&mut self.sockets);
        sockets.iter().flat_map(|socket| self.forget(socket, reason)).collect()
    }

    /// Takes a socket out of the hub; what is to be told of that.
    fn forget(&self, socket: &Socket, reason: Reason) -> Broadcasts {
        let rooms = self.shared.hub.remove(socket.key);
        let private = private_rooms(socket.lists_private_rooms, &socket.id, socket.alias.as_ref());
        let channels = rooms.iter().map(|room| &**room).chain(private);
        self.shared.cluster.exit(&socket.namespace, channels);
        self.shared.member_answers.forget(&socket.namespace, &rooms);
        if socket.rules.presence {
            self.shared.follow(&socket.namespace, Movement::Leave, &rooms);
        }
        self.shared.namespaces.release(&socket.namespace, &socket.rules);
        if let Some(index) = socket.rules.index {
            self.shared.metrics.sockets(index).dec();
        }
        self.tell_gone(socket, &rooms, reason);
        announce::presence(socket, Movement::Leave, &rooms)
    }

    /// The place of the socket in a namespace. A packet for a namespace that was not entered ends the session, as in Node.
    pub(super) fn socket(&self, namespace: &str) -> Result<usize, Reason> {
        self.sockets
            .iter()
            .position(|socket| *socket.namespace == *namespace)
            .ok_or_else(|| {
                debug!(
                    namespace = without_query(namespace),
                    "a packet for a namespace that was not entered"
                );
                Reason::Malformed
            })
    }
}
