//! What other servers want to be done to sockets of this node.

use std::sync::Arc;

use compact_str::CompactString;

use super::SocketIo;
use super::announce::{self, Movement};
use crate::cluster::{Act, Command, Hearing};
use crate::hub::{Except, Kick, MovedSocket, Name, Selection, Sender};
use crate::metrics::Origin;

/// Does what comes from other servers, in order, for as long as the node runs.
pub async fn obey(mut hearing: Hearing, shared: Arc<SocketIo>) {
    loop {
        let command = hearing.next().await;
        shared.obey(&command);
    }
}

impl SocketIo {
    fn obey(&self, command: &Command) {
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

    fn join_others(&self, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) {
        for moved in self.hub.join_others(selection, rooms) {
            let _ = self.cluster.joined(namespace, &moved.changed); // nobody waits for it
            self.announce(namespace, &moved, Movement::Join);
        }
    }

    fn leave_others(&self, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) {
        for moved in self.hub.leave_others(selection, rooms) {
            self.cluster.left(namespace, &moved.changed);
            self.member_answers.forget(namespace, &moved.changed);
            self.announce(namespace, &moved, Movement::Leave);
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
        for presence in announce::movement(namespace, &moved.shown_id, &except, movement, &moved.changed) {
            let _ = self.cluster.try_broadcast(presence, Origin::Cluster, None); // nobody can wait here
        }
    }
}
