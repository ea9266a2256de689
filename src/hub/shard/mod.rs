//! One part of the hub: the sockets of some sessions, behind one lock.
//!
//! Members are dense lists, as walking them is most of what a fan-out costs here. A socket's private rooms are not
//! rooms but a look-up by id: there is one member and it never changes.

mod listing;
mod namespace;
mod others;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use slab::Slab;

pub(in crate::hub) use listing::keep_first;
pub use listing::{Listed, Wanted};
pub use others::{Described, Facts, Kick, MovedSocket};

use super::delivery::Dirty;
use super::occupancy::Presence;
use super::target::{Broadcast, Selection, Target};
use super::{Name, ShardId};
use crate::engine::Outbox;
use crate::metrics::Tally;
use crate::protocol::Version;
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;
use namespace::{NOW, Namespace};

/// A socket that comes in.
#[derive(Debug)]
pub struct NewSocket<'a> {
    /// Where its packets go.
    pub outbox: &'a Arc<Outbox>,
    /// Its namespace.
    pub namespace: &'a Name,
    /// Its id, the name of its private room.
    pub id: &'a SocketId,
    /// The id that others are shown, where that is another one.
    pub alias: Option<&'a SocketId>,
    /// Who the client is, where something says so.
    pub user: Option<&'a Name>,
    /// Rooms that it is in from the start.
    pub rooms: &'a [CompactString],
    /// Where it comes from.
    pub source: Source,
    /// What the application keeps with it, as JSON; empty for nothing.
    pub data: Box<str>,
    /// What others are told of it, where there are others to ask.
    pub facts: Option<Box<Facts>>,
}

/// Where a socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The client's address.
    pub address: IpAddr,
    /// Its protocol.
    pub version: Version,
    /// When it entered its namespace.
    pub since: SystemTime,
}

#[cfg(any(test, fuzzing))]
impl Source {
    /// Those of a socket without a client.
    pub(crate) fn nowhere() -> Self {
        Self {
            address: IpAddr::from([127, 0, 0, 1]),
            version: Version::V4,
            since: SystemTime::UNIX_EPOCH,
        }
    }
}

/// A member of a room, as other clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id that it is shown by.
    pub id: SocketId,
    /// Who the client is, where something says so.
    pub user: Option<Name>,
}

/// What a join or a leave came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The rooms that the socket is in now, without its private ones.
    pub rooms: Vec<Name>,
    /// Those that it was not in before, or is in no longer.
    pub changed: Vec<Name>,
}

#[derive(Debug)]
pub(super) struct Shard(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    sockets: Slab<Socket>,
    namespaces: HashMap<Name, Namespace, RandomState>,
    /// What broadcasts know of these.
    presence: Presence,
    /// Number of the last union of rooms; sockets remember the last one that they were found in.
    union: u64,
}

#[derive(Debug)]
struct Socket {
    outbox: Arc<Outbox>,
    namespace: Name,
    id: SocketId,
    alias: Option<SocketId>,
    user: Option<Name>,
    rooms: Vec<Name>,
    union: u64,
    kick: Option<Kick>,
    source: Source,
    data: Box<str>,
    facts: Option<Box<Facts>>,
}

impl Shard {
    pub(super) fn new(presence: Presence) -> Self {
        Self(Mutex::new(State {
            sockets: Slab::new(),
            namespaces: HashMap::default(),
            presence,
            union: 0,
        }))
    }

    pub(super) fn add(&self, new: NewSocket<'_>, connect: Arc<Encoded>, tally: &mut Tally) -> u32 {
        let mut state = self.0.lock();
        let state = &mut *state;
        let entry = state.sockets.vacant_entry();
        let slot = entry.key() as u32;
        let namespace = match state.namespaces.get_mut(new.namespace) {
            Some(namespace) => namespace,
            None => {
                let name = Arc::clone(new.namespace);
                state.namespaces.entry(name).or_insert_with_key(Namespace::new)
            }
        };
        namespace.add(slot, &new, &mut state.presence);
        entry.insert(Socket {
            outbox: Arc::clone(new.outbox),
            namespace: Arc::clone(new.namespace),
            id: new.id.clone(),
            alias: new.alias.cloned(),
            user: new.user.cloned(),
            rooms: Vec::new(),
            union: 0,
            kick: None,
            source: new.source,
            data: new.data,
            facts: new.facts,
        });
        // The client's own task flushes; a flush here would write under the lock.
        let _ = new.outbox.push(connect, tally);
        state.enter(slot, new.rooms);
        slot
    }

