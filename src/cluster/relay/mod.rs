//! Broadcasts on their way through Redis: out by one connection, back by the other, in Redis' order.
//!
//! ```text
//! publish ─▶ ledger + queue ─▶ PUBLISH ─▶ Redis ─▶ hear ─▶ hub      the members on all gateways agree on the order
//!    └─ Redis is away ────────────────────────────────────▶ hub      at once, and never published again
//! ```
//!
//! Nothing here waits for a client, and nothing is published twice. Lock order: relay → hub's queues.

mod availability;
mod sending;
mod subscribing;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::answer::{Receipt, Waiter, count};
use super::asking::Asking;
use super::config::{Config, Order};
use super::forward::Forwarder;
use super::ledger::{Ledger, Pending, Publisher};
use super::peers::Peers;
use super::redis::Redis;
use super::routes::{Line, Routes};
use super::streams::Streams;
use super::subscriptions::{Confirmation, Purpose, Table};
use super::wire;
use crate::hub::{Broadcast, Hub, Reservation, Target, UNITS_MAX, is_reserved, units};
use crate::metrics::{Metrics, Origin};
use crate::protocol::ids::IdGenerator;
use crate::wish::Stopper;

/// The node's way to Redis and back.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) hub: Arc<Hub>,
    pub(super) redis: Redis,
    pub(super) routes: Routes,
    pub(super) metrics: Arc<Metrics>,
    pub(super) peers: Peers,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) asking: Arc<Asking>,
    /// How long answers of other servers are waited for.
    pub(super) request_timeout: Duration,
    order: Order,
    /// Whether clients are served while Redis is away.
    serves_alone: bool,
    state: Mutex<State>,
    pub(super) streams: Streams,
    outgoing: mpsc::UnboundedSender<Outgoing>, // bounded by `room`
    /// What may wait to be published and for Redis' answers, in units of the hub.
    room: Arc<Semaphore>,
    /// The table of subscriptions may want something.
    subscribe: Notify,
    /// A probe is wanted now.
    probe: Notify,
    up: watch::Sender<bool>,
    /// How often Redis may have lost what we keep there.
    lapses: watch::Sender<u64>,
    /// The number behind the last message that Redis answered.
    answered: AtomicU64,
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug)]
struct State {
    /// Whether what we publish comes back.
    is_up: bool,
    /// Whether everything that was wanted when the subscriber was connected is confirmed.
    is_subscribed: bool,
    table: Table,
    ledger: Ledger,
    away_since: Instant,
    probe: Probe,
    /// When one came back last.
    probed: Instant,
}

/// The last probe that was sent.
#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    sent: Instant,
    /// Redis had answered all messages before this one, so they come back before the probe, or never.
    answered: u64,
}

/// Room for one broadcast on all its way.
#[derive(Debug)]
pub(super) struct Room {
    reservation: Reservation,
    permit: OwnedSemaphorePermit,
}

/// A message to be published.
#[derive(Debug)]
struct Outgoing {
    channel: Arc<str>,
    payload: Bytes,
    published: Published,
}

/// What is to be done about a message once Redis answers.
#[derive(Debug)]
struct Published {
    epoch: u64,
    number: u64,
    waiter: Option<Waiter>,
    _room: OwnedSemaphorePermit,
}

/// Where a broadcast goes by, and by which name its subscribers know it.
struct Route {
    channel: Arc<str>,
    heard_by: Arc<str>,
}

