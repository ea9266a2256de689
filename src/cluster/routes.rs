//! The channels of this node: those of the adapters, its own, and those of its sockets' private rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compact_str::CompactString;

use super::subscriptions::Purpose;
use super::wire::Channels;
use crate::hub::Name;
use crate::protocol::ids::{IdGenerator, SID_LENGTH};

/// What channels are called.
#[derive(Debug)]
pub(super) struct Routes {
    channels: Channels,
    prefix: CompactString,
    ids: Arc<IdGenerator>,
    /// What this run of the node is called.
    run: CompactString,
    /// Redis refuses patterns.
    lacks_patterns: AtomicBool,
}

/// A channel, or a pattern of channels, and what comes by it.
pub(super) type Line = (Arc<str>, Purpose);

impl Routes {
    /// Channels that begin with `prefix`, for sockets with these ids, on a node that calls itself `run`.
    pub(super) fn new(prefix: &str, ids: Arc<IdGenerator>, run: &CompactString) -> Self {
        Self {
            channels: Channels::new(prefix),
            prefix: prefix.into(),
            ids,
            run: run.clone(),
            lacks_patterns: AtomicBool::new(false),
        }
    }

    /// What this run of the node is called.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Where we publish to ourselves.
    pub(super) fn probe(&self) -> Arc<str> {
        format!("{}-roomcast-probe#{}", self.prefix, self.run).into()
    }

    /// Where gateways tell each other things.
    pub(super) fn peers(&self) -> Arc<str> {
        format!("{}-roomcast", self.prefix).into()
    }

    /// Where one run of a gateway is told something.
    pub(super) fn peer(&self, run: &str) -> Arc<str> {
        format!("{}-roomcast#{run}", self.prefix).into()
    }

    /// Who has a tag.
    pub(super) fn claim(&self, tag: &str) -> String {
        format!("{}-roomcast:node:{tag}", self.prefix)
    }

    /// How many sockets a user has in a namespace, by node. The length says where the one ends and the other begins.
    pub(super) fn user(&self, namespace: &str, user: &str) -> String {
        let length = namespace.len();
        format!("{}-roomcast:user:{length}:{namespace}:{user}", self.prefix)
    }

    /// Something else that gateways keep.
    pub(super) fn own(&self, what: &str, whose: &str) -> String {
        format!("{}-roomcast:{what}:{whose}", self.prefix)
    }

    /// By what nodes believe each other.
    pub(super) fn secret(&self) -> String {
        format!("{}-roomcast:secret", self.prefix)
    }

    /// Who has claimed the id of a command.
    pub(super) fn once(&self, id: &str) -> String {
        format!("{}-roomcast:once:{id}", self.prefix)
    }

    /// What every node hears, whoever is there.
    pub(super) fn of_node(&self) -> Vec<Line> {
        let mut lines = vec![
            (self.probe(), Purpose::Probe),
            (self.peers(), Purpose::Peers),
            (self.peer(&self.run), Purpose::Peers),
            (self.channels.old_emitter().into(), Purpose::Old),
            (self.channels.old_nodes_pattern().into(), Purpose::OldNodes),
        ];
        lines.extend(self.of_tag());
        lines
    }

    /// What a node with its tag hears, whoever is there: always, so that a new node knows whether it may.
    pub(super) fn of_tag(&self) -> Vec<Line> {
        let patterns = self.private_patterns("/");
        patterns.map(|pattern| (pattern, Purpose::Private)).collect()
    }

    /// What a node with sockets in a namespace hears.
    pub(super) fn of_namespace(&self, namespace: &Name) -> Vec<Line> {
        let name = || Name::clone(namespace);
        let channels = &self.channels;
        let mut lines = vec![
            (channels.base(namespace).into(), Purpose::Namespace(name())),
            (channels.request(namespace).into(), Purpose::Requests(name())),
            (channels.sync_request(namespace).into(), Purpose::Requests(name())),
        ];
        lines.extend(self.of_responses(namespace));
        lines.extend(
            self.private_patterns(namespace)
                .map(|pattern| (pattern, Purpose::Private)),
        );
        lines
    }

    /// Where Node servers answer about a namespace.
    pub(super) fn of_responses(&self, namespace: &Name) -> [Line; 2] {
        let (all, own) = (
            self.channels.response(namespace),
            self.channels.response_to(namespace, &self.run),
        );
        [all, own].map(|channel| (channel.into(), Purpose::Responses(Name::clone(namespace))))
    }

    /// Patterns for the private rooms of our sockets in a namespace.
    fn private_patterns(&self, namespace: &str) -> impl Iterator<Item = Arc<str>> + use<> {
        let patterns = self.channels.private_patterns(namespace, &self.ids.tag());
        patterns.into_iter().map(Arc::from)
    }

    /// From now on private rooms are heard by their names. True the first time. Sockets that are here already hear
    /// private messages of other nodes only once they have come anew; a node learns it before it has any.
    pub(super) fn do_without_patterns(&self) -> bool {
        !self.lacks_patterns.swap(true, Ordering::Relaxed)
    }

    /// Whether private rooms are heard by their names.
    pub(super) fn lacks_patterns(&self) -> bool {
        self.lacks_patterns.load(Ordering::Relaxed)
    }

    /// What a node with sockets in these rooms hears beside that.
    pub(super) fn of_rooms<'a>(&self, namespace: &Name, rooms: impl IntoIterator<Item = &'a str>) -> Vec<Line> {
        let rooms = rooms.into_iter().filter(|room| self.pattern(namespace, room).is_none());
        rooms
            .map(|room| {
                let purpose = Purpose::Room(Name::clone(namespace), room.into());
                (self.channels.room(namespace, room).into(), purpose)
            })
            .collect()
    }

    /// Where broadcasts go to all of a namespace, or to several rooms.
    pub(super) fn base(&self, namespace: &str) -> Arc<str> {
        self.channels.base(namespace).into()
    }

    /// Where broadcasts go to one room.
    pub(super) fn room(&self, namespace: &str, room: &str) -> Arc<str> {
        self.channels.room(namespace, room).into()
    }

    /// Where servers are asked about a namespace.
    pub(super) fn request(&self, namespace: &str) -> Arc<str> {
        self.channels.request(namespace).into()
    }

    /// Where they are answered.
    pub(super) fn response(&self, namespace: &str) -> Arc<str> {
        self.channels.response(namespace).into()
    }

    /// Where servers with adapters 1.1 wait for the answers to one question.
    pub(super) fn sync_response(&self, transaction: &str) -> Arc<str> {
        self.channels.sync_response(transaction).into()
    }

    /// The pattern that matches a room's channel, where the room could be private to one of our sockets.
    pub(super) fn pattern(&self, namespace: &str, room: &str) -> Option<Arc<str>> {
        if room.len() < SID_LENGTH || self.lacks_patterns() {
            return None;
        }
        let tag = self.ids.tag();
        let is_id = |id: &str| id.len() == SID_LENGTH && id.starts_with(&*tag);
        let of_namespace = |room: &str| room.strip_prefix(namespace)?.strip_prefix('#').map(is_id);
        let index = if is_id(room) {
            0
        } else if namespace != "/" && of_namespace(room) == Some(true) {
            1
        } else {
            return None;
        };
        self.private_patterns(namespace).nth(index)
    }
}
