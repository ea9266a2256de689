//! The layers of the configuration: defaults, file, environment, flags; each value remembers where
//! it came from.
//!
//! The only module that names figment. A layer takes in what is known and reports the rest, so that
//! one bad key hides no other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value as Layered};
use figment::{Figment, Metadata, Profile, Provider, error::Actual, error::Kind};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::findings::{Findings, Source};
use super::reference::{self, Reference};
use super::{environment, later, screen};

/// The source of what nobody has set.
pub(super) const DEFAULT: &str = "default";

/// Where settings are taken from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags of the command line.
    pub flags: Vec<Flag>,
}

/// A flag that sets a value: `--listen 0.0.0.0:3000` sets `server.listen`.
#[derive(Clone, Debug)]
pub struct Flag {
    /// How it is called, dashes included.
    pub name: &'static str,
    /// What it sets: `section.key`.
    pub path: &'static str,
    /// Its values; most flags have one.
    pub values: Vec<String>,
}

/// All layers, one over the other.
pub(super) struct Layers {
    figment: Figment,
    /// The file's name as it was given, and the line of each of its keys.
    file: Option<(String, Lines)>,
}

/// The line at which each key of a file stands, by its path.
type Lines = BTreeMap<String, usize>;

impl Layers {
    /// The defaults alone.
    pub(super) fn new(reference: &Reference) -> Self {
        let defaults = Layer::new(DEFAULT, reference.sections.clone());
        Self {
            figment: Figment::from(defaults),
            file: None,
        }
    }

    /// All layers, as far as they can be read.
    pub(super) fn read(sources: &Sources, reference: &Reference, findings: &mut Findings) -> Self {
        let mut layers = Self::new(reference);
        if let Some(path) = &sources.file {
            layers.add_file(path, "flag --config", reference, findings);
        } else if let Some(path) = environment::config_file(&sources.environment) {
            let source = "environment variable ROOMCAST_CONFIG";
            layers.add_file(&path, source, reference, findings);
        }
        for setting in environment::settings(&sources.environment, reference, findings) {
            layers.add(&setting.source, &setting.path, setting.value);
        }
        for flag in &sources.flags {
            layers.add_flag(flag, findings);
        }
        layers
    }

    /// Whether a file takes part.
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    fn add_flag(&mut self, flag: &Flag, findings: &mut Findings) {
        let source = format!("flag {}", flag.name);
        if let Some(reason) = later::setting(flag.path) {
            findings.error_in(Source::named(source), flag.path, reason);
            return;
        }
        let value = match flag.values.as_slice() {
            [value] => Value::from(value.as_str()),
            values => Value::from(values.to_vec()),
        };
        self.add(&source, flag.path, value);
    }

    /// Adds one value of the environment or of the command line.
    fn add(&mut self, source: &str, path: &str, value: Value) {
        let (section, key) = path.split_once('.').expect("a path is `section.key`");
        let keys = Table::from_iter([(key.to_owned(), value)]);
        let layer = Table::from_iter([(section.to_owned(), Value::Table(keys))]);
        self.merge(source, layer);
    }

    fn add_file(&mut self, path: &Path, source: &str, reference: &Reference, findings: &mut Findings) {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_text(&name, &text, reference, findings),
            Err(error) => {
                // So that nobody is told that there is no file: there should be one.
                self.file = Some((name.clone(), Lines::new()));
                let message = format!("\"{name}\" cannot be read: {error}");
                findings.error_in(Source::named(source), "", message);
            }
        }
    }

    /// Adds a TOML text under the name of its file.
    pub(super) fn add_text(&mut self, name: &str, text: &str, reference: &Reference, findings: &mut Findings) {
        let lines = lines_of(text);
        self.file = Some((name.to_owned(), lines));
        match text.parse::<Table>() {
            Ok(table) => {
                let known = screen::screen(table, reference, findings, &|path| {
                    self.in_file(path).unwrap_or_else(|| Source::named(name))
                });
                self.merge(name, known);
            }
            Err(error) => {
                // Only the message: the line itself may hold a secret.
                let start = error.span().map_or(0, |span| span.start);
                let line = line_at(text, start);
                let message = error.message().trim().replace('\n', ", ");
                let message = format!("not TOML: {message}");
                findings.error_in(Source::line(name, line), "", message);
            }
        }
    }

    fn merge(&mut self, source: &str, table: Table) {
        let figment = std::mem::take(&mut self.figment);
        self.figment = figment.merge(Layer::new(source, table));
    }

    /// The values that a section has after all layers.
    pub(super) fn section(&self, name: &str) -> Option<Given> {
        self.figment.find_value(name).ok()?.into_dict().map(Given)
    }

    /// The `[[namespace]]` blocks, each with its `[[namespace.event]]` blocks apart.
    pub(super) fn namespaces(&self) -> Vec<(Given, Vec<Given>)> {
        tables(self.figment.find_value("namespace").ok())
            .into_iter()
            .map(|mut keys| {
                let events = tables(keys.remove("event")).into_iter().map(Given);
                (Given(keys), events.collect())
            })
            .collect()
    }

    /// Where the value at `path` came from.
    pub(super) fn source(&self, path: &str) -> Source {
        let top = if path.starts_with("namespace.") {
            "namespace"
        } else {
            path
        };
        let found = self.figment.find_value(top).ok();
        let metadata = found.and_then(|value| self.figment.get_metadata(value.tag()).cloned());
        let name = metadata.map_or_else(|| DEFAULT.to_owned(), |metadata| metadata.name.into());
        let in_file = self.file.as_ref().is_some_and(|(file, _)| *file == name);
        let line = self.in_file(path).filter(|_| in_file);
        line.unwrap_or_else(|| Source::named(name))
    }

    /// The place of `path`, or of the nearest thing around it, in the file.
    fn in_file(&self, path: &str) -> Option<Source> {
        let (name, lines) = self.file.as_ref()?;
        let mut path = path;
        loop {
            if let Some(line) = lines.get(path) {
                return Some(Source::line(name, *line));
            }
            path = path.rsplit_once('.')?.0;
        }
    }
}