    pub(super) fn remove(&self, slot: u32) -> (Option<SocketId>, Vec<Name>) {
        let mut state = self.0.lock();
        let state = &mut *state;
        let Some(socket) = state.sockets.try_remove(slot as usize) else {
            return Default::default();
        };
        let Some(namespace) = state.namespaces.get_mut(&socket.namespace) else {
            return (Some(socket.id), Vec::new());
        };
        namespace.remove(slot, &socket, &mut state.presence);
        if namespace.sockets.is_empty() {
            state.namespaces.remove(&socket.namespace);
        }
        (Some(socket.id), socket.rooms)
    }

    pub(super) fn join(&self, slot: u32, rooms: &[CompactString], rooms_max: usize) -> Result<Moved, usize> {
        let mut state = self.0.lock();
        let Some(socket) = state.sockets.get(slot as usize) else {
            return Ok(Moved::default());
        };
        let Some(namespace) = state.namespaces.get(&socket.namespace) else {
            return Ok(Moved::default());
        };
        if socket.rooms.len() + rooms.len() > rooms_max {
            let mut news = HashSet::<&str, RandomState>::default();
            news.extend(
                rooms
                    .iter()
                    .filter(|room| !namespace.has(slot, room))
                    .map(|room| &**room),
            );
            let total = socket.rooms.len() + news.len();
            if !news.is_empty() && total > rooms_max {
                return Err(total);
            }
        }
        let changed = state.enter(slot, rooms);
        Ok(Moved {
            rooms: state.rooms_of(slot),
            changed,
        })
    }

    pub(super) fn leave(&self, slot: u32, rooms: &[CompactString]) -> Moved {
        let mut state = self.0.lock();
        let changed = state.exit(slot, rooms);
        Moved {
            rooms: state.rooms_of(slot),
            changed,
        }
    }

    pub(super) fn rooms_of(&self, slot: u32) -> Vec<Name> {
        self.0.lock().rooms_of(slot)
    }

    /// Adds a room's members to `members`, up to `max` in all, and returns how many there are.
    pub(super) fn members(&self, namespace: &str, room: &str, max: usize, members: &mut Vec<Member>) -> usize {
        let state = self.0.lock();
        let Some(namespace) = state.namespaces.get(namespace) else {
            return 0;
        };
        let mut count = 0;
        for slot in namespace.slots(room, NOW) {
            count += 1;
            if members.len() < max {
                let socket = &state.sockets[slot as usize];
                members.push(Member {
                    id: socket.alias.as_ref().unwrap_or(&socket.id).clone(),
                    user: socket.user.clone(),
                });
            }
        }
        count
    }

    pub(super) fn is_occupied(&self, namespace: &str, room: &str) -> bool {
        let state = self.0.lock();
        let namespace = state.namespaces.get(namespace);
        namespace.is_some_and(|namespace| namespace.rooms.contains_key(room))
    }

    pub(super) fn is_member(&self, slot: u32, room: &str) -> bool {
        let state = self.0.lock();
        let Some(socket) = state.sockets.get(slot as usize) else {
            return false;
        };
        let Some(namespace) = state.namespaces.get(&socket.namespace) else {
            return false;
        };
        namespace.private.get(room) == Some(&slot) || namespace.has(slot, room)
    }

    pub(super) fn collect_rooms(&self, names: &mut HashSet<(Name, Name), RandomState>) {
        let state = self.0.lock();
        for (name, namespace) in &state.namespaces {
            names.extend(namespace.rooms.keys().map(|room| (Arc::clone(name), Arc::clone(room))));
        }
    }

    pub(super) fn sockets_of(&self, namespace: &str, user: &str) -> usize {
        let state = self.0.lock();
        let namespace = state.namespaces.get(namespace);
        let sockets = namespace.and_then(|namespace| namespace.users.get(user));
        sockets.map_or(0, |sockets| sockets.len())
    }

    pub(super) fn sockets(&self) -> usize {
        self.0.lock().sockets.len()
    }

    /// Whether nothing is left of those who were here.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.0.lock();
        state.sockets.is_empty() && state.namespaces.is_empty() && state.presence.is_empty()
    }

    /// Puts the packets of `broadcasts`, each with its number, into their members' outboxes. Those that must be flushed come into `dirty`;
    /// returns the number of deliveries.
    pub(super) fn fill<'a>(
        &self,
        shard: ShardId,
        broadcasts: impl Iterator<Item = (u64, &'a Broadcast)>,
        dirty: &mut Dirty,
        tally: &mut Tally,
    ) -> usize {
        let mut state = self.0.lock();
        broadcasts
            .map(|(number, broadcast)| state.fill(shard, number, broadcast, dirty, tally))
            .sum()
    }
}

