//! Who is here, in which rooms, and how a broadcast reaches them.
//!
//! The only mutable state that clients share. Its tables are split by session, one part a core (64 at most), so that everything one
//! client does touches one lock. Nothing here awaits while a lock is held, and no caller's code runs under one.
//!
//! ```text
//! broadcast ─▶ sequencer ─▶ queue of each shard with ─▶ delivery loop: fill outboxes under the lock,
//!             (one order)   somebody in the target      then write each dirty socket once, without it
//! ```

mod acks;
mod delivery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listing;
mod occupancy;
mod shard;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use compact_str::CompactString;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

pub use acks::{Acks, Asked, Reply};
pub use delivery::{UNITS_MAX, units};
pub use shard::{Described, Facts, Kick, Listed, Member, Moved, MovedSocket, NewSocket, Source, Wanted};
pub use target::{Broadcast, Except, Rooms, Sender, Target, is_reserved, user_room};

use crate::metrics::{Metrics, Origin, Tally};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;
use crate::protocol::socket;
use delivery::{Numbered, Queued};
use occupancy::{Occupancy, Presence, SHARDS_MAX};
use shard::Shard;
pub use target::Selection;

/// A room's or namespace's name, shared by everybody who is in it.
pub type Name = Arc<str>;

/// The sockets of this node.
#[derive(Debug)]
pub struct Hub {
    shards: Box<[Arc<Shard>]>,
    /// Held while a broadcast enters its queues, so that all loops see all broadcasts in one order.
    queues: Mutex<Box<[mpsc::UnboundedSender<Numbered>]>>,
    occupancy: Arc<Occupancy>,
    /// What may wait in the queues of what this node publishes; who finds them full waits.
    room: Arc<Semaphore>,
    /// The same for what comes from other nodes, which waits for nobody and must not find all taken by our own.
    foreign_room: Arc<Semaphore>,
    next: AtomicUsize,
    acks: Arc<Acks>,
    metrics: Arc<Metrics>,
}

/// Room in the queues for one broadcast.
#[derive(Debug)]
pub struct Reservation(#[expect(dead_code, reason = "held for what its end gives back")] OwnedSemaphorePermit);

/// Too much waits in the queues already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to be delivered")]
pub struct Full;

/// An event that some sockets are to answer.
#[derive(Debug)]
pub struct Question {
    /// The event; not to be sent where nobody is to answer.
    pub broadcast: Broadcast,
    /// How many are to answer.
    pub count: usize,
    /// The answers.
    pub asked: Asked,
}

/// The part of the hub that a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardId(usize);

/// One socket of this node, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKey {
    shard: ShardId,
    slot: u32,
}

