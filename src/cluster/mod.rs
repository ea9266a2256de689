//! Many nodes as one: what happens here happens at the peers as well, through Redis.
//!
//! Alone, everything goes straight to the hub. With a Redis, broadcasts pass through it in one order, rooms with members
//! here are subscribed, and other servers on the same Redis are obeyed and answered as if we were a Node.js server.

mod acks;
mod alive;
mod answer;
mod asking;
mod census;
mod changes;
mod claims;
pub mod config;
mod forward;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gossip;
mod hearing;
mod inventory;
mod ledger;
mod orders;
mod pages;
mod peers;
pub mod redis;
mod relay;
mod requests;
mod rooms;
mod routes;
mod showing;
mod streams;
mod subscriptions;
mod survey;
mod users;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

pub use acks::{Acknowledged, Event};
pub use alive::Beats;
pub use answer::{Answer, Receipt, Waiter};
pub use census::{Census, NODE_SERVERS};
pub use changes::{Changed, Gone, Place};
pub use config::Config;
pub use forward::{
    Client, Doubt, LINK_WINDOW, Owner, Passenger, Purpose, STREAM_WINDOW, Unreachable, Way, disbelieve, is_disbelief,
};
pub use found::{FoundRoom, FoundSocket, RoomQuery, SocketQuery};
pub use gossip::{Node, Roster, Users};
pub use hearing::{Act, Command, Heard, Hearing};
pub use inventory::{Busy, Nodes, Undrained};
pub use orders::Ordered;
pub use pages::Page;
pub use rooms::{Cleared, ROOMS_LIVE, Vacated};
pub use streams::Appended;
pub use users::{COUNTS_LIVE, Counted, Sockets};

use crate::hub::{Broadcast, Hub, Name};
use crate::metrics::{Metrics, Origin};
use crate::protocol::ids::IdGenerator;
use crate::wish::Stopper;
use changes::Changes;
use forward::Forwarder;
use gossip::{Look, Message, ROOMS_MAX, VERSION};
use inventory::Surveys;
use relay::Relay;
use subscriptions::Confirmation;

/// Members that one answer names.
pub const MEMBERS_MAX: usize = 1000;

/// The nodes that share a Redis, or this one alone.
#[derive(Debug)]
pub struct Cluster {
    hub: Arc<Hub>,
    bus: Bus,
    changes: Arc<Changes>,
    surveys: Surveys,
}

/// How nodes reach each other.
#[derive(Debug)]
enum Bus {
    /// There is one.
    Solo,
    /// Through Redis channels.
    Redis(Arc<Relay>),
}

/// Whether subscriptions are live, now or later.
#[derive(Debug, Default)]
#[must_use]
pub struct Live(Vec<Confirmation>);

/// A broadcast for which there is no room, with the answer that it would have had.
#[derive(Debug)]
pub struct Waiting(Box<(Broadcast, Option<Waiter>)>);

impl Live {
    /// Whether there is nothing to wait for.
    pub fn is_now(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until all are live; false when Redis refuses one.
    pub async fn confirmed(self) -> bool {
        let mut is_live = true;
        for confirmation in self.0 {
            is_live &= confirmation.await.unwrap_or(true); // a table that is gone is that of a node that stops
        }
        is_live
    }
}

impl Cluster {
    /// The cluster that `config` names, joined in the background; what comes from it is for [`Hearing::next`].
    /// Our sockets' ids come from `ids`, whose tag may be changed until [`settle`](Self::settle) is done; at `listen` we are
    /// asked by other nodes. Those may wish by `stopper` that this one drains.
    ///
    /// # Errors
    /// With what is wrong with the URL of Redis.
    pub fn new(
        config: &Config,
        listen: SocketAddr,
        ids: Arc<IdGenerator>,
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
        stopper: Stopper,
    ) -> Result<(Arc<Self>, Option<Hearing>), String> {
        let surveys = Surveys::new(ids.clone(), metrics.clone());
        if config.is_alone() {
            let (bus, changes) = (Bus::Solo, Arc::default());
            let solo = Self {
                hub,
                bus,
                changes,
                surveys,
            };
            return Ok((Arc::new(solo), None));
        }
        let (redis, events) = redis::Redis::open(&config.settings())?;
        let forwarder = Forwarder::new(config, listen, metrics);
        let relay = Relay::new(config, (ids, stopper), redis, Arc::clone(&hub), forwarder);
        let hearing = Hearing::new(Arc::clone(&relay), events);
        let changes = Arc::clone(&relay.peers.changes);
        let bus = Bus::Redis(relay);
        let shared = Self {
            hub,
            bus,
            changes,
            surveys,
        };
        Ok((Arc::new(shared), Some(hearing)))
    }

