//! `[[namespace]]` compiled: which namespaces exist, and what the events of their clients do.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::config::{ActionName, EventRule, Namespace, Otherwise};
use super::pattern::{Pattern, Template};
use super::values::Values;
use crate::hub::Name;
use crate::metrics;

/// All namespaces of this node.
#[derive(Debug)]
pub(super) struct Namespaces {
    exact: HashMap<String, Arc<Rules>, RandomState>,
    /// In the order of the file.
    patterns: Vec<(Pattern, Arc<Rules>)>,
    /// For clients 1.x and 2.x, which cannot but enter `/`, where that is not configured.
    nothing: Arc<Rules>,
    /// Sockets of each namespace that exists through a pattern.
    live: Mutex<HashMap<Name, usize, RandomState>>,
    live_max: usize,
}

/// The rules of one namespace or pattern.
#[derive(Debug)]
pub(super) struct Rules {
    /// Its place in the configuration, for the metrics; none where it is not configured.
    pub(super) index: Option<usize>,
    /// Whether namespaces exist through it only while somebody is in them.
    is_pattern: bool,
    /// Whether a client must show a token.
    pub(super) reads_tokens: bool,
    /// Whether the application is asked who may enter.
    pub(super) asks: bool,
    rooms: Vec<Template>,
    join: Vec<Template>,
    publish: Vec<Template>,
    /// Whether a client must be in a room to publish to it.
    pub(super) members_only: bool,
    /// Whether clients' publishes say who and when.
    pub(super) stamp: bool,
    /// Whether members are told who comes and goes.
    pub(super) presence: bool,
    /// Whether events are appended to streams.
    pub(super) streams: bool,
    events: HashMap<String, usize, RandomState>,
    /// Patterns of events by the number of their rule.
    event_patterns: Vec<(usize, Pattern)>,
    /// In the order of the file, then the built-in ones, then what becomes of all others.
    actions: Vec<Action>,
}

/// What an event does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Join,
    Leave,
    Publish {
        echo: bool,
    },
    Broadcast {
        to: To,
        echo: bool,
    },
    Members,
    Refresh,
    Ack,
    Webhook,
    /// Appends to this stream in Redis.
    Stream(Name),
    Drop,
}

/// Whom a `broadcast` is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Namespace,
    /// The rooms that the sender is in.
    Rooms,
    Room(String),
}

/// The built-in rules (interface.md §3).
const BUILT_IN: [(&str, Action); 5] = [
    ("join", Action::Join),
    ("leave", Action::Leave),
    ("publish", Action::Publish { echo: false }),
    ("members", Action::Members),
    ("refresh", Action::Refresh),
];

impl Namespaces {
    pub(super) fn new(namespaces: &[Namespace], live_max: usize) -> Self {
        let mut all = Self {
            exact: HashMap::default(),
            patterns: Vec::new(),
            nothing: Arc::new(Rules::nothing()),
            live: Mutex::default(),
            live_max,
        };
        for (index, namespace) in namespaces.iter().enumerate() {
            let pattern = Pattern::new(&namespace.name);
            let rules = Arc::new(Rules::new(index, pattern.is_wild(), namespace));
            match pattern {
                Pattern::Exact(name) => drop(all.exact.insert(name, rules)),
                pattern => all.patterns.push((pattern, rules)),
            }
        }
        all
    }

    /// Counts one more socket in a namespace that exists through a pattern; see [`release`](Self::release). False where
    /// there are too many such namespaces.
    pub(super) fn occupy(&self, name: &Name, rules: &Rules) -> bool {
        if !rules.is_pattern {
            return true;
        }
        let mut live = self.live.lock();
        let is_full = self.live_max > 0 && live.len() >= self.live_max;
        match live.get_mut(name) {
            Some(sockets) => *sockets += 1,
            None if is_full => return false,
            None => drop(live.insert(Arc::clone(name), 1)),
        }
        true
    }

