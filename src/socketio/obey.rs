//! What other servers want to be done to sockets of this node.

use std::sync::Arc;

use compact_str::CompactString;

use super::SocketIo;
use super::announce::{self, Movement};
use crate::cluster::{Act, Command, Hearing, Live};
use crate::hub::{Except, Kick, MovedSocket, Name, Selection, Sender};
use crate::metrics::Origin;

/// Does what comes from other servers, in order, for as long as the node runs.
pub async fn obey(mut hearing: Hearing, shared: Arc<SocketIo>) {
    loop {
        let command = hearing.next().await;
        // What was published before is for those who were there then.
        shared.hub.caught_up().await;
        let subscriptions = shared.obey(&command);
        shared.cluster.done(command, subscriptions);
    }
}

impl SocketIo {
    /// What is to be heard in addition from now on.
    fn obey(&self, command: &Command) -> Vec<Live> {
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

    fn join_others(&self, namespace: &Name, selection: &Selection<'_>, rooms: &[CompactString]) -> Vec<Live> {
        let mut subscriptions = Vec::new();
        for moved in self.hub.join_others(selection, rooms) {
            subscriptions.push(self.cluster.joined(namespace, &moved.changed));
            self.announce(namespace, &moved, Movement::Join);
        }
        subscriptions
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
