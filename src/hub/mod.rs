//! Who is here, in which rooms, and how a broadcast reaches them.
//!
//! The only mutable state that clients share. Its tables are split by session, one part a core, so that everything one
//! client does touches one lock. Nothing here awaits while a lock is held, and no caller's code runs under one.
//!
//! ```text
//! broadcast ─▶ sequencer ─▶ queue of each shard ─▶ delivery loop: fill outboxes under the lock,
//!             (one order)                          then write each dirty socket once, without it
//! ```

mod delivery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod shard;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

pub use shard::{Moved, NewSocket};
pub use target::{Broadcast, Rooms, Target};

use crate::metrics::{Metrics, Origin, Tally};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;
use delivery::Queued;
use shard::Shard;

/// A room's or namespace's name, shared by everybody who is in it.
pub type Name = Arc<str>;

/// The sockets of this node.
#[derive(Debug)]
pub struct Hub {
    shards: Box<[Arc<Shard>]>,
    /// Held while a broadcast enters all queues, so that all loops see all broadcasts in one order.
    queues: Mutex<Box<[mpsc::UnboundedSender<Arc<Queued>>]>>,
    /// What may wait in the queues; who finds them full waits.
    room: Arc<Semaphore>,
    next: AtomicUsize,
    metrics: Arc<Metrics>,
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
    /// An empty hub with this many delivery loops, and the tasks that run them. They end when the hub is dropped.
    pub fn new(loops: usize, metrics: Arc<Metrics>) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let shards: Box<[_]> = (0..loops.max(1)).map(|_| Arc::new(Shard::default())).collect();
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
            room: Arc::new(Semaphore::new(delivery::UNITS_MAX as usize)),
            next: AtomicUsize::new(0),
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
        self.shard(key).remove(key.slot)
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

    /// The ids that members of a room are shown by, at most `max` of them, and how many members there are.
    pub fn members(&self, namespace: &str, room: &str, max: usize) -> (Vec<SocketId>, usize) {
        let mut ids = Vec::new();
        let count = |shard: &Arc<Shard>| shard.members(namespace, room, max, &mut ids);
        let total = self.shards.iter().map(count).sum();
        (ids, total)
    }

    /// Whether a socket is in a room, private ones included.
    pub fn is_member(&self, key: SocketKey, room: &str) -> bool {
        self.shard(key).is_member(key.slot, room)
    }

    /// Sends a packet to everybody in the target, in the one order of all broadcasts.
    ///
    /// # Errors
    /// With the broadcast, when too much waits already.
    pub fn try_broadcast(&self, broadcast: Broadcast, origin: Origin) -> Result<(), Broadcast> {
        match Arc::clone(&self.room).try_acquire_many_owned(delivery::units(&broadcast)) {
            Ok(permit) => {
                self.enqueue(Queued::new(broadcast, permit), origin);
                Ok(())
            }
            Err(_) => Err(broadcast),
        }
    }

    /// The same, but waits while too much waits.
    pub async fn broadcast(&self, broadcast: Broadcast, origin: Origin) {
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(delivery::units(&broadcast))
            .await;
        if let Ok(permit) = permit {
            self.enqueue(Queued::new(broadcast, permit), origin); // the semaphore is never closed
        }
    }

    fn enqueue(&self, queued: Queued, origin: Origin) {
        let queued = Arc::new(queued);
        self.metrics.broadcast(origin);
        for queue in &**self.queues.lock() {
            let _ = queue.send(Arc::clone(&queued)); // a loop ends with the hub alone
        }
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
