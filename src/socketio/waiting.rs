//! What a client waits for before it goes on: the rest of a connect, a join, an answer of others.
//!
//! Only the socket that waits is held up. What it sends meanwhile is kept, within limits, and done in order afterwards;
//! the session's other sockets, and its heartbeat, go on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::debug;

use super::announce::{Broadcasts, Movement};
use super::arguments::quoted;
use super::client::Client;
use super::connect::{Applicant, Entrance};
use super::consult::Admission;
use super::event::refusal_json;
use super::quota::Seat;
use crate::backend::Verdict;
use crate::backend::webhook::{Ack, Answer, Failure};
use crate::engine::Event;
use crate::hub::Name;
use crate::metrics::{Limit, Refusal};
use crate::protocol::socket::{Kind, Packet, PacketError, check_json};
use crate::reason::Reason;

/// Events of a socket that wait while it waits: what a client that comes back with all its rooms sends at once. Their
/// bytes are bounded, too.
const PACKETS_MAX: usize = 1024;

/// Bytes that an event takes beside its own, about.
const PACKET_BYTES: usize = 128;

/// Bytes that may wait in all namespaces of a client beside `engine.max_payload`, so that there is room for many events where
/// that is small.
const BYTES_AT_LEAST: usize = 64 * PACKET_BYTES;

/// What came of what a socket waited for.
pub(super) enum Settled {
    /// Its token was looked at.
    Judged(Box<Applicant>, Verdict),
    /// The application was asked whether it may enter.
    Consulted(Box<Applicant>, Result<Box<Answer>, Failure>),
    /// Its user may have one more socket, or not.
    Seated(Box<(Applicant, Admission)>, Option<Seat>),
    /// It may enter its namespace, or not.
    Entrance(Box<Entrance>, bool),
    /// A new token was looked at.
    Renewed(Verdict),
    /// The application has answered an event, or has not.
    Answered(Result<Option<Ack>, Failure>),
    /// Done; the answer's array as written. Others are told of it.
    Done { presence: Broadcasts, answer: String },
    /// The rooms cannot be heard: the socket leaves them again.
    NotJoined { rooms: Vec<Name> },
}

/// What is waited for, and what is kept meanwhile; empty for nearly all clients nearly always.
#[derive(Default)]
pub(super) struct Waits(Vec<Wait>);

/// A socket that waits, or has what was kept for it still to be done.
struct Wait {
    namespace: Name,
    /// The number of the event that it is to answer.
    id: Option<u64>,
    /// What it waits for. Without it, what was kept is done before anything else is read.
    settled: Option<Pin<Box<dyn Future<Output = Settled> + Send>>>,
    deferred: VecDeque<Deferred>,
    /// Bytes in `deferred`.
    bytes: usize,
}

/// A packet that is not done yet.
struct Deferred {
    kind: Kind,
    namespace: Name,
    id: Option<u64>,
    json: Box<str>,
    attachments: Vec<Bytes>,
    old_ack: bool,
}

/// What a client does next.
pub(super) enum Step {
    /// What it waited for is there.
    Settled(Name, Option<u64>, Settled),
    /// Its session has something.
    Session(Result<Event, Reason>),
}

impl Deferred {
    fn new(packet: &Packet<'_>, attachments: Vec<Bytes>) -> Self {
        Self {
            kind: packet.kind,
            namespace: packet.namespace.into(),
            id: packet.id,
            json: packet.json.into(),
            attachments,
            old_ack: packet.old_ack,
        }
    }

    fn bytes(&self) -> usize {
        PACKET_BYTES + self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn packet(&self) -> Result<Packet<'_>, PacketError> {
        Ok(Packet {
            kind: self.kind,
            attachments: self.attachments.len(),
            namespace: &self.namespace,
            query: "", // which only a CONNECT has a use for, and none is kept
            id: self.id,
            json: &self.json,
            array: check_json(self.kind, &self.json)?,
            old_ack: self.old_ack,
        })
    }
}

impl Client {
    /// Holds up the socket in `namespace` until this is settled.
    pub(super) fn wait_for(
        &mut self,
        namespace: &str,
        id: Option<u64>,
        settled: Pin<Box<dyn Future<Output = Settled> + Send>>,
    ) {
        let waits = &mut self.waits.get_or_insert_default().0;
        let is_done = |wait: &&mut Wait| *wait.namespace == *namespace && wait.settled.is_none();
        if let Some(wait) = waits.iter_mut().find(is_done) {
            // What is left of what was kept goes on waiting, where it is.
            (wait.id, wait.settled) = (id, Some(settled));
            return;
        }
        waits.push(Wait {
            namespace: namespace.into(),
            id,
            settled: Some(settled),
            deferred: VecDeque::new(),
            bytes: 0,
        });
    }

    /// How many wait to enter a namespace.
    pub(super) fn entering(&self) -> usize {
        let waits = self.waits.as_deref().map_or(&[][..], |waits| &waits.0);
        let is_in = |wait: &Wait| self.sockets.iter().any(|socket| socket.namespace == wait.namespace);
        let is_entering = |wait: &&Wait| wait.settled.is_some() && !is_in(wait);
        waits.iter().filter(is_entering).count()
    }