impl State {
    /// Enters rooms and returns those that the socket was not in already.
    pub(super) fn enter(&mut self, slot: u32, rooms: &[CompactString]) -> Vec<Name> {
        let mut entered = Vec::new();
        if let Some(socket) = self.sockets.get_mut(slot as usize)
            && let Some(namespace) = self.namespaces.get_mut(&socket.namespace)
        {
            entered.extend(
                rooms
                    .iter()
                    .filter_map(|room| namespace.join(slot, room, &socket.outbox, &mut self.presence)),
            );
            socket.rooms.extend(entered.iter().cloned());
        }
        entered
    }

    /// Leaves rooms and returns those that the socket was in.
    pub(super) fn exit(&mut self, slot: u32, rooms: &[CompactString]) -> Vec<Name> {
        let mut left = Vec::new();
        if let Some(socket) = self.sockets.get_mut(slot as usize)
            && let Some(namespace) = self.namespaces.get_mut(&socket.namespace)
        {
            for room in rooms {
                if namespace.leave(slot, room, &mut self.presence)
                    && let Some(at) = socket.rooms.iter().position(|name| **name == **room)
                {
                    left.push(socket.rooms.remove(at)); // keeps the order in which they were joined
                }
            }
        }
        left
    }

    fn rooms_of(&self, slot: u32) -> Vec<Name> {
        self.sockets
            .get(slot as usize)
            .map_or_else(Vec::new, |socket| socket.rooms.clone())
    }

    fn fill(
        &mut self,
        shard: ShardId,
        number: u64,
        broadcast: &Broadcast,
        dirty: &mut Dirty,
        tally: &mut Tally,
    ) -> usize {
        let Some(namespace) = self.namespaces.get(&broadcast.namespace) else {
            return 0;
        };
        let sender = broadcast.except.sender.as_ref();
        let sender = sender.filter(|sender| sender.key.shard == shard);
        let except = sender.map(|sender| sender.key.slot);
        let overtaking_max = dirty.overtaking_max();
        let mut count = 0;
        let mut push = |slot: u32, outbox: &Arc<Outbox>, overtakes: bool| {
            if Some(slot) != except {
                count += 1;
                let packet = Arc::clone(&broadcast.packet);
                let is_dirty = if broadcast.is_volatile {
                    outbox.push_volatile(packet, tally)
                } else {
                    outbox.push(packet, tally)
                };
                if is_dirty || overtakes {
                    dirty.push(outbox);
                }
            }
        };
        match &broadcast.target {
            Target::Namespace if broadcast.except.rooms.is_empty() && namespace.sockets.since <= number => {
                let overtakes = namespace.sockets.len() <= overtaking_max;
                for (slot, outbox) in namespace.sockets.iter() {
                    push(*slot, outbox, overtakes);
                }
            }
            Target::Rooms(rooms)
                if let [room] = rooms.as_slice()
                    && broadcast.except.rooms.is_empty()
                    && !namespace.private.contains_key(&**room) =>
            {
                if let Some(members) = namespace.members(room)
                    && members.since <= number
                {
                    let overtakes = members.len() <= overtaking_max;
                    for (slot, outbox) in members.iter() {
                        push(*slot, outbox, overtakes);
                    }
                }
            }
            target => {
                let selection = Selection {
                    namespace: &broadcast.namespace,
                    target,
                    except: &broadcast.except.rooms,
                };
                let selected = self.select(&selection, number);
                let overtakes = selected.len() <= overtaking_max;
                for slot in selected {
                    push(slot, &self.sockets[slot as usize].outbox, overtakes);
                }
            }
        }
        dirty.end_broadcast();
        count
    }

    /// The sockets in a target that get broadcast number `number`, once each. They are marked with the number of this union,
    /// the exceptions first.
    fn select(&mut self, selection: &Selection<'_>, number: u64) -> Vec<u32> {
        let Some(namespace) = self.namespaces.get(selection.namespace) else {
            return Vec::new();
        };
        self.union += 1;
        for room in selection.except {
            for slot in namespace.slots(room, NOW) {
                self.sockets[slot as usize].union = self.union;
            }
        }
        let mut selected = Vec::new();
        let mut take = |slot: u32| {
            if std::mem::replace(&mut self.sockets[slot as usize].union, self.union) != self.union {
                selected.push(slot);
            }
        };
        match selection.target {
            Target::Namespace if namespace.sockets.since <= number => {
                namespace.sockets.keys().copied().for_each(&mut take);
            }
            Target::Namespace => {}
            Target::Rooms(rooms) => {
                for room in rooms.as_slice() {
                    namespace.slots(room, number).for_each(&mut take);
                }
            }
        }
        selected
    }
}