impl Relay {
    pub(super) fn new(
        config: &Config,
        (ids, stopper): (Arc<IdGenerator>, Stopper),
        redis: Redis,
        hub: Arc<Hub>,
        forwarder: Forwarder,
    ) -> Arc<Self> {
        let now = Instant::now();
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (streams, entries) = Streams::new();
        let ledger = Ledger::new();
        let routes = Routes::new(&config.prefix, Arc::clone(&ids), ledger.run());
        let mut table = Table::default();
        for (name, purpose) in routes.of_node() {
            table.enter(name, purpose);
        }
        let relay = Arc::new(Self {
            hub,
            redis,
            routes,
            metrics: Arc::clone(&forwarder.metrics),
            peers: Peers::new(ids, config.heartbeat.0, stopper),
            forwarder: Arc::new(forwarder),
            asking: Arc::default(),
            request_timeout: config.request_timeout.0,
            order: config.order,
            serves_alone: config.serve_without_redis,
            state: Mutex::new(State {
                is_up: false,
                is_subscribed: false,
                table,
                ledger,
                away_since: now,
                probe: Probe {
                    number: 0,
                    sent: now,
                    answered: 0,
                },
                probed: now,
            }),
            streams,
            outgoing,
            room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
            subscribe: Notify::new(),
            probe: Notify::new(),
            up: watch::Sender::new(false),
            lapses: watch::Sender::new(0),
            answered: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        let tasks = [
            tokio::spawn(Arc::clone(&relay).publish_all(queue)).abort_handle(),
            tokio::spawn(Arc::clone(&relay).append_all(entries)).abort_handle(),
            tokio::spawn(Arc::clone(&relay).keep_subscribed()).abort_handle(),
            tokio::spawn(Arc::clone(&relay).keep_probing()).abort_handle(),
            tokio::spawn(Arc::clone(&relay).keep_beating()).abort_handle(),
        ];
        relay.tasks.lock().extend(tasks);
        relay
    }

    /// Ends this task with the relay.
    pub(super) fn end_with_us(&self, task: AbortHandle) {
        self.tasks.lock().push(task);
    }

    /// Ends everything that runs for the relay.
    pub(super) fn close(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// Room for a broadcast; `None` when too much waits already.
    pub(super) fn try_reserve(&self, broadcast: &Broadcast) -> Option<Room> {
        let reservation = self.hub.try_reserve(broadcast).ok()?;
        let permit = Arc::clone(&self.room)
            .try_acquire_many_owned(units(broadcast.bytes()))
            .ok()?;
        Some(Room { reservation, permit })
    }

    /// The same, but waits while too much waits.
    pub(super) async fn reserve(&self, broadcast: &Broadcast) -> Room {
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(units(broadcast.bytes()))
            .await;
        Room {
            reservation: self.hub.reserve(broadcast).await,
            permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// Publishes a broadcast of this node. What came of it, where that is known at once; else the answer goes out later.
    pub(super) fn publish(
        &self,
        broadcast: Broadcast,
        room: Room,
        origin: Origin,
        waiter: Option<Waiter>,
    ) -> Option<Receipt> {
        let Room { reservation, permit } = room;
        let route = self.route(&broadcast);
        let Ok(tail) = encode(&broadcast) else {
            debug_assert!(false, "a packet of ours: {:?}", broadcast.packet);
            return Some(Receipt::Unavailable);
        };
        let can_publish = self.redis.is_publisher_up();
        if !can_publish {
            self.go_away("the publisher's connection is lost"); // what waits for Redis comes before this
        }
        let mut state = self.state.lock();
        let is_away = !state.is_up || !can_publish;
        if is_away && !self.serves_alone {
            count(Receipt::Unavailable, &self.metrics);
            return Some(Receipt::Unavailable);
        }
        if !can_publish {
            self.hub.broadcast(broadcast, reservation, origin);
            return Some(Receipt::Local);
        }
        let (number, name) = state.ledger.name();
        let payload = wire::message(&name, tail);
        if !state.is_up || self.order == Order::Local {
            self.hub.broadcast(broadcast, reservation, origin);
        } else if state.table.is_live(&route.heard_by) {
            let pending = Pending {
                broadcast,
                reservation,
                origin,
                witnesses: Vec::new(),
            };
            state.ledger.expect(number, pending);
        } // else there is nobody here, and should somebody come before it is published, it comes back and is read
        let published = Published {
            epoch: state.ledger.epoch(),
            number,
            waiter,
            _room: permit,
        };
        let outgoing = Outgoing {
            channel: route.channel,
            payload,
            published,
        };
        let _ = self.outgoing.send(outgoing); // its receiver ends with the runtime alone
        None
    }

    /// Whether clients are served while Redis is away.
    pub(super) fn serves_alone(&self) -> bool {
        self.serves_alone
    }

    /// Whether a channel is subscribed, or about to be.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.state.lock().table.is_wanted(name)
    }

    /// What this run of the node is called.
    pub(super) fn run(&self) -> &str {
        self.routes.run()
    }

    /// One more user of each of these channels; what tells when they are live, as far as they are not.
    pub(super) fn enter(&self, channels: impl IntoIterator<Item = Line>) -> Vec<Confirmation> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let entered = channels.into_iter();
        let mut confirmations: Vec<_> = entered
            .filter_map(|(name, purpose)| state.table.enter(name, purpose))
            .collect();
        if !state.is_up {
            confirmations.clear(); // nobody waits for Redis; the subscriptions follow
        }
        self.subscribe.notify_one();
        confirmations
    }

    /// One user less of each of these channels.
    pub(super) fn leave(&self, channels: impl IntoIterator<Item = Line>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let was_waiting = state.table.next_lapse().is_some();
        for (name, purpose) in channels {
            state.table.leave(name, purpose, now);
        }
        if !was_waiting {
            self.subscribe.notify_one(); // from now on there is something to give up
        }
    }

    fn route(&self, broadcast: &Broadcast) -> Route {
        let namespace = &*broadcast.namespace;
        let mut heard_by = None;
        let channel = match &broadcast.target {
            // Users' rooms have no channels, as nobody is told who comes to them.
            Target::Rooms(rooms)
                if let [room] = rooms.as_slice()
                    && !is_reserved(room) =>
            {
                heard_by = self.routes.pattern(namespace, room);
                self.routes.room(namespace, room)
            }
            _ => self.routes.base(namespace),
        };
        Route {
            heard_by: heard_by.unwrap_or_else(|| Arc::clone(&channel)),
            channel,
        }
    }

    /// What is known of a channel by which something came, and whether anybody here uses it.
    pub(super) fn purpose(&self, name: &str) -> Option<(Purpose, bool)> {
        let state = self.state.lock();
        state
            .table
            .purpose(name)
            .map(|(purpose, is_used)| (purpose.clone(), is_used))
    }

    /// Delivers a message of ours that came back. False where it must be read like those of others.
    pub(super) fn take_back(&self, name: Option<&str>) -> (Publisher, bool) {
        let mut state = self.state.lock();
        let publisher = state.ledger.publisher(name);
        let Publisher::Own { epoch, number } = publisher else {
            return (publisher, false);
        };
        if !state.is_up || self.order == Order::Local || epoch != state.ledger.epoch() {
            return (publisher, true); // it was delivered when it was published, or when Redis went away
        }
        let Some(returned) = state.ledger.returned(number) else {
            return (publisher, false);
        };
        for pending in returned {
            pending.deliver(&self.hub);
        }
        (publisher, true)
    }
}

/// A broadcast without who published it.
fn encode(broadcast: &Broadcast) -> Result<wire::Tail, wire::WireError> {
    let rooms = match &broadcast.target {
        Target::Namespace => &[][..],
        Target::Rooms(rooms) => rooms.as_slice(),
    };
    let mut except = broadcast.except.rooms.clone();
    if let Some(sender) = &broadcast.except.sender {
        except.push(sender.id.as_str().into());
    }
    wire::encode_tail(&broadcast.packet, rooms, &except, broadcast.is_volatile)
}
