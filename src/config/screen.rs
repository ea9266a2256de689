//! Takes what is known out of a configuration file and reports the rest: unknown keys with the
//! nearest known one, keys of later versions with what they wait for.

use toml::{Table, Value};

use super::findings::{Findings, Source};
use super::later;
use super::reference::{Reference, did_you_mean, nearest};

/// Where something stands in the file, by its path.
type Place<'a> = &'a dyn Fn(&str) -> Source;

/// Returns the part of `file` that is known.
pub(super) fn screen(file: Table, reference: &Reference, findings: &mut Findings, place: Place<'_>) -> Table {
    let mut known = Table::new();
    for (name, value) in file {
        if name == "namespace" {
            let blocks = namespaces(value, reference, findings, place);
            known.extend(blocks.map(|blocks| (name, Value::Array(blocks))));
        } else if let Some(reason) = later::setting(&name) {
            report_later(&name, &value, reason, findings, place);
        } else if let Some(Value::Table(defaults)) = reference.sections.get(&name) {
            let Value::Table(keys) = value else {
                let message = format!("must be a section: write [{name}] and its keys below");
                findings.error_in(place(&name), name, message);
                continue;
            };
            let keys = section(&name, keys, defaults, reference, findings, place);
            known.insert(name, Value::Table(keys));
        } else {
            let message = unknown_at_top(&name, &value, reference);
            findings.error_in(place(&name), name, message);
        }
    }
    known
}

/// Reports every key in a section of a later version, or the section itself.
fn report_later(path: &str, value: &Value, reason: &str, findings: &mut Findings, place: Place<'_>) {
    match value.as_table().filter(|keys| !keys.is_empty()) {
        Some(keys) => {
            for key in keys.keys() {
                let path = format!("{path}.{key}");
                findings.error_in(place(&path), path, reason);
            }
        }
        None => findings.error_in(place(path), path, reason),
    }
}

fn unknown_at_top(name: &str, value: &Value, reference: &Reference) -> String {
    if value.is_table() || value.is_array() {
        let near = reference.nearest_section(name);
        if near.is_some() || value.is_table() {
            return format!("unknown section{}", did_you_mean(near));
        }
    }
    let near = did_you_mean(reference.nearest_path(name));
    format!("unknown key outside of any section{near}")
}

/// Returns the known keys of a section.
fn section(
    name: &str,
    mut keys: Table,
    defaults: &Table,
    reference: &Reference,
    findings: &mut Findings,
    place: Place<'_>,
) -> Table {
    keys.retain(|key, value| {
        if defaults.contains_key(key) {
            return true;
        }
        let path = format!("{name}.{key}");
        if let Some(reason) = later::setting(&path) {
            report_later(&path, value, reason, findings, place);
        } else {
            let message = format!("unknown key{}", did_you_mean(reference.nearest_path(&path)));
            findings.error_in(place(&path), path, message);
        }
        false
    });
    keys
}

/// Returns the `[[namespace]]` blocks with their known keys.
fn namespaces(value: Value, reference: &Reference, findings: &mut Findings, place: Place<'_>) -> Option<Vec<Value>> {
    let blocks = blocks("namespace", "namespace", value, findings, place)?;
    let mut known = Vec::new();
    for (index, mut keys) in blocks.into_iter().enumerate() {
        let path = format!("namespace.{index}");
        let events = keys.remove("event");
        let known_keys = &reference.namespace;
        screen_block("namespace", &path, &mut keys, known_keys, findings, place);
        if let Some(events) = events {
            let path = format!("{path}.event");
            let rules = self::blocks("namespace.event", &path, events, findings, place);
            let rules = rules.unwrap_or_default().into_iter().enumerate();
            let rules = rules.map(|(index, mut rule)| {
                let path = format!("{path}.{index}");
                let known_keys = &reference.event;
                screen_block("namespace.event", &path, &mut rule, known_keys, findings, place);
                Value::Table(rule)
            });
            let rules = rules.collect();
            keys.insert("event".to_owned(), Value::Array(rules));
        }
        known.push(Value::Table(keys));
    }
    Some(known)
}

/// The tables of `[[name]]`, or nothing when it is something else.
fn blocks(name: &str, path: &str, value: Value, findings: &mut Findings, place: Place<'_>) -> Option<Vec<Table>> {
    let message = format!("must be written as [[{name}]], with two brackets: there may be several");
    let Value::Array(items) = value else {
        findings.error_in(place(path), path, message);
        return None;
    };
    let tables: Option<Vec<Table>> = items
        .into_iter()
        .map(|item| {
            if let Value::Table(table) = item {
                Some(table)
            } else {
                None
            }
        })
        .collect();
    if tables.is_none() {
        findings.error_in(place(path), path, message);
    }
    tables
}

/// Leaves the known keys of one block in it.
fn screen_block(name: &str, path: &str, keys: &mut Table, known: &Table, findings: &mut Findings, place: Place<'_>) {
    keys.retain(|key, _| {
        let general = format!("{name}.{key}");
        let path = format!("{path}.{key}");
        if let Some(reason) = later::setting(&general) {
            findings.error_in(place(&path), path, reason.to_owned());
            return false;
        }
        if !known.contains_key(key) {
            let near = nearest(key, known.keys().cloned().chain(["event".to_owned()]));
            findings.error_in(place(&path), path, format!("unknown key{}", did_you_mean(near)));
            return false;
        }
        true
    });
}