/// What the layers say about one section or block, before it is known to make sense.
pub(super) struct Given(Dict);

impl Given {
    /// Whether `key` was given at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Makes the section's struct. Each key that cannot be read is reported and left at its default.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str, defaults: &Table, findings: &mut Findings) -> T {
        let mut accepted = dict(defaults);
        for (key, value) in &self.0 {
            let Some(default) = defaults.get(key) else {
                continue;
            };
            let before = accepted.insert(key.clone(), value.clone());
            if let Err(error) = Layered::from(accepted.clone()).deserialize::<T>() {
                let path = format!("{path}.{key}");
                let message = if reference::is_secret(&path) {
                    format!("must be {}", expectation(default))
                } else {
                    explain(error.kind, default)
                };
                findings.error(path, message);
                accepted.extend(before.map(|value| (key.clone(), value)));
            }
        }
        Layered::from(accepted)
            .deserialize()
            .expect("the defaults are good, and so was every key that replaced one")
    }
}

/// Values of one source.
struct Layer {
    source: String,
    values: Dict,
}

impl Layer {
    fn new(source: &str, table: Table) -> Self {
        Self {
            source: source.to_owned(),
            values: dict(&table),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn dict(table: &Table) -> Dict {
    let value = Layered::serialize(table).expect("TOML has no value that figment lacks");
    value.into_dict().expect("a table becomes a dict")
}

/// The tables in a list of them.
fn tables(list: Option<Layered>) -> Vec<Dict> {
    let items = list.and_then(Layered::into_array).unwrap_or_default();
    // What is no table was reported before; it keeps its place, so that the others keep theirs.
    let tables = items.into_iter().map(|item| item.into_dict().unwrap_or_default());
    tables.collect()
}

/// What is wrong with a value, in words.
fn explain(kind: Kind, default: &Value) -> String {
    match kind {
        Kind::InvalidType(found, _) | Kind::InvalidValue(found, _) => {
            let found = match found {
                Actual::Bool(value) => format!("`{value}`"),
                Actual::Unsigned(value) => format!("`{value}`"),
                Actual::Signed(value) => format!("`{value}`"),
                Actual::Float(value) => format!("`{value}`"),
                Actual::Str(value) => format!("\"{value}\""),
                Actual::Seq => "a list".to_owned(),
                Actual::Map => "a table".to_owned(),
                other => other.to_string(),
            };
            format!("must be {}, found {found}", expectation(default))
        }
        Kind::UnknownVariant(found, known) => {
            let known: Vec<_> = known.iter().map(|name| format!("\"{name}\"")).collect();
            format!("\"{found}\" is none of {}", known.join(", "))
        }
        other => other.to_string(),
    }
}

/// What kind of value belongs where `default` stands.
fn expectation(default: &Value) -> String {
    match default {
        Value::String(text) if text.is_empty() => "a string".to_owned(),
        Value::String(_) => format!("a string such as {default}"),
        Value::Integer(0) => "a whole number, 0 or more".to_owned(),
        Value::Integer(_) => format!("a whole number such as {default}"),
        Value::Boolean(_) => "true or false".to_owned(),
        Value::Array(items) if items.is_empty() => "a list of strings".to_owned(),
        Value::Array(_) => format!("a list of strings such as {default}"),
        other => other.type_str().to_owned(),
    }
}

/// Finds the line of every key in a TOML text.
fn lines_of(text: &str) -> Lines {
    fn walk(value: &toml::de::DeValue<'_>, path: &str, text: &str, lines: &mut Lines) {
        match value {
            toml::de::DeValue::Table(table) => {
                for (key, value) in table {
                    let path = format!("{path}.{}", key.get_ref());
                    let path = path.trim_start_matches('.');
                    lines.insert(path.to_owned(), line_at(text, key.span().start));
                    walk(value.get_ref(), path, text, lines);
                }
            }
            toml::de::DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}.{index}");
                    lines.insert(path.clone(), line_at(text, item.span().start));
                    walk(item.get_ref(), &path, text, lines);
                }
            }
            _ => {}
        }
    }
    let mut lines = Lines::new();
    if let Ok(table) = toml::de::DeTable::parse(text) {
        let table = toml::de::DeValue::Table(table.into_inner());
        walk(&table, "", text, &mut lines);
    }
    lines
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
