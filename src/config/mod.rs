//! The configuration: composes the modules' `Config`s, lays file, environment and flags over the
//! defaults, and checks the whole.
//!
//! The defaults are the embedded `config/roomcast.toml` and stand nowhere else. All problems are
//! reported at once. Nothing here acts on a setting: that is the job of the module that owns it.

use serde::{Deserialize, Deserializer, Serialize};

use crate::socketio::config::{Auth, EventRule, Namespace};
use crate::{backend, cluster, drain, engine, limits, ops, server};

mod address;
mod credentials;
mod environment;
mod findings;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod later;
mod layers;
mod namespaces;
mod reference;
mod screen;
mod validate;
mod webhook;

pub use findings::Problems;
pub use layers::{Flag, Sources};

use findings::{Finding, Findings, Severity, Source};
use layers::{DEFAULT, Given, Layers};
use reference::Reference;

/// Everything that can be set.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Where clients connect.
    pub server: server::Config,
    /// How Engine.IO is spoken.
    pub engine: engine::config::Config,
    /// What clients may make this node hold.
    pub limits: limits::Config,
    /// Other nodes.
    pub cluster: cluster::Config,
    /// How the node leaves.
    pub drain: drain::Config,
    /// Whose tokens are believed.
    pub token: backend::Config,
    /// Where the application is asked and told.
    pub webhook: backend::webhook::Config,
    /// The operator's port.
    pub admin: ops::admin::Config,
    /// Logs.
    pub log: ops::logging::Config,
    /// The namespaces, never none: without any configured it is the open one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace: Vec<Namespace>,
    /// Whether `namespace` is the open one because none is configured.
    #[serde(skip)]
    is_open: bool,
}

/// A configuration that the gateway can run with.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks all layers.
    pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
        let reference = Reference::new();
        let mut findings = Findings::default();
        let layers = Layers::read(sources, &reference, &mut findings);
        assemble(&layers, &reference, findings)
    }

    /// The defaults.
    pub fn defaults() -> Self {
        Self::from_toml("").expect("a test checks the reference")
    }

    /// The defaults with a TOML text over them, and nothing from the environment.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        let reference = Reference::new();
        let mut findings = Findings::default();
        let mut layers = Layers::new(&reference);
        layers.add_text("configuration", text, &reference, &mut findings);
        assemble(&layers, &reference, findings).map(|loaded| loaded.config)
    }

    /// The commented reference: every key with its default.
    pub const fn reference() -> &'static str {
        reference::TEXT
    }

    /// Whether no namespace is configured, so that there is the open one alone.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The configuration as TOML, secrets as `***`.
    pub fn to_toml(&self) -> String {
        let mut printed = self.clone();
        if self.is_open {
            // As soon as one is written down it is no longer the open one of a bare gateway.
            printed.namespace.clear();
        }
        let mut text = toml::to_string(&printed).expect("every setting has a form in TOML");
        if self.is_open {
            text.push_str("\n# no [[namespace]]: one \"/\", open to everybody\n");
        }
        text
    }
}

/// Makes the configuration from its layers, or says everything that is wrong with them.
fn assemble(layers: &Layers, reference: &Reference, mut findings: Findings) -> Result<Loaded, Problems> {
    let namespace = namespaces(layers, reference, &mut findings);
    let is_open = namespace.is_empty();
    let mut section = Sections {
        layers,
        reference,
        findings: &mut findings,
    };
    let config = Config {
        server: section.read("server"),
        engine: section.read("engine"),
        limits: section.read("limits"),
        cluster: section.read("cluster"),
        drain: section.read("drain"),
        token: section.read("token"),
        webhook: section.read("webhook"),
        admin: section.read("admin"),
        log: section.read("log"),
        namespace: if is_open { vec![Namespace::open()] } else { namespace },
        is_open,
    };
    check(&config, &mut findings);
    // Errors without a name are about the file as a whole, which then says nothing of namespaces.
    if is_open && !findings.refuse("namespace") && !findings.refuse("") {
        let message = open_warning(&config, layers.has_file());
        findings.warning_in(Source::named(""), "", message);
    }
    let problems = problems(&findings, &config, layers);
    if problems.errors.is_empty() {
        let warnings = problems.warnings;
        Ok(Loaded { config, warnings })
    } else {
        Err(problems)
    }
}

/// Reads one section after the other.
struct Sections<'a> {
    layers: &'a Layers,
    reference: &'a Reference,
    findings: &'a mut Findings,
}

impl Sections<'_> {
    fn read<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> T {
        let defaults = self.reference.sections.get(name);
        let defaults = defaults.and_then(toml::Value::as_table);
        let defaults = defaults.expect("the reference has every section");
        let given = self.layers.section(name);
        let given = given.expect("the defaults are the lowest layer");
        given.read(name, defaults, self.findings)
    }
}