    /// The rules for a namespace: exact names win, then the order of the file.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Rules>> {
        let by_pattern = || self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        self.exact.get(name).or_else(|| by_pattern().map(|(_, rules)| rules))
    }

    /// Whether members of a namespace's rooms are told who comes and goes.
    pub(super) fn announces(&self, name: &str) -> bool {
        self.find(name).is_some_and(|rules| rules.presence)
    }

    /// A socket left the namespace that it entered under these rules.
    pub(super) fn release(&self, name: &Name, rules: &Rules) {
        if !rules.is_pattern {
            return;
        }
        let mut live = self.live.lock();
        if let Some(sockets) = live.get_mut(name) {
            *sockets -= 1;
            if *sockets == 0 {
                live.remove(name);
            }
        }
    }

    /// Rules under which every event is refused.
    pub(super) fn nothing(&self) -> Arc<Rules> {
        Arc::clone(&self.nothing)
    }
}

impl Rules {
    fn new(index: usize, is_pattern: bool, namespace: &Namespace) -> Self {
        let templates = |texts: &[String]| texts.iter().map(|text| Template::new(text)).collect();
        let mut rules = Self {
            index: Some(index),
            is_pattern,
            reads_tokens: namespace.auth.reads_tokens(),
            asks: namespace.auth.asks(),
            rooms: templates(&namespace.rooms),
            join: templates(&namespace.join),
            publish: templates(&namespace.publish),
            members_only: namespace.members_only,
            stamp: namespace.stamp,
            presence: namespace.presence,
            streams: namespace.event.iter().any(|rule| rule.action == ActionName::Stream),
            ..Self::nothing()
        };
        rules.actions.clear();
        for rule in &namespace.event {
            rules.add(Pattern::new(&rule.name), Action::of(rule));
        }
        for (name, action) in BUILT_IN {
            rules.add(Pattern::Exact(name.to_owned()), action);
        }
        rules.actions.push(match namespace.otherwise {
            Otherwise::Drop => Action::Drop,
            Otherwise::Broadcast => Action::Broadcast {
                to: To::Namespace,
                echo: false,
            },
            Otherwise::Webhook => Action::Webhook,
        });
        rules
    }

    fn nothing() -> Self {
        Self {
            index: None,
            is_pattern: false,
            reads_tokens: false,
            asks: false,
            rooms: Vec::new(),
            join: Vec::new(),
            publish: Vec::new(),
            members_only: true,
            stamp: false,
            presence: false,
            streams: false,
            events: HashMap::default(),
            event_patterns: Vec::new(),
            actions: vec![Action::Drop],
        }
    }

    fn add(&mut self, pattern: Pattern, action: Action) {
        let number = self.actions.len();
        self.actions.push(action);
        match pattern {
            Pattern::Exact(name) => drop(self.events.entry(name).or_insert(number)),
            pattern => self.event_patterns.push((number, pattern)),
        }
    }

    /// What an event does: the first rule that matches, in the order of the file.
    pub(super) fn action(&self, event: &str) -> &Action {
        let otherwise = self.actions.len() - 1;
        let exact = self.events.get(event).copied().unwrap_or(otherwise);
        let pattern = self
            .event_patterns
            .iter()
            .find(|(number, pattern)| *number < exact && pattern.matches(event));
        &self.actions[pattern.map_or(exact, |(number, _)| *number)]
    }

    /// Rooms that a socket is in from the start. Entries of which a value is missing are skipped.
    pub(super) fn rooms(&self, values: &Values<'_>) -> impl Iterator<Item = String> {
        self.rooms.iter().filter_map(|room| room.fill(values))
    }

    pub(super) fn may_join(&self, room: &str, values: &Values<'_>) -> bool {
        self.join.iter().any(|pattern| pattern.matches(room, values))
    }

    pub(super) fn may_publish(&self, room: &str, values: &Values<'_>) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(room, values))
    }
}

impl Action {
    fn of(rule: &EventRule) -> Self {
        match rule.action {
            ActionName::Join => Self::Join,
            ActionName::Leave => Self::Leave,
            ActionName::Publish => Self::Publish { echo: rule.echo },
            ActionName::Broadcast => Self::Broadcast {
                to: To::of(&rule.to),
                echo: rule.echo,
            },
            ActionName::Members => Self::Members,
            ActionName::Refresh => Self::Refresh,
            ActionName::Ack => Self::Ack,
            ActionName::Webhook => Self::Webhook,
            ActionName::Stream => Self::Stream(rule.stream.as_str().into()),
            ActionName::Drop => Self::Drop,
        }
    }