    /// Whether other nodes may be there.
    pub fn is_shared(&self) -> bool {
        matches!(self.bus, Bus::Redis(_))
    }

    /// Whether Redis is there, and every change of that; `None` where there is none to be.
    pub fn up(&self) -> Option<watch::Receiver<bool>> {
        match &self.bus {
            Bus::Solo => None,
            Bus::Redis(relay) => Some(relay.up()),
        }
    }

    /// Waits a moment for Redis and for the other gateways to know of this one, so that the first clients of a new node
    /// find it whole. From then on the tag of our ids stays.
    pub async fn settle(&self, patience: Duration) {
        if let Bus::Redis(relay) = &self.bus {
            let mut introduced = relay.peers.introduced();
            let _ = tokio::time::timeout(patience, introduced.wait_for(|done| *done)).await;
            relay.peers.is_named();
        }
    }

    /// Tells the other gateways that this one is gone.
    pub async fn leave(&self) {
        if let Bus::Redis(relay) = &self.bus {
            relay.say_goodbye().await;
        }
    }

    /// All gateways that are there, this one first, as they said of themselves lately; nobody is asked. Alone, nothing.
    pub fn nodes(&self) -> Vec<Node> {
        let Bus::Redis(relay) = &self.bus else {
            return Vec::new();
        };
        let mut nodes = vec![relay.node()];
        nodes.extend(relay.peers.alive.lock().nodes().cloned());
        nodes
    }

    /// How often each other gateway was heard of.
    pub fn beats(&self) -> Beats {
        match &self.bus {
            Bus::Solo => Beats::default(),
            Bus::Redis(relay) => relay.peers.alive.lock().beats(),
        }
    }

    /// Changes when Redis may have lost what this node keeps there, which is to be written again; `None` where there is
    /// no Redis.
    pub fn lapses(&self) -> Option<watch::Receiver<u64>> {
        match &self.bus {
            Bus::Solo => None,
            Bus::Redis(relay) => Some(relay.lapses()),
        }
    }

    /// Asks all other servers who is in a room; `None` where there can be none.
    pub fn census(
        &self,
        namespace: &Name,
        room: &str,
    ) -> Option<impl Future<Output = Census> + Send + 'static + use<>> {
        match &self.bus {
            Bus::Solo => None,
            Bus::Redis(relay) => Some(Arc::clone(relay).census(Name::clone(namespace), room.into())),
        }
    }

    /// Lets the other gateways, or the one run of one, tell us who is in rooms: by [`Heard::Roster`]. `is_again` where
    /// something may have been missed.
    pub fn look(&self, to: Option<&str>, namespace: &Name, rooms: &[CompactString], is_again: bool) {
        let Bus::Redis(relay) = &self.bus else {
            return;
        };
        if !*relay.up().borrow() {
            return; // once it is there, everything is asked about again
        }
        for rooms in rooms.chunks(ROOMS_MAX) {
            let look = Look {
                namespace: (&**namespace).into(),
                rooms: rooms.to_vec(),
                is_again,
            };
            let run = relay.run().into();
            let message = Message::Look { v: VERSION, run, look };
            let channel = to.map_or_else(|| relay.routes.peers(), |run| relay.routes.peer(run));
            relay.say(channel, message.encode());
        }
    }

    /// Ends this task, which serves the cluster, when it is closed.
    pub fn end_with_us(&self, task: AbortHandle) {
        if let Bus::Redis(relay) = &self.bus {
            relay.end_with_us(task);
        }
    }

    /// Leaves the cluster.
    pub fn close(&self) {
        if let Bus::Redis(relay) = &self.bus {
            relay.close();
        }
    }

    /// Sends a packet to everybody in the target on every node. What came of it, where that is known at once; else
    /// `waiter` hears it later.
    ///
    /// # Errors
    /// With the broadcast, when too much waits already.
    pub fn try_broadcast(
        &self,
        broadcast: Broadcast,
        origin: Origin,
        waiter: Option<Waiter>,
    ) -> Result<Option<Receipt>, Waiting> {
        match &self.bus {
            Bus::Solo => match self.hub.try_reserve(&broadcast) {
                Ok(reservation) => {
                    self.hub.broadcast(broadcast, reservation, origin);
                    Ok(Some(Receipt::Relayed))
                }
                Err(_) => Err(Waiting(Box::new((broadcast, waiter)))),
            },
            Bus::Redis(relay) => match relay.try_reserve(&broadcast) {
                Some(room) => Ok(relay.publish(broadcast, room, origin, waiter)),
                None => Err(Waiting(Box::new((broadcast, waiter)))),
            },
        }
    }

