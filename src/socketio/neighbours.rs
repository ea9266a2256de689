//! What other gateways tell of their sockets, and what becomes of those when a gateway is gone.
//!
//! Called from the one task that hears them, in the order of Redis; it never waits.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tracing::warn;

use super::SocketIo;
use super::announce::{self, Movement};
use super::rosters::News;
use crate::cluster::{Node, Roster};
use crate::hub::{Broadcast, Except, Name};
use crate::metrics::Origin;
use crate::protocol::ids::looks_like_socket_id;

/// A gateway this young and without sockets never had any.
const FRESH_MAX: Duration = Duration::from_secs(3);

/// The announcement of a socket: `["presence", {…}]`.
#[derive(Deserialize)]
struct Announcement(#[expect(dead_code, reason = "was looked at before")] String, Moved);

#[derive(Deserialize)]
struct Moved {
    room: String,
    action: String,
    socket: String,
    #[serde(default)]
    user: Option<String>,
}

impl SocketIo {
    /// Rooms that a socket here entered or left: who else is in them is known for as long as somebody is here.
    pub(super) fn follow(&self, namespace: &Name, movement: Movement, rooms: &[Name]) {
        if rooms.is_empty() || !self.cluster.is_shared() {
            return;
        }
        match movement {
            Movement::Join => {
                let mut rosters = self.rosters.lock();
                let rooms: Vec<_> = rooms
                    .iter()
                    .filter(|room| !looks_like_socket_id(room) && self.hub.is_occupied(namespace, room))
                    .cloned()
                    .collect();
                let new = rosters.want(namespace, &rooms);
                drop(rosters);
                if !new.is_empty() {
                    self.cluster.look(None, namespace, &new, false);
                }
            }
            Movement::Leave => {
                let mut rosters = self.rosters.lock();
                for room in rooms {
                    // Under the lock: whoever joins now wants the room again afterwards.
                    if !self.hub.is_occupied(namespace, room) {
                        rosters.forget(namespace, room);
                    }
                }
            }
        }
    }

    /// A gateway announces one of its sockets.
    pub(super) fn on_presence(&self, broadcast: Broadcast, json: &str) {
        let announcement = serde_json::from_str::<Announcement>(json).ok();
        if let Some(Announcement(_, moved)) = announcement.filter(|_| self.namespaces.announces(&broadcast.namespace)) {
            let movement = match &*moved.action {
                "join" => Movement::Join,
                _ => Movement::Leave,
            };
            let mut rosters = self.rosters.lock();
            let who = (&*moved.socket, moved.user.as_deref());
            let is_news = rosters.announced(&broadcast.namespace, &moved.room, movement, who);
            let overflown = rosters.take_overflown();
            drop(rosters);
            warn_of(overflown);
            if !is_news {
                return;
            }
            self.member_answers
                .moved(&broadcast.namespace, &moved.room, movement, who);
        }
        self.hub.broadcast_foreign(broadcast);
    }

    /// A gateway is there, anew or again: it may have heard nothing for a while, and we nothing of it.
    pub(super) fn on_arrived(&self, node: &Node) {
        self.rosters.lock().found(&node.tag);
        let is_fresh = node.sockets == 0 && Duration::from_secs(node.uptime) < FRESH_MAX;
        if !is_fresh {
            self.look_again(Some(&node.run));
        }
    }

    /// Something may have been missed of everybody.
    pub(super) fn on_resumed(&self) {
        self.member_answers.forget_all();
        self.look_again(None);
    }

    fn look_again(&self, to: Option<&str>) {
        let rooms = self.rosters.lock().rooms();
        for (namespace, rooms) in rooms {
            self.cluster.look(to, &namespace, &rooms, true);
        }
    }

    /// A gateway says who is in rooms there.
    pub(super) fn on_roster(&self, roster: &Roster) {
        let mut rosters = self.rosters.lock();
        let news = rosters.learn(roster);
        let overflown = rosters.take_overflown();
        drop(rosters);
        warn_of(overflown);
        let namespace = Name::from(&*roster.namespace);
        self.announce_all(news.into_iter().map(|news| (Name::clone(&namespace), news)));
    }

    /// A gateway is gone: its sockets have left all rooms.
    pub(super) fn on_gone(&self, node: &Node) {
        let news = self.rosters.lock().lose(&node.tag);
        self.member_answers.forget_all();
        self.announce_all(news.into_iter());
    }

    /// Tells members here who came and went elsewhere.
    fn announce_all(&self, news: impl Iterator<Item = (Name, News)>) {
        let broadcasts = news.flat_map(|(namespace, news)| {
            let who = (&*news.id, news.user.as_deref());
            self.member_answers.moved(&namespace, &news.room, news.movement, who);
            let rooms = [Name::from(&*news.room)];
            announce::movement(&namespace, who, &Except::default(), news.movement, &rooms)
        });
        self.tell(broadcasts.collect());
    }

    /// Delivers to members here. Where too much waits to be delivered, the rest follows as soon as there is room.
    fn tell(&self, broadcasts: Vec<Broadcast>) {
        let mut broadcasts = broadcasts.into_iter();
        while let Some(broadcast) = broadcasts.next() {
            if let Ok(reservation) = self.hub.try_reserve_foreign(&broadcast) {
                self.hub.broadcast(broadcast, reservation, Origin::Cluster);
                continue;
            }
            let hub = Arc::clone(&self.hub);
            tokio::spawn(async move {
                for broadcast in std::iter::once(broadcast).chain(broadcasts) {
                    let reservation = hub.reserve(&broadcast).await;
                    hub.broadcast(broadcast, reservation, Origin::Cluster);
                }
            });
            return;
        }
    }
}

fn warn_of(overflown: u64) {
    if overflown > 0 {
        warn!(
            sockets = overflown,
            "too many sockets of other gateways: nobody will hear when these are gone with their gateway"
        );
    }
}
