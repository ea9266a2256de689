//! What others do to sockets and want to know of them: other servers, and the application.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::namespace::NOW;
use super::{Shard, Source, State};
use crate::engine::Outbox;
use crate::hub::target::Selection;
use crate::hub::{Name, ShardId, SocketKey};
use crate::metrics::{Tally, Transport};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;

/// What is kept of a socket for those who ask other servers, and for the application.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is kept of the request by which its session began.
    pub record: Arc<str>,
    /// What it connected with, as JSON; empty for nothing.
    pub auth: Box<str>,
}

/// A socket as others see it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The socket.
    pub key: SocketKey,
    /// Its id, the name of its private room.
    pub id: SocketId,
    /// The id that other clients are shown, where that is another one.
    pub alias: Option<SocketId>,
    /// Who the client is, where something says so.
    pub user: Option<Name>,
    /// Its rooms, without its private ones.
    pub rooms: Vec<Name>,
    /// What the application keeps with it, as JSON; empty for nothing.
    pub data: Box<str>,
    /// Where it comes from.
    pub source: Source,
    /// How its packets reach it now.
    pub transport: Transport,
    /// What is known of it beside that.
    pub facts: Option<Box<Facts>>,
}

/// A socket whose rooms others changed.
#[derive(Clone, Debug)]
pub struct MovedSocket {
    /// The socket.
    pub key: SocketKey,
    /// Its id.
    pub id: SocketId,
    /// The id that other clients are shown.
    pub shown_id: SocketId,
    /// Who the client is, where something says so.
    pub user: Option<Name>,
    /// Rooms that it is in now and was not before, or the other way round.
    pub changed: Vec<Name>,
}

/// What somebody else wants a socket to do: to leave its namespace, or its whole session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// Out of the namespace.
    Socket,
    /// Out of the node.
    Session,
}

impl Shard {
    /// Adds the names of a namespace's rooms, private ones included.
    pub(in crate::hub) fn collect_room_names(&self, namespace: &str, names: &mut HashSet<CompactString, RandomState>) {
        let state = self.0.lock();
        if let Some(namespace) = state.namespaces.get(namespace) {
            names.extend(namespace.rooms.keys().map(|room| CompactString::from(&**room)));
            names.extend(namespace.private.keys().map(|id| CompactString::from(id.as_str())));
        }
    }

    /// Changes the rooms of everybody in a target; `change` returns those that did change.
    pub(in crate::hub) fn change_others(
        &self,
        shard: ShardId,
        selection: &Selection<'_>,
        moved: &mut Vec<MovedSocket>,
        change: impl Fn(&mut State, u32) -> Vec<Name>,
    ) {
        let mut state = self.0.lock();
        for slot in state.select(selection, NOW) {
            let changed = change(&mut state, slot);
            moved.extend(state.moved(shard, slot, changed));
        }
    }

    pub(in crate::hub) fn kick(&self, selection: &Selection<'_>, kick: Kick) {
        let mut state = self.0.lock();
        for slot in state.select(selection, NOW) {
            let socket = &mut state.sockets[slot as usize];
            socket.kick = Some(kick);
            socket.outbox.call();
        }
    }

    pub(in crate::hub) fn take_kick(&self, slot: u32) -> Option<Kick> {
        self.0.lock().sockets.get_mut(slot as usize)?.kick.take()
    }

    pub(in crate::hub) fn describe(&self, shard: ShardId, selection: &Selection<'_>, found: &mut Vec<Described>) {
        let mut state = self.0.lock();
        for slot in state.select(selection, NOW) {
            let socket = &state.sockets[slot as usize];
            found.push(Described {
                key: SocketKey { shard, slot },
                id: socket.id.clone(),
                alias: socket.alias.clone(),
                user: socket.user.clone(),
                rooms: socket.rooms.clone(),
                data: socket.data.clone(),
                source: socket.source,
                transport: socket.outbox.transport(),
                facts: socket.facts.clone(),
            });
        }
    }

    /// Adds the ids of everybody in a target.
    pub(in crate::hub) fn ids(&self, selection: &Selection<'_>, ids: &mut Vec<SocketId>) {
        let mut state = self.0.lock();
        for slot in state.select(selection, NOW) {
            ids.push(state.sockets[slot as usize].id.clone());
        }
    }

    pub(in crate::hub) fn data(&self, slot: u32, id: &SocketId) -> Box<str> {
        let state = self.0.lock();
        let socket = state.sockets.get(slot as usize).filter(|socket| socket.id == *id);
        socket.map_or_else(Box::default, |socket| socket.data.clone())
    }

    pub(in crate::hub) fn set_data(&self, slot: u32, id: &SocketId, data: Box<str>) {
        let mut state = self.0.lock();
        if let Some(socket) = state.sockets.get_mut(slot as usize).filter(|socket| socket.id == *id) {
            socket.data = data;
        }
    }

    /// Puts a packet into one socket's outbox; the outbox, where it must be flushed.
    pub(in crate::hub) fn send(
        &self,
        slot: u32,
        id: &SocketId,
        packet: Arc<Encoded>,
        tally: &mut Tally,
    ) -> Option<Arc<Outbox>> {
        let state = self.0.lock();
        let socket = state.sockets.get(slot as usize).filter(|socket| socket.id == *id)?;
        socket.outbox.push(packet, tally).then(|| Arc::clone(&socket.outbox))
    }
}

impl State {
    fn moved(&self, shard: ShardId, slot: u32, changed: Vec<Name>) -> Option<MovedSocket> {
        let socket = self.sockets.get(slot as usize).filter(|_| !changed.is_empty())?;
        Some(MovedSocket {
            key: SocketKey { shard, slot },
            id: socket.id.clone(),
            shown_id: socket.alias.as_ref().unwrap_or(&socket.id).clone(),
            user: socket.user.clone(),
            changed,
        })
    }
}
