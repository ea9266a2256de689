//! Who is in which room, and the one loop that delivers.
//!
//! The loop takes every broadcast that waits, puts its frame into the outboxes of all members, and then writes to each
//! connection once. Never waits for a connection that cannot take more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::connection::Connection;

/// All rooms.
pub(crate) struct Rooms {
    members: Mutex<HashMap<Bytes, Vec<Arc<Connection>>>>,
    broadcasts: UnboundedSender<Broadcast>,
}

/// A frame for all members of a room.
pub(crate) struct Broadcast {
    pub(crate) room: Bytes,
    pub(crate) frame: Bytes,
}

impl Rooms {
    /// No rooms yet, and what is broadcast to them.
    pub(crate) fn new() -> (Arc<Self>, UnboundedReceiver<Broadcast>) {
        let (broadcasts, waiting) = mpsc::unbounded_channel();
        let members = Mutex::default();
        (Arc::new(Self { members, broadcasts }), waiting)
    }

    pub(crate) fn join(&self, room: Bytes, member: Arc<Connection>) {
        self.members().entry(room).or_default().push(member);
    }

    pub(crate) fn leave(&self, room: &Bytes, member: &Arc<Connection>) {
        if let Some(members) = self.members().get_mut(room) {
            members.retain(|other| !Arc::ptr_eq(other, member));
        }
    }

    pub(crate) fn broadcast(&self, broadcast: Broadcast) {
        self.broadcasts.send(broadcast).unwrap_or_default(); // the loop ends with the program
    }

    /// Delivers, as many broadcasts together as wait and as this bound allows.
    pub(crate) async fn deliver(self: Arc<Self>, mut broadcasts: UnboundedReceiver<Broadcast>, joined_max: usize) {
        let (mut waiting, mut unwritten) = (Vec::new(), Vec::new());
        while broadcasts.recv_many(&mut waiting, joined_max).await > 0 {
            self.fill_outboxes(&mut waiting, &mut unwritten);
            for member in unwritten.drain(..) {
                member.flush();
            }
            tokio::task::yield_now().await; // who connects, or publishes, has its turn
        }
    }

    fn fill_outboxes(&self, waiting: &mut Vec<Broadcast>, unwritten: &mut Vec<Arc<Connection>>) {
        let rooms = self.members();
        for Broadcast { room, frame } in waiting.drain(..) {
            let members = rooms.get(&room).into_iter().flatten();
            unwritten.extend(members.filter(|member| member.push(frame.clone())).cloned());
        }
    }

    fn members(&self) -> MutexGuard<'_, HashMap<Bytes, Vec<Arc<Connection>>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
