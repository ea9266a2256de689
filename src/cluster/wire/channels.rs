//! The names of Redis channels, and patterns for many of them.

use std::fmt::Write as _;

/// Characters of a private id behind the tag of its node.
const PRIVATE_REST: usize = 16;

/// The names of all channels of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    prefix: Box<str>,
}

/// For whom a broadcast is, by its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The channel of the namespace: the message says for whom.
    Namespace,
    /// One room's channel.
    Room(&'a str),
}

impl Channels {
    /// Those that begin with `prefix`: the adapters' option `key`, mostly `socket.io`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Broadcasts to a namespace, or to several rooms of it.
    pub fn base(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    /// Broadcasts to one room.
    pub fn room(&self, namespace: &str, room: &str) -> String {
        format!("{}#{namespace}#{room}#", self.prefix)
    }

    /// Requests to all nodes. Nodes are counted by their subscriptions to it: subscribe once, by its name.
    pub fn request(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.prefix)
    }

    /// Answers to whomever.
    pub fn response(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.prefix)
    }

    /// Answers to the member `uid`, of those who are told to answer so.
    pub fn response_to(&self, namespace: &str, uid: &str) -> String {
        format!("{}-response#{namespace}#{uid}#", self.prefix)
    }

    /// Patterns for the private rooms of all sockets whose ids begin with `tag`. Outside of the root there are two: the
    /// ids of v1 and v2 sockets begin with their namespace there.
    pub fn private_patterns(&self, namespace: &str, tag: &str) -> Vec<String> {
        let base = escaped(&self.base(namespace));
        let id = format!("{}{}", escaped(tag), "?".repeat(PRIVATE_REST));
        let mut patterns = vec![format!("{base}{id}#")];
        if namespace != "/" {
            patterns.push(format!("{base}{}#{id}#", escaped(namespace)));
        }
        patterns
    }

    /// What emitters 0.1 publish on.
    pub fn old_emitter(&self) -> String {
        format!("{}#emitter", self.prefix)
    }

    /// A pattern for what nodes with an adapter 0.1 publish on: their own uid, which has six characters.
    pub fn old_nodes_pattern(&self) -> String {
        format!("{}#[^/]?????", escaped(&self.prefix))
    }

    /// Requests of nodes with an adapter 1.1.
    pub fn sync_request(&self, namespace: &str) -> String {
        format!("{}-sync#request#{namespace}#", self.prefix)
    }

    /// The answer to one of those requests, by its id.
    pub fn sync_response(&self, transaction: &str) -> String {
        format!("{}-sync#response#{transaction}", self.prefix)
    }

    /// What a broadcast channel of this namespace is for; `None` for all other channels. Names may hold a `#`.
    pub fn place<'a>(&self, namespace: &str, channel: &'a str) -> Option<Place<'a>> {
        let rest = channel.strip_prefix(&*self.prefix)?.strip_prefix('#')?;
        let rest = rest.strip_prefix(namespace)?.strip_prefix('#')?;
        if rest.is_empty() {
            return Some(Place::Namespace);
        }
        rest.strip_suffix('#').map(Place::Room)
    }
}

/// `text` as a pattern that only matches itself.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let backslash = if "*?[]\\".contains(character) { "\\" } else { "" };
        let _ = write!(out, "{backslash}{character}"); // a String takes everything
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_adapters() {
        let channels = Channels::new("socket.io");
        assert_eq!(channels.base("/"), "socket.io#/#");
        assert_eq!(channels.base("/x"), "socket.io#/x#");
        assert_eq!(channels.room("/", "r1"), "socket.io#/#r1#");
        assert_eq!(channels.request("/"), "socket.io-request#/#");
        assert_eq!(channels.response("/"), "socket.io-response#/#");
        assert_eq!(channels.response_to("/", "6COmGk"), "socket.io-response#/#6COmGk#");
        assert_eq!(channels.sync_request("/"), "socket.io-sync#request#/#");
        assert_eq!(channels.sync_response("abc"), "socket.io-sync#response#abc");
        assert_eq!(channels.old_emitter(), "socket.io#emitter");
        assert_eq!(channels.old_nodes_pattern(), "socket.io#[^/]?????");
    }

    #[test]
    fn patterns_take_private_rooms_and_nothing_of_names_is_a_pattern() {
        let channels = Channels::new("a*");
        assert_eq!(channels.private_patterns("/", "Ab-_"), [r"a\*#/#Ab-_????????????????#"]);
        assert_eq!(
            channels.private_patterns(r"/[x]?\", "Ab-_"),
            [
                r"a\*#/\[x\]\?\\#Ab-_????????????????#",
                r"a\*#/\[x\]\?\\#/\[x\]\?\\#Ab-_????????????????#"
            ]
        );
        assert_eq!(channels.old_nodes_pattern(), r"a\*#[^/]?????");
    }

    #[test]
    fn the_room_of_a_channel_is_all_between() {
        let channels = Channels::new("socket.io");
        let place = |channel| channels.place("/x", channel);
        assert_eq!(place("socket.io#/x#"), Some(Place::Namespace));
        assert_eq!(place("socket.io#/x#r1#"), Some(Place::Room("r1")));
        assert_eq!(place("socket.io#/x#a#b##"), Some(Place::Room("a#b#")));
        assert_eq!(place("socket.io#/x##"), Some(Place::Room("")));
        for channel in [
            "socket.io#/x#r1",
            "socket.io#/xy#",
            "socket.io#/#",
            "socket.io-request#/x#",
            "",
            "socket.io#/x",
        ] {
            assert_eq!(place(channel), None, "{channel}");
        }
    }
}