impl Hub {
    /// An empty hub with this many delivery loops, 64 at most, and the tasks that run them. They end when the hub is
    /// dropped.
    pub fn new(loops: usize, metrics: Arc<Metrics>) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let loops = loops.clamp(1, SHARDS_MAX);
        let occupancy = Arc::new(Occupancy::new(loops));
        let shards: Box<[_]> = (0..loops)
            .map(|index| Arc::new(Shard::new(Presence::new(Arc::clone(&occupancy), index))))
            .collect();
        let (queues, tasks) = shards
            .iter()
            .enumerate()
            .map(|(index, shard)| {
                let (sender, receiver) = mpsc::unbounded_channel(); // bounded by `room`
                let deliver = delivery::deliver(ShardId(index), Arc::clone(shard), receiver, Arc::clone(&metrics));
                (sender, tokio::spawn(deliver))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let hub = Self {
            shards,
            queues: Mutex::new(queues.into()),
            occupancy,
            room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
            foreign_room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
            next: AtomicUsize::new(0),
            acks: Arc::default(),
            metrics,
        };
        (Arc::new(hub), tasks)
    }

    /// The shard for a new session.
    pub fn assign(&self) -> ShardId {
        ShardId(self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len())
    }

    fn shard(&self, key: SocketKey) -> &Shard {
        &self.shards[key.shard.0]
    }

    /// Lets a socket in: `connect` enters its outbox first, so that nothing precedes it.
    pub fn add(&self, shard: ShardId, socket: NewSocket<'_>, connect: Arc<Encoded>, tally: &mut Tally) -> SocketKey {
        SocketKey {
            shard,
            slot: self.shards[shard.0].add(socket, connect, tally),
        }
    }

    /// Takes a socket out of all its rooms, and returns them. Nothing is delivered to it from now on.
    pub fn remove(&self, key: SocketKey) -> Vec<Name> {
        let (id, rooms) = self.shard(key).remove(key.slot);
        if let Some(id) = id {
            self.acks.gone(&id);
        }
        rooms
    }

    /// Puts a socket into rooms, each named once, all or none: none where it would be in more than `rooms_max`.
    ///
    /// # Errors
    /// With the number of rooms that it would be in, when those are too many.
    pub fn join(&self, key: SocketKey, rooms: &[CompactString], rooms_max: usize) -> Result<Moved, usize> {
        self.shard(key).join(key.slot, rooms, rooms_max)
    }

    /// Takes a socket out of rooms.
    pub fn leave(&self, key: SocketKey, rooms: &[CompactString]) -> Moved {
        self.shard(key).leave(key.slot, rooms)
    }

    /// The rooms that a socket is in, without its private ones.
    pub fn rooms_of(&self, key: SocketKey) -> Vec<Name> {
        self.shard(key).rooms_of(key.slot)
    }

    /// The members of a room, at most `max` of them, and how many there are.
    pub fn members(&self, namespace: &str, room: &str, max: usize) -> (Vec<Member>, usize) {
        let mut members = Vec::new();
        let count = |shard: &Arc<Shard>| shard.members(namespace, room, max, &mut members);
        let total = self.shards.iter().map(count).sum();
        (members, total)
    }

    /// Whether a room has members here.
    pub fn is_occupied(&self, namespace: &str, room: &str) -> bool {
        self.shards.iter().any(|shard| shard.is_occupied(namespace, room))
    }

    /// Puts everybody in a target into rooms, as another server or an application asks; those whose rooms that changed.
    pub fn join_others(&self, selection: &Selection<'_>, rooms: &[CompactString]) -> Vec<MovedSocket> {
        self.each_shard(|id, shard, moved| {
            shard.change_others(id, selection, moved, |state, slot| state.enter(slot, rooms))
        })
    }

    /// Takes everybody in a target out of rooms; those whose rooms that changed.
    pub fn leave_others(&self, selection: &Selection<'_>, rooms: &[CompactString]) -> Vec<MovedSocket> {
        self.each_shard(|id, shard, moved| {
            shard.change_others(id, selection, moved, |state, slot| state.exit(slot, rooms))
        })
    }

    /// Tells everybody in a target to go: their tasks find it by [`take_kick`](Self::take_kick).
    pub fn kick(&self, selection: &Selection<'_>, kick: Kick) {
        for shard in &self.shards {
            shard.kick(selection, kick);
        }
    }

    /// What a socket was told to do, once.
    pub fn take_kick(&self, key: SocketKey) -> Option<Kick> {
        self.shard(key).take_kick(key.slot)
    }

    /// The sockets in a target, with what is known of them.
    pub fn describe(&self, selection: &Selection<'_>) -> Vec<Described> {
        self.each_shard(|id, shard, found| shard.describe(id, selection, found))
    }

    /// What the application keeps with a socket, as JSON; empty for nothing, and where the socket is gone.
    pub fn data(&self, key: SocketKey, id: &SocketId) -> Box<str> {
        self.shard(key).data(key.slot, id)
    }

    /// Replaces what the application keeps with a socket.
    pub fn set_data(&self, key: SocketKey, id: &SocketId, data: Box<str>) {
        self.shard(key).set_data(key.slot, id, data);
    }

    /// How many sockets of a user are in a namespace here.
    pub fn sockets_of(&self, namespace: &str, user: &str) -> usize {
        self.shards.iter().map(|shard| shard.sockets_of(namespace, user)).sum()
    }

    /// Sends a packet to one socket, if it is still the one of this id.
    pub fn send(&self, key: SocketKey, id: &SocketId, packet: Arc<Encoded>) {
        let mut tally = Tally::default();
        if let Some(outbox) = self.shard(key).send(key.slot, id, packet, &mut tally) {
            outbox.flush(&mut tally);
        }
        self.metrics.sent(&tally);
    }

    /// An event that everybody in a target is to answer; `None` where too many such questions are open.
    pub fn question(
        &self,
        namespace: &Name,
        target: &Target,
        except: &[CompactString],
        json: &str,
        attachments: &[Bytes],
    ) -> Option<Question> {
        let selection = Selection {
            namespace,
            target,
            except,
        };
        let sockets = self.each_shard(|_, shard, ids| shard.ids(&selection, ids));
        let asked = self.acks.ask(sockets.iter().cloned())?;
        let ids = sockets.iter().map(|id| id.as_str().into());
        let broadcast = Broadcast {
            namespace: Name::clone(namespace),
            target: Rooms::from_list(ids).map_or(Target::Namespace, Target::Rooms), // for nobody, it is not sent
            except: Except::default(),
            packet: socket::question(namespace, asked.number(), &[json], attachments.into()),
            is_volatile: false,
        };
        Some(Question {
            broadcast,
            count: sockets.len(),
            asked,
        })
    }

    /// Answers that clients owe.
    pub fn acks(&self) -> &Arc<Acks> {
        &self.acks
    }

    /// The names of rooms with members in a namespace, private ones included.
    pub fn room_names(&self, namespace: &str) -> Vec<CompactString> {
        let mut names = hashbrown::HashSet::<_, foldhash::fast::RandomState>::default();
        for shard in &self.shards {
            shard.collect_room_names(namespace, &mut names);
        }
        names.into_iter().collect()
    }

    fn each_shard<T>(&self, mut each: impl FnMut(ShardId, &Shard, &mut Vec<T>)) -> Vec<T> {
        let mut found = Vec::new();
        for (index, shard) in self.shards.iter().enumerate() {
            each(ShardId(index), shard, &mut found);
        }
        found
    }

    /// Whether a socket is in a room, private ones included.
    pub fn is_member(&self, key: SocketKey, room: &str) -> bool {
        self.shard(key).is_member(key.slot, room)
    }

    /// Room for a broadcast in the queues, held until it is delivered or the reservation is dropped.
    ///
    /// # Errors
    /// When too much waits already.
    pub fn try_reserve(&self, broadcast: &Broadcast) -> Result<Reservation, Full> {
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units(broadcast.bytes()));
        permit.map(Reservation).map_err(|_| Full)
    }