    /// Keeps a packet for a socket that waits. `None` where it was kept, or refused; else it is to be done now.
    pub(super) fn defer<'a>(
        &mut self,
        packet: Packet<'a>,
        attachments: Vec<Bytes>,
    ) -> Result<Option<(Packet<'a>, Vec<Bytes>)>, Reason> {
        let waits = self.waits.as_deref_mut();
        let kept = waits
            .as_deref()
            .map_or(0, |waits| waits.0.iter().map(|wait| wait.bytes).sum::<usize>());
        let is_held_up = |wait: &&mut Wait| *wait.namespace == *packet.namespace && wait.settled.is_some();
        let Some(wait) = waits.and_then(|waits| waits.0.iter_mut().find(is_held_up)) else {
            return Ok(Some((packet, attachments)));
        };
        match packet.kind {
            Kind::Connect => {
                debug!(namespace = packet.namespace, "entered twice");
                return Err(Reason::Malformed);
            }
            Kind::Ack => return Ok(Some((packet, attachments))), // an answer to us: nothing to keep in order
            Kind::Disconnect if wait.deferred.iter().any(|deferred| deferred.kind == Kind::Disconnect) => {
                return Err(Reason::Malformed);
            }
            Kind::Event if wait.deferred.back().is_some_and(|last| last.kind == Kind::Disconnect) => {
                return Err(Reason::Malformed);
            }
            Kind::Event | Kind::Disconnect => {}
        }
        let deferred = Deferred::new(&packet, attachments);
        let bytes_max = self.shared.payload_bytes_max + BYTES_AT_LEAST; // one of any size, or many small ones
        let is_too_much = wait.deferred.len() >= PACKETS_MAX || kept + deferred.bytes() > bytes_max;
        if packet.kind == Kind::Event && is_too_much {
            self.shared.metrics.limited(Limit::WaitingEvents);
            self.shared.metrics.refused(Refusal::RateLimited);
            let message = "too many events while an earlier one is not done";
            let json = refusal_json(Refusal::RateLimited, message);
            let answer = self.ack(packet.namespace, packet.id, &[&json], Box::default());
            self.send_answer(answer);
            return Ok(None);
        }
        wait.bytes += deferred.bytes();
        wait.deferred.push_back(deferred);
        Ok(None)
    }

    /// A socket is put out: it waits for nothing, and what it has sent since is not done.
    pub(super) fn forget_waits(&mut self, namespace: &str) {
        if let Some(waits) = self.waits.as_deref_mut() {
            waits.0.retain(|wait| *wait.namespace != *namespace);
        }
    }

    /// Does the next packet that was kept, if there is one.
    pub(super) fn next_deferred(&mut self) -> Option<Result<(), Reason>> {
        let waits = &mut self.waits.as_deref_mut()?.0;
        waits.retain(|wait| wait.settled.is_some() || !wait.deferred.is_empty());
        if waits.is_empty() {
            self.waits = None; // an idle client holds nothing
            return None;
        }
        let wait = waits.iter_mut().find(|wait| wait.settled.is_none())?;
        let mut deferred = wait.deferred.pop_front()?;
        wait.bytes -= deferred.bytes();
        let attachments = std::mem::take(&mut deferred.attachments);
        let count = attachments.len();
        Some(match deferred.packet() {
            Ok(packet) => self.on_packet(
                Packet {
                    attachments: count,
                    ..packet
                },
                attachments,
            ),
            Err(_) => Err(Reason::Bug), // it was read before
        })
    }

    /// Waits for the client, and for what it waits for.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Some(waits) = self.waits.as_deref_mut() {
            for wait in &mut waits.0 {
                if let Some(waited) = &mut wait.settled
                    && let Poll::Ready(settled) = waited.as_mut().poll(cx)
                {
                    wait.settled = None;
                    return Poll::Ready(Step::Settled(Name::clone(&wait.namespace), wait.id, settled));
                }
            }
        }
        self.session.poll_next(cx).map(Step::Session)
    }

    /// Goes on with what was settled.
    pub(super) fn on_settled(&mut self, namespace: &Name, id: Option<u64>, settled: Settled) -> Result<(), Reason> {
        let (presence, json) = match settled {
            Settled::Judged(applicant, verdict) => return self.on_verdict(*applicant, verdict),
            Settled::Consulted(applicant, answer) => return self.on_consulted(*applicant, answer),
            Settled::Seated(applicant, seat) => {
                let (applicant, admission) = *applicant;
                return self.seated(applicant, admission, seat);
            }
            Settled::Entrance(entrance, true) => return self.enter(*entrance),
            Settled::Entrance(entrance, false) => return self.turn_away(&entrance.namespace),
            Settled::Renewed(verdict) => {
                self.renew(namespace, id, verdict);
                return Ok(());
            }
            Settled::Answered(answer) => {
                self.on_answer(namespace, id, answer);
                return Ok(());
            }
            Settled::Done { presence, answer } => (presence, answer),
            Settled::NotJoined { rooms } => {
                self.leave_again(namespace, &rooms);
                self.shared.metrics.refused(Refusal::Unavailable);
                let names: Vec<_> = rooms.iter().map(|room| quoted(room)).collect();
                let message = format!("Redis does not let this node hear the rooms {}", names.join(", "));
                (Broadcasts::new(), refusal_json(Refusal::Unavailable, &message))
            }
        };
        self.tell(namespace, id, presence, &json);
        Ok(())
    }

    fn leave_again(&self, namespace: &Name, rooms: &[Name]) {
        if let Some(socket) = self.sockets.iter().find(|socket| socket.namespace == *namespace) {
            let rooms: Vec<_> = rooms.iter().map(|room| (&**room).into()).collect();
            let left = self.shared.hub.leave(socket.key, &rooms);
            self.shared.cluster.left(namespace, &left.changed);
            if socket.rules.presence {
                self.shared.follow(namespace, Movement::Leave, &left.changed);
            }
        }
    }
}
