//! What other servers want to be done to sockets of this node.

use std::sync::Arc;

use compact_str::CompactString;

use super::SocketIo;
use super::announce::{self, Movement};
use crate::cluster::{Act, Command, Heard, Hearing};
use crate::hub::{Except, Kick, MovedSocket, Name, Selection, Sender};
use crate::metrics::Origin;

/// Does what comes from other servers, in order, for as long as the node runs.
pub async fn obey(mut hearing: Hearing, shared: Arc<SocketIo>) {
    loop {
        match hearing.next().await {
            Heard::Command(command) => shared.obey(&command),
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
    fn obey(self: &Arc<Self>, command: &Command) {
        let selection = Selection {
            namespace: &command.namespace,
            target: &command.target,
            except: &command.except,
        };
        match &command.act {
            Act::Join(rooms) => self.join_others(&command.namespace, &selection, rooms),
            Act::Leave(rooms) => self.leave_others(&command.namespace, &selection, rooms),
            Act::Disconnect { close } => {
                let kick = if *close { Kick::Session } else { Kick::Socket };
                self.hub.kick(&selection, kick);
            }
        }
    }

    fn join_others(self: &Arc<Self>, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) {
        for moved in self.hub.join_others(selection, rooms) {
            let live = self.cluster.joined(namespace, &moved.changed);
            self.announce(namespace, &moved, Movement::Join);
            if !self.namespaces.announces(namespace) {
                continue;
            }
            if live.is_now() {
                self.follow(namespace, Movement::Join, &moved.changed);
                continue;
            }
            let (shared, namespace) = (Arc::clone(self), Name::clone(namespace));
            tokio::spawn(async move {
                if live.confirmed().await {
                    shared.follow(&namespace, Movement::Join, &moved.changed);
                }
            });
        }
    }

    fn leave_others(&self, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) {
        for moved in self.hub.leave_others(selection, rooms) {
            self.cluster.left(namespace, &moved.changed);
            self.member_answers.forget(namespace, &moved.changed);
            self.announce(namespace, &moved, Movement::Leave);
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
        let except = Except {
            sender: Some(Sender {
                key: moved.key,
                id: moved.id.clone(),
            }),
            rooms: Vec::new(),
        };
        for presence in announce::movement(namespace, moved.shown_id.as_str(), &except, movement, &moved.changed) {
            let _ = self.cluster.try_broadcast(presence, Origin::Cluster, None); // nobody can wait here
        }
    }
}
