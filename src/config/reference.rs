//! What there is to set: read from the embedded `config/roomcast.toml`, the one source of defaults.

use toml::{Table, Value};

use crate::socketio::config::{ActionName, EventRule, Namespace};

/// The commented reference, with every key at its default.
pub(super) const TEXT: &str = include_str!("../../config/roomcast.toml");

/// Settings whose values are never printed.
const SECRETS: [&str; 6] = [
    "admin.keys",
    "cluster.redis",
    "cluster.secret",
    "token.secrets",
    "webhook.secret",
    "webhook.url",
];

/// The longest distance at which a name still counts as a slip of another one.
const SLIP_MAX: usize = 3;

/// The known sections with their keys, each with its default.
pub(super) struct Reference {
    /// The sections: `server`, `engine` and so on.
    pub(super) sections: Table,
    /// The keys of a `[[namespace]]`, without `event`.
    pub(super) namespace: Table,
    /// The keys of a `[[namespace.event]]`.
    pub(super) event: Table,
}

impl Reference {
    /// Reads the embedded reference.
    pub(super) fn new() -> Self {
        let event = EventRule {
            name: "*".into(),
            action: ActionName::Drop,
            to: "namespace".into(),
            echo: false,
            stream: String::new(),
        };
        Self {
            sections: TEXT.parse().expect("a test reads the reference"),
            namespace: Table::try_from(Namespace::open()).expect("a namespace is a table"),
            event: Table::try_from(event).expect("a rule is a table"),
        }
    }

    /// The default at `section.key`.
    pub(super) fn default(&self, section: &str, key: &str) -> Option<&Value> {
        self.sections.get(section)?.get(key)
    }

    /// Every `section.key`, in the order of the alphabet.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.sections.iter().flat_map(|(section, keys)| {
            let keys = keys.as_table().into_iter().flat_map(Table::keys);
            keys.map(move |key| format!("{section}.{key}"))
        })
    }

    /// The known `section.key` that was most likely meant by `path`.
    pub(super) fn nearest_path(&self, path: &str) -> Option<String> {
        let key = path.rsplit('.').next().unwrap_or(path);
        // The right key in the wrong section, or in none.
        if let Some(same) = self.paths().find(|known| known.ends_with(&format!(".{key}"))) {
            return Some(same);
        }
        let (section, _) = path.split_once('.')?;
        let keys = self.sections.get(section)?.as_table()?.keys();
        nearest(key, keys.cloned()).map(|key| format!("{section}.{key}"))
    }

    /// The known section that was most likely meant by `name`.
    pub(super) fn nearest_section(&self, name: &str) -> Option<String> {
        let sections = self.sections.keys().map(String::as_str);
        nearest(name, sections.chain(["namespace"]).map(str::to_owned))
    }
}

/// Whether the value at `path` must not be shown.
pub(super) fn is_secret(path: &str) -> bool {
    SECRETS.contains(&path)
}

/// The one of `known` that `name` is most likely a slip of.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    // A short name allows fewer slips: otherwise every word of three letters were near another.
    let slips_max = SLIP_MAX.min(name.len().div_ceil(4));
    known
        .map(|known| (strsim::damerau_levenshtein(name, &known), known))
        .filter(|(distance, _)| *distance <= slips_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `: did you mean …?`, or nothing.
pub(super) fn did_you_mean(nearest: Option<String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_suggested_and_strangers_are_not() {
        let reference = Reference::new();
        for (path, expected) in [
            ("server.listn", Some("server.listen")),
            ("engine.pingInterval", Some("engine.ping_interval")),
            ("server.ping_interval", Some("engine.ping_interval")),
            ("outbox", Some("limits.outbox")),
            ("server.colour", None),
            ("server.ports", None),
            ("sever.lisen", None),
        ] {
            assert_eq!(reference.nearest_path(path).as_deref(), expected, "{path}");
        }
        assert_eq!(reference.nearest_section("sever").as_deref(), Some("server"));
        assert_eq!(reference.nearest_section("logs").as_deref(), Some("log"));
        assert_eq!(reference.nearest_section("redis"), None);
    }
}
