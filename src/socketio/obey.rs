//! What other servers want to be done to sockets of this node.

use std::sync::Arc;

use compact_str::CompactString;

use super::SocketIo;
use super::announce::{self, Movement};
use crate::cluster::{Act, Command, Heard, Hearing, Live};
use crate::hub::{Except, Kick, MovedSocket, Name, Selection};
use crate::metrics::Origin;

/// Does what comes from other servers, in order, for as long as the node runs.
pub async fn obey(mut hearing: Hearing, shared: Arc<SocketIo>) {
    loop {
        match hearing.next().await {
            Heard::Command(command) => {
                // What was published before is for those who were there then.
                shared.hub.caught_up().await;
                shared.obey(command);
            }
            Heard::Presence(presence) => {
                let (broadcast, json) = *presence;
                shared.on_presence(broadcast, &json);
            }
            Heard::Arrived(node) => shared.on_arrived(&node),
            Heard::Gone(node) => shared.on_gone(&node),
            Heard::Roster(roster) => shared.on_roster(&roster),
            Heard::Resumed => shared.on_resumed(),
        }
    }
}

impl SocketIo {
    fn obey(self: &Arc<Self>, command: Box<Command>) {
        let joined = self.carry_out(&command);
        if joined.iter().all(|(live, _)| live.is_now()) {
            return self.has_joined(&command, joined.iter().flat_map(|(_, rooms)| rooms));
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move { shared.finish(&command, joined).await });
    }

    /// Waits until what sockets joined by a command is heard.
    pub(super) async fn finish(&self, command: &Command, joined: Vec<(Live, Vec<Name>)>) {
        let mut rooms = Vec::new();
        for (live, joined) in joined {
            if live.confirmed().await {
                rooms.extend(joined);
            }
        }
        self.has_joined(command, &rooms);
    }

    /// A command is done, and what it made sockets join is heard. Who asked to be told is told now: what it publishes
    /// from here on is not missed.
    fn has_joined<'a>(&self, command: &Command, rooms: impl IntoIterator<Item = &'a Name>) {
        if self.namespaces.announces(&command.namespace) {
            let rooms: Vec<_> = rooms.into_iter().cloned().collect();
            self.follow(&command.namespace, Movement::Join, &rooms);
        }
        self.cluster.done(command);
    }

    /// Does it; the rooms that sockets joined by it, and when they are heard.
    pub(super) fn carry_out(&self, command: &Command) -> Vec<(Live, Vec<Name>)> {
        let selection = Selection {
            namespace: &command.namespace,
            target: &command.target,
            except: &command.except,
        };
        match &command.act {
            Act::Join(rooms) => return self.join_others(&command.namespace, &selection, rooms),
            Act::Leave(rooms) => self.leave_others(&command.namespace, &selection, rooms),
            Act::Disconnect { close } => {
                let kick = if *close { Kick::Session } else { Kick::Socket };
                self.hub.kick(&selection, kick);
            }
        }
        Vec::new()
    }

    fn join_others(
        &self,
        namespace: &Name,
        selection: &Selection<'_>,
        rooms: &[CompactString],
    ) -> Vec<(Live, Vec<Name>)> {
        let mut joined = Vec::new();
        for moved in self.hub.join_others(selection, rooms) {
            let live = self.cluster.joined(namespace, &moved.changed);
            self.announce(namespace, &moved, Movement::Join);
            self.tell_moved(namespace, &moved, Movement::Join);
            joined.push((live, moved.changed));
        }
        joined
    }

    fn leave_others(&self, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) {
        for moved in self.hub.leave_others(selection, rooms) {
            self.cluster.left(namespace, &moved.changed);
            self.member_answers.forget(namespace, &moved.changed);
            self.announce(namespace, &moved, Movement::Leave);
            self.tell_moved(namespace, &moved, Movement::Leave);
            if self.namespaces.announces(namespace) {
                self.follow(namespace, Movement::Leave, &moved.changed);
            }
        }
    }

    /// Tells the rooms' other members, where the namespace wants that.
    fn announce(&self, namespace: &Name, moved: &MovedSocket, movement: Movement) {
        if !self.namespaces.announces(namespace) {
            return;
        }
        let except = Except::sender(moved.key, &moved.id);
        let who = (moved.shown_id.as_str(), moved.user.as_deref());
        for presence in announce::movement(namespace, who, &except, movement, &moved.changed) {
            let _ = self.cluster.try_broadcast(presence, Origin::Cluster, None); // nobody can wait here
        }
    }
}
