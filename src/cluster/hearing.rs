//! What comes from Redis, one thing after the other.
//!
//! Broadcasts go to the hub at once; what clients' own rules must be asked about is handed up, to whoever waits. Nothing
//! here waits for a client or for Redis: a node that does not read is cut off by it.

use std::collections::VecDeque;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tracing::{debug, error, warn};

use super::gossip::{Node, Roster};
use super::ledger::Publisher;
use super::redis::{Event, Events, Message};
use super::relay::Relay;
use super::subscriptions::Purpose;
use super::wire::{self, Request};
use crate::hub::{Broadcast, Except, Name, Rooms, Target};
use crate::limits::Seldom;
use crate::protocol::socket::ATTACHMENTS_MAX;

/// How the event by which gateways announce who comes and goes begins; no client can publish one of this name.
const PRESENCE: &str = r#"["presence","#;

/// The reading end of the cluster.
#[expect(missing_debug_implementations, reason = "channels of fred have none")]
pub struct Hearing {
    relay: Arc<Relay>,
    events: Events,
    /// What is still to be told.
    heard: VecDeque<Heard>,
    /// Messages that were lost: in a flood some are, again and again.
    lost: Seldom,
}

/// What is for the layer above to judge or do.
#[derive(Debug)]
pub enum Heard {
    /// Another server wants something to be done.
    Command(Box<Command>),
    /// A gateway tells members of a room who comes or goes. Not delivered yet; with the event as it is written.
    Presence(Box<(Broadcast, String)>),
    /// A gateway is there, anew or again.
    Arrived(Box<Node>),
    /// A gateway is gone, and its sockets with it.
    Gone(Box<Node>),
    /// Who is in rooms on another gateway.
    Roster(Box<Roster>),
    /// Redis was away, or we were too slow: something may have been missed.
    Resumed,
}

/// What another server wants to be done to sockets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The namespace.
    pub namespace: Name,
    /// Whom in it.
    pub target: Target,
    /// Everybody in one of these rooms is left out.
    pub except: Vec<CompactString>,
    /// What is to be done.
    pub act: Act,
    /// Who waits to be told that it is done.
    pub(super) asker: Option<Asker>,
}

/// Who gave an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A Node server, by this request.
    Server(Box<Request>),
    /// This run of a gateway, perhaps our own, by a question of this number.
    Gateway(CompactString, u64),
}

/// What is to be done to sockets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// They join these rooms.
    Join(Vec<CompactString>),
    /// They leave these rooms.
    Leave(Vec<CompactString>),
    /// They leave the namespace, or the node.
    Disconnect {
        /// The whole session ends.
        close: bool,
    },
}

impl Hearing {
    pub(super) fn new(relay: Arc<Relay>, events: Events) -> Self {
        let heard = VecDeque::new();
        Self {
            relay,
            events,
            heard,
            lost: Seldom::default(),
        }
    }

    /// Waits for the next thing that is not done by the cluster itself. Must be called again and again: everything that
    /// comes from Redis passes here.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match self.events.next().await {
                Event::Message(message) => {
                    let heard = self.hear(&message);
                    self.heard.extend(heard);
                }
                Event::SubscriberUp => self.relay.subscriber_is_up(),
                Event::PublisherUp => self.relay.publisher_is_up(),
                Event::SubscriberDown => self.relay.subscriber_is_down(),
                Event::PublisherDown => self.relay.go_away("the publisher's connection is lost"),
                Event::Lagged(count) => {
                    self.relay.metrics.relay.lost.inc_by(count);
                    self.relay.metrics.relay.gaps.inc();
                    if let Some(count) = self.lost.add(count) {
                        warn!(
                            count,
                            "messages from Redis were lost, as this node was too slow to read them"
                        );
                    }
                    return Heard::Resumed;
                }
                Event::Refused(words) => error!(words, "Redis refuses the connection"),
            }
        }
    }

    fn hear(&mut self, message: &Message) -> Option<Heard> {
        if message.is_by_pattern() {
            // A private room or a server of the first generation: either way the message itself says for whom it is.
            return self.broadcast(None, None, &message.payload);
        }
        let (purpose, is_used) = self.relay.purpose(message.channel())?;
        match purpose {
            Purpose::Probe => return self.relay.probed(&message.payload).then_some(Heard::Resumed),
            Purpose::Namespace(_) | Purpose::Room(..) if !is_used => self.pass_over(&message.payload),
            Purpose::Namespace(namespace) => return self.broadcast(Some(&namespace), None, &message.payload),
            Purpose::Room(namespace, room) => {
                return self.broadcast(Some(&namespace), Some(&room), &message.payload);
            }
            Purpose::Old => return self.broadcast(None, None, &message.payload),
            Purpose::Requests(namespace) => {
                let command = self.relay.asked(&namespace, &message.payload);
                return command.map(|command| Heard::Command(Box::new(command)));
            }
            Purpose::Responses(_) => self.relay.server_says(&message.payload),
            Purpose::Peers => self.relay.peer_says(&message.payload, &mut self.heard),
            Purpose::Private | Purpose::OldNodes => {} // come by their patterns
        }
        None
    }

    /// A broadcast to nobody here: nothing of it is read but who published it.
    fn pass_over(&self, payload: &[u8]) {
        let (publisher, _) = self.relay.take_back(wire::peek_uid(payload));
        self.relay.metrics.relay.received(publisher.label());
    }

    /// A broadcast, by the channel of a room or of the namespace.
    fn broadcast(&self, namespace: Option<&Name>, room: Option<&str>, payload: &[u8]) -> Option<Heard> {
        let relay = &self.relay;
        let (publisher, is_done) = relay.take_back(wire::peek_uid(payload));
        relay.metrics.relay.received(publisher.label());
        if is_done {
            return None;
        }
        let message = match wire::decode_broadcast(payload) {
            Ok(message) => message,
            Err(error) => {
                debug!(%error, "a message that is no broadcast");
                return None;
            }
        };
        if message.attachments.len() > ATTACHMENTS_MAX {
            debug!(attachments = message.attachments.len(), "more than clients take");
            relay.metrics.relay.lost.inc();
            return None;
        }
        let namespace = match namespace {
            Some(namespace) if **namespace != *message.namespace => return None,
            Some(namespace) => Name::clone(namespace),
            None => Name::from(&*message.namespace),
        };
        let packet = message.packet();
        let mut except = Except {
            sender: None,
            rooms: message.except.into_vec(),
        };
        let mut rooms = message.rooms;
        if let Some(room) = room
            && let Some(at) = rooms.iter().position(|name| name == room)
            && rooms.len() > 1
        {
            // Old servers publish once a room, with all rooms in each: who is in several of them hears the first.
            except.rooms.extend(rooms.drain(..at));
            rooms = smallvec::smallvec![room.into()];
        }
        let broadcast = Broadcast {
            target: Rooms::from_list(rooms).map_or(Target::Namespace, Target::Rooms),
            except,
            packet,
            namespace,
            is_volatile: message.volatile,
        };
        if publisher == Publisher::Gateway && message.json.starts_with(PRESENCE) {
            return Some(Heard::Presence(Box::new((broadcast, message.json))));
        }
        relay.hub.broadcast_foreign(broadcast);
        None
    }
}

impl Publisher {
    fn label(self) -> crate::metrics::Publisher {
        match self {
            Self::Own { .. } | Self::Gateway => crate::metrics::Publisher::Roomcast,
            Self::Server => crate::metrics::Publisher::Node,
            Self::Emitter => crate::metrics::Publisher::Emitter,
        }
    }
}
