//! One namespace in a shard: who is in it, in which rooms, and whose sockets they are.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use indexmap::IndexMap;

use crate::engine::Outbox;
use crate::hub::Name;
use crate::hub::target::{is_reserved, user_of};
use crate::protocol::ids::SocketId;

/// Members by slot, dense to walk.
pub(super) type Members = IndexMap<u32, Arc<Outbox>, RandomState>;

/// The sockets of one namespace.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) sockets: Members,
    pub(super) rooms: HashMap<Name, Members, RandomState>,
    /// Whose private room this is.
    pub(super) private: HashMap<SocketId, u32, RandomState>,
    /// The sockets of each user.
    pub(super) users: HashMap<Name, Members, RandomState>,
}

impl Namespace {
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
    pub(super) fn join(&mut self, slot: u32, room: &str, outbox: &Arc<Outbox>) -> Option<Name> {
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
        Some(name)
    }

    /// Takes a socket out of a room; false where it was not in it.
    pub(super) fn leave(&mut self, slot: u32, room: &str) -> bool {
        let Some(members) = self.rooms.get_mut(room) else {
            return false;
        };
        let was_in = members.swap_remove(&slot).is_some();
        if members.is_empty() {
            self.rooms.remove(room);
        }
        was_in
    }

    /// The sockets in a room: its members, and the one whose private room it is.
    pub(super) fn slots(&self, room: &str) -> impl Iterator<Item = u32> {
        let members = self
            .members(room)
            .into_iter()
            .flat_map(|members| members.keys().copied());
        self.private.get(room).copied().into_iter().chain(members)
    }
}