    /// The same for a broadcast of another node.
    ///
    /// # Errors
    /// When too much of that waits already.
    pub fn try_reserve_foreign(&self, broadcast: &Broadcast) -> Result<Reservation, Full> {
        let permit = Arc::clone(&self.foreign_room).try_acquire_many_owned(units(broadcast.bytes()));
        permit.map(Reservation).map_err(|_| Full)
    }

    /// Delivers a broadcast of another node; one for which there is no room is lost, as who hears of it waits for nobody.
    pub fn broadcast_foreign(&self, broadcast: Broadcast) {
        match self.try_reserve_foreign(&broadcast) {
            Ok(reservation) => self.broadcast(broadcast, reservation, Origin::Cluster),
            Err(_) => self.metrics.relay.lost.inc(),
        }
    }

    /// Room for a broadcast of this node; waits while too much waits.
    pub async fn reserve(&self, broadcast: &Broadcast) -> Reservation {
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(units(broadcast.bytes()))
            .await;
        Reservation(permit.expect("the semaphore is never closed"))
    }

    /// Sends a packet to everybody in the target, in the one order of all broadcasts.
    pub fn broadcast(&self, broadcast: Broadcast, reservation: Reservation, origin: Origin) {
        let queued = Arc::new(Queued::Broadcast {
            broadcast,
            _room: reservation,
        });
        self.metrics.broadcast(origin);
        self.enqueue(&queued);
    }

    fn enqueue(&self, queued: &Arc<Queued>) {
        let queues = self.queues.lock();
        let number = self.occupancy.next_number();
        let shards = match &**queued {
            Queued::Broadcast { broadcast, .. } => self.occupancy.of(&broadcast.namespace, &broadcast.target),
            Queued::Mark { .. } => self.occupancy.all(),
        };
        for shard in shards {
            let _ = queues[shard].send((number, Arc::clone(queued))); // a loop ends with the hub alone
        }
    }

    /// Waits until all broadcasts so far are in their receivers' outboxes. Waits for no client: loops do not either.
    pub async fn caught_up(&self) {
        let (sender, reached) = oneshot::channel();
        self.enqueue(&Arc::new(Queued::Mark { _reached: sender }));
        let _ = reached.await; // it says nothing; it is gone once all loops have passed it
    }

    /// The number of rooms with members, without private ones.
    pub fn rooms(&self) -> usize {
        let mut names = hashbrown::HashSet::<_, foldhash::fast::RandomState>::default();
        for shard in &self.shards {
            shard.collect_rooms(&mut names);
        }
        names.len()
    }

    /// The number of sockets.
    pub fn sockets(&self) -> usize {
        self.shards.iter().map(|shard| shard.sockets()).sum()
    }
}

#[cfg(test)]
mod tests;