/// Reads the `[[namespace]]` blocks.
fn namespaces(layers: &Layers, reference: &Reference, findings: &mut Findings) -> Vec<Namespace> {
    let blocks = layers.namespaces().into_iter().enumerate();
    let namespaces = blocks.map(|(index, (keys, events))| {
        let path = format!("namespace.{index}");
        require(&keys, &path, &["name"], findings);
        let mut namespace: Namespace = keys.read(&path, &reference.namespace, findings);
        if namespace.auth != Auth::None {
            // Who must say who he is may do what is allowed, and nothing else.
            for (key, patterns) in [("join", &mut namespace.join), ("publish", &mut namespace.publish)] {
                if !keys.has(key) {
                    patterns.clear();
                }
            }
        }
        let events = events.iter().enumerate();
        let rules = events.map(|(index, keys)| {
            let path = format!("{path}.event.{index}");
            require(keys, &path, &["name", "action"], findings);
            keys.read::<EventRule>(&path, &reference.event, findings)
        });
        namespace.event = rules.collect();
        namespace
    });
    namespaces.collect()
}

/// Reports those of `names` that have no default and are not given.
fn require(keys: &Given, path: &str, names: &[&str], findings: &mut Findings) {
    for name in names {
        let path = format!("{path}.{name}");
        if !keys.has(name) && !findings.refuse(&path) {
            findings.error(path, "is missing");
        }
    }
}

/// Checks what was read. What could not be read stands at its default here, so rules that take part
/// in it say nothing.
fn check(config: &Config, findings: &mut Findings) {
    let mut checked = Findings::default();
    validate::validate(config, &mut checked);
    checked.0.retain(|finding| {
        let mut paths = finding.others.iter().chain([&finding.path]);
        !paths.any(|path| findings.refuse(path))
    });
    findings.0.append(&mut checked.0);
}

fn open_warning(config: &Config, has_file: bool) -> String {
    let addresses = config.server.listen.join(" and ");
    let open = format!("every room and event is open to whoever reaches {addresses}");
    if has_file {
        format!("no [[namespace]] is configured: {open}")
    } else {
        let place = if config.cluster.is_alone() {
            "one node, in memory, and "
        } else {
            ""
        };
        format!("no configuration file: {place}{open}")
    }
}

/// All findings as sentences: those of the file by line, then the others.
fn problems(findings: &Findings, config: &Config, layers: &Layers) -> Problems {
    let mut placed: Vec<(&Finding, Source)> = findings
        .0
        .iter()
        .map(|finding| {
            let given = finding.source.clone();
            (finding, given.unwrap_or_else(|| layers.source(&finding.path)))
        })
        .collect();
    placed.sort_by_key(|(_, source)| source.line.unwrap_or(usize::MAX));
    let mut problems = Problems::default();
    for (finding, source) in placed {
        let sentence = sentence(finding, source, config, layers, findings);
        match finding.severity {
            Severity::Error => problems.errors.push(sentence),
            Severity::Warning => problems.warnings.push(sentence),
        }
    }
    problems
}

/// A finding as a sentence: what it is about, what is the matter, where it came from.
fn sentence(finding: &Finding, source: Source, config: &Config, layers: &Layers, all: &Findings) -> String {
    let mut sources = vec![source.text];
    for other in &finding.others {
        let source = layers.source(other).text;
        if source != DEFAULT {
            let key = other.rsplit('.').next().filter(|_| other.starts_with("namespace."));
            sources.push(format!("{} from {source}", key.unwrap_or(other)));
        }
    }
    let mut sentence = shown(&finding.path, config, all);
    if !sentence.is_empty() {
        sentence.push_str(": ");
    }
    sentence.push_str(&finding.message);
    let sources = sources.join("; ");
    if !sources.is_empty() {
        sentence.push_str(&format!(" ({sources})"));
    }
    sentence
}

/// A path as operators know it: `namespace "/chat", event "typing", action`.
fn shown(path: &str, config: &Config, all: &Findings) -> String {
    let parts: Vec<_> = path.split('.').collect();
    let ["namespace", index, rest @ ..] = parts.as_slice() else {
        return path.to_owned();
    };
    let block = format!("namespace.{index}");
    let namespace = at(&config.namespace, index);
    let name = namespace.map(|namespace| namespace.name.as_str());
    let mut shown = format!("namespace {}", called(name, index, &block, all));
    let mut keys = rest;
    if let ["event", index, rest @ ..] = rest {
        let block = format!("{block}.event.{index}");
        let rule = namespace.and_then(|namespace| at(&namespace.event, index));
        let name = rule.map(|rule| rule.name.as_str());
        shown.push_str(&format!(", event {}", called(name, index, &block, all)));
        keys = rest;
    }
    for key in keys {
        shown.push_str(", ");
        shown.push_str(key);
    }
    shown
}

/// The block that a path calls by its number.
fn at<'a, T>(blocks: &'a [T], index: &str) -> Option<&'a T> {
    blocks.get(index.parse::<usize>().ok()?)
}

/// A block's name, or its number where the name is what is wrong.
fn called(name: Option<&str>, index: &str, block: &str, all: &Findings) -> String {
    match name {
        Some(name) if !all.refuse(&format!("{block}.name")) => format!("\"{name}\""),
        _ => format!("number {}", index.parse().map_or(1, |index: usize| index + 1)),
    }
}

/// A list that may be written as a single string.
pub mod one_or_many {
    use super::{Deserialize, Deserializer, Serialize};
    use serde::Serializer;

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be an address, or a list of addresses")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    /// Reads one string or a list of them.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(item) => vec![item],
            OneOrMany::Many(items) => items,
        })
    }

    /// Writes a single item as a string.
    pub fn serialize<S: Serializer>(items: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match items {
            [item] => serializer.serialize_str(item),
            items => items.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests;
