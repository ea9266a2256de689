//! One namespace in a shard: who is in it, in which rooms, and whose sockets they are.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use indexmap::IndexMap;

use super::{NewSocket, Socket};
use crate::engine::Outbox;
use crate::hub::Name;
use crate::hub::occupancy::Presence;
use crate::hub::target::{is_reserved, user_of, user_room};
use crate::protocol::ids::SocketId;

/// Stands for the number of a broadcast where something else than a broadcast looks for sockets.
pub(super) const NOW: u64 = u64::MAX;

/// Members by slot, dense to walk.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_slot: IndexMap<u32, Arc<Outbox>, RandomState>,
    /// The first broadcast that is theirs. Those before it may not all have entered this shard's queue.
    pub(super) since: u64,
}

impl Deref for Members {
    type Target = IndexMap<u32, Arc<Outbox>, RandomState>;

    fn deref(&self) -> &Self::Target {
        &self.by_slot
    }
}

impl DerefMut for Members {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.by_slot
    }
}

/// The sockets of one namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    name: Name,
    pub(super) sockets: Members,
    pub(super) rooms: HashMap<Name, Members, RandomState>,
    /// Whose private room this is.
    pub(super) private: HashMap<SocketId, u32, RandomState>,
    /// The sockets of each user.
    pub(super) users: HashMap<Name, Members, RandomState>,
}

impl Namespace {
    /// One without sockets.
    pub(super) fn new(name: &Name) -> Self {
        Self {
            name: Arc::clone(name),
            sockets: Members::default(),
            rooms: HashMap::default(),
            private: HashMap::default(),
            users: HashMap::default(),
        }
    }

    /// Lets a socket in, into its private rooms alone.
    pub(super) fn add(&mut self, slot: u32, new: &NewSocket<'_>, presence: &mut Presence) {
        if self.sockets.is_empty() {
            self.sockets.since = presence.enter_namespace(&self.name);
        }
        self.sockets.insert(slot, Arc::clone(new.outbox));
        for id in std::iter::once(new.id).chain(new.alias) {
            self.private.insert(id.clone(), slot);
            presence.enter(&self.name, id.as_str()); // whose broadcasts all come behind it
        }
        if let Some(user) = new.user {
            let sockets = self.users.entry(Arc::clone(user)).or_default();
            if sockets.is_empty() {
                sockets.since = presence.enter(&self.name, &user_room(user));
            }
            sockets.insert(slot, Arc::clone(new.outbox));
        }
    }

    /// Takes a socket out of everything.
    pub(super) fn remove(&mut self, slot: u32, socket: &Socket, presence: &mut Presence) {
        for room in &socket.rooms {
            self.leave(slot, room, presence);
        }
        for id in std::iter::once(&socket.id).chain(&socket.alias) {
            self.private.remove(id);
            presence.exit(&self.name, id.as_str());
        }
        if let Some(user) = &socket.user
            && let Some(sockets) = self.users.get_mut(user)
        {
            sockets.swap_remove(&slot);
            if sockets.is_empty() {
                self.users.remove(user);
                presence.exit(&self.name, &user_room(user));
            }
        }
        self.sockets.swap_remove(&slot);
        if self.sockets.is_empty() {
            presence.exit_namespace(&self.name);
        }
    }

    pub(super) fn has(&self, slot: u32, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|members| members.contains_key(&slot))
    }

    /// The members of a room, or the sockets of the user whose room it is.
    pub(super) fn members(&self, room: &str) -> Option<&Members> {
        match user_of(room) {
            None => self.rooms.get(room),
            Some(user) => self.users.get(user),
        }
    }

    /// Puts a socket into a room and returns the room's shared name; `None` where it is in it already, or cannot be.
    pub(super) fn join(
        &mut self,
        slot: u32,
        room: &str,
        outbox: &Arc<Outbox>,
        presence: &mut Presence,
    ) -> Option<Name> {
        if is_reserved(room) {
            return None;
        }
        if let Some((name, members)) = self.rooms.get_key_value_mut(room) {
            let is_new = members.insert(slot, Arc::clone(outbox)).is_none();
            return is_new.then(|| Arc::clone(name));
        }
        let name: Name = room.into();
        let members = self.rooms.entry(Arc::clone(&name)).or_default();
        members.insert(slot, Arc::clone(outbox));
        members.since = presence.enter(&self.name, room);
        Some(name)
    }

    /// Takes a socket out of a room; false where it was not in it.
    pub(super) fn leave(&mut self, slot: u32, room: &str, presence: &mut Presence) -> bool {
        let Some(members) = self.rooms.get_mut(room) else {
            return false;
        };
        let was_in = members.swap_remove(&slot).is_some();
        if members.is_empty() {
            self.rooms.remove(room);
            presence.exit(&self.name, room);
        }
        was_in
    }

    /// The sockets in a room that get broadcast number `number`: its members, and the one whose private room it is.
    pub(super) fn slots(&self, room: &str, number: u64) -> impl Iterator<Item = u32> {
        let members = self
            .members(room)
            .filter(|members| members.since <= number)
            .into_iter()
            .flat_map(|members| members.keys().copied());
        self.private.get(room).copied().into_iter().chain(members)
    }
}