    /// The same, but waits while too much waits.
    pub async fn broadcast(&self, waiting: Waiting, origin: Origin) -> Option<Receipt> {
        let (broadcast, waiter) = *waiting.0;
        match &self.bus {
            Bus::Solo => {
                let reservation = self.hub.reserve(&broadcast).await;
                self.hub.broadcast(broadcast, reservation, origin);
                Some(Receipt::Relayed)
            }
            Bus::Redis(relay) => {
                let room = relay.reserve(&broadcast).await;
                relay.publish(broadcast, room, origin, waiter)
            }
        }
    }

    /// The same, and waits until it is known what came of it, and until it is delivered here.
    pub async fn publish(&self, broadcast: Broadcast, origin: Origin) -> Receipt {
        let (sender, later) = oneshot::channel();
        let known = match self.try_broadcast(broadcast, origin, Some(Waiter::Task(sender))) {
            Ok(known) => known,
            Err(waiting) => self.broadcast(waiting, origin).await,
        };
        let receipt = match known {
            Some(receipt) => receipt,
            None => later.await.unwrap_or(Receipt::Unavailable), // the relay ends with the node
        };
        self.passed().await;
        receipt
    }

    /// Waits until everything that this node published before is on its way to its own clients.
    async fn passed(&self) {
        if let Bus::Redis(relay) = &self.bus {
            relay.passed().await;
        }
    }

    /// Sends a packet to everybody in the target on this node, whatever others are there, behind what was published
    /// before; waits while too much waits.
    pub async fn broadcast_here(&self, broadcast: Broadcast, origin: Origin) {
        self.passed().await;
        let reservation = self.hub.reserve(&broadcast).await;
        self.hub.broadcast(broadcast, reservation, origin);
    }

    /// Whether a socket's private rooms must be among those that it enters and exits: Redis may refuse to let us hear them
    /// all at once.
    pub fn lists_private_rooms(&self) -> bool {
        matches!(&self.bus, Bus::Redis(relay) if relay.routes.lacks_patterns())
    }

    /// A socket is about to enter a namespace, and rooms in it.
    pub fn enter<'a>(&self, namespace: &Name, rooms: impl IntoIterator<Item = &'a str>) -> Live {
        let Bus::Redis(relay) = &self.bus else {
            return Live::default();
        };
        let mut channels = relay.routes.of_namespace(namespace);
        channels.extend(relay.routes.of_rooms(namespace, rooms));
        Live(relay.enter(channels))
    }

    /// A socket that entered a namespace, or was about to, is gone; it was in these rooms.
    pub fn exit<'a>(&self, namespace: &Name, rooms: impl IntoIterator<Item = &'a str>) {
        let rooms: Vec<_> = rooms.into_iter().collect();
        self.changes.of_rooms(namespace, rooms.iter().copied());
        if let Bus::Redis(relay) = &self.bus {
            let mut channels = relay.routes.of_namespace(namespace);
            channels.extend(relay.routes.of_rooms(namespace, rooms));
            relay.leave(channels);
        }
    }

    /// A socket is in rooms in which it was not.
    pub fn joined(&self, namespace: &Name, rooms: &[Name]) -> Live {
        self.changes.of_rooms(namespace, rooms.iter().map(|room| &**room));
        match &self.bus {
            Bus::Redis(relay) if !rooms.is_empty() => {
                Live(relay.enter(relay.routes.of_rooms(namespace, rooms.iter().map(|room| &**room))))
            }
            _ => Live::default(),
        }
    }

    /// A command is done, its subscriptions are live: who asked to be told is told.
    pub fn done(&self, command: &Command) {
        if let (Bus::Redis(relay), Some(asker)) = (&self.bus, &command.asker) {
            relay.done(&command.namespace, asker);
        }
    }

    /// A socket is no longer in rooms in which it was.
    pub fn left(&self, namespace: &Name, rooms: &[Name]) {
        self.changes.of_rooms(namespace, rooms.iter().map(|room| &**room));
        if let Bus::Redis(relay) = &self.bus
            && !rooms.is_empty()
        {
            relay.leave(relay.routes.of_rooms(namespace, rooms.iter().map(|room| &**room)));
        }
    }
}
