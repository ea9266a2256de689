//! What changed of rooms and of gateways, for whoever wants to tell of it. Kept only while somebody does.
//!
//! A room that changed is named here once, however often it did: what it is now is looked up by who takes it.

use std::sync::atomic::{AtomicBool, Ordering};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Cluster;
use super::gossip::Node;
use crate::hub::{Name, is_reserved};
use crate::protocol::ids::looks_like_socket_id;

/// A room in a namespace.
pub type Place = (Name, CompactString);

/// A gateway that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// What it said of itself last.
    pub node: Node,
    /// It died without saying goodbye.
    pub is_lost: bool,
}

/// What changed since it was taken last.
#[derive(Debug, Default)]
pub struct Changed {
    /// Rooms that were joined or left here.
    pub rooms: HashSet<Place, RandomState>,
    /// Gateways that are gone.
    pub gone: Vec<Gone>,
    /// Who waits until all of it is told.
    pub waiting: Vec<oneshot::Sender<()>>,
}

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    is_watched: AtomicBool,
    changed: Mutex<Changed>,
    news: Notify,
}

impl Changes {
    fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// These rooms may have got their first member, or lost their last one. Private rooms are nobody's business.
    pub(super) fn of_rooms<'a>(&self, namespace: &Name, rooms: impl IntoIterator<Item = &'a str>) {
        if !self.is_watched() {
            return;
        }
        let rooms = rooms
            .into_iter()
            .filter(|room| !looks_like_socket_id(room) && !is_reserved(room));
        let places: Vec<Place> = rooms.map(|room| (Name::clone(namespace), room.into())).collect();
        if !places.is_empty() {
            self.changed.lock().rooms.extend(places);
            self.news.notify_one();
        }
    }

    /// A gateway is gone.
    pub(super) fn of_node(&self, node: &Node, is_lost: bool) {
        if self.is_watched() {
            let node = node.clone();
            self.changed.lock().gone.push(Gone { node, is_lost });
            self.news.notify_one();
        }
    }
}

impl Cluster {
    /// From now on what changes is kept for [`changed`](Self::changed), which has to be called again and again.
    pub fn watch(&self) {
        self.changes.is_watched.store(true, Ordering::Relaxed);
    }

    /// A socket entered a namespace, and these rooms.
    pub fn entered(&self, namespace: &Name, rooms: &[CompactString]) {
        self.changes
            .of_rooms(namespace, rooms.iter().map(CompactString::as_str));
    }

    /// What changed since this was called last.
    pub fn changed(&self) -> Changed {
        std::mem::take(&mut *self.changes.changed.lock())
    }

    /// Waits until something has changed.
    pub async fn news(&self) {
        self.changes.news.notified().await;
    }

    /// Waits until everything that changed before is told, as far as that can be.
    pub async fn told(&self) {
        if !self.changes.is_watched() {
            return;
        }
        let (sender, told) = oneshot::channel();
        self.changes.changed.lock().waiting.push(sender);
        self.changes.news.notify_one();
        let _ = told.await; // where nobody tells any more, there is nothing to wait for
    }
}