    pub(super) fn label(&self) -> metrics::Action {
        match self {
            Self::Join => metrics::Action::Join,
            Self::Leave => metrics::Action::Leave,
            Self::Publish { .. } => metrics::Action::Publish,
            Self::Broadcast { .. } => metrics::Action::Broadcast,
            Self::Members => metrics::Action::Members,
            Self::Refresh => metrics::Action::Refresh,
            Self::Ack => metrics::Action::Ack,
            Self::Webhook => metrics::Action::Webhook,
            Self::Stream(_) => metrics::Action::Stream,
            Self::Drop => metrics::Action::Drop,
        }
    }
}

impl To {
    /// `namespace`, `rooms` or `room:NAME`; the configuration was checked for anything else.
    fn of(text: &str) -> Self {
        match (text, text.strip_prefix("room:")) {
            (_, Some(room)) => Self::Room(room.to_owned()),
            ("rooms", None) => Self::Rooms,
            _ => Self::Namespace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(toml: &str) -> Namespaces {
        #[derive(serde::Deserialize)]
        struct File {
            namespace: Vec<Namespace>,
        }
        Namespaces::new(&toml::from_str::<File>(toml).unwrap().namespace, 2)
    }

    fn enter(all: &Namespaces, name: &str) -> Option<Arc<Rules>> {
        let rules = all.find(name)?;
        all.occupy(&name.into(), rules).then(|| Arc::clone(rules))
    }

    #[test]
    fn exact_names_win_then_the_order_of_the_file() {
        let all = namespaces("[[namespace]]\nname='/org-*'\n[[namespace]]\nname='/*'\n[[namespace]]\nname='/org-1'\n");
        for (name, index) in [("/org-1", 2), ("/org-2", 0), ("/x", 1)] {
            assert_eq!(enter(&all, name).unwrap().index, Some(index), "{name}");
        }
        let all = namespaces("[[namespace]]\nname='/chat'\n");
        assert!(enter(&all, "/").is_none() && enter(&all, "/chat2").is_none());
    }

    #[test]
    fn namespaces_that_exist_through_a_pattern_are_counted() {
        let all = namespaces("[[namespace]]\nname='/*'\n[[namespace]]\nname='/exact'\n");
        let rules = enter(&all, "/a").unwrap();
        assert!(enter(&all, "/a").is_some() && enter(&all, "/b").is_some());
        assert!(all.find("/c").is_some() && enter(&all, "/c").is_none());
        assert!(enter(&all, "/exact").is_some());
        all.release(&"/a".into(), &rules);
        assert!(enter(&all, "/c").is_none());
        all.release(&"/a".into(), &rules);
        assert!(enter(&all, "/c").is_some());
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let all = namespaces(
            "[[namespace]]\nname='/'\notherwise='broadcast'\n\
             [[namespace.event]]\nname='a*'\naction='ack'\n\
             [[namespace.event]]\nname='abc'\naction='drop'\n\
             [[namespace.event]]\nname='b'\naction='broadcast'\nto='room:x'\n\
             [[namespace.event]]\nname='b*'\naction='join'\n\
             [[namespace.event]]\nname='leave'\naction='drop'\n",
        );
        let rules = enter(&all, "/").unwrap();
        for (event, action) in [
            ("abc", Action::Ack),
            (
                "b",
                Action::Broadcast {
                    to: To::Room("x".into()),
                    echo: false,
                },
            ),
            ("bc", Action::Join),
            ("leave", Action::Drop),
            ("join", Action::Join),
            ("publish", Action::Publish { echo: false }),
            (
                "other",
                Action::Broadcast {
                    to: To::Namespace,
                    echo: false,
                },
            ),
        ] {
            assert_eq!(rules.action(event), &action, "{event}");
        }
        assert_eq!(all.nothing().action("join"), &Action::Drop);
    }
}
